"""Nomad's tree of changes as lines for people: what is added, taken away and changed, and nothing else.

A document in a template (our fleet description) is compared as a document: the changed settings are shown, not two long texts.
Pure; colours are named by the kind of change and applied elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["added", "deleted", "edited", "none"]

_SIGNS: dict[Kind, str] = {"added": "+", "deleted": "-", "edited": "~", "none": " "}
_NESTED = ("TaskGroups", "Tasks", "Objects")


@dataclass(frozen=True, slots=True)
class Line:
    """`depth` is how far it is indented; a line of kind "none" only names where the ones below it are."""

    kind: Kind
    depth: int
    text: str

    def __str__(self) -> str:
        return f"{'  ' * self.depth}{_SIGNS[self.kind]} {self.text}"


def changes(diff: Mapping[str, Any]) -> tuple[Line, ...]:
    """Every change of a job's plan; none where the job is as it should be, whatever Nomad calls edited."""
    return tuple(_fields(diff, 0)) + tuple(_nested(diff, 0))


def _block(title: str, node: Mapping[str, Any], depth: int) -> Iterator[Line]:
    inner = [*_fields(node, depth + 1), *_nested(node, depth + 1)]
    if inner:
        kind = _kind(node)
        yield Line("none" if kind == "edited" else kind, depth, title)
        yield from inner


def _nested(node: Mapping[str, Any], depth: int) -> Iterator[Line]:
    for key in _NESTED:
        for child in node.get(key) or ():
            title = {"TaskGroups": f"group {child['Name']!r}", "Tasks": f"task {child['Name']!r}"}.get(key, child["Name"])
            yield from _block(title, child, depth)


def _fields(node: Mapping[str, Any], depth: int) -> Iterator[Line]:
    for field in node.get("Fields") or ():
        if (kind := _kind(field)) != "none" and field["Old"] != field["New"]:
            yield from _field(field["Name"], kind, field["Old"], field["New"], depth)


def _field(name: str, kind: Kind, old: str, new: str, depth: int) -> Iterator[Line]:
    documents = _document(old), _document(new)
    if kind == "edited" and None not in documents:
        yield Line("none", depth, name)
        for key, before, after in _settings(documents[0], documents[1], ""):
            yield _setting(key, before, after, depth + 1)
    elif kind == "edited":
        yield Line(kind, depth, f"{name}: {_shown(old)} -> {_shown(new)}")
    else:
        yield Line(kind, depth, f"{name}: {_shown(new if kind == 'added' else old)}")


def _setting(key: str, before: Any, after: Any, depth: int) -> Line:
    if before is None:
        return Line("added", depth, f"{key}: {json.dumps(after)}")
    if after is None:
        return Line("deleted", depth, f"{key}: {json.dumps(before)}")
    return Line("edited", depth, f"{key}: {json.dumps(before)} -> {json.dumps(after)}")


def _settings(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, before, after) of what differs; rows with a name go by it."""
    if old == new:
        return
    old_rows, new_rows = _rows(old), _rows(new)
    if old_rows is None or new_rows is None:
        yield path, old, new
        return
    for key in dict.fromkeys((*old_rows, *new_rows)):
        yield from _settings(old_rows.get(key), new_rows.get(key), f"{path}.{key}" if path else key)


def _rows(value: Any) -> dict[str, Any] | None:
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and value and all(isinstance(row, dict) and "name" in row for row in value):
        return {str(row["name"]): row for row in value}
    return None


def _document(text: str) -> Any:
    """A JSON object, else None."""
    try:
        value = json.loads(text) if text.lstrip().startswith("{") else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _shown(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted if len(quoted) <= 100 else f"{quoted[:96]}..."


def _kind(node: Mapping[str, Any]) -> Kind:
    kinds: dict[str, Kind] = {"Added": "added", "Deleted": "deleted", "Edited": "edited"}
    return kinds.get(node["Type"], "none")

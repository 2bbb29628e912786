"""The text form of a fleet description: files, overlays and single values, merged into one tree that knows where each value came from.

Later wins. Tables are merged key by key, `[[model]]` and `[[provider]]` rows by name and `[[route]]` rows by selector; every other
array is replaced.
What the keys mean, and whether the values are right, is not known here.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.errors import Finding, SpecError
from fleet.toml_lines import Path as KeyPath
from fleet.toml_lines import lines_of

_ROW_KEYS = {"model": ("name",), "route": ("selector", "name"), "provider": ("name",)}


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place (`path:line`, or the option that set it). `value` is a table, an array or a JSON scalar."""

    value: Any
    where: str


def read(path: Path) -> Node:
    """One TOML or JSON (`.json`) file.

    Raises:
        SpecError: the file cannot be read, or its syntax is wrong.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise SpecError((Finding(str(path), "", f"cannot be read: {error.strerror}"),)) from error
    except UnicodeDecodeError as error:
        raise SpecError((Finding(str(path), "", f"is not UTF-8 text: {error.reason} at byte {error.start}"),)) from error
    return _json(text, path) if path.suffix == ".json" else _toml(text, path)


def read_json(text: str, where: str) -> Node:
    """A JSON document that is no file; `where` names it in findings. Raises: SpecError"""
    return _json(text, Path(where))


def plain(node: Node) -> Any:
    """The bare value: dicts, lists and scalars."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def locate(node: Node, path: KeyPath) -> Node:
    """The node at a path, or the last one on the way there that exists."""
    for part in path:
        child = _child(node, part)
        if child is None:
            break
        node = child
    return node


def dotted(node: Node, path: KeyPath) -> str:
    """A path as `-var` takes it: rows by their name, `model.small-model.replicas.max`."""
    parts: list[str] = []
    at: Node | None = node
    for part in path:
        at = _child(at, part) if at else None
        parts.append(_row_name(at, str(parts[0]), part) if isinstance(part, int) and len(parts) == 1 else str(part))
    return ".".join(parts)


def merge(base: Node, over: Node, path: tuple[str, ...] = ()) -> Node:
    """`over` laid on `base`."""
    if isinstance(base.value, dict) and isinstance(over.value, dict):
        merged = dict(base.value)
        for key, child in over.value.items():
            merged[key] = merge(merged[key], child, (*path, key)) if key in merged else child
        return Node(merged, base.where)
    if len(path) == 1 and path[0] in _ROW_KEYS and isinstance(base.value, list) and isinstance(over.value, list):
        return Node(_merged_rows(path[0], base.value, over.value), base.where)
    return over


def assign(root: Node, option: str) -> Node:
    """A single value, `key.path=value`: the value is read as TOML, and as a bare string where it is none.

    Raises:
        SpecError: not of that form, or the path leads through something that is neither a table nor a named row.
    """
    key, equals, text = option.partition("=")
    where = f"-var {option}"
    if not equals or not all(key.split(".")):
        raise SpecError((Finding(where, "", "write it as key.path=value, for example router.port=8001"),))
    return _assigned(root, key.split("."), (), Node(_typed(text), where))


def _assigned(node: Node, parts: list[str], done: tuple[str, ...], leaf: Node) -> Node:
    if not parts:
        return _placed(leaf.value, leaf.where)
    part, rest = parts[0], parts[1:]
    if isinstance(node.value, dict):
        child = node.value.get(part) or Node({}, leaf.where)
        return Node(node.value | {part: _assigned(child, rest, (*done, part), leaf)}, node.where)
    if isinstance(node.value, list):
        index = _row_index(node.value, part, done, leaf.where)
        rows = [_assigned(row, rest, (*done, part), leaf) if i == index else row for i, row in enumerate(node.value)]
        return Node(rows, node.where)
    raise SpecError((Finding(leaf.where, ".".join(done), f"is a single value, so it has no {part!r}"),))


def _row_index(rows: list[Node], part: str, done: tuple[str, ...], where: str) -> int:
    by_name = [i for i, row in enumerate(rows) if any(_scalar(row, key) == part for key in _row_keys(done))]
    if by_name:
        return by_name[0]
    if part.isdecimal() and not _row_keys(done) and int(part) < len(rows):
        return int(part)
    there = ", ".join(sorted(filter(None, (_scalar(row, key) for row in rows for key in _row_keys(done)[:1]))))
    known = f"there are: {there}" if there else f"it has {len(rows)} row(s), counted from 0"
    raise SpecError((Finding(where, ".".join(done), f"no row {part!r}; {known}"),))


def _row_keys(path: tuple[str, ...]) -> tuple[str, ...]:
    return _ROW_KEYS.get(path[0], ()) if len(path) == 1 else ()


def _merged_rows(table: str, base: list[Node], over: list[Node]) -> list[Node]:
    merged, key = list(base), _ROW_KEYS[table][0]
    for row in over:
        name = _scalar(row, key)
        same = [i for i, old in enumerate(merged) if name and _scalar(old, key) == name]
        if same:
            merged[same[0]] = merge(merged[same[0]], row)
        else:
            merged.append(row)
    return merged


def _scalar(row: Node, key: str) -> str:
    """The row's name or number as text; empty where it has none."""
    child = row.value.get(key) if isinstance(row.value, dict) else None
    return str(child.value) if child is not None and isinstance(child.value, str | int) else ""


def _row_name(row: Node | None, table: str, index: int) -> str:
    return (_scalar(row, _ROW_KEYS[table][0]) if row and table in _ROW_KEYS else "") or str(index)


def _child(node: Node, part: str | int) -> Node | None:
    if isinstance(node.value, dict):
        return node.value.get(part)
    if isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
        return node.value[part]  # type: ignore[no-any-return]
    return None


def _toml(text: str, path: Path) -> Node:
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        at = line[1] if line else str(text.count("\n") + 1)
        raise SpecError((Finding(f"{path}:{at}", "", f"is not valid TOML: {error}"),)) from error
    lines = lines_of(text.replace("\r\n", "\n"))
    return _located(value, (), f"{path}:1", {key: f"{path}:{line}" for key, line in lines.items()})


def _json(text: str, path: Path) -> Node:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise SpecError((Finding(f"{path}:{error.lineno}", "", f"is not valid JSON: {error.msg}"),)) from error
    except RecursionError as error:
        raise SpecError((Finding(str(path), "", "is nested too deeply"),)) from error
    if not isinstance(value, dict):
        raise SpecError((Finding(str(path), "", "is no description: it must be a JSON object"),))
    return _placed(value, str(path))


def _located(value: Any, path: KeyPath, where: str, places: dict[KeyPath, str]) -> Node:
    where = places.get(path, where)
    if isinstance(value, dict):
        return Node({key: _located(child, (*path, key), where, places) for key, child in value.items()}, where)
    if isinstance(value, list):
        return Node([_located(child, (*path, i), where, places) for i, child in enumerate(value)], where)
    return Node(_jsonable(value), where)


def _placed(value: Any, where: str) -> Node:
    return _located(value, (), where, {})


def _jsonable(value: Any) -> Any:
    """TOML's dates, nan and inf mean nothing to any setting: they stay as text, which no setting of another type takes."""
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def _typed(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = parsed["value"]
    is_toml = len(parsed) == 1 and (
        isinstance(value, str | bool | int | list | dict) or (isinstance(value, float) and math.isfinite(value))
    )
    return value if is_toml else text

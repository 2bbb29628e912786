"""What the pinned providers take, and what is wrong with a resource.

The schemas are those of schemas/ (see PROVENANCE.md there). Judged are names and presence: unknown arguments, missing ones, blocks too
many or too few. Values are expressions, which only Terraform evaluates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.terraform.configuration import Resource, bare

SCHEMAS = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((Path(__file__).parent / "schemas").glob("*.json"))}

_META = {"count", "for_each", "depends_on", "lifecycle", "provider"}


def objections(resource: Resource) -> list[str]:
    schema = SCHEMAS[resource.kind.split("_")[0]]["resources"].get(resource.kind)
    if schema is None:
        return [f"{resource}: no such resource in schemas/; make_schemas.py takes it in"]
    own = {key: value for key, value in resource.body.items() if key not in _META}
    return list(_objections(own, schema, str(resource)))


def _objections(body: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> Iterator[str]:
    attributes, nested = schema["attributes"], schema["blocks"]
    blocks = dict(_blocks(body, nested))
    given = {key for key in body if not key.startswith("__") and key not in nested and key != "dynamic"}
    yield from (f"{where}: takes no argument {name}" for name in sorted(given - set(attributes)))
    yield from (f"{where}: {name} is computed, not given" for name in sorted(given & _computed(attributes)))
    yield from (f"{where}: needs {name}" for name, one in attributes.items() if one["required"] and name not in given)
    yield from (f"{where}: takes no block {name}" for name in blocks if name not in nested)
    for name, block in nested.items():
        bodies = blocks.get(name, [])
        if len(bodies) < block["min"]:
            yield f"{where}: needs a block {name}"
        if 0 < block["max"] < len(bodies):
            yield f"{where}: takes {block['max']} block {name} at most"
        for inner in bodies:
            yield from _objections(inner, block, f"{where}.{name}")


def _computed(attributes: Mapping[str, Any]) -> set[str]:
    return {name for name, one in attributes.items() if one.get("computed")}


def _blocks(body: Mapping[str, Any], nested: Mapping[str, Any]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Blocks by name; one that is made for each of something counts once."""
    made: dict[str, list[Mapping[str, Any]]] = {}
    for block in body.get("dynamic", []):
        for name, inner in block.items():
            made.setdefault(bare(name), []).extend(inner["content"])
    for name, value in body.items():
        if name in nested:
            made.setdefault(name, []).extend(value)
    yield from made.items()

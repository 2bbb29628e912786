"""The generated parts of docs/api.md: every path, who may call it, its fields, and a call that works.

    paths    one row for each method and path
    calls    a section for each: fields, curl, refusals

Law: made from the OpenAPI document of a router that has everything switched on, so the page, GET /docs and the code cannot differ. The
curl lines are parsed and sent by a test. Found by `warmfleet docs` through the entry points `warmfleet.documents`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from fleet import names
from fleet.documents import table
from fleet.model import Spec
from router.app import wire

_ORDER: Final = ("relay", "prompts", "sessions", "routing", "models", "providers", "state")
_WHO: Final = {"": "anybody", "tenant": "a tenant's key", "admin": "the admin key"}
_KEY: Final = {"tenant": "$WARMFLEET_KEY", "admin": "$WARMFLEET_ADMIN_KEY"}
_TYPES: Final = {"string": "text", "number": "number", "integer": "integer", "boolean": "true or false", "object": "object"}
_HOST: Final = "localhost:8000"


@dataclass(frozen=True, slots=True)
class Call:
    """One method of one path. `operation` and `schemas` as in the OpenAPI document."""

    method: str
    path: str
    operation: Mapping[str, Any]
    schemas: Mapping[str, Any]

    @property
    def who(self) -> str:
        """The security scheme; empty: none."""
        return next((scheme for one in self.operation.get("security", ()) for scheme in one), "")

    @property
    def body(self) -> Mapping[str, Any]:
        """What may be sent as JSON: its media type object; empty: nothing."""
        found: Mapping[str, Any] = self.operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        return found

    @property
    def schema(self) -> Mapping[str, Any]:
        return _followed(self.body.get("schema", {}), self.schemas)

    @property
    def example(self) -> Any:
        """With its fields in the order of the schema. Raises: KeyError: a body without an example."""
        if "example" in self.body:
            return self.body["example"]
        found = self.schema["examples"][0]
        return {name: found[name] for name in self.schema["properties"] if name in found}

    @property
    def url(self) -> str:
        """Raises: KeyError: a part of the path without an example."""
        parts = {one["name"]: one["schema"]["examples"][0] for one in self.operation.get("parameters", ()) if one["in"] == "path"}
        return _HOST + self.path.format(**parts)


def blocks() -> Mapping[str, Callable[[], str]]:
    """What can be made for docs/api.md, by the name of its block."""
    return {"paths": paths_table, "calls": sections}


def document() -> dict[str, Any]:
    """The OpenAPI document of a router with an admin key. Nothing is started."""
    described: dict[str, Any] = wire(Spec(), environment={names.ENV_ADMIN_KEY: "of the page"}).app.openapi()
    return described


def calls() -> tuple[Call, ...]:
    """In the order of the page."""
    described = document()
    make = partial(Call, schemas=described["components"]["schemas"])
    found = [make(method.upper(), path, one) for path, operations in described["paths"].items() for method, one in operations.items()]
    return tuple(sorted(found, key=lambda call: _ORDER.index(call.operation["tags"][0])))


def paths_table() -> str:
    rows = ((f"`{one.method}`", f"`{one.path}`", _WHO[one.who], one.operation["summary"]) for one in calls())
    return table(("method", "path", "asks for", "what it is"), rows)


def sections() -> str:
    """A table of fields that is the one before is not said again."""
    made, before = [], ""
    for call in calls():
        fields = _fields_table(call)
        made.append(section(call, "Fields as above." if fields and fields == before else fields))
        before = fields
    return "\n".join(made)


def section(call: Call, fields: str) -> str:
    """As Markdown, with a line break at its end."""
    about = " ".join(part for part in (call.operation["summary"], _one_line(call.operation.get("description", ""))) if part)
    parts = [f"### `{call.method} {call.path}`", about, fields, f"```sh\n{curl(call)}\n```", _refusals(call)]
    return "\n\n".join(part for part in parts if part) + "\n"


def curl(call: Call) -> str:
    """A command for a shell in which the keys are set."""
    method = f"-X {call.method} " if call.method not in ("GET", "POST") or (call.method == "POST" and not call.body) else ""
    words = [f"curl -s {method}{call.url}"]
    if call.who:
        words.append(f'-H "authorization: Bearer {_KEY[call.who]}"')
    if call.body:
        words += ["-H 'content-type: application/json'", f"-d '{_quoted(json.dumps(call.example))}'"]
    return " \\\n  ".join(words)


def _quoted(text: str) -> str:
    """For single quotes of a shell."""
    return text.replace("'", "'\\''")


def _refusals(call: Call) -> str:
    statuses = [status for status in call.operation["responses"] if int(status) >= 400]
    return f"Refused with {', '.join(statuses)}." if statuses else ""


def _fields_table(call: Call) -> str:
    rows = [*_parameter_rows(call), *_field_rows(call.schema, call.schemas)]
    return table(("field", "type", "default", "meaning"), rows).rstrip("\n") if rows else ""


def _parameter_rows(call: Call) -> Iterator[tuple[str, str, str, str]]:
    where = {"path": "path", "query": "query", "header": "header"}
    for one in call.operation.get("parameters", ()):
        kind = f"{_kind(one['schema'], call.schemas)}, {where[one['in']]}"
        yield f"`{one['name']}`", kind, _default(one["schema"], is_required=one["required"]), one.get("description", "")


def _field_rows(schema: Mapping[str, Any], schemas: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str, str, str]]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        yield f"`{prefix}{name}`", _kind(field, schemas), _default(field, is_required=name in required), field.get("description", "")
        yield from _field_rows(_followed(field, schemas), schemas, f"{prefix}{name}.") if "$ref" in field else ()


def _followed(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def _kind(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind(one, schemas) for one in schema["anyOf"] if one.get("type") != "null")
    if schema.get("type") == "array":
        return f"array of {_kind(schema['items'], schemas)}"
    return _TYPES[_followed(schema, schemas)["type"]]


def _default(schema: Mapping[str, Any], *, is_required: bool) -> str:
    if is_required:
        return "required"
    return f"`{json.dumps(schema['default'])}`" if schema.get("default") not in (None, "") and "$ref" not in schema else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())

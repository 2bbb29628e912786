"""What PUT /admin/providers/{name} takes, as JSON Schema: a [[provider]] row without what an order may not say, and `routes`.

Made from the row's own declaration (fleet.provider), so that the two cannot differ. No I/O.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter

from fleet.provider import Provider
from fleet.serving import Price, Slo
from fleet.settings import settings_of

_NOT_BY_ORDER: Final = ("name", "ca_file")
_ROUTES: Final = {"type": "array", "items": {"type": "string"}, "default": [], "description": "whose chains it is put at the end of"}
_KEY_ENV: Final = "the router's environment variable, or the key of its Nomad variable, that holds the key; ends in _API_KEY; empty: none"
_EXAMPLE: Final = {
    "model": "big-1",
    "base_url": "https://llm.example.com/v1",
    "key_env": "ELSEWHERE_API_KEY",
    "priority": 5,
    "requests_per_min": 60,
    "routes": ["chat"],
}


def _object(table: type) -> dict[str, Any]:
    """A table's keys; a duration is text with a unit, which pydantic cannot know."""
    properties = TypeAdapter(table).json_schema()["properties"]
    return {setting.key: _property(properties[setting.key], setting.kind, setting.default) for setting in settings_of(table)}


def _property(said: dict[str, Any], kind: str, default: str) -> dict[str, Any]:
    if kind.startswith("duration"):
        return {"type": "string", "description": said["description"], "default": default.strip('"')}
    return {key: value for key, value in said.items() if key != "title"}


def _schema() -> dict[str, Any]:
    found = _object(Provider)
    for table, name in ((Price, "cost"), (Slo, "slo")):
        found[name] = {
            "type": "object",
            "description": found[name]["description"],
            "properties": _object(table),
            "additionalProperties": False,
        }
    found["slo"]["description"] += ": ttft, first_token_timeout, idle_timeout"
    found["cost"]["description"] += ": input, output"
    found["key_env"]["description"] = _KEY_ENV
    kept = {name: each for name, each in found.items() if name not in _NOT_BY_ORDER}
    properties = {"model": kept.pop("model"), "routes": _ROUTES, **kept}
    return {
        "title": "Provider",
        "type": "object",
        "properties": properties,
        "required": ["model"],
        "additionalProperties": False,
        "examples": [_EXAMPLE],
    }


SCHEMA: Final = _schema()

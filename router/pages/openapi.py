"""The OpenAPI document of a router: what FastAPI says of its endpoints, the relayed paths, who may ask, and how it is refused.

    who       scheme    what
    nobody    none      /health, /metrics and the pages about the API
    tenant    tenant    everything else, as soon as there are tenants
    admin     admin     /admin/... and /simulate/...

FastAPI would announce 422 in a shape of its own for wrong requests; what is really answered is 400 in OpenAI's. No I/O.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from router.pages import refusals, relayed
from router.pages.refusals import may
from router.tenants.door import asks_for

_SCHEMES: Final[dict[str, Any]] = {
    "tenant": {
        "type": "http",
        "scheme": "bearer",
        "description": "A tenant's API key; nobody is asked for one while there are no tenants.",
    },
    "admin": {"type": "http", "scheme": "bearer", "description": "The router's admin key, WARMFLEET_ADMIN_KEY."},
}
_NOT_ANSWERED: Final = ("HTTPValidationError", "ValidationError")
_ABOUT: Final = "An OpenAI-compatible API over a fleet of models, and what there is to ask about it."


def describe(app: FastAPI) -> None:
    """Lets GET /openapi.json, and with it GET /docs, show the whole API."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = completed(get_openapi(title=app.title, version=app.version, description=_ABOUT, routes=app.routes))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's document with what it cannot know."""
    paths = {**relayed.operations(), **document["paths"]}
    for path, operations in paths.items():
        for operation in operations.values():
            _add_door(operation, asks_for(path))
    components = document.get("components", {})
    schemas = {name: schema for name, schema in components.get("schemas", {}).items() if name not in _NOT_ANSWERED}
    return {
        **document,
        "paths": paths,
        "components": {**components, "schemas": {**schemas, refusals.SCHEMA: refusals.REFUSAL}, "securitySchemes": _SCHEMES},
    }


def _add_door(operation: dict[str, Any], who: str) -> None:
    """Who may ask, and what is answered to anybody else."""
    responses = operation["responses"]
    refused = {400} if responses.pop("422", None) is not None or "requestBody" in operation else set()
    if who != "nobody":
        operation["security"] = [{who: []}]
        refused.add(401 if who == "tenant" else 403)
    for status, answer in may(*sorted(refused)).items():
        responses.setdefault(str(status), answer)
    operation["responses"] = dict(sorted(responses.items()))

"""The pages about the API for a browser: GET /docs (to try) and GET /redoc (to read), with everything that they load.

Nothing comes from elsewhere, so that they work where a browser reaches the fleet and nothing else, and so that nobody else can change a
script into which keys are typed; their content security policy holds browsers to that. The scripts are files of the package
fastapi-offline, which is not imported. Addresses are relative: they hold behind a proxy that puts a prefix before them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

FILES: Final = ("swagger-ui.css", "swagger-ui-bundle.js", "redoc.standalone.js")

_HEAD: Final = '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
_TITLE: Final = '<title>Warmfleet router: API</title><link rel="icon" href="data:,">'
_TO_TRY: Final = f"""{_HEAD}{_TITLE}<link rel="stylesheet" href="docs/swagger-ui.css"></head><body><div id="api"></div>
<script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js"></script></body></html>
"""
_TO_READ: Final = f"""{_HEAD}{_TITLE}</head><body><redoc spec-url="openapi.json"></redoc>
<script src="docs/redoc.standalone.js"></script></body></html>
"""
_START: Final = """SwaggerUIBundle({url: "openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null});
"""
_POLICY: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; worker-src blob:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",  # both pages make styles as they go
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_KEPT: Final = {"cache-control": "max-age=3600", "x-content-type-options": "nosniff"}

_Endpoint = Callable[[], Awaitable[Response]]


def routes() -> APIRouter:
    """Raises: ModuleNotFoundError: the package with the files is not installed."""
    api, folder = APIRouter(include_in_schema=False), _folder()
    api.add_api_route("/docs", _text(_TO_TRY, "text/html", _POLICY))
    api.add_api_route("/redoc", _text(_TO_READ, "text/html", _POLICY))
    api.add_api_route("/docs/start.js", _text(_START, "text/javascript", _KEPT))
    for name in FILES:
        api.add_api_route(f"/docs/{name}", _file(folder / name))
    return api


def _text(text: str, kind: str, fields: dict[str, str]) -> _Endpoint:
    async def answer() -> Response:
        return Response(text, media_type=kind, headers=fields)

    return answer


def _file(path: Path) -> _Endpoint:
    async def answer() -> Response:
        return FileResponse(path, headers=_KEPT)

    return answer


def _folder() -> Path:
    package = find_spec("fastapi_offline")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("the package fastapi-offline is not installed", name="fastapi_offline")
    return Path(package.origin).with_name("static")

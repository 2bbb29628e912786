"""What a caller of the ASGI app did wrong, in a sentence that says what to send instead.

    FastAPI and Starlette know                what is said
    no route, or a slash at the end           404, with the path that is there
    a route for other methods                 405, with all methods of the path
    a body that cannot be read, or no JSON    400, with what is wrong with it
    a field of the wrong type                 400, with the field in `param`
    nothing: a text that UTF-8 cannot hold    400

Always in OpenAI's shape. What is wrong with the meaning of a request is told by router.errors; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from router import errors

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PLACES: Final = ("body", "query", "path", "header")
_OBJECT: Final = "Send a JSON object."
_OF_THE_ADMIN: Final = ("/admin", "/simulate")
_UNREADABLE: Final[Mapping[type[BaseException | None], str]] = {
    RecursionError: "The request body is nested too deeply. Send a flatter JSON object.",
    UnicodeDecodeError: f"The request body is not UTF-8. {_OBJECT}",
}


def install(app: FastAPI) -> None:
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(UnicodeEncodeError, _half_a_character)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type
    message, param = _wrong(error.errors()[0], request.headers.get("content-type", ""))
    return _answer(400, message, "invalid_request", param)


def _wrong(first: Mapping[str, Any], content_type: str) -> tuple[str, str | None]:
    """The sentence, and the field that it is about."""
    place: Sequence[Any] = first["loc"]
    if first["type"] == "json_invalid":
        return f"The request body is not valid JSON: {first['ctx']['error']} (character {place[-1]}). {_OBJECT}", None
    param = ".".join(map(str, place[1:] if place[0] in _PLACES else place)) or None
    said = str(first["msg"]).removeprefix("Value error, ")
    if param is not None:
        return f"The request is wrong at {param}: {said}.", param
    if first["type"] == "missing":
        return f"The request has no body. {_OBJECT}", None
    if first["type"] != "model_attributes_type":
        return f"The request body is wrong: {said}.", None
    if "json" in content_type.lower():
        return f"The request body is JSON, but no object. {_OBJECT}", None
    return f"The request's content-type is {content_type[:50]!r}; send the body as JSON, with content-type: application/json.", None


async def _half_a_character(_request: Request, _error: Exception) -> Response:
    """JSON can hold a lone surrogate, and UTF-8 cannot; what we encode in answer to a request is what its caller said."""
    return _answer(400, "The request has half a character (a lone surrogate) in a text; send whole ones.", "invalid_request")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type
    fields = dict(error.headers or {})
    match error.status_code:
        case 404:
            return _answer(404, _nothing_here(request), "not_found")
        case 405:
            fields = {"allow": fields.get("allow") or ", ".join(sorted(_methods(request.app, request.scope)))}
            return _answer(405, f"This path takes {fields['allow']}; GET /docs says what for.", "method_not_allowed", fields=fields)
        case 413:
            return _answer(413, "The request body is too large; send less.", "request_too_large")
        case 400:
            message = _UNREADABLE.get(type(error.__cause__), f"The request body cannot be read as JSON. {_OBJECT}")
            return _answer(400, message, "invalid_request")
    return _answer(error.status_code, str(error.detail), "http_error", fields=fields)


def _nothing_here(request: Request) -> str:
    path = request.scope["path"].rstrip("/")
    if path and path != request.scope["path"] and _methods(request.app, {**request.scope, "path": path}):
        return f"There is nothing here, but without the slash at the end: {path[:200]}"
    admin = " Paths of the admin are here only where the router has WARMFLEET_ADMIN_KEY." if path.startswith(_OF_THE_ADMIN) else ""
    return f"There is nothing here; GET /docs lists what is.{admin}"


def _methods(app: FastAPI, scope: Scope) -> set[str]:
    """That the path of a request takes, whichever method it came with."""
    return {method for method in _METHODS if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in app.routes)}


def _answer(status: int, message: str, code: str, param: str | None = None, *, fields: dict[str, str] | None = None) -> Response:
    body = errors.body(message, "invalid_request_error", code, param)
    return Response(body, status_code=status, headers=fields, media_type="application/json")

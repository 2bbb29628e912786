"""An engine's refusal of a request, as the caller gets it: in OpenAI's shape, whatever shape it came in.

    what the engine said                                     what the caller gets
    {"error": {message, type, param, code}}  (vLLM)          as it is, byte for byte
    {"error": {...}} with less  (llama.cpp, Anthropic's)     the same with what is missing
    {"message", ...} or {"detail": ...}                      the same under "error"
    nothing, or no JSON  (a limit of its HTTP server)        a sentence with the status
    404 for a path that it does not have                     which model, which path, and that others may have it

Status and type are kept, and so is a number as `code`, because engines give one. A provider's refusals are router.providers.said's.
Pure: status and bytes in, bytes out.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

_KEYS: Final = frozenset(("message", "type", "param", "code"))
_TYPES: Final = {404: "not_found_error", 501: "not_supported_error"}
_NO_SUCH_PATH: Final = frozenset(("File Not Found", "Not Found"))
_SAYS_SO: Final = _NO_SUCH_PATH | {"Method Not Allowed"}


def in_shape(body: bytes, status: int, model: str, path: bytes) -> bytes | None:
    """The body for the caller; None: it is in OpenAI's shape already."""
    document = _decoded(body)
    inner = _error_of(document)
    message = _message(inner, status, model, path)
    if document.get("error") is inner and inner.keys() >= _KEYS and inner["message"] == message:
        return None
    usual = {"type": _TYPES.get(status, "invalid_request_error"), "param": None, "code": "refused_by_engine"}
    beside = document if isinstance(document.get("error"), dict) else {}
    return msgspec.json.encode({**beside, "error": {**usual, **inner, "message": message}})


def is_no_such_path(status: int, body: bytes) -> bool:
    """The engine has no such API; a 404 about a model says more."""
    if status not in (404, 405):
        return False
    inner = _error_of(_decoded(body))
    said = inner.get("message", inner.get("detail"))
    return said is None or (isinstance(said, str) and said in _SAYS_SO)


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _error_of(document: dict[str, Any]) -> dict[str, Any]:
    inner = document.get("error", document)
    if isinstance(inner, str):
        return {"message": inner}
    if not isinstance(inner, dict):
        return {}
    return inner if inner is not document else {key: document[key] for key in (*_KEYS, "detail") if key in document}


def _message(inner: dict[str, Any], status: int, model: str, path: bytes) -> str:
    said = inner.get("message", inner.get("detail"))
    if status == 404 and said in _NO_SUCH_PATH:
        return f"The engine of {model!r} does not have {path.decode('latin-1')}; ask a model whose engine has it."
    if isinstance(said, str) and said:
        return said
    if said:
        return msgspec.json.encode(said).decode()
    return f"The engine of {model!r} refused the request with HTTP {status} and did not say why; look at its size and its header fields."

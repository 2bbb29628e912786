"""A provider's refusal of a request, as the caller gets it: in OpenAI's shape, whatever shape it came in, and without our key.

Pure: status and bytes in, bytes out. What is no JSON at all is not shown: it is somebody's error page.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from router import errors

_KINDS: Final = {404: "not_found_error", 413: "invalid_request_error", 422: "invalid_request_error"}


def refusal(provider: str, status: int, body: bytes, key: bytes) -> bytes:
    """The body of an error. `key`: what must not stand in it; empty: nothing."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        document = None
    said = _error(document)
    kind = _text(said.get("type")) or _KINDS.get(status, "invalid_request_error")
    message = _text(said.get("message")) or f"The provider {provider!r} refused the request with HTTP {status}."
    code = _text(said.get("code")) or "refused_by_provider"
    shaped = errors.body(message, kind, code, _text(said.get("param")))
    return masked(shaped, key)


def masked(data: bytes, key: bytes) -> bytes:
    """The same without a key, at the same length."""
    return data.replace(key, b"*" * len(key)) if key else data


def _error(document: Any) -> dict[str, Any]:
    """Google wraps its error in a list."""
    if isinstance(document, list) and document:
        document = document[0]
    inner = document.get("error", document) if isinstance(document, dict) else None
    if isinstance(inner, str):
        return {"message": inner}
    return inner if isinstance(inner, dict) else {}


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None

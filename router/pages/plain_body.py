"""Compressed request bodies of the ASGI app, taken as those of the relay paths are: gzip, and never more bytes than a body may have.

Law: what is behind this sees a plain body and a head that says nothing of a coding. It stands inside the body limit and inside the
door, so that nobody without a key has anything inflated. A request without Content-Encoding pays one look at its head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.errors import BodyTooLarge, RouterError
from router.wire.inflate import inflated
from router.wire.responses import refused

_CODING = b"content-encoding"
_WITH_BODY = ("POST", "PUT", "PATCH")


class PlainBody:
    def __init__(self, app: ASGIApp, limit_bytes: Callable[[], int]) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        codings = _codings(scope) if scope["type"] == "http" and scope["method"] in _WITH_BODY else []
        if not codings:
            await self._app(scope, receive, send)
            return
        try:
            body = inflated(await self._whole(receive), b",".join(codings), self._limit_bytes())
        except RouterError as error:
            await refused(error)(scope, receive, send)
            return
        await self._app(_plain(scope, len(body)), _after(body, receive), send)

    async def _whole(self, receive: Receive) -> bytes:
        """Raises: BodyTooLarge: already as it was sent."""
        parts: list[bytes] = []
        try:
            while (message := await receive())["type"] == "http.request":
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    break
        except HTTPException as error:  # of the body limit
            raise BodyTooLarge(self._limit_bytes()) from error
        return b"".join(parts)


def _codings(scope: Scope) -> list[bytes]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value for name, value in headers if name == _CODING]


def _plain(scope: Scope, size_bytes: int) -> Scope:
    about = (_CODING, b"content-length")
    kept = [(name, value) for name, value in scope["headers"] if name not in about]
    return {**scope, "headers": [*kept, (b"content-length", b"%d" % size_bytes)]}


def _after(body: bytes, receive: Receive) -> Receive:
    """Says the body in one message, and then whatever else is said."""
    said = False

    async def plain() -> Message:
        nonlocal said
        if said:
            return await receive()
        said = True
        return {"type": "http.request", "body": body, "more_body": False}

    return plain

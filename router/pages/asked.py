"""A request that an endpoint of ours makes in its caller's name: given up when the caller leaves, and passed on as it is when it fails."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from fastapi import Request, Response

from fleet import names
from router.errors import UpstreamFailed
from router.relay import collected
from router.relay.collected import Answer
from router.wire import headers

_DEADLINE: Final = names.HEADER_DEADLINE.encode()
_PASSED: Final = (b"content-type", b"retry-after", b"x-should-retry", b"x-warm-eta", b"x-request-id", b"x-route", b"x-session-id")


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Completion(msgspec.Struct):
    choices: list[_Choice]


_completion: Final = msgspec.json.Decoder(_Completion).decode


async def while_connected(answer: collected.Asking, request: Request) -> Answer:
    """Awaits an answer; gives it up, and with it the engine's connection, as soon as the caller has left."""
    asking = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((asking, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            raise UpstreamFailed("The caller has left.")
        return await asking
    finally:
        asking.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def deadline_of(request: Request) -> bytes:
    """How long its caller waits at most, right or wrong, as lines of a head; empty: it does not say."""
    said: list[tuple[bytes, bytes]] = request.scope["headers"]
    return headers.lines(field for field in said if field[0] == _DEADLINE)


def told(request: Request, header: str, otherwise: bytes | None) -> bytes | None:
    """What one of our own headers says, right or wrong, or else what the body does. Said twice it is wrong, as for relayed requests."""
    values = request.headers.getlist(header)
    return ",".join(values).encode("latin-1") if values else otherwise


def text(answer: Answer) -> str:
    """What a chat was answered. Raises: UpstreamFailed: the engine's answer has no message."""
    try:
        return _completion(answer.body).choices[0].message.content or ""
    except (msgspec.MsgspecError, UnicodeDecodeError, IndexError) as error:
        raise UpstreamFailed("The engine answered without a message.") from error


def passed_fields(answer: Answer) -> dict[str, str]:
    """Of its head, what a caller is told."""
    return {name.decode(): value.decode("latin-1") for name, value in answer.fields if name in _PASSED}


def as_it_is(answer: Answer) -> Response:
    return Response(answer.body, status_code=answer.status, headers=passed_fields(answer))

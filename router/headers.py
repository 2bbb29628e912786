"""HTTP heads: what of a caller's head goes on to the engine, and what of the engine's head goes back.

Hop-by-hop fields (RFC 9110, 7.6.1) never pass, nor does what a Connection field names. The caller's credentials (Authorization, API
keys, cookies) stay here: they are for the router, not for engines. Accept-Encoding stays here too, because a compressed stream could
not be read for its end.
One loop over the fields, because this runs for every request. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from fleet import names

Fields = Sequence[tuple[bytes, bytes]]

_HOP: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
_OURS: Final = frozenset(name.encode() for name in (names.HEADER_REQUEST, names.HEADER_SESSION, names.HEADER_ROUTE))
_CREDENTIALS: Final = frozenset((b"authorization", b"cookie", b"x-api-key", b"api-key", b"x-goog-api-key"))
_NOT_UP: Final = _HOP | _OURS | {b"host", b"content-length", b"expect", b"accept-encoding"} | _CREDENTIALS
_NOT_DOWN: Final = _HOP | _OURS | {b"content-length", b"server"}
_REQUEST: Final = names.HEADER_REQUEST.encode()
_SESSION: Final = names.HEADER_SESSION.encode()
_KEEP: Final = (b"keep-alive", b"close")
_DEADLINES: Final = b"|".join((names.HEADER_DEADLINE.encode(), b"x-stainless-timeout", b"x-stainless-read-timeout"))
_DEADLINE: Final = re.compile(rb"^(?:%b): *(\d{1,6}(?:\.\d{1,6})?)\r$" % _DEADLINES, re.MULTILINE).search
_SANE_ID: Final = re.compile(rb"[A-Za-z0-9._:\-]{1,128}").fullmatch


class RequestHead(NamedTuple):
    """A caller's head, read once. `forward` are whole lines for the engine; `length` is -1 where the caller gave none or nonsense."""

    forward: bytes
    length: int
    session: bytes | None
    request_id: bytes | None
    expects_continue: bool
    has_connection: bool
    authorization: bytes | None = None


def read_request(fields: Fields) -> RequestHead:
    """Takes fields with lower-case names."""
    lines: list[bytes] = []
    length, session, request_id, expects, connection, authorization = -1, None, None, False, b"", None
    for name, value in fields:
        if name not in _NOT_UP:
            lines.append(b"%b: %b\r\n" % (name, value))
        elif name == b"content-length":
            length = int(value) if value.isdigit() else -1
        elif name == b"connection":
            connection = value.lower()
        elif name == _SESSION:
            session = value
        elif name == _REQUEST:
            request_id = value if _SANE_ID(value) else None
        elif name == b"expect":
            expects = value.lower() == b"100-continue"
        elif name == b"authorization" or (name == b"x-api-key" and authorization is None):
            authorization = value
    if connection and connection not in _KEEP:
        lines = _without_named(lines, connection)
    return RequestHead(b"".join(lines), length, session, request_id, expects, bool(connection), authorization)


def _without_named(lines: list[bytes], connection: bytes) -> list[bytes]:
    named = {token.strip() for token in connection.split(b",")}
    return [line for line in lines if line.partition(b":")[0] not in named]


def down_lines(fields: Fields) -> bytes:
    """The engine's fields that a caller may see, as lines."""
    return b"".join([b"%b: %b\r\n" % field for field in fields if field[0] not in _NOT_DOWN])


def lines(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def value_of(fields: Fields, name: bytes) -> bytes:
    """The first value of a field, or empty."""
    for field, value in fields:
        if field == name:
            return value
    return b""


def is_plain_json(fields: Fields) -> bool:
    """The body is JSON that is not compressed."""
    return value_of(fields, b"content-type").startswith(b"application/json") and not value_of(fields, b"content-encoding")


def retry_after_s(fields: Fields) -> int | None:
    """Whole seconds of a Retry-After; None where there is none, or a date."""
    value = value_of(fields, b"retry-after")
    return int(value) if value.isdigit() and len(value) < 9 else None


def deadline_s(lines: bytes) -> float | None:
    """How long a caller waits at most, as it says itself in `x-deadline-s`, or its OpenAI SDK for it. Takes `RequestHead.forward`."""
    found = _DEADLINE(lines)
    return float(found[1]) if found is not None else None

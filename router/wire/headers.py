"""HTTP heads: what of a caller's head goes on to the engine, and what of the engine's head goes back.

Hop-by-hop fields (RFC 9110, 7.6.1) never pass, nor does what a Connection field names. The caller's credentials (Authorization, API
keys, cookies) stay here: they are for the router, not for engines. Accept-Encoding stays here too, because a compressed stream could
not be read for its end, and Content-Encoding, because the router takes it off (router.wire.inflate).
One loop over the fields, because this runs for every request. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from fleet import names
from router.errors import BadRequest
from router.wire.head import RequestHead

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
_OURS: Final = frozenset(name.encode() for name in (names.HEADER_REQUEST, names.HEADER_SESSION, names.HEADER_ROUTE, names.HEADER_STRATEGY))
CREDENTIALS: Final = frozenset((b"authorization", b"cookie", b"x-api-key", b"api-key", b"x-goog-api-key"))
_NOT_UP: Final = _HOP | _OURS | {b"host", b"content-length", b"content-encoding", b"expect", b"accept-encoding"} | CREDENTIALS
_NOT_DOWN: Final = _HOP | _OURS | {b"content-length", b"server"}
_REQUEST: Final = names.HEADER_REQUEST.encode()
_SESSION: Final = names.HEADER_SESSION.encode()
_STRATEGY: Final = names.HEADER_STRATEGY.encode()
PER_REQUEST: Final = frozenset((_REQUEST, _SESSION, b"traceparent"))  # what differs between the requests of any client
_KEEP: Final = (b"keep-alive", b"close")
_WAIT: Final = names.HEADER_DEADLINE.encode()
_waits: Final = re.compile(rb"^%b: *([^\r\n]*)\r$" % _WAIT, re.MULTILINE | re.IGNORECASE).findall
_SDK_WAIT: Final = re.compile(rb"^x-stainless-(?:read-)?timeout: *(\d{1,6}(?:\.\d+)?)\r$", re.MULTILINE | re.IGNORECASE).search
_seconds: Final = re.compile(rb"\d{1,6}(?:\.\d+)?").fullmatch
_SANE_ID: Final = re.compile(rb"[A-Za-z0-9._:\-]{1,128}").fullmatch
_MOST_NAMES: Final = 1024
_LINE: Final = b"%b: %b\r\n"
_FORMS: Final = tuple(_LINE * count for count in range(64))
_PASSES: Final = b"passes"
_TRACES: Final = b"traces"
_WAITS: Final = b"waits"
_kept: dict[bytes, bytes] = {}  # names as they were sent -> lower case where they stay here; _PASSES, _TRACES or _WAITS where they go on


def read_request(fields: Fields) -> RequestHead:  # noqa: PLR0912 - one loop, because it runs for every request
    """Takes fields with their names as they were sent."""
    passed: list[bytes] = []
    length, session, request_id, expects, connection, authorization, wish, coding = -1, None, None, False, b"", None, None, None
    has_trace = has_deadline = False
    for field in fields:
        kept = _kept.get(field[0]) or _kept_as(field[0])
        if kept is _PASSES:
            passed += field
            continue
        value = field[1]
        if kept is _TRACES:
            passed += field
            has_trace = True
        elif kept == b"content-length":
            length = int(value) if value.isdigit() else -1
        elif kept == _SESSION:
            session = value if session is None else session + b"," + value  # which no id has: two are none
        elif kept == b"authorization" or (kept == b"x-api-key" and authorization is None):
            authorization = value
        elif kept == b"connection":
            connection = value.lower()
        elif kept == _REQUEST:
            request_id = sane_id(value)
        elif kept == b"expect":
            expects = value.lower() == b"100-continue"
        elif kept == _STRATEGY:
            wish = value if wish is None else wish + b"," + value
        elif kept == b"content-encoding":
            coding = value if coding is None else coding + b"," + value
        elif kept is _WAITS:
            passed += field
            has_deadline = True
    if connection and connection not in _KEEP:
        passed = _without_named(passed, connection)
    return RequestHead(
        _lines(passed), length, session, request_id, expects, bool(connection), authorization, wish, coding, has_trace, has_deadline
    )


def names_its_host(fields: Fields) -> bool:
    """Once, as HTTP/1.1 demands: two readers could take different ones of two."""
    return [name.lower() for name, _ in fields].count(b"host") == 1


def sane_id(value: bytes | None) -> bytes | None:
    """A request's id as a caller gave it, if it may stand in our own lines."""
    return value if value is not None and _SANE_ID(value) else None


def _kept_as(name: bytes) -> bytes:
    lower = name.lower()
    if lower in _NOT_UP:
        kept = lower
    elif lower == _WAIT:
        kept = _WAITS
    else:
        kept = _TRACES if b"race" in lower else _PASSES  # traceparent, tracestate, x-datadog-trace-id, ...
    if len(_kept) < _MOST_NAMES:  # callers choose names, so the table must end
        _kept[name] = kept
    return kept


def _without_named(passed: list[bytes], connection: bytes) -> list[bytes]:
    named = {token.strip() for token in connection.split(b",")}
    fields = zip(passed[::2], passed[1::2], strict=True)
    return [part for field in fields if field[0].lower() not in named for part in field]


def _lines(parts: list[bytes]) -> bytes:
    """Of names and values in turn: one formatting for all of them, unless they are unusually many."""
    count = len(parts) // 2
    form = _FORMS[count] if count < len(_FORMS) else _LINE * count
    return form % tuple(parts)


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


def check_deadline(lines: bytes) -> None:
    """Takes `RequestHead.forward`. Raises: BadRequest: `x-deadline-s` is no number of seconds, or stands there twice."""
    said = _waits(lines)
    if len(said) > 1:
        raise BadRequest("The header x-deadline-s is wrong: it stands there twice; send it once.", param=names.HEADER_DEADLINE)
    if said and _seconds(said[0]) is None:
        value = said[0][:40].decode("latin-1")
        message = f"The header x-deadline-s is wrong: {value!r} is no number of seconds from 0 to 999999; send one such as 30 or 1.5."
        raise BadRequest(message, param=names.HEADER_DEADLINE)


def deadline_s(lines: bytes) -> float | None:
    """How long a caller waits at most, as it says itself in `x-deadline-s`, or else its OpenAI SDK for it. Takes `RequestHead.forward`."""
    said = _waits(lines)
    if said and _seconds(said[0]) is not None:
        return float(said[0])
    found = _SDK_WAIT(lines)
    return float(found[1]) if found is not None else None

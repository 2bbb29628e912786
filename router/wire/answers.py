"""The bytes of an HTTP/1.1 answer: heads with their framing, chunks, and whole answers of our own. Pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from router.errors import RouterError, encode, extra_headers, to_http
from router.wire import headers


def _status_line(status: int) -> bytes:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


STATUS_LINE: Final = {status: _status_line(status) for status in range(100, 1000)}
LAST_CHUNK: Final = b"0\r\n\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def head(status: int, lines: bytes, *, length: int | None, chunked: bool, keep_alive: bool) -> bytes:
    """A head. `length` None and not `chunked`: the body ends with the connection. `lines` end in CRLF each."""
    framing = b"" if length is None else b"content-length: %d\r\n" % length
    if chunked:
        framing = b"transfer-encoding: chunked\r\n"
    return b"%b%b%b%b\r\n" % (STATUS_LINE[status], lines, framing, b"" if keep_alive else b"connection: close\r\n")


def whole(status: int, lines: bytes, body: bytes, keep_alive: bool) -> bytes:
    """A head and its body, put together once."""
    last = b"" if keep_alive else b"connection: close\r\n"
    return b"%b%bcontent-length: %d\r\n%b\r\n%b" % (STATUS_LINE[status], lines, len(body), last, body)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def own(error: RouterError, lines: bytes = b"", *, keep_alive: bool) -> bytes:
    """A whole answer that says what is wrong."""
    body = encode(error)
    lines += headers.lines(((b"content-type", b"application/json"), *extra_headers(error)))
    return whole(to_http(error).status, lines, body, keep_alive)

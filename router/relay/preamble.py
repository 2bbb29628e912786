"""A stream that gets its head before there is an answer, because its request waits for longer than callers and proxies like to.

Law: the status is 200 from then on, so that everything later is an event: comments (": keep-alive") while it waits, the engine's
events as they are, an error or an answer that is no stream as one last event and [DONE]. What was sent so far promises no content, so
everything that could be tried before still can.
"""

from __future__ import annotations

from typing import Final

from router.relay import trace
from router.relay.course import Course
from router.wire import answers

COMMENT: Final = b": keep-alive\n\n"
_FIELDS: Final = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"


def comment(relay: Course) -> None:
    """Sends a sign of life, after the head if that has not gone out yet."""
    sink, head = relay.sink, b""
    if not relay.opened:
        relay.opened = True
        sink.keep_alive = sink.keep_alive and sink.chunks  # without chunks the body ends with the connection
        head = answers.head(200, _FIELDS + trace.lines(relay), length=None, chunked=sink.chunks, keep_alive=sink.keep_alive)
    relay.write(head + (answers.chunk(COMMENT) if sink.chunks else COMMENT))


def end(relay: Course, body: bytes) -> bool:
    """Ends the stream with a JSON body that was not one. False: the caller has left."""
    data = relay.dialect.failure(body.replace(b"\n", b" "))  # in JSON a raw newline is never part of a string
    return relay.write(answers.chunk(data) + answers.LAST_CHUNK if relay.sink.chunks else data)

"""Server-sent events that say their type: Anthropic's messages and OpenAI's responses.

    dialect      says nothing yet                        ends well                     the engine's error
    messages     message_start, text block start, ping   message_stop                  error
    responses    created, queued, in_progress, *.added   completed, incomplete         error, response.failed

Law: as in `events`: what says nothing yet is held back, whole events only, an end is a type that ends. In JSON a quote inside a text is
escaped, so that no text can imitate a type. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from router.wire.events import Content, Usage


class _Error(msgspec.Struct):
    type: str = ""


class _Block(msgspec.Struct):
    type: str = ""


class _Event(msgspec.Struct):
    type: str = ""
    error: _Error | None = None
    content_block: _Block | None = None


class _TypedUsage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0


class _WithUsage(msgspec.Struct):
    usage: _TypedUsage | None = None


_decode = msgspec.json.Decoder(_Event).decode
_decode_usage = msgspec.json.Decoder(_WithUsage).decode
_CALLERS = frozenset(("invalid_request_error", "authentication_error", "permission_error", "not_found_error", "request_too_large"))


@dataclass(frozen=True, slots=True)
class Types:
    """The types of one dialect. Where `blocks`, the start of a content block that is not text is content (it names a tool)."""

    openers: frozenset[str]
    ends: tuple[bytes, ...]
    errors: frozenset[str]
    blocks: bool = False

    def content(self, events: bytes) -> Content:
        for line in events.splitlines():
            if line.startswith(b"data:"):
                found = self.content_of(line[5:].strip())
                if found is not Content.NONE:
                    return found
        return Content.NONE

    def content_of(self, data: bytes) -> Content:
        try:
            event = _decode(data)
        except msgspec.ValidationError:
            return Content.SOME
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Content.FAILED
        if event.type in self.errors:
            return Content.SOME if event.error is not None and event.error.type in _CALLERS else Content.FAILED
        if self.blocks and event.type == "content_block_start":
            return Content.NONE if event.content_block is not None and event.content_block.type == "text" else Content.SOME
        return Content.NONE if event.type in self.openers else Content.SOME

    def done(self, tail: bytes) -> bool:
        return any(end in tail for end in self.ends)


MESSAGES = Types(
    openers=frozenset(("message_start", "ping")),
    ends=(b'"type":"message_stop"', b'"type": "message_stop"'),
    errors=frozenset(("error",)),
    blocks=True,
)
RESPONSES = Types(
    openers=frozenset(
        (
            "response.created",
            "response.queued",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.reasoning_part.added",
        )
    ),
    ends=tuple(b'"type":%b"response.%b"' % (space, end) for space in (b"", b" ") for end in (b"completed", b"incomplete")),
    errors=frozenset(("error", "response.failed")),
)


def usage(tail: bytes) -> Usage | None:
    """The last usage in the last events of a stream, or at the end of a JSON answer."""
    at = max(tail.rfind(b'"usage":{'), tail.rfind(b'"usage": {'))
    if at < 0:
        return None
    depth, start = 0, tail.index(b"{", at)
    for end in range(start, len(tail)):
        depth += {123: 1, 125: -1}.get(tail[end], 0)
        if not depth:
            return _readable(b'{"usage":' + tail[start : end + 1] + b"}")
    return None


def _readable(document: bytes) -> Usage | None:
    try:
        return json_usage(document)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def json_usage(document: bytes) -> Usage | None:
    """`usage` of a JSON answer; None where there is none that can be true. Raises: msgspec.DecodeError: not JSON."""
    try:
        found = _decode_usage(document).usage
    except (msgspec.ValidationError, RecursionError):
        return None
    usage = Usage(found.input_tokens, found.output_tokens) if found is not None else None
    return usage if usage is not None and usage.can_be else None


def messages_failure(error_body: bytes) -> bytes:
    """How a broken stream of messages ends: Anthropic's SDK raises on this event."""
    error = msgspec.json.decode(error_body)["error"]
    document = {"type": "error", "error": {"type": "api_error", "message": error["message"]}}
    return b"event: error\ndata: " + msgspec.json.encode(document) + b"\n\n"


def responses_failure(error_body: bytes) -> bytes:
    """How a broken response ends: OpenAI's SDK raises on `error`, others look for the type."""
    error = msgspec.json.decode(error_body)["error"]
    document = {"type": "error", "code": error["code"], "message": error["message"], "param": error["param"], "error": error}
    return b"event: error\ndata: " + msgspec.json.encode(document) + b"\n\n"

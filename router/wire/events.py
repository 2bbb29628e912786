"""Server-sent events of an OpenAI-compatible stream: where one ends, whether it carries content, how a stream must end.

Law: only whole events go to a caller, so that an error event can always be appended cleanly. A stream has ended well if it said
[DONE], or came to its proper end after a finish_reason. The first chunk carries only a role and is not content.
JSON never holds a raw newline, so an empty line is always a boundary. Pure: bytes in, bytes out.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any

import msgspec

MAX_EVENT_BYTES = 4 * 1024**2
DONE = b"data: [DONE]\n\n"
_MOST_TOKENS = 10**9


class Content(Enum):
    """What a run of events holds."""

    NONE = "none"
    SOME = "some"
    FAILED = "failed"
    """The engine reports an error that is not the caller's."""


class Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def can_be(self) -> bool:
        """Engines lie: numbers that are none of tokens would make counters fall, or be too large to be sent on."""
        return 0 <= self.prompt_tokens <= _MOST_TOKENS and 0 <= self.completion_tokens <= _MOST_TOKENS

    def after(self, generated: int) -> Usage:
        """Of an answer whose beginning, of so many tokens, was this engine's prompt: the same total, with the beginning as generated."""
        before = min(generated, self.prompt_tokens)
        return Usage(self.prompt_tokens - before, self.completion_tokens + before)


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[msgspec.Raw] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: Usage | None = None
    error: Any = None


class _Counted(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None
    usage: msgspec.Raw = msgspec.Raw(b"null")


class _WithUsage(msgspec.Struct):
    usage: Usage | None = None


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_counted = msgspec.json.Decoder(_Counted).decode
_each = re.compile(rb".*?(?:\r?\n){2}|.+", re.DOTALL).findall
_decode_usage = msgspec.json.Decoder(_WithUsage).decode


def split(rest: bytes, data: bytes) -> tuple[bytes, bytes]:
    """(whole events, the beginning of the next one) of what was left over and what has come."""
    joined = rest + data
    end = max(joined.rfind(b"\n\n") + 2, joined.rfind(b"\r\n\r\n") + 4)
    if end < 4:  # neither found: -1 + 2 and -1 + 4; a boundary cannot end before byte 4, an event holds a colon
        return b"", joined
    return joined[:end], joined[end:]


def content(events: bytes) -> Content:
    """What whole events hold. JSON of another shape than expected counts as content: it is not for the router to judge."""
    for line in events.splitlines():
        if line.startswith(b"data:"):
            found = content_of(line[5:].strip())
            if found is not Content.NONE:
                return found
    return Content.NONE


def content_of(data: bytes) -> Content:
    if data == b"[DONE]":
        return Content.SOME
    try:
        event = _decode_event(data)
    except msgspec.ValidationError:
        return Content.SOME
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Content.FAILED
    if event.error is not None:
        return Content.SOME if _is_callers(event.error) else Content.FAILED
    if any(map(_says_something, event.choices)) or (not event.choices and event.usage is not None):
        return Content.SOME
    return Content.NONE


def _says_something(choice: _Choice) -> bool:
    if choice.text or choice.finish_reason:
        return True
    delta = choice.delta
    return delta is not None and bool(delta.content or delta.tool_calls or delta.reasoning or delta.reasoning_content or delta.refusal)


def _is_callers(error: object) -> bool:
    code = error.get("code") if isinstance(error, dict) else None
    return isinstance(code, int) and 400 <= code < 500 and code != 429


def said_done(tail: bytes) -> bool:
    """The last events of a stream hold [DONE]."""
    return b"data: [DONE]" in tail[-64:]


def finished(tail: bytes) -> bool:
    """The last events of a stream hold [DONE] or a finish_reason. In content a quote is escaped, so text cannot imitate it."""
    return said_done(tail) or b'"finish_reason":"' in tail or b'"finish_reason": "' in tail


def usage(tail: bytes) -> Usage | None:
    """The last usage in the last events of a stream."""
    at = max(tail.rfind(b'"usage":{'), tail.rfind(b'"usage": {'))
    start = tail.rfind(b"data:", 0, at) if at >= 0 else -1
    if start < 0:
        return None
    return _readable(tail[start + 5 :].partition(b"\n")[0])


def json_usage(document: bytes) -> Usage | None:
    """`usage` of a JSON answer; None where there is none that can be read or be true. Raises: msgspec.DecodeError: not JSON."""
    try:
        found = _decode_usage(document).usage
    except (msgspec.ValidationError, RecursionError):
        return None
    return found if found is not None and found.can_be else None


def tail_usage(tail: bytes) -> Usage | None:
    """`usage` of a JSON answer of which only the end is at hand."""
    at = tail.rfind(b'"usage":')
    return _readable(b"{" + tail[at : tail.find(b"}", at) + 1] + b"}") if at >= 0 else None


def _readable(document: bytes) -> Usage | None:
    try:
        return json_usage(document)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def without_usage(events: bytes) -> bytes:
    """Whole events but for those that say nothing except a usage."""
    if b'"usage"' not in events:
        return events
    return b"".join(event for event in _each(events) if not _only_counts(event))


def _only_counts(event: bytes) -> bool:
    if not event.startswith(b"data:"):
        return False
    try:
        said = _decode_counted(event[5:].strip())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return said.choices == [] and bytes(said.usage) != b"null"


def failure(error_body: bytes) -> bytes:
    """How a broken stream ends: OpenAI's SDKs raise on `error`, and stop at [DONE]."""
    return b"data: " + error_body + b"\n\n" + DONE

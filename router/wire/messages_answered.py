"""The answer to a chat completion as Anthropic's messages, for a caller who asked for that (router.wire.messages_asked).

    chunk of a chat             events of messages
    the first one               message_start
    reasoning, content          thinking or text: content_block_start, ..._delta
    a tool call                 a block of its own: content_block_start, input_json_delta
    [DONE], or the end after    content_block_stop, message_delta (why it ended, usage), message_stop
      a finish_reason
    error, or what is no JSON   error

Law: an end is said only where the chat said one, so that a truncated stream shows as one; an answer that is no chat is no answer. A stream
that another engine goes on with is one message: it begins once, its text is one block, its usage counts both parts. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from router.wire import events
from router.wire.events import Usage


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    function: _Function = msgspec.field(default_factory=_Function)
    id: str | None = None
    index: int = 0


class _Said(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None

    @property
    def thoughts(self) -> str:
        return self.reasoning_content or self.reasoning or ""

    @property
    def text(self) -> str:
        return self.content or self.refusal or ""


class _Choice(msgspec.Struct):
    delta: _Said | None = None
    message: _Said | None = None
    finish_reason: str | None = None


class _Chat(msgspec.Struct):
    id: str = ""
    model: str = ""
    choices: list[_Choice] = []
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None


class _Tokens(msgspec.Struct):
    count: int


_decode: Final = msgspec.json.Decoder(_Chat).decode
_decode_count: Final = msgspec.json.Decoder(_Tokens).decode
_encode: Final = msgspec.json.encode
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_REASONS: Final = {"length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use", "content_filter": "refusal"}


def _reason(finish: str | None) -> str:
    return _REASONS.get(finish or "", "end_turn")


def _counted(usage: msgspec.Raw) -> Usage:
    return events.json_usage(b'{"usage":%b}' % bytes(usage)) or Usage()


def _told(usage: Usage) -> dict[str, int]:
    return {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}


def message(body: bytes) -> bytes:
    """A whole answer. Empty: it is none."""
    try:
        chat = _decode(body)
        said = chat.choices[0].message
        blocks = _blocks(said) if said is not None else None
    except (*_UNREADABLE, IndexError):
        return b""
    if blocks is None:
        return b""
    answer = _head(chat) | {"content": blocks, "stop_reason": _reason(chat.choices[0].finish_reason), "usage": _told(_counted(chat.usage))}
    return _encode(answer)


def count(body: bytes) -> bytes:
    """How many tokens a chat comes to, as vLLM's /tokenize says. Empty: it does not say."""
    try:
        return _encode({"input_tokens": _decode_count(body).count})
    except _UNREADABLE:
        return b""


def _head(chat: _Chat) -> dict[str, Any]:
    begun = {"id": chat.id, "type": "message", "role": "assistant", "model": chat.model, "content": []}
    return begun | {"stop_reason": None, "stop_sequence": None, "usage": _told(_counted(chat.usage))}


def _blocks(said: _Said) -> list[dict[str, Any]]:
    """Raises: msgspec.DecodeError: the arguments of a call are no JSON."""
    blocks: list[dict[str, Any]] = []
    if said.thoughts:
        blocks.append({"type": "thinking", "thinking": said.thoughts, "signature": ""})
    if said.text:
        blocks.append({"type": "text", "text": said.text})
    for call in said.tool_calls or ():
        given = msgspec.json.decode(call.function.arguments or "{}")
        blocks.append({"type": "tool_use", "id": call.id or "", "name": call.function.name or "", "input": given})
    return blocks


class Events:
    """Chunks of a chat in, events of messages out; both come whole or in pieces.

    `before`: tokens of the text that the caller has of another engine, which this one goes on with; None: it begins.
    """

    __slots__ = ("_before", "_block", "_blocks", "_finish", "_over", "_rest", "_started", "_usage")

    def __init__(self, before: int | None = None) -> None:
        self._rest = b""
        self._before = before or 0
        self._started = before is not None
        self._over = False
        # the kind of block that is open, and which call of a tool it is
        self._block: tuple[str, int] | None = None if before is None else ("text", 0)
        self._blocks = 0
        self._finish: str | None = None
        self._usage = msgspec.Raw(b"null")

    def read(self, data: bytes, *, complete: bool) -> bytes:
        """What has come, as far as it is whole. `complete`: no more comes."""
        whole, self._rest = events.split(self._rest, data)
        if complete:
            whole, self._rest = whole + self._rest, b""
        made = [self._event(line[5:].strip()) for line in whole.splitlines() if line.startswith(b"data:")]
        if complete and self._finish is not None:
            made.append(self._end())
        return b"".join(made)

    def _event(self, data: bytes) -> bytes:
        if self._over:
            return b""
        if data == b"[DONE]":
            return self._end()
        try:
            chat = _decode(data)
        except _UNREADABLE:
            return self._failed("The engine said something that is no JSON of a chat.", "api_error")
        if chat.error is not None:
            return self._failed(*_error(chat.error))
        made = b"" if self._started else _event("message_start", message=_head(chat))
        self._started = True
        self._usage = self._usage if bytes(chat.usage) == b"null" else chat.usage.copy()
        return made + b"".join(map(self._choice, chat.choices[:1]))

    def _choice(self, choice: _Choice) -> bytes:
        said, made = choice.delta, b""
        if said is not None:
            if said.thoughts:
                made += self._delta("thinking", {"thinking": "", "signature": ""}, {"type": "thinking_delta", "thinking": said.thoughts})
            if said.text:
                made += self._delta("text", {"text": ""}, {"type": "text_delta", "text": said.text})
            made += b"".join(map(self._call, said.tool_calls or ()))
        self._finish = choice.finish_reason or self._finish
        return made

    def _call(self, call: _Call) -> bytes:
        begins = {"id": call.id or "", "name": call.function.name or "", "input": {}}
        return self._delta("tool_use", begins, {"type": "input_json_delta", "partial_json": call.function.arguments or ""}, call.index)

    def _delta(self, kind: str, begins: dict[str, Any], delta: dict[str, Any], number: int = 0) -> bytes:
        made = b""
        if self._block != (kind, number):
            made = self._close() + _event("content_block_start", index=self._blocks, content_block={"type": kind, **begins})
            self._block = (kind, number)
        return made + _event("content_block_delta", index=self._blocks, delta=delta)

    def _close(self) -> bytes:
        if self._block is None:
            return b""
        self._block = None
        self._blocks += 1
        return _event("content_block_stop", index=self._blocks - 1)

    def _end(self) -> bytes:
        if self._over:
            return b""
        self._over = True
        return self._close() + _ending(_reason(self._finish), _counted(self._usage).after(self._before))

    def _failed(self, why: str, kind: str) -> bytes:
        self._over = True
        return _event("error", error={"type": kind, "message": why})


def _event(kind: str, **more: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **more}))


STOP: Final = _event("message_stop")


def _ending(reason: str, usage: Usage) -> bytes:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return _event("message_delta", delta=delta, usage=_told(usage)) + STOP


def ending_at_limit(usage: Usage) -> bytes:
    """The events that a stream of one text has lost when all is said that it may say."""
    return _event("content_block_stop", index=0) + _ending("max_tokens", usage)


def _error(error: Any) -> tuple[str, str]:
    """What an engine says, and its type: the caller's mistake is told as that."""
    said = error if isinstance(error, dict) else {"message": error}
    code = said.get("code")
    callers = isinstance(code, int) and 400 <= code < 500 and code != 429
    return str(said.get("message") or "The engine reported an error."), "invalid_request_error" if callers else "api_error"


class Translation:
    """What comes over one connection in answer to a chat, as the messages that its request asked for. `before`: as of `Events`.

    `told`: how a whole answer is told; empty: it is none.
    """

    __slots__ = ("_before", "_body", "_events", "_told")

    def __init__(self, before: int | None = None, told: Callable[[bytes], bytes] = message) -> None:
        self._before = before
        self._told = told
        self._body: list[bytes] = []
        self._events: Events | None = None

    def read(self, parts: list[bytes], *, streams: bool, complete: bool) -> None:
        """Puts messages in the place of what has come. `streams`: of a stream of events; any other answer is put there at its end."""
        data = b"".join(parts)
        parts.clear()
        if streams:
            stream = self._events = self._events or Events(self._before)
            made = stream.read(data, complete=complete)
        else:
            self._body.append(data)
            made = self._told(b"".join(self._body)) if complete else b""
        if made:
            parts.append(made)

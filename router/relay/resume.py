"""How a plain text goes on after its engine broke off: the request for the next replica, and its answer in the voice of the first.

Law: the next replica gets the caller's request with the text so far as the last assistant message, which vLLM continues when told so
(`continue_final_message`) and llama.cpp always does. Only fields that are known to mean the same for half an answer may stand in the
request: an unknown one, tools, a format, logprobs or several choices make it impossible, and the stream ends with an error instead.
`max_tokens` is lowered by what was generated. Where the engine does not count as it goes, that is the number of chunks with text:
a lower bound, because a chunk may hold several tokens, so that an answer may become longer by that difference.
The caller sees one stream: one id, one role chunk, one usage, whose total is what the second engine counted.
Anthropic's messages go on as the chat that asks for the same (router.wire.messages_asked), whether the first engine speaks them or not:
no engine continues a message of its own. What comes back is translated from there on, and needs no other voice. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from router.errors import BadRequest
from router.relay.messages_transcript import MessagesTranscript
from router.relay.transcript import Identity, Transcript
from router.wire import messages_answered
from router.wire.dialects import CHAT_PATH, is_messages
from router.wire.events import DONE, Usage
from router.wire.messages_asked import as_chat

_SAME_FOR_HALF: Final = frozenset(
    (
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "typical_p",
        "seed",
        "stop",
        "stop_token_ids",
        "ignore_eos",
        "frequency_penalty",
        "presence_penalty",
        "repetition_penalty",
        "repeat_penalty",
        "logit_bias",
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "cache_prompt",
        "priority",
        "skip_special_tokens",
        "spaces_between_special_tokens",
        "continue_final_message",
        "add_generation_prompt",
    )
)
_NOTHING_ASKED: Final = {
    "n": (b"1",),
    "tools": (b"[]",),
    "tool_choice": (b'"none"',),
    "response_format": (b'{"type":"text"}', b'{"type": "text"}'),
    "logprobs": (b"false",),
    "top_logprobs": (b"0",),
    "parallel_tool_calls": (b"true", b"false"),
    "echo": (b"false",),
}
_LIMITS: Final = ("max_tokens", "max_completion_tokens")
_NULL: Final = b"null"
_MOST_DIGITS: Final = 18


class _Message(msgspec.Struct):
    role: str = ""
    content: object = None


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_messages = msgspec.json.Decoder(list[msgspec.Raw]).decode
_message = msgspec.json.Decoder(_Message).decode
_encode = msgspec.json.encode


def transcript(path: bytes, body: bytes) -> Transcript:
    """An empty one for a request's answer; it keeps nothing of an answer that could not go on elsewhere."""
    said = MessagesTranscript() if is_messages(path) else Transcript()
    if _plain_fields(path, body) is None:
        said.forget()
    return said


def _plain_fields(path: bytes, body: bytes) -> dict[str, msgspec.Raw] | None:
    """The fields of the chat that asks for a plain text; None where the request asks for anything else."""
    if is_messages(path):
        try:
            body = as_chat(body)
        except BadRequest:
            return None
    elif path.partition(b"?")[0] != CHAT_PATH:
        return None
    return _fields_if_plain(body)


def _fields_if_plain(body: bytes) -> dict[str, msgspec.Raw] | None:
    try:
        fields = _fields(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return fields if all(_is_plain(name, bytes(value)) for name, value in fields.items()) else None


def _is_plain(name: str, value: bytes) -> bool:
    return name in _SAME_FOR_HALF or value == _NULL or value in _NOTHING_ASKED.get(name, ())


def continuation(path: bytes, body: bytes, said: Transcript) -> bytes | None:
    """The chat that continues `said`, or None where there is no room left, or no way.

    Raises: nothing; a body that cannot be read has no continuation.
    """
    fields = _plain_fields(path, body) if said.goes_on else None
    if fields is None:
        return None
    if not _lower_limits(fields, said.tokens) or not _append(fields, said.text):
        return None
    fields["continue_final_message"] = msgspec.Raw(b"true")
    fields["add_generation_prompt"] = msgspec.Raw(b"false")
    return _encode(fields)


def _lower_limits(fields: dict[str, msgspec.Raw], tokens: int) -> bool:
    for name in _LIMITS:
        value = bytes(fields.get(name, msgspec.Raw(_NULL)))
        if value == _NULL:
            continue
        left = int(value) - tokens if _is_number(value) else 0
        if left < 1:
            return False
        fields[name] = msgspec.Raw(b"%d" % left)
    return True


def _is_number(value: bytes) -> bool:
    """Of tokens: Python refuses to read thousands of digits."""
    return value.isdigit() and len(value) <= _MOST_DIGITS


def at_limit(path: bytes, body: bytes, said: Transcript) -> bool:
    """Everything that the request allows has been generated: only the finish reason was lost, and it can only be the limit."""
    fields = _plain_fields(path, body) or {}
    values = [bytes(fields[name]) for name in _LIMITS if name in fields]
    return said.goes_on and any(_is_number(value) and said.tokens >= int(value) > 0 for value in values)


def _append(fields: dict[str, msgspec.Raw], text: str) -> bool:
    """The text becomes the last message, or the end of it where the caller itself asked to continue one."""
    try:
        messages = _messages(fields.get("messages", msgspec.Raw(_NULL)))
        last = _message(messages[-1])
    except (msgspec.MsgspecError, UnicodeDecodeError, IndexError, RecursionError):
        return False
    if last.role == "assistant":
        if bytes(fields.get("continue_final_message", b"")) != b"true" or not isinstance(last.content, str):
            return False
        messages.pop()
        text = last.content + text
    messages.append(msgspec.Raw(_encode({"role": "assistant", "content": text})))
    fields["messages"] = msgspec.Raw(_encode(messages))
    return True


def ending(path: bytes, said: Transcript) -> bytes:
    """The events that a stream has lost whose text is whole: finished, or at its limit."""
    if is_messages(path):
        return messages_answered.STOP if said.finished else messages_answered.ending_at_limit(Usage(0, said.tokens))
    return DONE if said.finished else _ending_at_limit(said.identity)


def _ending_at_limit(identity: Identity | None) -> bytes:
    choice = {"index": 0, "delta": {}, "finish_reason": "length"}
    return _event(_common(identity) | {"object": "chat.completion.chunk", "choices": [choice]}) + DONE


def _common(identity: Identity | None) -> dict[str, object]:
    known = {} if identity is None else {"id": identity.id, "created": identity.created, "model": identity.model}
    return {name: value for name, value in known.items() if value is not None}


def _event(document: dict[str, object]) -> bytes:
    return b"data: " + _encode(document) + b"\n\n"


def _says_nothing(choice: object) -> bool:
    if not isinstance(choice, dict) or choice.get("finish_reason"):
        return False
    delta = choice.get("delta")
    return not delta or (isinstance(delta, dict) and not any(delta.values()))


def voice(path: bytes, said: Transcript) -> Callable[[bytes], bytes]:
    """Takes whole events of the replica that goes on, and gives them as the caller shall see them."""
    return _as_they_are if is_messages(path) else Voice(said).retold


def _as_they_are(events: bytes) -> bytes:
    return events


class Voice:
    """Rewrites the events of the replica that goes on, as if the first one had never stopped.

    A usage counts what came before as generated: completion = tokens before + now, prompt = the rest of the same total.
    """

    __slots__ = ("_common", "_tokens")

    def __init__(self, said: Transcript) -> None:
        self._common = _common(said.identity)
        self._tokens = said.tokens

    def retold(self, events: bytes) -> bytes:
        """Whole events in, whole events out; comments and role chunks are left out."""
        return b"".join([self._retold(line[5:].strip()) for line in events.splitlines() if line.startswith(b"data:")])

    def _retold(self, data: bytes) -> bytes:
        if data == b"[DONE]":
            return DONE
        try:
            document: dict[str, object] = msgspec.json.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return b"data: " + data + b"\n\n"
        if not isinstance(document, dict) or "error" in document:
            return b"data: " + data + b"\n\n"
        if self._opens_only(document):
            return b""
        return _event(self._usage(document) | self._common)

    @staticmethod
    def _opens_only(document: dict[str, object]) -> bool:
        """A chunk that says nothing but the role; the role is taken out of one that says more."""
        choices = document.get("choices")
        if not isinstance(choices, list) or not choices:
            return False
        for choice in choices:
            delta = choice.get("delta") if isinstance(choice, dict) else None
            if isinstance(delta, dict):
                delta.pop("role", None)
        return all(map(_says_nothing, choices))

    def _usage(self, document: dict[str, object]) -> dict[str, object]:
        usage = document.get("usage")
        if isinstance(usage, dict):
            prompt, generated = usage.get("prompt_tokens"), usage.get("completion_tokens")
            if isinstance(prompt, int) and isinstance(generated, int):
                usage |= msgspec.structs.asdict(Usage(prompt, generated).after(self._tokens))
        return document

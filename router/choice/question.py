"""What a request's body says, as far as the choice needs it: the words of its last message, and how long prompt and answer may be.

Law: it never fails. A body that is odd, deep or of an unknown shape has no words, and the engine will say what is wrong with it.
Tokens are estimated at four bytes each; nothing but an engine knows better. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

_BYTES_PER_TOKEN: Final = 4
_LONGEST_TEXT: Final = 16_384  # characters; the classifier looks at less
_MOST_PARTS: Final = 64
_LARGEST_BYTES: Final = 512 * 1024  # of a body that is read for its words: small parts in great number take long


@dataclass(frozen=True, slots=True)
class Question:
    """`max_tokens`: of the answer; None: the body does not limit it."""

    text: str = ""
    input_tokens: int = 0
    max_tokens: int | None = None


class _Part(msgspec.Struct):
    text: str = ""


class _Message(msgspec.Struct):
    role: str = ""
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Limits(msgspec.Struct):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None


class _Body(msgspec.Struct):
    messages: list[_Message] = []
    prompt: msgspec.Raw = msgspec.Raw(b"null")
    input: msgspec.Raw = msgspec.Raw(b"null")


_body = msgspec.json.Decoder(_Body).decode
_limits = msgspec.json.Decoder(_Limits).decode
_text = msgspec.json.Decoder(str).decode
_parts = msgspec.json.Decoder(list[_Part]).decode
_texts = msgspec.json.Decoder(list[str]).decode
_messages = msgspec.json.Decoder(list[_Message]).decode
_ODD: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


def question(body: bytes) -> Question:
    """Of a relayed request."""
    if len(body) > _LARGEST_BYTES:
        return Question("", len(body) // _BYTES_PER_TOKEN, limit(body))
    try:
        read = _body(body)
    except _ODD:
        return Question("", len(body) // _BYTES_PER_TOKEN, limit(body))
    said = [message.content for message in read.messages] or [read.input if bytes(read.prompt) == b"null" else read.prompt]
    last = next((message.content for message in reversed(read.messages) if message.role == "user"), said[-1])
    return Question("".join(_words(last))[:_LONGEST_TEXT], sum(map(_size, said)) // _BYTES_PER_TOKEN, limit(body))


def limit(body: bytes) -> int | None:
    """How many tokens an answer may have, by whatever name the body says it."""
    try:
        limits = _limits(body)
    except _ODD:
        return None
    found = limits.max_completion_tokens or limits.max_tokens or limits.max_output_tokens
    return found if found is not None and found > 0 else None


def _words(content: msgspec.Raw, *, inner: bool = False) -> Iterator[str]:
    """Of a message: text, or parts of which some are text, or (Responses) messages again."""
    raw = bytes(content)
    try:
        if raw[:1] == b'"':
            yield _text(raw)
        elif raw[:1] == b"[":
            yield from _listed(raw, inner=inner)
    except _ODD:
        return


def _listed(raw: bytes, *, inner: bool) -> Iterator[str]:
    try:
        texts = [part.text for part in _parts(raw)]
    except msgspec.ValidationError:
        texts = _texts(raw)
    if not inner and not any(texts) and (messages := _messages(raw)):
        yield from _words(messages[-1].content, inner=True)
    yield "\n".join(texts[:_MOST_PARTS])


def _size(content: msgspec.Raw) -> int:
    """Bytes of text; what is no text (an image) does not count."""
    raw = bytes(content)
    return len(raw) - 2 if raw[:1] == b'"' else sum(len(text.encode()) for text in _words(content))

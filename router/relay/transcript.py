"""What a caller has been sent of a stream, so that another replica can go on where one broke off.

Law: chunks are kept as they went out, by reference, and read only when a sweep finds many of them or the stream breaks: nothing is
parsed per chunk. What has been read is kept as text. Memory is bounded: up to 32 kB of chunks (fewer where many streams are open, see
`chunks_bytes`) and what comes between two sweeps, 1 MB of text; beyond that the text is forgotten and the stream cannot go on.
Anything but plain text of one choice (tool calls, reasoning, logprobs) cannot go on either. Pure.
"""

from __future__ import annotations

from typing import Final

import msgspec

from router.wire.events import Usage

_MOST_CHUNKS_BYTES: Final = 32 * 1024
_FEWEST_CHUNKS_BYTES: Final = 2 * 1024
_ALL_CHUNKS_BYTES: Final = 4 * 1024**2
_TEXT_BYTES: Final = 1024**2


def chunks_bytes(streams: int) -> int:
    """How much of one stream is kept unread while so many are open: reading costs time, keeping costs memory."""
    return max(_FEWEST_CHUNKS_BYTES, min(_MOST_CHUNKS_BYTES, _ALL_CHUNKS_BYTES // max(1, streams)))


class Identity(msgspec.Struct, frozen=True):
    """What all chunks of one stream have in common; None where an engine left it out."""

    id: object = None
    created: object = None
    model: object = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[msgspec.Raw] | None = None
    function_call: object = None

    @property
    def plain(self) -> bool:
        return not (self.reasoning or self.reasoning_content or self.refusal or self.tool_calls or self.function_call)


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    index: int = 0
    finish_reason: str | None = None
    logprobs: object = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: Usage | None = None


_chunk = msgspec.json.Decoder(_Chunk).decode
_identity = msgspec.json.Decoder(Identity).decode


class Transcript:
    """`tokens`: generated so far, as the engine counts, else the number of chunks with text, which is a lower bound.

    `finished`: a finish_reason was sent, so that nothing of the text is missing. `plain`: the text is all there is, and all at hand.
    """

    __slots__ = ("_pieces", "_size", "finished", "identity", "plain", "tokens")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0
        self.tokens = 0
        self.finished = False
        self.plain = True
        self.identity: Identity | None = None

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def goes_on(self) -> bool:
        """More text may follow this one."""
        return self.plain and not self.finished

    def read(self, events: bytes) -> None:
        """Takes in whole events that the caller was sent."""
        if not self.plain:
            return
        for line in events.splitlines():
            if line.startswith(b"data:") and self.plain:
                self._line(line[5:].strip())
        self._pieces = [self.text]

    def _line(self, data: bytes) -> None:
        if data == b"[DONE]":
            return
        try:
            chunk = _chunk(data)
            if self.identity is None:
                self.identity = _identity(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.forget()
            return
        for choice in chunk.choices:
            self._choice(choice)
        if chunk.usage is not None and chunk.usage.can_be:
            self.tokens = max(self.tokens, chunk.usage.completion_tokens)

    def _choice(self, choice: _Choice) -> None:
        delta = choice.delta
        if choice.index or choice.logprobs or (delta is not None and not delta.plain):
            self.forget()
            return
        if delta is not None and delta.content:
            self.add(delta.content)
        self.finished = self.finished or choice.finish_reason is not None

    def add(self, text: str) -> None:
        """Of one event."""
        self._pieces.append(text)
        self._size += len(text)
        self.tokens += 1
        if self._size > _TEXT_BYTES:
            self.forget()

    def forget(self) -> None:
        """This stream cannot go on elsewhere; what was kept for that is let go."""
        self.plain = False
        self._pieces = []

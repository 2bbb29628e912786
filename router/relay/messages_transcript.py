"""What a caller has been sent of a stream of Anthropic's messages, so that another replica can go on where one broke off.

Law: as for a chat (router.relay.transcript). One block of text, still open, can go on; thinking, tools and a second block cannot, nor
what this module does not know. Pure.
"""

from __future__ import annotations

from typing import Final

import msgspec

from router.relay.transcript import Transcript
from router.wire.events import Usage


class _Said(msgspec.Struct):
    type: str = ""
    text: str = ""
    stop_reason: str | None = None


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    content_block: _Said | None = None
    delta: _Said | None = None
    usage: _Usage | None = None


_event: Final = msgspec.json.Decoder(_Event).decode
_SAYS_NOTHING: Final = frozenset(("message_start", "ping", "message_stop"))


class MessagesTranscript(Transcript):
    """As of a chat. It has no identity: only its first event tells of one."""

    __slots__ = ("_closed",)

    def __init__(self) -> None:
        super().__init__()
        self._closed = False

    @property
    def goes_on(self) -> bool:
        """Its block is open."""
        return super().goes_on and not self._closed and self._size > 0

    def _line(self, data: bytes) -> None:
        try:
            event = _event(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.forget()
            return
        said = event.content_block or event.delta
        if event.type == "message_delta":
            self._ends(event)
        elif event.type == "content_block_stop":
            self._closed = True
        elif event.type not in _SAYS_NOTHING:
            self._says(event, said)

    def _says(self, event: _Event, said: _Said | None) -> None:
        if said is None or event.index or self._closed or said.type not in ("text", "text_delta"):
            self.forget()
        elif said.text:
            self.add(said.text)

    def _ends(self, event: _Event) -> None:
        self.finished = event.delta is not None and event.delta.stop_reason is not None
        usage = Usage(event.usage.input_tokens, event.usage.output_tokens) if event.usage is not None else None
        if usage is not None and usage.can_be:
            self.tokens = max(self.tokens, usage.completion_tokens)

"""The kinds of requests of the wall: what is asked, and what a good engine says."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.router.client import post
from tests.router.upstream import CHAT, DONE, ROLE, SSE_HEAD, answer, chunked, delta


def typed(kind: str, **more: object) -> bytes:
    return f"event: {kind}\ndata: ".encode() + json.dumps({"type": kind, **more}, separators=(",", ":")).encode() + b"\n\n"


def stream(*events: bytes) -> bytes:
    """A whole one, head and all."""
    return SSE_HEAD + chunked(list(events))


@dataclass(frozen=True)
class Kind:
    """`opening` says nothing yet, `begun` is content, `ending` ends well. Empty for what does not stream.

    `goes_on`: what another replica says that is asked, by a chat, to go on after content. Empty: none is asked.
    """

    name: str
    path: str
    opening: tuple[bytes, ...] = ()
    begun: tuple[bytes, ...] = ()
    ending: tuple[bytes, ...] = ()
    body: bytes = CHAT
    more: dict[str, Any] = field(default_factory=dict)
    goes_on: tuple[bytes, ...] = ()

    @property
    def streams(self) -> bool:
        return bool(self.opening)

    @property
    def request(self) -> bytes:
        document = {"model": "large", "messages": [{"role": "user", "content": "hi"}], "input": "hi", "prompt": "hi", **self.more}
        if self.path == "/v1/chat/completions":
            document = {k: v for k, v in document.items() if k not in ("input", "prompt")}
        return post(self.path, document | ({"stream": True} if self.streams else {}))

    @property
    def good(self) -> bytes:
        """A whole answer, head and all."""
        return stream(*self.opening, *self.begun, *self.ending) if self.streams else answer(self.body)

    @property
    def said(self) -> bytes:
        """Its body."""
        return b"".join((*self.opening, *self.begun, *self.ending)) if self.streams else self.body


def _text(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "text": text, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}, separators=(",", ":")).encode() + b"\n\n"


_TOOL = {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"name": "f"}}]}, "finish_reason": None}
_CALL = b"data: " + json.dumps({"id": "c", "choices": [_TOOL]}, separators=(",", ":")).encode() + b"\n\n"

_ON = (ROLE, delta("one "), delta("two", "stop"), DONE)

KINDS = (
    Kind("chat", "/v1/chat/completions"),
    Kind("completion", "/v1/completions"),
    Kind("embedding", "/v1/embeddings"),
    Kind("message", "/v1/messages"),
    Kind("response", "/v1/responses"),
    Kind("rerank", "/v1/rerank"),
    Kind("chat stream", "/v1/chat/completions", (ROLE,), (delta("one "),), (delta("two", "stop"), DONE), goes_on=_ON),
    Kind("two choices", "/v1/chat/completions", (ROLE,), (delta("one "),), (delta("two", "stop"), DONE), more={"n": 2}),
    Kind("tool stream", "/v1/chat/completions", (ROLE,), (_CALL,), (delta("", "tool_calls"), DONE), more={"tools": [{"type": "function"}]}),
    Kind("completion stream", "/v1/completions", (_text(""),), (_text("one "),), (_text("two", "stop"), DONE)),
    Kind(
        "message stream",
        "/v1/messages",
        (typed("message_start", message={"usage": {"input_tokens": 1}}), typed("content_block_start", content_block={"type": "text"})),
        (typed("content_block_delta", delta={"type": "text_delta", "text": "one "}),),
        (typed("message_delta", usage={"output_tokens": 1}), typed("message_stop")),
        goes_on=_ON,
    ),
    Kind(
        "response stream",
        "/v1/responses",
        (typed("response.created", response={"error": None}),),
        (typed("response.output_text.delta", delta="one"),),
        (typed("response.completed", response={"usage": {"input_tokens": 1, "output_tokens": 1}}),),
    ),
)
STREAMS = tuple(kind for kind in KINDS if kind.streams)
WHOLE = tuple(kind for kind in KINDS if not kind.streams)

"""The paths that are relayed, and how a stream on each of them speaks.

    path                                               a stream's events             ends with
    /v1/chat/completions, /v1/completions              choices with delta or text    [DONE], or a finish_reason
    /v1/messages                                       typed, Anthropic's            message_stop
    /v1/responses                                      typed, OpenAI's               response.completed or .incomplete
    the others                                         none; read as the first row

Every relayed request is a POST whose JSON body names a model. vLLM and llama.cpp both speak messages and responses themselves. Who says
that it has no messages is asked by what means the same (router.wire.instead). What else an engine does not offer it refuses itself, and
its refusal passes. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from router.wire import events, typed_events
from router.wire.events import Content, Usage


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the events of a stream are read and how a broken one is ended.

    `error_mark`: bytes that every event with the engine's own error holds; what has them is looked at more closely by `content_of`.
    `finished`: of the last events, nothing of the answer is missing; `done`: nor of the stream. `failure` takes an error body.
    `json_usage` raises msgspec.DecodeError where a document is no JSON.
    """

    error_mark: bytes
    content: Callable[[bytes], Content]
    content_of: Callable[[bytes], Content]
    finished: Callable[[bytes], bool]
    done: Callable[[bytes], bool]
    usage: Callable[[bytes], Usage | None]
    json_usage: Callable[[bytes], Usage | None]
    tail_usage: Callable[[bytes], Usage | None]
    failure: Callable[[bytes], bytes]

    def own_error(self, run: bytes) -> int:
        """Where in whole events the engine's own error begins; -1: there is none, or it is the caller's mistake."""
        at = run.find(self.error_mark)
        while at >= 0:
            start = run.rfind(b"data:", 0, at)
            if start >= 0 and self.content_of(run[start + 5 :].partition(b"\n")[0].strip()) is Content.FAILED:
                return _event_at(run, start)
            at = run.find(self.error_mark, at + 1)
        return -1


def _event_at(run: bytes, at: int) -> int:
    """Where the event that holds a position begins."""
    begin = max(run.rfind(b"\n\n", 0, at) + 2, run.rfind(b"\r\n\r\n", 0, at) + 4)
    return begin if begin >= 4 else 0  # neither found: -1 + 2 and -1 + 4


CHOICES: Final = Dialect(
    error_mark=b'{"error":',
    content=events.content,
    content_of=events.content_of,
    finished=events.finished,
    done=events.said_done,
    usage=events.usage,
    json_usage=events.json_usage,
    tail_usage=events.tail_usage,
    failure=events.failure,
)
MESSAGES: Final = Dialect(
    error_mark=b'"error"',
    content=typed_events.MESSAGES.content,
    content_of=typed_events.MESSAGES.content_of,
    finished=typed_events.MESSAGES.done,
    done=typed_events.MESSAGES.done,
    usage=typed_events.usage,
    json_usage=typed_events.json_usage,
    tail_usage=typed_events.usage,
    failure=typed_events.messages_failure,
)
RESPONSES: Final = Dialect(
    error_mark=b'"error":',
    content=typed_events.RESPONSES.content,
    content_of=typed_events.RESPONSES.content_of,
    finished=typed_events.RESPONSES.done,
    done=typed_events.RESPONSES.done,
    usage=typed_events.usage,
    json_usage=typed_events.json_usage,
    tail_usage=typed_events.usage,
    failure=typed_events.responses_failure,
)
CHAT_PATH: Final = b"/v1/chat/completions"
MESSAGES_PATH: Final = b"/v1/messages"
COUNT_PATH: Final = b"/v1/messages/count_tokens"
TOKENIZE_PATH: Final = b"/tokenize"
RELAY_PATHS: Final = {
    CHAT_PATH: CHOICES,
    b"/v1/completions": CHOICES,
    b"/v1/embeddings": CHOICES,
    MESSAGES_PATH: MESSAGES,
    COUNT_PATH: MESSAGES,
    b"/v1/responses": RESPONSES,
    b"/v1/rerank": CHOICES,
    b"/v1/score": CHOICES,
    TOKENIZE_PATH: CHOICES,
    b"/detokenize": CHOICES,
}


def dialect(path: bytes) -> Dialect:
    """Of a relayed path, with its query or without."""
    return RELAY_PATHS[path.partition(b"?")[0]]


def is_messages(path: bytes) -> bool:
    """A relayed path, with its query or without, asks for an answer of messages."""
    return path.partition(b"?")[0] == MESSAGES_PATH


def relayed(target: bytes) -> bytes | None:
    """The relayed path, with its query, that a request target means; None: it means another one.

    A server takes the absolute form as well (RFC 9112, 3.2.2), and what is escaped without need means the same (RFC 3986, 6.2.2.2).
    """
    if target[:1] != b"/":
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    path, mark, query = target.partition(b"?")
    path = unquote_to_bytes(path) if b"%" in path else path
    return path + mark + query if path in RELAY_PATHS else None

"""What goes over the wire in every measurement: requests as SDKs send them, answers and events as vLLM sends them.

The request carries the headers of openai-python behind a tracing proxy and a prompt of about 900 bytes; an event of a stream has
about 350 bytes, an answer about 600. `metadata` tells the stub upstream how to stream; real engines ignore it. Pure bytes.
"""

from __future__ import annotations

import json
from typing import Final

MODEL: Final = "bench"
SESSION_MARK: Final = b"@SESSION@"
PATH: Final = "/v1/chat/completions"
KEY: Final = "sk-bench-0123456789abcdef"

_PROMPT = (
    "You are given the notes of a long meeting about capacity planning. Sum them up in three sentences, name the open questions, "
    "and say who has promised what until when. "
)
_HEADERS = (
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate"),
    ("user-agent", "OpenAI/Python 2.8.1"),
    ("x-stainless-lang", "python"),
    ("x-stainless-package-version", "2.8.1"),
    ("x-stainless-os", "Linux"),
    ("x-stainless-arch", "x64"),
    ("x-stainless-runtime", "CPython"),
    ("x-stainless-runtime-version", "3.11.7"),
    ("x-stainless-async", "false"),
    ("x-stainless-retry-count", "0"),
    ("x-stainless-read-timeout", "600"),
    ("authorization", f"Bearer {KEY}"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("content-type", "application/json"),
)
_COMMON = {"id": "chatcmpl-92e2ca00d7d2e147", "created": 1795233867, "model": MODEL}


def request(*, stream: bool, events: int = 50, gap_ms: int = 5) -> bytes:
    """A whole HTTP/1.1 request with SESSION_MARK where the session's id goes. `events`, `gap_ms`: how the stub streams."""
    body = json.dumps(_body(stream=stream, events=events, gap_ms=gap_ms)).encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in _HEADERS)
    head = f"POST {PATH} HTTP/1.1\r\nhost: llm.example.com\r\n{lines}x-session-id: ".encode()
    return head + SESSION_MARK + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _body(*, stream: bool, events: int, gap_ms: int) -> dict[str, object]:
    messages = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": _PROMPT * 4}]
    body: dict[str, object] = {"model": MODEL, "messages": messages, "temperature": 0.7, "max_tokens": events}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body | {"metadata": {"gap_ms": str(gap_ms)}}


def _usage(tokens: int) -> dict[str, object]:
    return {"prompt_tokens": 231, "total_tokens": 231 + tokens, "completion_tokens": tokens, "completion_tokens_details": None}


def answer() -> bytes:
    """The JSON answer to a request without `stream`."""
    message: dict[str, object] = {
        "role": "assistant",
        "content": "The plan holds until March. " * 3,
        "refusal": None,
        "tool_calls": [],
        "reasoning": None,
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop", "stop_reason": None, "token_ids": None}
    whole = _COMMON | {"object": "chat.completion", "choices": [choice], "system_fingerprint": "vllm-0.32.0-35efc7a6", "usage": _usage(50)}
    return json.dumps(whole, separators=(",", ":")).encode()


def event(content: str, *, role: bool = False, finish: str | None = None, tokens: int = 50) -> bytes:
    """One event of a stream, with continuous usage as vLLM sends it: so many `tokens` up to here."""
    delta: dict[str, str] = {"role": "assistant", "content": ""} if role else {"content": content}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, "token_ids": None}
    chunk = _COMMON | {"object": "chat.completion.chunk", "choices": [choice], "usage": _usage(tokens)}
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


DONE: Final = b"data: [DONE]\n\n"


def chunk(data: bytes) -> bytes:
    """HTTP/1.1 chunk framing."""
    return b"%x\r\n%b\r\n" % (len(data), data)

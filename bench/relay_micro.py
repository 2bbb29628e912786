"""What the router's own Python costs per request: fake transports, no system calls, the best of several rounds.

    python -m bench.relay_micro            (or with "json" / "stream" for a profile)

Steady enough to gate on: it measures CPU time, so that load on the machine hardly shows. It says nothing about the kernel's share.
"""

from __future__ import annotations

import cProfile
import gc
import json
import pstats
import sys
import time
from collections.abc import Callable

import uvloop
from uvicorn.config import Config
from uvicorn.server import ServerState

from fleet.model import Capacity, Fleet, Model, Route, Spec
from router.app import wire
from router.protocol import RouterProtocol
from router.sessions import Session
from router.snapshot import Endpoint, Snapshot
from router.upstream import Connection

CHAT = {"messages": [{"role": "user", "content": "hello " * 100}]}
SDK = (
    "Connection: keep-alive\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\nUser-Agent: OpenAI/Python 3.52.0\r\n"
    "X-Stainless-Lang: python\r\nX-Stainless-Package-Version: 3.52.0\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\n"
    "X-Stainless-Runtime: CPython\r\nX-Stainless-Runtime-Version: 3.11.7\r\nAuthorization: Bearer sk-1234567890\r\n"
    "X-Stainless-Async: false\r\nx-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\n"
)
SESSION = "x-session-id: s-12345\r\n"
CHOICE = b'{"index":0,"delta":{"content":"hello"},"finish_reason":null}'
EVENT = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[%b]}\n\n' % CHOICE
ANSWER = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello world " * 20}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 40, "total_tokens": 50},
    }
).encode()
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class FakeTransport:
    def get_extra_info(self, *_: object) -> None:
        return None

    def write(self, _data: bytes) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass

    close = pause_reading = resume_reading = abort


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def request(*, stream: bool = False, headers: str = "") -> bytes:
    body = json.dumps({"model": "m"} | ({"stream": True} if stream else {}) | CHAT).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: r\r\ncontent-type: application/json\r\n{headers}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class Rig:
    """A router whose replicas have idle fake connections that never grow old."""

    def __init__(self) -> None:
        model = Model(name="m", engine="vllm", weights="w", capacity=Capacity(concurrency=1, requests_per_min=1), cold_start_s=1.0)
        spec = Spec(fleet=Fleet(), models=(model,), routes=(Route(selector=0, name="r", chain=("m",)),))
        wired = wire(spec)
        self.plane = wired.plane
        self.plane.apply(Snapshot(1, tuple(Endpoint(f"s{n}", f"a{n}", "m", "127.0.0.1", 9000 + n) for n in range(2))))
        config = Config(wired.app, http=wired.protocol, access_log=False, log_config=None)
        config.load()
        self.line: RouterProtocol = wired.protocol(config, ServerState(), {})
        self.line.connection_made(FakeTransport())
        self.plane.sessions.put("s-12345", Session(0), self.plane.clock())
        for replica in self.plane.replicas():
            replica.pool._clock = lambda: 0.0  # with affinity one of them may have no request for a while
            connection = Connection(replica.pool)
            connection.connection_made(FakeTransport())  # type: ignore[arg-type]
            replica.pool.give_back(connection)

    def engine(self) -> Connection:
        relay = next(iter(self.plane.active))
        return relay.connection  # type: ignore[attr-defined,no-any-return]

    def whole(self, data: bytes) -> None:
        self.line.data_received(data)
        self.engine().data_received(WHOLE)

    def stream(self, data: bytes) -> None:
        self.line.data_received(data)
        receive = self.engine().data_received
        receive(STREAM_HEAD)
        event = chunk(EVENT)
        for _ in range(50):
            receive(event)
        receive(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


def best_us(run: Callable[[], None], count: int) -> float:
    rounds = []
    for _ in range(15):
        began = time.process_time()
        for _ in range(count):
            run()
        rounds.append((time.process_time() - began) / count)
    return min(rounds) * 1e6


async def main(profile: str) -> None:
    rig = Rig()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    plain, sdk, session, stream = request(), request(headers=SDK), request(headers=SDK + SESSION), request(stream=True)
    print(f"json {best_us(lambda: rig.whole(plain), 2000):.1f} us (bar 28)")
    print(f"json, headers of an SDK {best_us(lambda: rig.whole(sdk), 2000):.1f} us")
    print(f"json, headers of an SDK, session {best_us(lambda: rig.whole(session), 2000):.1f} us")
    print(f"stream of 50 chunks {best_us(lambda: rig.stream(stream), 300):.1f} us (bar 95)")
    if profile:
        run = (lambda: rig.whole(session)) if profile == "json" else (lambda: rig.stream(stream))
        profiler = cProfile.Profile()
        profiler.enable()
        for _ in range(5000):
            run()
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1] if len(sys.argv) > 1 else ""))

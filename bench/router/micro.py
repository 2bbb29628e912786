"""`python -m bench.router.micro`: what our own Python costs, without a kernel: the gate that any machine can hold.

A request goes through the real protocol, relay, selection, session table and metrics, between two transports that only count bytes.
Absolute times differ between machines, so the cost is given in floors: one floor is what httptools and msgspec alone need
for the same bytes, the work that no Python router gets around. The least of many repeats is taken, which other load hardly moves.
Exit code 1: a bar is missed.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import httptools
import msgspec
import uvloop
from uvicorn.config import Config
from uvicorn.server import ServerState

from bench.router import wire
from fleet.key import digest
from fleet.model import Capacity, Fleet, Model, Route, Spec, Tenant
from fleet.serving import Price
from router import app
from router.lending.books import RedisBooks
from router.lending.rows import Answer, Answers, Ask, Lent, Verdict, pack
from router.models.prices import NANO
from router.replicas.snapshot import Endpoint, Snapshot
from router.sessions.table import Session
from router.wire.upstream import Connection

_REPEATS: Final = 200  # of short plays: some of them are left alone on the busiest machine
_SESSIONS: Final = 1000
_HEAD: Final = b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: %b\r\n%b\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Bars:
    """In floors. `limits`: what tenant, limits, budget and strategy may add to a JSON request."""

    json: float
    stream: float
    limits: float


PYTHON: Final = Bars(json=7.0, stream=11.0, limits=13.0)  # 21, 83 and 40 us on the machine where floors were 3 and 7.5 us
COMPILED: Final = Bars(json=4.5, stream=8.0, limits=6.0)  # 13.5, 60 and 18 us there (tools/native.py)


class Silent:
    """A transport that counts bytes."""

    def __init__(self) -> None:
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        self.size_bytes += len(data)

    def get_extra_info(self, *_: Any) -> None:
        return None

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None: ...
    def close(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes of a request and of the reads in which its answer comes."""

    request: bytes
    answer: tuple[bytes, ...]


def json_traffic() -> Traffic:
    body = wire.answer()
    head = _HEAD % (b"application/json", b"content-length: %d" % len(body))
    return Traffic(wire.request(stream=False), (head + body,))


def stream_traffic() -> Traffic:
    head = _HEAD % (b"text/event-stream; charset=utf-8", b"transfer-encoding: chunked")
    events = [wire.chunk(wire.event("the plan"))] * 49
    last = wire.chunk(wire.event(" ends.", finish="stop")) + wire.chunk(wire.DONE) + b"0\r\n\r\n"
    return Traffic(wire.request(stream=True), (head + wire.chunk(wire.event("", role=True)), *events, last))


class Bench:
    """Our router with two replicas whose connections are fake, and a caller's connection that is fake."""

    def __init__(self, wired: app.Wired) -> None:
        plane = wired.plane
        plane.heard()
        plane.apply(Snapshot(1, tuple(Endpoint(f"s{n}", f"alloc-{n}", wire.MODEL, "127.0.0.1", 9) for n in range(2))))
        for replica in plane.replicas():
            connection = Connection(replica.pool)
            connection.connection_made(Silent())  # type: ignore[arg-type]
            replica.pool.give_back(connection)
        for n in range(_SESSIONS):
            plane.start(f"bench-{n}", Session(0))
        config = Config(wired.app, http=wired.protocol, log_config=None)
        config.load()
        self.plane = plane
        self.sent = Silent()
        self._line = wired.protocol(config, ServerState(), {})
        self._line.connection_made(self.sent)

    def play(self, request: bytes, answer: tuple[bytes, ...]) -> None:
        """Raises: RuntimeError: the router did something else than relay."""
        self._line.data_received(request)
        (under_way,) = self.plane.active
        connection = under_way.connection  # type: ignore[attr-defined]
        for data in answer:
            connection.data_received(data)
        if self.plane.active:
            raise RuntimeError("the relay has not ended with its answer")


def through_router(bench: Bench, traffic: Traffic, requests: int) -> Callable[[], None]:
    """So many requests of as many sessions."""
    marked = [traffic.request.replace(wire.SESSION_MARK, b"bench-%d" % (n % _SESSIONS)) for n in range(requests)]

    def play() -> None:
        for request in marked:
            bench.play(request, traffic.answer)

    return play


class Parsed:
    def __init__(self) -> None:
        self.body: list[bytes] = []
        self.on_body = self.body.append

    def on_header(self, name: bytes, value: bytes) -> None: ...


def floor(traffic: Traffic, requests: int) -> Callable[[], None]:
    """The floor: parse both heads and bodies, decode the request's JSON."""
    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

    def play() -> None:
        there, back = Parsed(), Parsed()
        request, answer = httptools.HttpRequestParser(there), httptools.HttpResponseParser(back)
        for _ in range(requests):
            request.feed_data(traffic.request)
            decode(there.body.pop())
            for data in traffic.answer:
                answer.feed_data(data)
            back.body.clear()

    return play


def least_us(plays: Sequence[Callable[[], None]], requests: int) -> list[float]:
    """Least CPU time of one request for each of the plays, which take turns, so that they meet the same machine."""
    least = [float("inf")] * len(plays)
    for _ in range(_REPEATS):
        for at, play in enumerate(plays):
            began = time.process_time_ns()
            play()
            least[at] = min(least[at], (time.process_time_ns() - began) / 1000 / requests)
    return least


def spec() -> Spec:
    capacity = Capacity(concurrency=64, requests_per_min=6000)
    model = Model(name=wire.MODEL, engine="llamacpp", weights="none", capacity=capacity, cold_start_s=60.0)
    return Spec(fleet=Fleet(name="bench"), models=(model,), routes=(Route(selector=0, name="chat", chain=(wire.MODEL,)),))


@dataclass(frozen=True, slots=True)
class Gate:
    """`floors` is the bar."""

    name: str
    traffic: Traffic
    requests: int
    floors: float


def gates(bars: Bars) -> tuple[Gate, ...]:
    return Gate("JSON request", json_traffic(), 100, bars.json), Gate("stream of 50", stream_traffic(), 10, bars.stream)


class Lending:
    """In place of a Redis that lends whatever is wanted: what is measured are requests of a tenant whose slice is live."""

    registered_client: Lending

    def register_script(self, _script: str) -> Lending:
        self.registered_client = self
        return self

    async def __call__(self, _keys: list[str], arguments: list[Any]) -> bytes:
        number, syncs, asks = msgspec.msgpack.decode(arguments[2])
        granted = Verdict(Answer.GRANTED, 1, 5, 5, 5, 0, 65_000)
        lent = Lent(1, 10**9, True, 10**9, 10**12, 10**15, 5, 5, 5, False)
        return pack(Answers(number, [granted] * len(asks), [lent] * len(syncs)))


async def limited() -> Bench:
    """The same router for a tenant with every limit, over a model with a price and a route that chooses."""
    bare, limits = spec(), {"requests_per_min": 10**6, "tokens_per_min": 10**9, "budget_usd": 1000.0}
    models = tuple(replace(model, cost=Price(input=0.001, output=0.002)) for model in bare.models)
    tenant = Tenant(name="bench", key_sha256=(digest(wire.KEY),), **limits)
    routes = tuple(replace(route, strategy="balanced") for route in bare.routes)
    wired = app.wire(replace(bare, models=models, routes=routes, tenants=(tenant,)))
    redis = Lending()
    wired.plane.gate.books = books = RedisBooks(lambda: redis, time.monotonic, "bench")  # type: ignore[union-attr, arg-type, return-value]
    books.ask(Ask("bench:bench", "life", 10**6, 10**9, 0, 1000 * NANO, 0), lambda _verdict: True)
    await books.serve_some()
    return Bench(wired)


async def judge_limits(bench: Bench, bar: float) -> tuple[bool, str]:
    """(met, the line that says so)"""
    traffic, requests = json_traffic(), 100
    plays = [through_router(one, traffic, requests) for one in (bench, await limited())]
    bare_us, limited_us, floor_us = least_us((*plays, floor(traffic, requests)), requests)
    floors = (limited_us - bare_us) / floor_us
    verdict = "met" if floors <= bar else f"MISSED by {floors / bar - 1:.0%}"
    line = f"tenant, limits, budget and strategy: {limited_us - bare_us:.1f} us more, {floors:.2f} floors; bar {bar}: {verdict}"
    return floors <= bar, line


def judge(gate: Gate, ours_us: float, floor_us: float) -> tuple[bool, str]:
    """(met, the line that says so)"""
    floors = ours_us / floor_us
    verdict = "met" if floors <= gate.floors else f"MISSED by {floors / gate.floors - 1:.0%}"
    return floors <= gate.floors, f"{gate.name}: {ours_us:.1f} us, {floors:.2f} floors of {floor_us:.1f} us; bar {gate.floors}: {verdict}"


async def run() -> int:
    bench = Bench(app.wire(spec()))
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)  # as the router's own entry does
    bars, missed = (COMPILED if app.IS_COMPILED else PYTHON), False
    sys.stdout.write("compiled\n" if app.IS_COMPILED else "as Python\n")
    for gate in gates(bars):
        plays = (through_router(bench, gate.traffic, gate.requests), floor(gate.traffic, gate.requests))
        is_met, line = judge(gate, *least_us(plays, gate.requests))
        missed |= not is_met
        sys.stdout.write(line + "\n")
    is_met, line = await judge_limits(bench, bars.limits)
    sys.stdout.write(line + "\n")
    return int(missed or not is_met)


if __name__ == "__main__":
    sys.exit(uvloop.run(run()))

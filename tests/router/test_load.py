"""The queues inside the engines: how they are read, and what becomes of readings that fail or grow old."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model import Slo
from router.following import load
from router.following.load import EVERY_S, STALE_S, Load
from router.following.reported import queued
from router.replicas.breaker import CLEAN
from router.replicas.replica import Replica
from router.replicas.snapshot import Endpoint
from router.tally import ModelCounts
from tests.router.client import chat
from tests.router.conftest import Running, Start, until
from tests.router.upstream import CHAT, Play, Upstream, answer, plays, says_hello

ENGINES = Path(__file__).parents[1] / "recordings" / "engine-metrics"
VLLM = b'# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{engine="0",model_name="a}b"} %s\n'

SAID = [
    ("llama.cpp", b"llamacpp:requests_processing 2\nllamacpp:requests_deferred 3\n", 3),
    ("vLLM", VLLM % b"7.0", 7),
    ("several cores add up", b'vllm:num_requests_waiting{engine="0"} 2\nvllm:num_requests_waiting{engine="1"} 5\n', 7),
    ("with a time", b"llamacpp:requests_deferred 4 1700000000\n", 4),
    ("the last line without its end", b"llamacpp:requests_deferred 4", 4),
    ("other metrics that begin alike", b'vllm:num_requests_waiting_by_reason{reason="capacity"} 9\n' + VLLM % b"1", 1),
    ("only others", b'vllm:num_requests_waiting_by_reason{reason="capacity"} 9\n', None),
    ("nothing", b"", None),
    ("no value", b"llamacpp:requests_deferred \n", None),
    ("no number", VLLM % b"many", None),
    ("not a number", VLLM % b"NaN", None),
    ("endless", VLLM % b"+Inf", None),
    ("negative", VLLM % b"-1", None),
    ("one of two is nonsense", VLLM % b"1" + VLLM % b"x", None),
    ("the name in a help text only", b"# HELP llamacpp:requests_deferred 5\n", None),
]


@pytest.mark.parametrize(("name", "text", "waiting"), SAID, ids=[row[0] for row in SAID])
def test_what_engines_say(name: str, text: bytes, waiting: int | None) -> None:
    assert queued(text) == waiting


@pytest.mark.parametrize(("recording", "waiting"), [("vllm-0.32.0", 0), ("llamacpp-busy", 1)])
def test_recorded_engines_are_understood(recording: str, waiting: int) -> None:
    assert queued((ENGINES / f"{recording}.http").read_bytes()) == waiting


words = st.sampled_from([b"vllm:num_requests_waiting", b"llamacpp:requests_deferred", b"{", b"}", b" ", b"\n", b"7", b"-", b"1e999", b'"'])


@given(st.lists(words | st.binary(max_size=9)).map(b"".join))
def test_no_text_is_too_strange(text: bytes) -> None:
    found = queued(text)
    assert found is None or found >= 0


class Some:
    """Replicas that nobody asks, and a clock that is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def replicas(self) -> list[Replica]:
        return []


def replica(name: str, port: int = 9) -> Replica:
    return Replica(Endpoint(name, name, "large", "127.0.0.1", port), Slo(), ModelCounts(), lambda: 0.0, concurrency=4, fresh=False)


def test_what_was_said_counts_for_ten_seconds() -> None:
    some, a, b = Some(), replica("a"), replica("b")
    seen = Load(some)
    seen.say(a, 5, now=100.0)
    seen.say(b, 6, now=104.0)
    seen.forget(100.0 + STALE_S)
    assert (a.queued, b.queued) == (5, 6)
    seen.forget(101.0 + STALE_S)
    assert (a.queued, b.queued) == (0, 6)
    seen.say(b, 2, now=112.0)
    seen.forget(105.0 + STALE_S)
    assert b.queued == 2


def test_a_reading_that_fails_makes_the_queue_unknown() -> None:
    seen, one = Load(Some()), replica("a")
    seen.say(one, 5, now=100.0)
    seen.say(one, None, now=101.0)
    assert one.queued == 0


def test_a_replica_that_says_it_is_full_is_as_good_as_one_with_a_queue_until_it_is_read() -> None:
    seen, one = Load(Some()), replica("a")
    one.full()
    assert one.queued == one.concurrency
    seen.say(one, 0, now=100.0)
    assert one.queued == 0
    seen.say(one, 9, now=102.0)
    one.full()
    assert one.queued == 9


@pytest.mark.parametrize(("replicas", "a_second"), [(0, 0.5), (1, 0.5), (4, 2.0), (100, 50.0), (1000, 50.0), (10**6, 50.0)])
def test_readings_a_second_are_bounded(replicas: int, a_second: float) -> None:
    assert 1 / load.pause(replicas) == pytest.approx(a_second)
    assert EVERY_S < STALE_S


async def read(engine: Upstream) -> bytes:
    one = replica("a", engine.port)
    try:
        return await load.read(one.pool, one.host_line)
    finally:
        one.pool.close()


async def stopped(play: Play) -> None:
    raise AssertionError


async def test_an_engine_is_read_over_a_connection_that_is_kept() -> None:
    engine = Upstream(stopped, metrics=b"llamacpp:requests_deferred 3\n")
    await engine.start()
    one = replica("a", engine.port)
    for _ in range(3):
        assert await load.read(one.pool, one.host_line) == engine.metrics
        assert len(one.pool) == 1
    one.pool.close()
    await engine.stop()


async def test_an_engine_without_metrics_and_one_that_is_gone_say_nothing() -> None:
    engine = Upstream(stopped)
    await engine.start()
    assert await read(engine) == b""
    await engine.stop()
    assert await read(engine) == b""


async def test_an_answer_that_is_too_large_is_given_up() -> None:
    engine = Upstream(stopped, metrics=b"#" * 5 * 1024**2)
    await engine.start()
    assert await read(engine) == b""
    await engine.stop()


async def test_requests_go_where_the_queue_is_short(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello, "lone"), ("b", says_hello, "lone")])
    router.engines["lone/a"].metrics = VLLM % b"7"
    router.engines["lone/b"].metrics = VLLM % b"0"
    plane = router.wired.plane
    busy = router.engines["lone/a"]
    for _ in range(8):
        await until(lambda: plane.homes["a"].queued == 7, 60)
        before = len(busy.heard)
        assert (await router.call(chat("lone"))).status == 200
        if plane.homes["a"].queued == 7:  # as it was all the while, unless a reading failed on a machine that stood still
            assert len(busy.heard) == before
    router.engines["lone/a"].metrics = b""
    await until(lambda: plane.homes["a"].queued == 0, 60)
    assert all(one.breaker is CLEAN for one in plane.replicas())


async def test_replicas_that_leave_and_come_while_they_are_read_hurt_nobody(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello, "lone"), ("b", says_hello, "lone")])
    for name in ("a", "b"):
        router.engines[f"lone/{name}"].metrics = VLLM % b"2"
    plane = router.wired.plane
    await until(lambda: plane.homes["a"].queued == 2, 60)
    router.warm(without="lone/a")
    await until(lambda: plane.homes["b"].queued == 2, 60)
    router.engines["lone/b"].metrics = VLLM % b"4"
    router.warm()
    await until(lambda: plane.homes["a"].queued == 2 and plane.homes["b"].queued == 4, 60)


async def test_an_engine_that_says_it_is_full_is_not_the_next_choice(start: Start) -> None:
    router: Running = await start(engines=[("a", plays(answer(b"{}", 503)), "lone")])
    found: list[int] = []

    async def looks(play: Play) -> None:
        found.append(router.wired.plane.homes["a"].queued)
        await play.send(answer(CHAT))

    await router.engine("b", looks, "lone")
    router.warm()
    while not router.engines["lone/a"].heard:
        found.clear()
        assert (await router.call(chat("lone"))).status == 200
    assert found == [router.wired.plane.homes["a"].concurrency]
    assert router.wired.plane.homes["a"].breaker is CLEAN

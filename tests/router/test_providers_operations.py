"""What operators see of providers, and failures that they order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model import Price
from fleet.names import ENV_ADMIN_KEY
from router.providers import said
from router.providers.limits import WINDOW_S, Limits, Window, share
from router.providers.verdict import Verdict, verdict
from router.replicas.breaker import CLEAN, State
from tests.router.abroad import KEY, KEY_ENV, row, spec
from tests.router.client import Reply, chat, post
from tests.router.conftest import SPEC, Running, Start, until
from tests.router.upstream import DONE, SSE_HEAD, Play, Upstream, answer, chunked, delta, plays, says_hello

ADMIN = "admin-key-for-tests"
ORDER = {"authorization": f"Bearer {ADMIN}"}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    monkeypatch.setenv(ENV_ADMIN_KEY, ADMIN)


@pytest.fixture
async def far() -> AsyncIterator[Upstream]:
    server = Upstream(says_hello)
    await server.start()
    yield server
    await server.stop()


near = far  # another one


async def standing(router: Running, name: str = "far") -> dict[str, Any]:
    rows = (await router.get("/providers")).json["providers"]
    return next(one for one in rows if one["name"] == name)


# GET /providers


async def test_a_provider_that_nobody_asked_yet_is_up(start: Start, far: Upstream) -> None:
    described = row("far", far.port, cost=Price(input=1.0, output=2.0), requests_per_min=9, capabilities=("translation",), priority=3)
    router: Running = await start(spec=spec(described, chain=("large", "far")))
    assert await standing(router) == {
        "name": "far",
        "model": "vendor/far-1",
        "status": "up",
        "healthy": True,
        "breaker": "closed",
        "processes": {"closed": 1, "open": 0, "half-open": 0, "resting": 0, "missing": 0, "simulated": 0},
        "requests": 0,
        "successes": 0,
        "failures": 0,
        "outcomes": {"ok": 0, "busy": 0, "refused": 0, "failed": 0, "rejected": 0, "left": 0},
        "average_latency_ms": None,
        "cost": {"input": 1.0, "output": 2.0, "spent": 0.0},
        "limits": {"requests_per_min": 9, "tokens_per_min": 0},
        "priority": 3,
        "quality": 0.5,
        "capabilities": ["translation"],
        "context": 131072,
        "routes": ["best"],
        "missing": "",
    }


async def test_average_latency_is_of_successes_only_and_a_limit_is_no_failure(start: Start, far: Upstream) -> None:
    scripts = [says_hello, plays(answer(b"{}", 500)), plays(answer(b"{}", 429)), plays(answer(b"{}", 400)), plays(answer(b"{}", 401))]

    async def each(play: Play) -> None:
        await scripts.pop(0)(play)

    far.script = each
    router: Running = await start(spec=spec(row("far", far.port), chain=("far",)))
    plane = router.wired.plane
    await router.call(chat("best"))
    first = (await standing(router))["average_latency_ms"]
    for _ in range(4):
        await router.call(chat("best"))
        plane.providers["far"].wake(plane.clock() + 600)  # a 429 rests it
    now = await standing(router)
    assert now["average_latency_ms"] == first > 0
    assert (now["requests"], now["successes"], now["failures"]) == (5, 1, 2)
    assert now["outcomes"] == {"ok": 1, "busy": 1, "refused": 1, "failed": 1, "rejected": 1, "left": 0}


@pytest.mark.parametrize(
    ("bad", "calls", "status", "breaker"),
    [(500, 3, "down", "open"), (429, 1, "resting", "closed"), (500, 2, "up", "closed")],
    ids=["down", "resting", "still up"],
)
async def test_its_status_says_why_it_is_not_asked(  # noqa: PLR0917 - a table
    start: Start, far: Upstream, bad: int, calls: int, status: str, breaker: str
) -> None:
    far.script = plays(answer(b"{}", bad, extra="retry-after: 60\r\n" if bad == 429 else ""))
    router: Running = await start(spec=spec(row("far", far.port), chain=("far",)))
    for _ in range(calls):
        await router.call(chat("best"))
    now = await standing(router)
    assert (now["status"], now["healthy"], now["breaker"]) == (status, status == "up", breaker)


async def test_a_provider_without_its_key_says_which_variable_is_missing(
    start: Start, far: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_ENV)
    router: Running = await start(spec=spec(row("far", far.port), chain=("far",)))
    now = await standing(router)
    assert (now["status"], now["missing"]) == ("missing", f"{KEY_ENV} is not set; it must hold the key")


# POST /simulate/failure


async def simulate(router: Running, name: str, seconds: float, headers: dict[str, str] | None = None) -> Reply:
    return await router.call(post("/simulate/failure", {"name": name, "seconds": seconds}, ORDER if headers is None else headers))


async def test_nobody_orders_failures_without_the_admin_key(start: Start, far: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    router: Running = await start(spec=spec(row("far", far.port), chain=("far",)))
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Bearer {ADMIN}x"}, {"authorization": "Bearer "}):
        reply = await simulate(router, "far", 60, headers)
        assert (reply.status, reply.code) == (403, "not_admin")
    assert (await router.call(chat("best"))).status == 200
    monkeypatch.delenv(ENV_ADMIN_KEY)
    other: Running = await start(spec=SPEC)
    for headers in ({}, {"authorization": "Bearer "}):
        assert (await simulate(other, "large", 60, headers)).status == 404


async def test_a_provider_fails_on_order_and_everybody_is_told(start: Start, far: Upstream, near: Upstream) -> None:
    router: Running = await start(spec=spec(row("far", far.port), row("next", near.port), chain=("far", "next")))
    router.wired.plane.heard()
    assert (await router.call(chat("best"))).route["model"] == "far"
    assert (await simulate(router, "far", 300)).json == {"name": "far", "seconds": 300.0}
    reply = await router.call(chat("best"))
    assert (reply.status, reply.route["model"], reply.route["moved"]) == (200, "next", "simulated")
    assert ("simulated_failure", "far") in {(one["what"], one["model"]) for one in (await router.get("/health")).json["degraded"]}
    assert (await standing(router))["status"] == "simulated"
    assert len(far.heard) == 1
    assert (await simulate(router, "far", 0)).status == 200
    await until(lambda: "far" not in router.wired.plane.simulated)
    assert (await router.call(chat("best"))).route["model"] == "far"


async def test_an_ordered_failure_ends_by_itself(start: Start, far: Upstream) -> None:
    router: Running = await start(spec=spec(row("far", far.port), chain=("far",)))
    await simulate(router, "far", 0.3)
    assert (await router.call(chat("best"))).status == 502
    await until(lambda: not router.wired.plane.simulated)
    assert (await router.call(chat("best"))).status == 200


async def test_a_model_of_ours_fails_on_order_with_replicas_that_come_later(start: Start, far: Upstream) -> None:
    router: Running = await start(engines=[("a", says_hello)], spec=spec(row("far", far.port), chain=("large", "far")))
    await simulate(router, "large", 300)
    await router.engine("b", says_hello)
    router.warm()
    b = router.wired.plane.homes["b"]
    own = b.pool
    await until(lambda: b.pool is not own)
    reply = await router.call(chat())
    assert (reply.route["model"], reply.route["moved"]) == ("far", "simulated,simulated")
    await simulate(router, "large", 0)
    await until(lambda: b.pool is own)


async def test_an_answer_under_way_goes_on_while_a_failure_is_simulated(start: Start, far: Upstream) -> None:
    go_on = asyncio.Event()

    async def slow(play: Play) -> None:
        await play.send(SSE_HEAD + chunked([delta("one")], end=False))
        await go_on.wait()
        await play.send(chunked([delta("two", "stop"), DONE]))

    far.script = slow
    router: Running = await start(spec=spec(row("far", far.port), chain=("far",)))
    async with await router.connect() as caller:
        await caller.send(chat("best", stream=True))
        await caller.until(1)
        await simulate(router, "far", 300)
        go_on.set()
        reply = await caller.reply()
        assert reply.body.endswith(DONE)
        assert b"error" not in reply.body


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "nobody", "seconds": 60}, 404, "model_not_found"),
        ({"name": "far", "seconds": 601}, 400, "invalid_request"),
        ({"name": "far", "seconds": -1}, 400, "invalid_request"),
        ({"seconds": 60}, 400, "invalid_request"),
        ({"name": "far", "for": 60}, 400, "invalid_request"),
    ],
)
async def test_an_order_that_makes_no_sense_is_refused(start: Start, far: Upstream, body: dict[str, Any], status: int, code: str) -> None:
    router: Running = await start(spec=spec(row("far", far.port), chain=("far",)))
    reply = await router.call(post("/simulate/failure", body, ORDER))
    assert (reply.status, reply.code) == (status, code)
    assert not router.wired.plane.simulated


async def test_the_breaker_opens_for_a_simulated_failure_as_for_a_real_one(start: Start, far: Upstream) -> None:
    router: Running = await start(spec=spec(row("far", far.port), chain=("far",)))
    await simulate(router, "far", 300)
    for _ in range(3):
        await router.call(chat("best"))
    assert router.wired.plane.providers["far"].breaker.state is State.OPEN


# the pure parts


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((200, 400, 413, 422, 451), Verdict.PASS),
        ((429, 498, 503, 529), Verdict.BUSY),
        ((301, 302, 401, 402, 403, 404, 405, 501), Verdict.REFUSED),
        ((408, 409, 425), Verdict.LATER),
        ((500, 502, 504, 520, 599), Verdict.BROKEN),
    ],
)
def test_a_status_has_one_meaning(statuses: tuple[int, ...], expected: Verdict) -> None:
    assert {verdict(status) for status in statuses} == {expected}


amounts = st.lists(st.tuples(st.floats(0, 40), st.integers(1, 50)), min_size=1, max_size=40)


@given(st.integers(1, 100), amounts)
def test_no_minute_holds_more_than_the_limit_and_one_request(limit: int, steps: list[tuple[float, int]]) -> None:
    window, now, begun = Window(limit), 0.0, list[tuple[float, int]]()
    for wait_s, amount in steps:
        now = max(now + wait_s, window.free_at(now + wait_s))
        window.charge(now, amount)
        begun.append((now, amount))
        inside = [weight for at, weight in begun if at + WINDOW_S > now]
        assert sum(inside[:-1]) < limit


@given(st.integers(1, 30), amounts)
def test_a_window_never_waits_longer_than_it_must(limit: int, steps: list[tuple[float, int]]) -> None:
    window, now = Window(limit), 0.0
    for wait_s, amount in steps:
        now += wait_s
        window.charge(now, amount)
        free = window.free_at(now)
        assert now <= free <= now + WINDOW_S
        if free > now:
            assert window.total >= limit


def test_what_a_request_really_weighed_takes_the_place_of_the_estimate() -> None:
    limits = Limits(0, 100, 1)
    charge = limits.begin(0.0, 90)
    assert limits.free_at(1.0) == 1.0
    limits.settle(charge, 500)
    assert limits.free_at(2.0) == WINDOW_S
    assert limits.used == (1, 500)
    assert limits.free_at(61.0) == 61.0
    limits.settle(charge, 1)  # forgotten meanwhile
    assert limits.used == (0, 0)


@given(st.integers(0, 1000), st.integers(1, 64))
def test_the_shares_of_all_processes_are_not_more_than_the_whole(limit: int, processes: int) -> None:
    one = share(limit, processes)
    assert one * processes <= max(limit, processes)
    assert (one == 0) == (limit == 0)


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["error", "message", "type", "code", "x"]), inner),
    max_leaves=8,
)


@given(st.integers(400, 451), st.binary(max_size=60) | documents.map(lambda document: json.dumps(document).encode()))
def test_whatever_a_provider_refuses_with_the_caller_gets_openais_shape(status: int, body: bytes) -> None:
    error = json.loads(said.refusal("far", status, body, b""))["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert all(value is None or isinstance(value, str) for value in error.values())


async def test_a_providers_breaker_that_opens_and_closes_is_in_the_log(
    start: Start, far: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    far.script = plays(answer(b"{}", 500))
    router: Running = await start(spec=spec(row("far", far.port), chain=("far",)))
    for _ in range(3):
        await router.call(chat("best"))
    await until(lambda: "far external failed too often and rests" in caplog.text)
    router.wired.plane.providers["far"].breaker = CLEAN
    await until(lambda: "far external answers again" in caplog.text)

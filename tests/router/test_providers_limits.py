"""Limits, failures, streams, costs and keys of external providers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fleet.model import Price, Provider, Slo
from router.following.abroad import Abroad
from router.models.catalogue import Catalogue
from router.relay.remote_attempt import retry_after_s
from router.replicas.breaker import State
from tests.router.abroad import KEY, KEY_ENV, outcome, replica, row, spec, status, two
from tests.router.client import Reply, chat
from tests.router.conftest import Far, Running, Start, until
from tests.router.upstream import (
    DONE,
    ROLE,
    SSE_HEAD,
    Play,
    answer,
    chunked,
    delta,
    plays,
    plays_and_cuts,
    resets,
    says_hello,
)

STREAM = SSE_HEAD + chunked([ROLE, delta("Hello", "stop"), DONE])


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)


# limits and the breaker


@pytest.mark.parametrize(
    ("fields", "expected_s"),
    [
        ([(b"retry-after", b"7")], 7.0),
        ([(b"retry-after", b"0.5")], 0.5),
        ([(b"retry-after-ms", b"1500"), (b"retry-after", b"9")], 1.5),
        ([(b"retry-after", b"Thu, 01 Jan 1970 00:20:00 GMT")], 200.0),
        ([(b"retry-after", b"Thu, 01 Jan 1970 00:00:10 GMT")], 0.0),
        ([(b"retry-after", b"soon")], 0.0),
        ([(b"retry-after", b"-3")], 0.0),
        ([(b"retry-after", b"9" * 400)], 86400.0),
        ([(b"retry-after", b"nan")], 0.0),
        ([], 0.0),
    ],
)
def test_retry_after_is_read_in_each_of_its_forms(fields: list[tuple[bytes, bytes]], expected_s: float) -> None:
    assert retry_after_s(fields, wall=1000.0) == expected_s


@dataclass
class Later:
    """A clock that can be moved on."""

    now: Callable[[], float]
    by_s: float = 0.0

    def __call__(self) -> float:
        return self.now() + self.by_s


def movable(router: Running) -> Later:
    later = router.wired.plane.clock = Later(router.wired.plane.clock)
    return later


async def test_what_is_wrong_with_a_row_is_said_once_a_minute(start: Start, far: Far, caplog: pytest.LogCaptureFixture) -> None:
    router, *_ = await two(start, far, status(403))
    clock = movable(router)
    for _ in range(5):
        await router.call(chat("best"))
    assert caplog.text.count("refuses us with HTTP 403") == 1
    clock.by_s = 61.0
    await router.call(chat("best"))
    assert caplog.text.count("refuses us with HTTP 403") == 2


async def test_retry_after_is_obeyed_and_is_no_strike(start: Start, far: Far) -> None:
    script = [status(429, "retry-after: 300\r\n"), says_hello]

    async def once(play: Play) -> None:
        await script.pop(0)(play)

    router, first, second = await two(start, far, once)
    clock = movable(router)
    for _ in range(3):
        assert (await router.call(chat("best"))).route["model"] == "next"
    assert (len(first.heard), len(second.heard)) == (1, 3)
    clock.by_s = 299.0
    assert (await router.call(chat("best"))).route["model"] == "next"
    clock.by_s = 301.0
    await until(lambda: not replica(router).rest_until)
    assert (await router.call(chat("best"))).route["model"] == "far"


@pytest.mark.parametrize(
    ("extra", "rest_s"), [("retry-after: 7\r\n", 7.0), ("retry-after-ms: 1500\r\n", 1.5), ("", 5.0), ("retry-after: soon\r\n", 5.0)]
)
async def test_a_provider_at_its_limit_rests_for_as_long_as_it_says(start: Start, far: Far, extra: str, rest_s: float) -> None:
    router, *_ = await two(start, far, status(429, extra))
    clock = router.wired.plane.clock
    router.wired.plane.clock = lambda: 1000.0
    assert (await router.call(chat("best"))).status == 200
    assert replica(router).rest_until == 1000.0 + rest_s
    router.wired.plane.clock = clock


async def test_a_provider_that_rests_and_is_alone_says_when_to_come_back(start: Start, far: Far) -> None:
    server = await far(status(429, "retry-after: 30\r\n"))
    router: Running = await start(spec=spec(row("far", server.port), chain=("far",)))
    for _ in range(2):
        reply = await router.call(chat("best"))
        assert (reply.status, reply.code) == (503, "replicas_busy")
        assert 28 <= int(reply.headers["retry-after"]) <= 30
    assert len(server.heard) == 1


async def test_a_provider_at_our_own_limit_is_passed_over_until_its_window_has_room(start: Start, far: Far) -> None:
    router, first, _ = await two(start, far, says_hello, requests_per_min=2)
    clock = movable(router)
    assert [(await router.call(chat("best"))).route["model"] for _ in range(4)] == ["far", "far", "next", "next"]
    clock.by_s = 61.0
    await until(lambda: not replica(router).rest_until)
    assert (await router.call(chat("best"))).route["model"] == "far"
    assert len(first.heard) == 3


async def test_the_tokens_of_an_answer_count_for_the_limit(start: Start, far: Far) -> None:
    body = json.dumps({"choices": [], "usage": {"prompt_tokens": 400, "completion_tokens": 600}}).encode()
    router, *_ = await two(start, far, plays(answer(body)), tokens_per_min=1500)
    assert [(await router.call(chat("best"))).route["model"] for _ in range(3)] == ["far", "far", "next"]


async def test_three_failures_open_the_breaker_for_a_minute_and_one_probe_closes_it(start: Start, far: Far) -> None:
    well = False

    async def script(play: Play) -> None:
        await (says_hello if well else status(500))(play)

    router, first, _ = await two(start, far, script)
    clock = movable(router)
    for _ in range(5):
        assert (await router.call(chat("best"))).route["model"] == "next"
    assert len(first.heard) == 3
    assert replica(router).breaker.state is State.OPEN
    well, clock.by_s = True, 61.0
    assert (await router.call(chat("best"))).route["model"] == "far"
    assert replica(router).breaker.state is State.CLOSED


# streams that break


BROKEN = plays_and_cuts(SSE_HEAD + chunked([ROLE, delta("one"), delta("two")], end=False))


async def test_a_providers_stream_that_breaks_ends_with_an_error_and_goes_nowhere_else(start: Start, far: Far) -> None:
    router, first, second = await two(start, far, BROKEN, plays(STREAM))
    reply = await router.call(chat("best", stream=True))
    assert b"stream_truncated" in reply.body
    assert reply.body.endswith(DONE)
    assert (len(first.heard), len(second.heard)) == (1, 0)
    assert replica(router).breaker.failures == 1
    assert await outcome(router, "failed") == 1


async def test_a_provider_that_continues_is_asked_for_the_rest_itself(start: Start, far: Far) -> None:
    script = [BROKEN, plays(SSE_HEAD + chunked([ROLE, delta(" three", "stop"), DONE]))]

    async def once(play: Play) -> None:
        await script.pop(0)(play)

    router, first, second = await two(start, far, once, plays(STREAM), continues=True)
    reply = await router.call(chat("best", stream=True))
    assert b'"error"' not in reply.body
    text = "".join(json.loads(e[6:])["choices"][0]["delta"].get("content", "") for e in reply.body.split(b"\n\n")[:-2])
    assert text == "onetwo three"
    assert first.heard[1].json["messages"][-1] == {"role": "assistant", "content": "onetwo"}  # type: ignore[index]
    assert not second.heard


async def test_a_stream_of_ours_that_breaks_is_not_taken_to_a_provider(start: Start, far: Far) -> None:
    server = await far(plays(STREAM))
    ours = replace(spec(row("far", server.port), chain=("large", "far")).models[0], slo=Slo(first_token_s=1.0, idle_s=1.0))
    full = spec(row("far", server.port), chain=("large", "far"))
    router: Running = await start(engines=[("a", BROKEN)], spec=replace(full, models=(ours, *full.models[1:])))
    assert b"stream_truncated" in (await router.call(chat(stream=True))).body
    assert not server.heard


# costs


PRICE = Price(input=1.0, output=10.0)
USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'


async def cost(router: Running) -> float | None:
    return await router.metric('warmfleet_router_provider_cost_total{provider="far"}')


async def test_an_answer_costs_its_tokens_at_the_providers_price(start: Start, far: Far) -> None:
    server = await far(says_hello)
    router: Running = await start(spec=spec(row("far", server.port, cost=PRICE), chain=("far",)))
    await router.call(chat("best"))
    assert await cost(router) == pytest.approx(0.007 + 0.03)


@pytest.mark.parametrize(("asked", "shown"), [({}, False), ({"stream_options": {"include_usage": True}}, True)], ids=["not asked", "asked"])
async def test_a_stream_is_asked_for_what_it_costs_and_the_caller_sees_it_only_if_it_asked_too(
    start: Start, far: Far, asked: dict[str, Any], shown: bool
) -> None:
    server = await far(plays(SSE_HEAD + chunked([ROLE, delta("Hello", "stop"), USAGE, DONE])))
    router: Running = await start(spec=spec(row("far", server.port, cost=PRICE), chain=("far",)))
    reply = await router.call(chat("best", stream=True, **asked))
    assert reply.body.endswith(DONE)
    assert (USAGE in reply.body) == shown
    assert server.heard[0].json["stream_options"] == {"include_usage": True}
    assert await cost(router) == pytest.approx(0.007 + 0.03)


async def test_a_stream_that_says_no_usage_costs_what_can_be_counted(start: Start, far: Far) -> None:
    parts = [ROLE, delta("one"), delta("two"), delta("three", "stop"), DONE]
    server = await far(plays(SSE_HEAD + chunked(parts)))
    router: Running = await start(spec=spec(row("far", server.port, cost=Price(output=10.0), drop=("stream_options",)), chain=("far",)))
    await router.call(chat("best", stream=True))
    assert "stream_options" not in server.heard[0].json
    assert await cost(router) == pytest.approx(0.03)


async def test_an_attempt_that_was_refused_costs_nothing(start: Start, far: Far) -> None:
    router, *_ = await two(start, far, status(500), cost=PRICE)
    await router.call(chat("best"))
    assert await cost(router) == 0


# keys


async def test_a_provider_without_its_key_is_left_out_and_says_so(
    start: Start, far: Far, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(KEY_ENV)
    router, first, second = await two(start, far, says_hello)
    router.wired.plane.heard()
    assert (await router.call(chat("best"))).status == 503
    assert not first.heard
    assert not second.heard
    assert {(one["what"], one["model"]) for one in (await router.get("/health")).json["degraded"]} >= {("provider_missing", "far")}
    assert f"provider far is left out: {KEY_ENV} is not set" in caplog.text


@pytest.mark.parametrize("key", ["two words", "line\nbreak: x", "schlüssel"])
async def test_a_key_that_no_header_can_hold_is_not_sent_and_not_shown(
    start: Start, far: Far, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    monkeypatch.setenv(KEY_ENV, key)
    router, first, _ = await two(start, far, says_hello)
    assert (await router.call(chat("best"))).status == 503
    assert not first.heard
    assert key not in caplog.text


async def test_the_key_is_nowhere_but_in_the_request(start: Start, far: Far, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    shown: list[str] = []
    for bad in (status(401), status(429), plays(answer(f'{{"error":"{KEY}"}}'.encode(), 400)), resets, says_hello):
        router, first, _ = await two(start, far, bad, status(500))
        router.wired.plane.heard()
        replies: list[Reply] = [await router.call(chat("best"))]
        replies += [await router.get(path) for path in ("/metrics", "/health", "/providers", "/v1/models", "/openapi.json")]
        shown += [reply.body.decode() + str(reply.headers) for reply in replies]
        shown += [repr(replica(router).remote), repr(router.wired.plane.catalogue.providers)]
        assert KEY in first.heard[0].head.decode()
    assert all(reply.status for reply in replies)
    assert KEY not in "".join(shown)
    assert KEY not in caplog.text


# another description


async def test_a_row_that_did_not_change_keeps_what_is_known_of_it(start: Start, far: Far) -> None:
    server = await far(says_hello)
    router: Running = await start(spec=spec(row("far", server.port), row("other", server.port), chain=("far", "other")))
    plane = router.wired.plane
    abroad = Abroad({KEY_ENV: KEY}, plane.tally, plane.clock)
    first = spec(row("far", server.port), row("other", server.port), chain=("far",))
    abroad.take(first)
    kept = dict(abroad.replicas)
    changed: tuple[Provider, ...] = (row("far", server.port), row("other", server.port, requests_per_min=3))
    abroad.take(spec(*changed, chain=("far",)))
    assert abroad.replicas["far"] is kept["far"]
    assert abroad.replicas["other"] is not kept["other"]
    abroad.take(spec(chain=("large",)))
    assert abroad.replicas == {}
    assert Catalogue(first).price("far") == Price()

"""External providers as links of a chain: what they are told, what their answers mean, and what happens when they fail."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fleet.model import Price, Provider, Slo
from router.breaker import State
from router.providers.attempt import retry_after_s
from router.replica import Replica
from tests.router.abroad import CLOCKS, KEY, KEY_ENV, row, spec
from tests.router.client import Reply, chat, post
from tests.router.conftest import Running, Start, until
from tests.router.upstream import (
    CHAT,
    DONE,
    ROLE,
    SSE_HEAD,
    Play,
    Script,
    Upstream,
    answer,
    chunked,
    delta,
    plays,
    plays_and_cuts,
    resets,
    says_hello,
    silent,
)

STREAM = SSE_HEAD + chunked([ROLE, delta("Hello", "stop"), DONE])
Far = Callable[[Script], Any]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    """`await far(script)`: a server of somebody else."""
    async with AsyncExitStack() as stack:

        async def run(script: Script) -> Upstream:
            server = Upstream(script)
            await server.start()
            stack.push_async_callback(server.stop)
            return server

        yield run


def replica(router: Running, name: str = "far") -> Replica:
    return router.wired.plane.providers[name]


async def outcome(router: Running, what: str, name: str = "far") -> float | None:
    return await router.metric(f'warmfleet_router_provider_requests_total{{provider="{name}",outcome="{what}"}}')


async def two(start: Start, far: Far, bad: Script, good: Script = says_hello, **more: Any) -> tuple[Running, Upstream, Upstream]:
    """A route that begins with a provider and goes on with another one."""
    first, second = await far(bad), await far(good)
    rows = row("far", first.port, **more), row("next", second.port)
    return await start(spec=spec(*rows, chain=("far", "next"))), first, second


# what it is told


async def test_a_provider_is_told_the_request_in_its_own_words(start: Start, far: Far) -> None:
    server = await far(says_hello)
    told = row("far", server.port, drop=("top_k", "session_id"), max_tokens_as="max_completion_tokens")
    router: Running = await start(spec=spec(told, chain=("far",)))
    headers = {"authorization": "Bearer callers", "cookie": "a=b", "openai-organization": "callers", "x-forwarded-for": "10.0.0.1"}
    reply = await router.call(chat("best", headers=headers, top_k=3, session_id="s", max_tokens=7, temperature=0.5))
    assert (reply.status, reply.body) == (200, CHAT)
    heard = server.heard[0]
    assert heard.head.startswith(b"POST /openai/v1/chat/completions HTTP/1.1\r\n")
    assert heard.json == {
        "model": "vendor/far-1",
        "messages": [{"role": "user", "content": "hi"}],
        "max_completion_tokens": 7,
        "temperature": 0.5,
    }
    names = {line.split(":")[0] for line in heard.head.decode().split("\r\n")[1:]}
    assert names == {"host", "content-type", "accept-encoding", "user-agent", "authorization", "x-request-id", "content-length"}
    assert heard.header("authorization") == f"Bearer {KEY}"
    assert heard.header("host") == f"127.0.0.1:{server.port}"
    assert heard.header("x-request-id") == reply.headers["x-request-id"]


async def test_the_limit_of_an_old_completion_keeps_its_name_and_the_query_stays_here(start: Start, far: Far) -> None:
    server = await far(says_hello)
    router: Running = await start(spec=spec(row("far", server.port, max_tokens_as="max_completion_tokens"), chain=("far",)))
    await router.call(post("/v1/completions?user=somebody", {"model": "best", "prompt": "a", "max_tokens": 7}))
    assert server.heard[0].head.startswith(b"POST /openai/v1/completions HTTP/1.1\r\n")
    assert server.heard[0].json == {"model": "vendor/far-1", "prompt": "a", "max_tokens": 7}


async def test_a_caller_sees_of_a_providers_head_only_what_describes_the_answer(start: Start, far: Far) -> None:
    extra = "set-cookie: id=1\r\nopenai-organization: ours\r\nx-ratelimit-remaining-requests: 3\r\ncf-ray: 7\r\n"
    server = await far(plays(answer(CHAT, extra=extra)))
    router: Running = await start(spec=spec(row("far", server.port), chain=("far",)))
    reply = await router.call(chat("best"))
    assert set(reply.headers) == {"content-type", "content-length", "x-request-id", "x-route"}


async def test_a_connection_to_a_provider_is_used_again(start: Start, far: Far) -> None:
    server = await far(says_hello)
    router: Running = await start(spec=spec(row("far", server.port), chain=("far",)))
    for _ in range(3):
        assert (await router.call(chat("best"))).status == 200
    assert (server.connections, len(server.heard)) == (1, 3)


# when it is asked


async def test_a_cold_model_is_followed_by_the_provider_of_its_chain(start: Start, far: Far) -> None:
    server = await far(plays(STREAM))
    router: Running = await start(spec=spec(row("far", server.port), chain=("large", "far")))
    reply = await router.call(chat(stream=True))
    assert reply.body.endswith(DONE)
    assert {k: reply.route[k] for k in ("model", "replica", "reason")} == {"model": "far", "replica": "external", "reason": "fallback"}
    assert await router.metric('warmfleet_router_fallbacks_total{model="large",to="far"}') == 1
    assert await outcome(router, "ok") == 1
    assert router.in_flight() == replica(router).in_flight == 0


async def test_a_replica_of_ours_that_is_warm_is_asked_first(start: Start, far: Far) -> None:
    server = await far(says_hello)
    router: Running = await start(engines=[("a", says_hello)], spec=spec(row("far", server.port), chain=("large", "far")))
    assert (await router.call(chat())).route["model"] == "large"
    assert not server.heard


async def test_nothing_leaves_the_house_where_no_chain_says_so(start: Start, far: Far) -> None:
    server = await far(says_hello)
    router: Running = await start(
        engines=[("a", resets), ("s", resets, "small")], spec=spec(row("far", server.port), chain=("large", "small"))
    )
    assert (await router.call(chat())).status == 502
    reply = await router.call(chat("far"))
    assert (reply.status, reply.code) == (404, "model_not_found")
    assert not server.heard


async def test_the_word_providers_stands_for_those_that_are_left_in_order_of_priority(start: Start, far: Far) -> None:
    order: list[str] = []

    def named(name: str) -> Script:
        async def script(play: Play) -> None:
            order.append(name)
            await play.send(answer(b"{}", 500))

        return script

    servers = {name: await far(named(name)) for name in ("last", "first", "named")}
    rows = [row(name, servers[name].port, priority=priority) for name, priority in (("last", 3), ("first", 1), ("named", 2))]
    router: Running = await start(spec=spec(*rows, chain=("large", "named", "providers")))
    assert (await router.call(chat())).status == 502
    assert order == ["named", "first", "last"]


async def test_a_session_that_fell_back_to_a_provider_stays_there(start: Start, far: Far) -> None:
    server = await far(says_hello)
    router: Running = await start(spec=spec(row("far", server.port), chain=("large", "far")))
    asked = {"x-session-id": "wf-" + "0" * 32}
    assert (await router.call(chat("auto", headers=asked))).route["model"] == "far"
    await router.engine("a", says_hello)
    router.warm()
    assert (await router.call(chat("auto", headers=asked))).route["model"] == "far"
    assert (await router.call(chat("auto", headers={"x-session-id": "wf-" + "1" + "0" * 31}))).route["model"] == "large"


# what its answers mean


@dataclass(frozen=True)
class Fault:
    name: str
    bad: Script
    moved: str
    outcome: str = "failed"
    strikes: int = 1
    stream: bool = False


def status(code: int, extra: str = "") -> Script:
    return plays(answer(b'{"error":{"message":"no"}}', code, extra=extra))


ERROR = b'data: {"error":{"message":"x","type":"server_error","param":null,"code":500}}\n\n'
FAULTS = [
    Fault("429 with Retry-After", status(429, "retry-after: 7\r\n"), "busy", "busy", 0),
    Fault("429 without", status(429), "busy", "busy", 0),
    Fault("503", status(503), "busy", "busy", 0),
    Fault("500", status(500), "status"),
    Fault("401: our key", status(401), "refused", "refused"),
    Fault("402: our bill", status(402), "refused", "refused"),
    Fault("403", status(403), "refused", "refused", 0),
    Fault("404: wrong model", status(404), "refused", "refused"),
    Fault("400 about our key", plays(answer(b'[{"error":{"code":400,"message":"API key not valid."}}]', 400)), "refused", "refused"),
    Fault("redirect", status(302, "location: https://elsewhere.example/\r\n"), "refused", "refused"),
    Fault("408", status(408), "status", "failed", 0),
    Fault("reset", resets, "connection"),
    Fault("cut in the body", plays_and_cuts(answer(CHAT)[:-10]), "connection"),
    Fault("malformed HTTP", plays(b"SSH-2.0-hello\r\n\r\n"), "connection"),
    Fault("malformed chunk", plays(SSE_HEAD + b"zz\r\n"), "connection", stream=True),
    Fault("malformed JSON", plays(answer(b'{"a":')), "malformed"),
    Fault("a web page", plays(answer(b"<html>", kind="text/html")), "malformed"),
    Fault("error event before content", plays(SSE_HEAD + chunked([ROLE, ERROR, DONE])), "error_event", stream=True),
    Fault("cut before content", plays_and_cuts(SSE_HEAD + chunked([ROLE], end=False)), "connection", stream=True),
    Fault("slow first token", silent, "first_token", stream=True),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_fault_before_content_is_the_next_links_turn(start: Start, far: Far, fault: Fault) -> None:
    clocks = Slo(first_token_s=0.3, idle_s=10.0) if fault.bad is silent else CLOCKS
    router, first, second = await two(start, far, fault.bad, plays(STREAM) if fault.stream else says_hello, slo=clocks)
    reply = await router.call(chat("best", stream=fault.stream))
    assert reply.status == 200
    assert reply.body.endswith(DONE) if fault.stream else reply.body == CHAT
    assert (reply.route["model"], reply.route["attempts"], reply.route["moved"]) == ("next", "2", fault.moved)
    assert (len(first.heard), len(second.heard)) == (1, 1)
    assert replica(router).breaker.failures == fault.strikes
    assert await outcome(router, fault.outcome) == 1
    assert replica(router).in_flight == 0


async def test_an_answer_that_is_no_stream_and_does_not_come_is_asked_of_the_next_link(start: Start, far: Far) -> None:
    router, first, _ = await two(start, far, silent, answer_s=0.3)
    reply = await router.call(chat("best"))
    assert (reply.status, reply.route["model"], reply.route["moved"]) == (200, "next", "answer")
    await until(lambda: first.open == 0)
    assert replica(router).breaker.failures == 1


async def test_a_stream_may_take_longer_than_an_answer_in_one_piece(start: Start, far: Far) -> None:
    async def slow(play: Play) -> None:
        await play.send(SSE_HEAD + chunked([delta("one")], end=False))
        relay: Any = next(iter(router.wired.plane.active))
        await until(lambda: router.wired.plane.clock() - relay.began > 0.6)
        await play.send(chunked([delta("two", "stop"), DONE]))

    router, *_ = await two(start, far, slow, answer_s=0.2)
    assert (await router.call(chat("best", stream=True))).body.endswith(DONE)


async def test_a_provider_that_nobody_reaches_is_left(start: Start, far: Far) -> None:
    router, first, _ = await two(start, far, says_hello)
    await first.stop()
    reply = await router.call(chat("best"))
    assert (reply.status, reply.route["model"], reply.route["moved"]) == (200, "next", "connect")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}',
            "too long",
        ),
        (b'[{"error":{"code":400,"message":"no such field","status":"INVALID_ARGUMENT"}}]', "no such field"),
        (b'{"error":"plain words"}', "plain words"),
        (b'{"message":"bare"}', "bare"),
        (b"<html>a page</html>", "The provider 'far' refused the request with HTTP 400."),
        (f'{{"error":{{"message":"you sent {KEY}"}}}}'.encode(), "you sent " + "*" * len(KEY)),
    ],
)
async def test_a_callers_mistake_passes_in_openais_shape(start: Start, far: Far, body: bytes, expected: str) -> None:
    router, _, second = await two(start, far, plays(answer(body, 400)))
    for _ in range(4):
        reply = await router.call(chat("best"))
        assert reply.status == 400
        assert reply.code
        assert reply.json["error"]["message"] == expected
    assert not second.heard
    assert replica(router).breaker.failures == 0
    assert await outcome(router, "rejected") == 4


async def test_the_last_error_lists_the_attempts(start: Start, far: Far) -> None:
    router, *_ = await two(start, far, status(401), status(500))
    reply = await router.call(chat("best"))
    assert (reply.status, reply.code) == (502, "upstream_failed")
    assert reply.json["error"]["message"] == "The provider 'next' failed with HTTP 500. Tried: far (refused), next (status)."
    assert reply.route["moved"] == "refused,status"


async def test_a_path_that_a_provider_does_not_have_is_no_strike(start: Start, far: Far) -> None:
    router, first, second = await two(start, far, status(404))
    for _ in range(4):
        reply = await router.call(post("/v1/rerank", {"model": "best", "query": "a", "documents": ["b"]}))
        assert (reply.status, reply.route["model"]) == (200, "next")
    assert (len(first.heard), len(second.heard)) == (4, 4)
    assert replica(router).breaker.failures == 0


async def test_what_is_wrong_with_a_row_is_said_once_a_minute(start: Start, far: Far, caplog: pytest.LogCaptureFixture) -> None:
    router, *_ = await two(start, far, status(403))
    clock = movable(router)
    for _ in range(5):
        await router.call(chat("best"))
    assert caplog.text.count("refuses us with HTTP 403") == 1
    clock.by_s = 61.0
    await router.call(chat("best"))
    assert caplog.text.count("refuses us with HTTP 403") == 2


async def test_our_bad_key_is_never_shown_as_the_callers(start: Start, far: Far) -> None:
    server = await far(status(401))
    router: Running = await start(spec=spec(row("far", server.port), chain=("far",)))
    reply = await router.call(chat("best"))
    assert (reply.status, reply.code) == (502, "upstream_failed")


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
    from router.catalogue import Catalogue  # noqa: PLC0415
    from router.providers.abroad import Abroad  # noqa: PLC0415

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

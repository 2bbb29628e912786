"""External providers as links of a chain: what they are told, what their answers mean, and what happens when they fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from fleet.model import Slo
from fleet.state import ModelState
from tests.router.abroad import CLOCKS, KEY, KEY_ENV, outcome, replica, row, spec, status, two
from tests.router.client import chat, post
from tests.router.conftest import Far, Running, Start, until
from tests.router.upstream import (
    CHAT,
    DONE,
    ROLE,
    SSE_HEAD,
    Play,
    Script,
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


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)


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


async def test_no_session_begins_at_a_provider_because_our_own_are_busy(start: Start, far: Far) -> None:
    server = await far(says_hello)
    router: Running = await start(engines=[("a", says_hello)], spec=spec(row("far", server.port), chain=("large", "far")))
    router.wired.plane.publish({"large": strained("large")})
    reply = await router.call(chat("auto", headers={"x-session-id": "wf-" + "0" * 32}))
    assert reply.route["model"] == "large"
    begun = (await router.call(post("/initiate_call", {"selector": 0}))).json
    assert (begun["model"], server.heard) == ("large", [])


def strained(model: str) -> ModelState:
    return ModelState(
        model=model, desired=1, placed=1, ready=1, cold_start_p50_s=60, cold_start_p90_s=60, updated_at=0, level="high"
    )  # fmt: skip


# what its answers mean


@dataclass(frozen=True)
class Fault:
    name: str
    bad: Script
    moved: str
    outcome: str = "failed"
    strikes: int = 1
    stream: bool = False


ERROR = b'data: {"error":{"message":"x","type":"server_error","param":null,"code":500}}\n\n'
KEY_ERROR = b'data: {"error":{"message":"x","type":"invalid_request_error","param":null,"code":401}}\n\n'
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
    Fault("error event about our key", plays(SSE_HEAD + chunked([ROLE, KEY_ERROR, DONE])), "refused", "refused", stream=True),
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
    assert reply.json["error"]["message"] == (
        "The provider 'next' failed with HTTP 500. Tried: far (refuses this router), next (an error). "
        "Try again; if it stays so, tell who runs this the x-request-id."
    )
    assert reply.route["moved"] == "refused,status"


async def test_a_path_that_a_provider_does_not_have_is_no_strike(start: Start, far: Far) -> None:
    router, first, second = await two(start, far, status(404))
    for _ in range(4):
        reply = await router.call(post("/v1/rerank", {"model": "best", "query": "a", "documents": ["b"]}))
        assert (reply.status, reply.route["model"]) == (200, "next")
    assert (len(first.heard), len(second.heard)) == (4, 4)
    assert replica(router).breaker.failures == 0


async def test_a_text_about_keys_is_no_error(start: Start, far: Far) -> None:
    parts = [delta('{"error": {"code": 401}}'), delta(".", "stop"), DONE]
    router, _, second = await two(start, far, plays(SSE_HEAD + chunked(parts)))
    assert (await router.call(chat("best", stream=True))).body == b"".join(parts)
    assert not second.heard


async def test_our_bad_key_is_never_shown_as_the_callers(start: Start, far: Far) -> None:
    server = await far(status(401))
    router: Running = await start(spec=spec(row("far", server.port), chain=("far",)))
    reply = await router.call(chat("best"))
    assert (reply.status, reply.code) == (502, "upstream_failed")

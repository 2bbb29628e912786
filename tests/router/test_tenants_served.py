"""Who may come in, for what, and whose a session is; limits and budgets as a caller meets them. Redis is real where it is asked."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from dataclasses import replace
from typing import Any

import pytest

from fleet.key import digest
from fleet.model import Capacity, Tenant
from fleet.names import REDIS_BUDGET_PREFIX
from router.answered import Answered
from router.models.bound import bound
from router.models.prices import Prices
from router.records.usage import Usage
from router.tenants.tenancy import Tenancy
from tests.router.client import chat, post
from tests.router.conftest import SPEC, Running, Start, until
from tests.router.tenancy import PRICES, auth, fleet, tenant
from tests.router.upstream import CHAT, DONE, ROLE, SSE_HEAD, Play, answer, chunked, delta, says_hello
from tests.servers import RedisServer

HELLO_NANO = 7 * 10_000 + 3 * 100_000  # what the scripted engine counts for one answer of the large model


async def purse(router: Running, who: Tenant, period: str = "life") -> tuple[int, int]:
    """(spent, held), in nanodollars."""
    client = router.wired.store.client
    assert client is not None
    values = await client.hmget(f"{REDIS_BUDGET_PREFIX}{SPEC.fleet.name}:{who.name}:{period}", "spent", "held")
    return int(values[0] or 0), int(values[1] or 0)


async def until_purse(router: Running, who: Tenant, spent: int, held: int) -> None:
    deadline = time.monotonic() + 60
    while (found := await purse(router, who)) != (spent, held) and time.monotonic() < deadline:  # noqa: ASYNC110 - a poll
        await asyncio.sleep(0.01)
    assert found == (spent, held)


# keys


HOSTILE = {
    "none": {},
    "unknown": {"authorization": "Bearer sk-nobody"},
    "empty": {"authorization": "Bearer "},
    "scheme only": {"authorization": "Bearer"},
    "another scheme": {"authorization": "Basic c2stb2Y6"},
    "long": {"authorization": "Bearer " + "k" * 60_000},
    "high bytes": {"authorization": "Bearer \xff\xfe\xfd"},
    "tab": {"authorization": "Bearer \t"},
    "x-api-key": {"x-api-key": "sk-nobody"},
}


@pytest.mark.parametrize("headers", HOSTILE.values(), ids=HOSTILE)
async def test_without_a_tenants_key_nothing_is_relayed(start: Start, headers: dict[str, str]) -> None:
    router: Running = await start(engines=[("a", says_hello)], spec=fleet(tenant(budget_per="none")))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")
    request = chat().replace(b"host: router\r\n", b"host: router\r\n" + lines)
    reply = await router.call(request)
    assert (reply.status, reply.code, reply.headers["www-authenticate"]) == (401, "invalid_api_key", "Bearer")
    assert router.heard() == 0
    assert await router.metric('warmfleet_router_refused_total{tenant="-",reason="key"}') == 1


@pytest.mark.parametrize("header", ["Bearer {}", "bearer {}", "BEARER  {} "])
async def test_a_tenants_key_opens(start: Start, header: str) -> None:
    who = tenant(budget_per="none")
    router: Running = await start(engines=[("a", says_hello)], spec=fleet(who))
    assert (await router.call(chat(headers={"authorization": header.format(f"sk-of-{who.name}")}))).status == 200
    assert (await router.call(chat(headers={"x-api-key": f"sk-of-{who.name}"}))).status == 200
    (engine,) = router.engines.values()
    assert all(heard.header("authorization") is None and heard.header("x-api-key") is None for heard in engine.heard), "keys stay here"


async def test_while_a_key_is_replaced_both_open(start: Start) -> None:
    who = tenant(budget_per="none")
    who = replace(who, key_sha256=(*who.key_sha256, digest("sk-new")))
    router: Running = await start(engines=[("a", says_hello)], spec=fleet(who))
    for headers in (auth(who), {"authorization": "Bearer sk-new"}):
        assert (await router.call(chat(headers=headers))).status == 200


OTHERS = [
    ("GET", "/v1/models"), ("GET", "/v1/models/large"), ("GET", "/sessions/x"), ("DELETE", "/sessions/x"), ("POST", "/initiate_call"),
    ("POST", "/chat_completions"), ("GET", "/providers"), ("GET", "/v1/chat/completions"), ("GET", "/nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), OTHERS)
async def test_the_rest_of_the_api_asks_for_a_key_too(start: Start, method: str, path: str) -> None:
    router: Running = await start(spec=fleet(tenant()))
    reply = await router.call(f"{method} {path} HTTP/1.1\r\nhost: r\r\ncontent-length: 2\r\n\r\n{{}}".encode())
    assert (reply.status, reply.code) == (401, "invalid_api_key")


@pytest.mark.parametrize("path", ["/health", "/metrics", "/docs", "/openapi.json"])
async def test_health_metrics_and_docs_are_open(start: Start, path: str) -> None:
    router: Running = await start(engines=[("a", says_hello)], spec=fleet(tenant()))
    assert (await router.get(path)).status == 200


# what it may use


async def test_a_tenant_uses_what_it_is_allowed_and_nothing_else(start: Start) -> None:
    who = tenant(allow=("quick",), budget_per="none")
    router: Running = await start(engines=[("a", says_hello, "small"), ("b", says_hello, "large")], spec=fleet(who))
    replies = {name: await router.call(chat(name, headers=auth(who))) for name in ("quick", "small", "auto", "large", "best", "lone")}
    assert {name: reply.status for name, reply in replies.items()} == {
        "quick": 200, "small": 200, "auto": 200, "large": 403, "best": 403, "lone": 403,
    }  # fmt: skip
    assert all(reply.route["model"] == "small" for reply in replies.values() if reply.status == 200)
    assert replies["large"].code == "not_allowed"
    listed = await router.call(f"GET /v1/models HTTP/1.1\r\nhost: r\r\nauthorization: {auth(who)['authorization']}\r\n\r\n".encode())
    assert {entry["id"] for entry in listed.json["data"]} == {"small", "quick"}


async def test_a_fallback_that_is_not_allowed_is_left_out(start: Start) -> None:
    who = tenant(allow=("large",), budget_per="none")
    router: Running = await start(engines=[("b", says_hello, "small")], spec=fleet(who))
    reply = await router.call(chat("large", headers=auth(who)))
    assert (reply.status, reply.code) == (503, "model_not_warm"), "small is warm, and not for this tenant"


async def test_a_session_of_a_route_that_is_not_allowed_is_refused(start: Start) -> None:
    who = tenant(allow=("quick",), budget_per="none")
    router: Running = await start(engines=[("a", says_hello, "small")], spec=fleet(who))
    refused = await router.call(post("/initiate_call", {"selector": 0}, auth(who)))
    assert (refused.status, refused.code) == (403, "not_allowed")
    begun = await router.call(post("/initiate_call", {}, auth(who)))
    assert (begun.status, begun.json["route"]) == (200, "quick"), "without a wish it is the first route that is allowed"
    ours = "wf-" + "0" * 31 + "0"
    reply = await router.call(chat("auto", headers=auth(who) | {"x-session-id": ours}))
    assert (reply.status, reply.code) == (403, "not_allowed"), "the id says selector 0"


# sessions


async def test_a_session_is_its_tenants_and_nobody_elses(start: Start) -> None:
    mine, other = tenant(budget_per="none"), tenant(budget_per="none")
    router: Running = await start(engines=[("a", says_hello)], spec=fleet(mine, other))
    begun = (await router.call(post("/initiate_call", {}, auth(mine)))).json["session_id"]
    for session in (begun, "my-own-name"):
        assert (await router.call(chat("auto", headers=auth(mine) | {"x-session-id": session}))).status == 200
        for request in (
            chat("auto", headers=auth(other) | {"x-session-id": session}),
            post("/chat_completions", {"session_id": session, "message": "hi"}, auth(other)),
            post("/initiate_call", {"session_id": session}, auth(other)),
            post("/initiate_call", {"session_id": session, "model": "small"}, auth(other)),
            f"GET /sessions/{session} HTTP/1.1\r\nhost: r\r\nauthorization: {auth(other)['authorization']}\r\n\r\n".encode(),
            f"DELETE /sessions/{session} HTTP/1.1\r\nhost: r\r\nauthorization: {auth(other)['authorization']}\r\n\r\n".encode(),
        ):
            reply = await router.call(request)
            assert (reply.status, reply.code) == (404, "session_not_found")
        said = await router.call(post("/chat_completions", {"session_id": session, "message": "hi"}, auth(mine)))
        assert (said.status, said.json["response"]) == (200, "Hello")


async def test_another_router_knows_from_redis_whose_a_session_is(start: Start, redis_server: RedisServer) -> None:
    mine, other = tenant(budget_per="none"), tenant(budget_per="none")
    spec = fleet(mine, other, redis=redis_server.url)
    one: Running = await start(engines=[("a", says_hello)], spec=spec)
    two: Running = await start(engines=[("a", says_hello)], spec=spec)
    session = f"of-{mine.name}"
    assert (await one.call(chat("auto", headers=auth(mine) | {"x-session-id": session}))).status == 200
    await until(lambda: not one.wired.store.queued(), 60)
    assert (await two.call(chat("auto", headers=auth(other) | {"x-session-id": session}))).status == 404
    assert (await two.call(chat("auto", headers=auth(mine) | {"x-session-id": session}))).status == 200


# limits


async def test_a_full_minute_is_429_with_openais_headers(start: Start, redis_server: RedisServer) -> None:
    who = tenant(requests_per_min=2, tokens_per_min=100_000, budget_per="none")
    router: Running = await start(engines=[("a", says_hello, "lone")], spec=fleet(who, redis=redis_server.url))
    replies = [await router.call(chat("lone", headers=auth(who), max_tokens=10)) for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert [reply.headers["x-ratelimit-remaining-requests"] for reply in replies] == ["1", "0", "0"]
    refused = replies[2]
    assert (refused.code, refused.json["error"]["type"]) == ("rate_limit_exceeded", "requests")
    assert 30 <= int(refused.headers["retry-after"]) <= 65
    assert refused.headers["x-ratelimit-limit-requests"] == "2"
    assert refused.headers["x-ratelimit-reset-requests"] == "65s"
    assert int(refused.headers["x-ratelimit-remaining-tokens"]) > 99_900
    assert router.heard() == 2
    assert await router.metric('warmfleet_router_arrivals_total{model="lone"}') == 2, "what was refused is no demand"
    assert await router.metric(f'warmfleet_router_refused_total{{tenant="{who.name}",reason="requests"}}') == 1


async def test_tokens_of_a_minute_are_those_that_were_counted(start: Start, redis_server: RedisServer) -> None:
    who = tenant(tokens_per_min=60, budget_per="none")
    router: Running = await start(engines=[("a", says_hello, "lone")], spec=fleet(who, redis=redis_server.url))
    lefts = []
    for _ in range(4):
        reply = await router.call(chat("lone", headers=auth(who), max_tokens=5))
        assert reply.status == 200
        lefts.append(int(reply.headers["x-ratelimit-remaining-tokens"]))
        await until(lambda: not router.wired.plane.active)
    assert all(before - after == 10 for before, after in itertools.pairwise(lefts)), "7 of the prompt and 3 of the answer"
    reply = await router.call(chat("lone", headers=auth(who), max_tokens=50))
    assert (reply.status, reply.json["error"]["type"]) == (429, "tokens")


async def test_a_tenant_that_is_full_keeps_nobody_else_out(start: Start, redis_server: RedisServer) -> None:
    full, other = tenant(requests_per_min=1, budget_per="none"), tenant(requests_per_min=1, budget_per="none")
    router: Running = await start(engines=[("a", says_hello, "lone")], spec=fleet(full, other, redis=redis_server.url))
    statuses = [(await router.call(chat("lone", headers=auth(who)))).status for who in (full, full, other)]
    assert statuses == [200, 429, 200]


# budgets


async def test_an_answer_costs_what_the_engine_counted(start: Start, redis_server: RedisServer) -> None:
    who = tenant()
    router: Running = await start(engines=[("a", says_hello)], spec=fleet(who, redis=redis_server.url))
    for n in range(1, 4):
        assert (await router.call(chat(headers=auth(who)))).status == 200
        await until_purse(router, who, n * HELLO_NANO, 0)
    spent = await router.metric(f'warmfleet_router_spent_total{{tenant="{who.name}",model="large"}}')
    assert spent == pytest.approx(3 * HELLO_NANO / 1e9)


async def test_what_a_request_may_cost_must_be_left(start: Start, redis_server: RedisServer) -> None:
    who = tenant(budget_usd=0.01)
    router: Running = await start(engines=[("a", says_hello), ("b", says_hello, "lone")], spec=fleet(who, redis=redis_server.url))
    dear = await router.call(chat(headers=auth(who), max_tokens=1000))
    assert (dear.status, dear.code, dear.json["error"]["type"]) == (429, "insufficient_quota", "insufficient_quota")
    assert dear.headers["x-should-retry"] == "false"
    assert "$0.1" in dear.json["error"]["message"]
    assert (await router.call(chat(headers=auth(who), max_tokens=10))).status == 200
    assert (await router.call(chat("lone", headers=auth(who), max_tokens=1000))).status == 200, "what is free is always served"


async def test_a_priced_request_without_a_limit_gets_the_tenants(start: Start, redis_server: RedisServer) -> None:
    who = tenant(max_tokens=77)
    router: Running = await start(engines=[("a", says_hello), ("b", says_hello, "lone")], spec=fleet(who, redis=redis_server.url))
    await router.call(chat(headers=auth(who)))
    await router.call(chat(headers=auth(who), max_tokens=5))
    await router.call(chat(headers=auth(who), max_completion_tokens=6))
    await router.call(chat("lone", headers=auth(who)))
    large, lone = (router.engines[key].heard for key in ("large/a", "lone/b"))
    assert [heard.json.get("max_tokens") for heard in large] == [77, 5, None]
    assert lone[0].json.get("max_tokens") is None, "what costs nothing is left as it is"


BAD_LIMITS: list[dict[str, Any]] = [
    {"max_tokens": -1}, {"max_tokens": "many"}, {"max_tokens": 1.5}, {"max_tokens": True}, {"max_completion_tokens": -5}, {"n": "two"},
    {"stream_options": 7},
]  # fmt: skip


@pytest.mark.parametrize("more", BAD_LIMITS, ids=str)
async def test_limits_that_are_none_are_the_callers_mistake(start: Start, redis_server: RedisServer, more: dict[str, Any]) -> None:
    who = tenant()
    router: Running = await start(engines=[("a", says_hello)], spec=fleet(who, redis=redis_server.url))
    reply = await router.call(chat(headers=auth(who), **more))
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert router.heard() == 0


HUGE: list[dict[str, Any]] = [{"max_tokens": 10**18}, {"max_tokens": 10**400}, {"n": 10**12}, {"max_tokens": 8000, "n": 10**9}]


@pytest.mark.parametrize("more", HUGE, ids=range(len(HUGE)))
async def test_a_huge_limit_is_refused_by_the_budget(start: Start, redis_server: RedisServer, more: dict[str, Any]) -> None:
    who = tenant(budget_usd=0.5)
    router: Running = await start(engines=[("a", says_hello)], spec=fleet(who, redis=redis_server.url))
    reply = await router.call(chat(headers=auth(who), **more))
    assert reply.status in (400, 429)
    assert await purse(router, who) == (0, 0)


async def test_the_price_is_that_of_who_answered(start: Start, redis_server: RedisServer) -> None:
    who = tenant()

    async def fails(play: Play) -> None:
        await play.send(answer(b"{}", 500))

    router: Running = await start(engines=[("a", fails), ("b", says_hello, "small")], spec=fleet(who, redis=redis_server.url))
    reply = await router.call(chat("best", headers=auth(who)))
    assert reply.route["model"] == "small"
    await until_purse(router, who, HELLO_NANO // 10, 0)


async def test_what_fails_costs_nothing(start: Start, redis_server: RedisServer) -> None:
    who = tenant()

    async def fails(play: Play) -> None:
        await play.send(answer(b"{}", 500))

    router: Running = await start(engines=[("a", fails)], spec=fleet(who, redis=redis_server.url))
    assert (await router.call(chat(headers=auth(who)))).status == 502
    await until_purse(router, who, 0, 0)


# streams


def counted(prompt: int, completion: int) -> bytes:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return b"data: " + json.dumps({"id": "c", "choices": [], "usage": usage}, separators=(",", ":")).encode() + b"\n\n"


def streams(*parts: bytes) -> Any:
    """Each part in a read of its own."""

    async def script(play: Play) -> None:
        await play.send(SSE_HEAD)
        for part in parts:
            await play.send(chunked([part], end=False))
            await asyncio.sleep(0.01)  # so that each is a read of its own
        await play.send(b"0\r\n\r\n")

    return script


STREAMS = {
    "each alone": (ROLE, delta("Hel"), delta("lo", "stop"), counted(7, 3), DONE),
    "the end at once": (ROLE, delta("Hel"), delta("lo", "stop") + counted(7, 3) + DONE),
    "all at once": (ROLE + delta("Hel") + delta("lo", "stop") + counted(7, 3) + DONE,),
    "torn": (ROLE, delta("Hel"), delta("lo", "stop"), counted(7, 3)[:30], counted(7, 3)[30:], DONE),
    "torn in its mark": (ROLE, delta("Hello", "stop"), *(counted(7, 3).partition(b'"us')[0::1]), DONE),
}


@pytest.mark.parametrize("parts", STREAMS.values(), ids=STREAMS)
async def test_a_stream_is_asked_for_its_usage_and_the_caller_does_not_see_it(
    start: Start, redis_server: RedisServer, parts: tuple[bytes, ...]
) -> None:
    who = tenant()
    router: Running = await start(engines=[("a", streams(*parts))], spec=fleet(who, redis=redis_server.url))
    reply = await router.call(chat(stream=True, headers=auth(who)))
    assert reply.body == b"".join(parts).replace(counted(7, 3), b"")
    (heard,) = router.engines["large/a"].heard
    assert heard.json["stream_options"] == {"include_usage": True}
    await until_purse(router, who, HELLO_NANO, 0)


async def test_a_caller_who_asks_for_the_usage_sees_it(start: Start, redis_server: RedisServer) -> None:
    who, parts = tenant(), (ROLE, delta("Hello", "stop"), counted(7, 3), DONE)
    router: Running = await start(engines=[("a", streams(*parts))], spec=fleet(who, redis=redis_server.url))
    asked = {"include_usage": True, "continuous_usage_stats": False}
    reply = await router.call(chat(stream=True, headers=auth(who), stream_options=asked))
    assert reply.body == b"".join(parts)
    (heard,) = router.engines["large/a"].heard
    assert heard.json["stream_options"] == asked
    await until_purse(router, who, HELLO_NANO, 0)


async def test_a_caller_who_leaves_in_the_middle_pays_for_what_was_sent(start: Start, redis_server: RedisServer) -> None:
    who = tenant()

    async def endless(play: Play) -> None:
        await play.send(SSE_HEAD + chunked([ROLE], end=False))
        for _ in range(5):
            await play.send(chunked([delta("word ")], end=False))
        await play.until_left()

    router: Running = await start(engines=[("a", endless)], spec=fleet(who, redis=redis_server.url))
    async with await router.connect() as caller:
        await caller.send(chat(stream=True, headers=auth(who)))
        while (await caller.until(1)).body.count(b"word") < 5:
            await caller._read()
    await until(lambda: not router.wired.plane.active, 60)
    prompt = len(router.engines["large/a"].heard[0].body) // 4
    await until_purse(router, who, prompt * 10_000 + 6 * 100_000, 0)


# Redis away


@pytest.mark.parametrize(("policy", "status"), [("closed", 503), ("open", 200)])
async def test_without_redis_limits_are_closed_or_open_as_the_description_says(start: Start, policy: str, status: int) -> None:
    limited, free = tenant(requests_per_min=5), tenant(budget_per="none")
    spec = fleet(limited, free, redis="", tenants_without_redis=policy)
    router: Running = await start(engines=[("a", says_hello, "lone")], spec=spec)
    reply = await router.call(chat("lone", headers=auth(limited)))
    assert reply.status == status
    if status == 503:
        assert (reply.code, reply.headers["retry-after"]) == ("limits_away", "2")
    assert (await router.call(chat("lone", headers=auth(free)))).status == 200, "who has no limit needs no Redis"


# bounds, by themselves


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (b"/v1/chat/completions", {"max_tokens": 10}, 10),
        (b"/v1/chat/completions", {}, 50),
        (b"/v1/chat/completions", {"max_tokens": 5, "max_completion_tokens": 8}, 8),
        (b"/v1/chat/completions", {"max_tokens": 10**9}, 1000),
        (b"/v1/chat/completions", {"max_tokens": 10, "n": 3}, 30),
        (b"/v1/completions?x=1", {"max_tokens": 10, "prompt": ["a", "b"], "best_of": 2}, 40),
        (b"/v1/completions", {"max_tokens": 10, "prompt": [1, 2, 3]}, 10),
        (b"/v1/completions", {"max_tokens": 10, "prompt": [[1, 2], [3]]}, 20),
        (b"/v1/messages", {"max_tokens": 20}, 20),
        (b"/v1/responses", {"max_output_tokens": 30, "max_tokens": 900}, 30),
        (b"/v1/embeddings", {"input": ["a", "b"]}, 0),
    ],
)
def test_an_answer_is_bounded_by_what_its_request_allows(path: bytes, body: dict[str, Any], expected: int) -> None:
    raw = json.dumps(body | {"model": "m"}).encode()
    assert bound(path, raw, context=1000, most_tokens=50, limits=True).output_tokens == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"messages": []}, {"max_tokens": 50}),
        ({"max_tokens": None}, {"max_tokens": 50}),
        ({"stream": True, "max_tokens": 9}, {"stream": True, "max_tokens": 9, "stream_options": {"include_usage": True}}),
        ({"stream": True, "max_tokens": 9, "stream_options": None}, {"stream_options": {"include_usage": True}}),
        ({"stream": True, "stream_options": {"include_usage": False, "x": 1}}, {"stream_options": {"include_usage": True, "x": 1}}),
        ({"messages": [{"content": '"max_tokens"'}]}, {"max_tokens": 50, "messages": [{"content": '"max_tokens"'}]}),
    ],
)
def test_a_body_is_changed_in_what_is_needed_and_no_more(body: dict[str, Any], expected: dict[str, Any]) -> None:
    whole = {"model": "m"} | body
    raw = json.dumps(whole).encode() + b" \n"
    changed = json.loads(bound(b"/v1/chat/completions", raw, context=1000, most_tokens=50, limits=True).body)
    assert changed.items() >= expected.items()
    added = {"max_tokens", "stream_options"}
    assert {k: v for k, v in changed.items() if k not in added} == {k: v for k, v in whole.items() if k not in added}


@pytest.mark.parametrize("part", ["image_url", "input_audio", "video_url", "file"])
def test_media_may_fill_the_whole_context(part: str) -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": [{"type": part}]}]}).encode()
    assert bound(b"/v1/chat/completions", body, context=32_000, most_tokens=50, limits=True).input_tokens == 32_000


@pytest.mark.parametrize(("tokens", "nano"), [((1000, 0), 10_000_000), ((0, 1000), 100_000_000), ((7, 3), HELLO_NANO), ((0, 0), 0)])
def test_a_price_is_per_thousand_tokens(tokens: tuple[int, int], nano: int) -> None:
    assert Prices(PRICES).of("large").cost(*tokens) == nano


# together with the rest


async def test_a_stream_that_goes_on_elsewhere_hides_its_usage_and_costs_once(start: Start, redis_server: RedisServer) -> None:
    who, scripts = tenant(), []

    async def breaks(play: Play) -> None:
        await play.send(SSE_HEAD + chunked([ROLE, delta("One, ")], end=False))
        play.writer.close()

    async def in_turn(play: Play) -> None:
        await scripts.pop(0)(play)

    scripts += [breaks, streams(ROLE, delta("two"), delta("", "stop"), counted(9, 1), DONE)]
    spec = fleet(who, redis=redis_server.url)
    router: Running = await start(engines=[("a", in_turn), ("b", in_turn)], spec=spec)
    reply = await router.call(chat(stream=True, headers=auth(who)))
    assert b"One, " in reply.body
    assert b"two" in reply.body
    assert reply.body.endswith(DONE)
    assert b'"usage"' not in reply.body
    await until_purse(router, who, 8 * 10_000 + 2 * 100_000, 0)


async def test_who_waits_has_a_turn_in_turn_with_other_tenants(start: Start) -> None:
    many, few = tenant(budget_per="none"), tenant(budget_per="none")
    served: list[str] = []

    async def slow(play: Play) -> None:
        served.append(str(play.heard.json["user"]))
        await asyncio.sleep(0.01)
        await play.send(answer(CHAT))

    models = tuple(replace(model, capacity=Capacity(concurrency=1, requests_per_min=60)) for model in SPEC.models)
    spec = fleet(many, few, spec=replace(SPEC, models=models), max_held=100)
    router: Running = await start(spec=spec)
    calls = [asyncio.create_task(router.call(chat("lone", headers=auth(many), user="many"))) for _ in range(12)]
    await until(lambda: router.wired.plane.room.size == 12, 60)
    calls += [asyncio.create_task(router.call(chat("lone", headers=auth(few), user="few"))) for _ in range(2)]
    await until(lambda: router.wired.plane.room.size == 14, 60)
    await router.engine("a", slow, "lone")
    router.warm()
    assert [reply.status for reply in await asyncio.gather(*calls)] == [200] * 14
    assert max(at for at, name in enumerate(served) if name == "few") < 6, "two of one do not wait for twelve of another"


async def test_a_key_that_is_taken_away_no_longer_opens_after_a_reload(start: Start) -> None:
    staying, leaving = tenant(budget_per="none"), tenant(budget_per="none")
    spec = fleet(staying, leaving)
    router: Running = await start(engines=[("a", says_hello)], spec=spec)
    assert (await router.call(chat(headers=auth(leaving)))).status == 200
    Tenancy(spec, router.wired.plane, router.wired.store).take(replace(spec, tenants=(staying,)))
    assert (await router.call(chat(headers=auth(leaving)))).status == 401
    assert (await router.call(chat(headers=auth(staying)))).status == 200


async def test_what_each_request_used_is_told_to_who_listens(start: Start) -> None:
    heard: list[Answered] = []

    class Listening:
        def noted(self, facts: Answered) -> None:
            heard.append(facts)

    async def fails(play: Play) -> None:
        await play.send(answer(b"{}", 500))

    router: Running = await start(engines=[("a", fails), ("b", says_hello, "small")], spec=fleet())
    plane = router.wired.plane
    assert plane.usage is None, "nobody listens, so nothing is made"
    plane.usage = Usage(Prices(PRICES), plane.wall, [Listening()])
    await router.call(chat("best", headers={"x-session-id": "mine", "x-request-id": "req-1"}))
    await router.call(chat("nothing"))
    first, second = heard
    assert (first.request_id, first.session, first.tenant, first.route, first.model) == ("req-1", "mine", "", "best", "small")
    assert (first.status, first.outcome, first.attempts, first.failed) == (200, "answered", 2, ("large",))
    assert (first.input_tokens, first.output_tokens, first.counted, first.cost_nano) == (7, 3, True, HELLO_NANO // 10)
    assert (second.status, second.outcome, second.model, second.cost_nano) == (404, "refused", "-", 0)

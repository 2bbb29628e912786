"""The choice between models, as callers see it: per request, per route, for "auto", in sessions, and where nothing fits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleet.key import digest
from fleet.model import Model, Route, Spec, Strategy, Tenant
from fleet.serving import Capability, Price
from tests.router.client import Reply, chat, post
from tests.router.conftest import SPEC, Running, Start, model, until
from tests.router.upstream import answer, plays, says_hello


def described(name: str, *, output: float, quality: float, latency_ms: float, capabilities: tuple[Capability, ...] = ()) -> Model:
    return replace(model(name), cost=Price(output=output), quality=quality, latency_ms=latency_ms, capabilities=capabilities)


MODELS = (
    described("cheap", output=0.001, quality=0.4, latency_ms=900.0),
    described("fast", output=0.02, quality=0.5, latency_ms=50.0, capabilities=("simple_qa", "translation")),
    described("good", output=0.06, quality=0.95, latency_ms=2000.0, capabilities=("code_generation", "analysis")),
)
CHAIN = ("fast", "good", "cheap")
ENGINES = [("a", says_hello, "cheap"), ("b", says_hello, "fast"), ("c", says_hello, "good")]
CODE = "Write a Python function that reverses a linked list."


def spec(strategy: Strategy | None = None) -> Spec:
    plain = Route(selector=0, name="any", chain=CHAIN)
    return replace(SPEC, models=MODELS, routes=(replace(plain, strategy=strategy) if strategy else plain,))


def asks(text: str, *, model: str = "any", wish: str = "", session: str = "", **more: object) -> bytes:
    headers = ({"x-route-strategy": wish} if wish else {}) | ({"x-session-id": session} if session else {})
    return chat(model, headers=headers, messages=[{"role": "user", "content": text}], **more)


def served(reply: Reply) -> str:
    assert reply.status == 200, reply.body
    return reply.route["model"]


BY = [
    ("cost", "cheap"),
    ("cost_optimized", "cheap"),
    ("latency", "fast"),
    ("quality", "good"),
    ("balanced", "fast"),
    ("least-loaded", "fast"),
    ("specialty", "fast"),
]


@pytest.mark.parametrize(("wish", "wanted"), BY)
async def test_a_caller_may_choose_the_strategy_of_a_request(start: Start, wish: str, wanted: str) -> None:
    router: Running = await start(engines=ENGINES, spec=spec())
    reply = await router.call(asks("hm", wish=wish))
    assert served(reply) == wanted
    assert reply.route["chosen"].endswith(":general")


@pytest.mark.parametrize(("strategy", "wanted"), [("cost", "cheap"), ("latency", "fast"), ("quality", "good"), ("ensemble", "fast")])
async def test_a_route_may_choose_the_strategy_of_its_requests(start: Start, strategy: Strategy, wanted: str) -> None:
    router: Running = await start(engines=ENGINES, spec=spec(strategy))
    reply = await router.call(asks("hm"))
    assert served(reply) == wanted
    assert reply.route["chosen"] == f"{strategy}:general"


async def test_the_caller_s_strategy_goes_before_the_route_s(start: Start) -> None:
    router: Running = await start(engines=ENGINES, spec=spec("cost"))
    assert served(await router.call(asks("hm", wish="quality"))) == "good"


async def test_who_names_a_model_gets_it(start: Start) -> None:
    router: Running = await start(engines=ENGINES, spec=spec("cost"))
    reply = await router.call(asks(CODE, model="fast"))
    assert served(reply) == "fast"
    assert "chosen" not in reply.route


async def test_a_route_without_a_strategy_keeps_its_order(start: Start) -> None:
    router: Running = await start(engines=ENGINES, spec=spec())
    reply = await router.call(asks(CODE))
    assert served(reply) == "fast"
    assert "chosen" not in reply.route


async def test_auto_goes_to_who_is_good_at_what_is_asked(start: Start) -> None:
    router: Running = await start(engines=ENGINES, spec=spec())
    code = await router.call(asks(CODE, model="auto"))
    assert (served(code), code.route["chosen"]) == ("good", "specialty:code_generation")
    fact = await router.call(asks("What is the capital of France?", model="auto"))
    assert (served(fact), fact.route["chosen"]) == ("fast", "specialty:simple_qa")


async def test_a_specialist_goes_before_a_cheaper_model_and_that_one_is_the_fallback(start: Start) -> None:
    broken = plays(answer(b"{}", 500))
    router: Running = await start(engines=[ENGINES[0], ENGINES[1], ("c", broken, "good")], spec=spec("cost"))
    reply = await router.call(asks(CODE))
    assert served(reply) == "cheap"
    assert reply.route["attempts"] == "2"


async def test_round_robin_takes_each_in_turn(start: Start) -> None:
    router: Running = await start(engines=ENGINES, spec=spec("round_robin"))
    turns = [served(await router.call(asks("hm"))) for _ in range(6)]
    assert sorted(turns[:3]) == sorted(turns[3:]) == sorted(CHAIN)


BOUNDS = [
    ("quality; max_cost=0.002", "cheap"),
    ("cost; required_quality=0.9", "good"),
    ("cost; max_latency_ms=100", "fast"),
    ("cost; capability=code", "cheap"),
    ("capability=code", "good"),
    ("quality; capability=translation", "fast"),
    ("max_latency_ms=1000; required_quality=0.45", "fast"),
]


@pytest.mark.parametrize(("wish", "wanted"), BOUNDS)
async def test_bounds_are_kept(start: Start, wish: str, wanted: str) -> None:
    router: Running = await start(engines=ENGINES, spec=spec())
    assert served(await router.call(asks("hm", wish=wish))) == wanted


async def test_no_model_beyond_the_bounds_answers_when_those_within_fail(start: Start) -> None:
    router: Running = await start(engines=[*ENGINES[:2], ("c", plays(answer(b"{}", 500)), "good")], spec=spec())
    reply = await router.call(asks("hm", wish="required_quality=0.9"))
    assert reply.status == 502
    assert router.heard() == 1


IMPOSSIBLE = [
    ("max_cost=0.0000001", "max_cost"),
    ("max_latency_ms=1", "max_latency_ms"),
    ("required_quality=0.99", "required_quality"),
    ("max_tokens=9000", "max_tokens"),
]


@pytest.mark.parametrize(("wish", "field"), IMPOSSIBLE)
async def test_what_no_model_meets_is_refused_with_the_field_named(start: Start, wish: str, field: str) -> None:
    router: Running = await start(engines=ENGINES, spec=spec())
    reply = await router.call(asks("hm", wish=wish))
    assert (reply.status, reply.code, reply.json["error"]["param"]) == (400, "no_model_fits", field)
    assert all(name in reply.json["error"]["message"] for name in CHAIN)
    assert router.heard() == 0


async def test_the_body_s_own_limit_of_tokens_counts_too(start: Start) -> None:
    small = replace(MODELS[0], context=1000)
    router: Running = await start(engines=ENGINES, spec=replace(spec(), models=(small, *MODELS[1:])))
    assert served(await router.call(asks("hm", wish="cost", max_tokens=900))) == "cheap"
    assert served(await router.call(asks("hm", wish="cost", max_tokens=2000))) == "fast"


HOSTILE = [
    ("fastest", "strategy"),
    ("cost; cost", "strategy"),
    ("max_cost=-1", "max_cost"),
    ("max_cost=1e9", "max_cost"),
    ("max_cost=nan", "max_cost"),
    ("max_cost=٣", "x-route-strategy"),
    ("required_quality=1.5", "required_quality"),
    ("max_tokens=0", "max_tokens"),
    ("max_tokens=1.5", "max_tokens"),
    ("capability=hacking", "capability"),
    ("colour=red", "colour"),
    ('{"strategy": "cost"}', "strategy"),
    ("cost; " * 200, "x-route-strategy"),
    ("[" * 400, "strategy"),
    ("cost\x01", "strategy"),
]


@pytest.mark.parametrize(("wish", "param"), HOSTILE)
async def test_a_malformed_wish_is_refused_with_the_field_named(start: Start, wish: str, param: str) -> None:
    router: Running = await start(engines=ENGINES, spec=spec("cost"))
    body = b'{"model": "any", "messages": [{"role": "user", "content": "hm"}]}'
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: r\r\nx-route-strategy: {wish}\r\ncontent-length: {len(body)}\r\n\r\n"
    reply = await router.call(head.encode() + body)
    assert reply.status == 400
    if "\x01" not in wish:
        assert reply.json["error"]["param"] == param
    assert router.heard() == 0


DEEP = [
    b'{"model": "any", "messages": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    b'{"model": "any", "messages": [{"role": "user", "content": ' + b'[{"content":' * 300 + b'"x"' + b"}]" * 300 + b"}]}",
    b'{"model": "any", "messages": 7}',
    b'{"model": "any", "messages": [{"role": 1, "content": {"a": [1]}}]}',
    b'{"model": "any", "prompt": "\\ud800 \\u0000 odd"}',
    b'{"model": "any", "messages": [{"role": "user", "content": "\\ud83d\\ude00 \\u202e\\u0007"}]}',
    b'{"model": "any", "max_tokens": -5, "messages": []}',
    b'{"model": "any", "messages": [' + b'{"role":"user","content":[' + b'{"type":"text","text":""},' * 20_000 + b"{}]}]}",
]


@pytest.mark.parametrize("body", DEEP)
async def test_odd_bodies_are_chosen_for_or_refused_and_nothing_breaks(start: Start, body: bytes) -> None:
    router: Running = await start(engines=ENGINES, spec=spec("balanced"))
    assert (await router.call(post("/v1/chat/completions", body))).status in (200, 400)
    assert served(await router.call(asks("hm"))) == "fast"


async def test_a_wish_does_not_reach_the_engine(start: Start) -> None:
    router: Running = await start(engines=ENGINES, spec=spec())
    await router.call(asks("hm", wish="cost"))
    (heard,) = router.engines["cheap/a"].heard
    assert heard.header("x-route-strategy") is None
    assert heard.json["model"] == "cheap"


async def test_a_session_keeps_the_model_that_was_chosen_for_its_first_turn(start: Start) -> None:
    router: Running = await start(engines=ENGINES, spec=spec("cost"))
    assert served(await router.call(asks(CODE, session="talk"))) == "good"
    later = await router.call(asks("Thanks! And what is the capital of France?", session="talk"))
    assert served(later) == "good"
    assert later.route["reason"] == "home"
    kept = (await router.get("/sessions/talk")).json
    assert (kept["model"], kept["turns"]) == ("good", 2)


async def test_a_wish_in_a_session_is_for_one_request(start: Start) -> None:
    router: Running = await start(engines=ENGINES, spec=spec())
    assert served(await router.call(asks("hm", session="one"))) == "fast"
    assert served(await router.call(asks("hm", session="one", wish="quality"))) == "good"
    assert served(await router.call(asks("hm", session="one"))) == "fast"


async def test_a_model_that_shows_slow_or_fails_is_chosen_less(start: Start) -> None:
    broken = plays(answer(b"{}", 500))
    router: Running = await start(engines=[("a", broken, "cheap"), *ENGINES[1:]], spec=spec("cost"))
    assert served(await router.call(asks("hm", wish="max_latency_ms=1000; cost"))) == "fast"
    chooser = router.wired.plane.chooser
    await until(lambda: chooser.windows["cheap"].total == 1)
    assert chooser.windows["cheap"].success_rate < 1
    assert chooser.windows["fast"].total == 0  # its time was also the failed attempt's
    assert served(await router.call(asks("hm", wish="quality"))) == "good"
    await until(lambda: chooser.windows["good"].total == 1)


async def test_a_prompt_that_is_no_chat_is_read_too(start: Start) -> None:
    router: Running = await start(engines=ENGINES, spec=spec("cost"))
    reply = await router.call(post("/v1/completions", {"model": "any", "prompt": CODE}))
    assert served(reply) == "good"


async def said(router: Running, **fields: object) -> Reply:
    await router.call(post("/initiate_call", {"session_id": "seed"}))
    return await router.call(post("/chat_completions", {"session_id": "seed", "message": "hm", **fields}))


async def test_a_message_of_the_session_api_may_say_what_it_needs(start: Start) -> None:
    router: Running = await start(engines=ENGINES, spec=spec())
    assert (await said(router)).json["model"] == "fast"
    assert (await said(router, strategy="quality_optimized", max_tokens=50)).json["model"] == "good"
    assert (await said(router, strategy="quality", max_cost=0.00001)).json["error"]["param"] == "max_cost"
    assert (await said(router, capability="code", max_cost=0.001)).json["model"] == "cheap"
    assert (await said(router, max_tokens=50)).json["model"] == "fast"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"strategy": "x; max_cost=1"}, "strategy"),
        ({"strategy": "é"}, "strategy"),
        ({"max_cost": -1}, "max_cost"),
        ({"max_cost": 1e300}, "max_cost"),
    ],
)
async def test_a_message_that_asks_for_nonsense_is_refused(start: Start, fields: dict[str, object], param: str) -> None:
    router: Running = await start(engines=ENGINES, spec=spec())
    reply = await said(router, **fields)
    assert (reply.status, reply.json["error"]["param"]) == (400, param)
    assert router.heard() == 0


async def test_nobody_is_chosen_that_the_tenant_may_not_use(start: Start) -> None:
    """The route is not the tenant's, so what it may use of the chain is what it may name."""
    tenant = Tenant(name="t", key_sha256=(digest("wf-t"),), allow=("fast", "cheap"), budget_per="none")
    router: Running = await start(engines=ENGINES, spec=replace(spec(), tenants=(tenant,)))
    body = {"model": "fast", "messages": [{"role": "user", "content": "hm"}]}

    async def chosen(wish: str) -> Reply:
        return await router.call(post("/v1/chat/completions", body, {"authorization": "Bearer wf-t", "x-route-strategy": wish}))

    assert served(await chosen("quality")) == "fast"
    assert served(await chosen("cost")) == "cheap"
    assert (await chosen("required_quality=0.9")).json["error"]["param"] == "required_quality"
    told = await router.call(post("/routing/explain", body, {"authorization": "Bearer wf-t", "x-route-strategy": "quality"}))
    assert told.json["order"] == ["fast", "cheap"]

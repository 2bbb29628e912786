"""POST /routing/explain: the decision with its steps, as it would be made."""

from __future__ import annotations

from typing import Any

import pytest

from tests.router.client import Reply, post
from tests.router.conftest import Running, Start
from tests.router.test_choice_served import CHAIN, CODE, ENGINES, asks, served, spec


def explain(text: str, model: str = "any", *, wish: str = "", **fields: Any) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return post("/routing/explain", body, {"x-route-strategy": wish} if wish else {})


async def test_each_step_of_the_decision_is_shown(start: Start) -> None:
    router: Running = await start(engines=ENGINES, spec=spec("balanced"))
    reply = await router.call(explain(CODE, max_latency_ms=1000))
    found = reply.json
    assert (found["strategy"], found["order"]) == ("balanced", ["cheap", "fast"])
    assert (found["capability"]["name"], found["capability"]["is_said"]) == ("code_generation", False)
    refused = {each["name"]: each["refused"] for each in found["candidates"]}
    assert refused["good"] == {"field": "max_latency_ms", "why": "takes about 2000 ms"}
    steps = [line.partition(" ")[0].rstrip(":") for line in found["activity_log"]]
    assert steps == ["classify", "filter", "rank", "boost", "fallback"]
    assert router.heard() == 0


@pytest.mark.parametrize("wish", ["cost", "quality", "round_robin", "ensemble", "specialty; capability=code"])
async def test_what_is_explained_is_what_happens(start: Start, wish: str) -> None:
    router: Running = await start(engines=ENGINES, spec=spec())
    for _ in range(2):
        told = (await router.call(explain(CODE, wish=wish))).json["order"]
        assert served(await router.call(asks(CODE, wish=wish))) == told[0]


async def test_explaining_learns_and_counts_nothing(start: Start) -> None:
    router: Running = await start(engines=ENGINES, spec=spec("round_robin"))
    orders = {tuple((await router.call(explain("hm"))).json["order"]) for _ in range(3)}
    assert len(orders) == 1
    assert all(window.total == 0 for window in router.wired.plane.chooser.windows.values())
    assert await router.metric('warmfleet_router_arrivals_total{model="fast"}') == 0


async def test_a_chain_that_stands_is_said_to_stand(start: Start) -> None:
    router: Running = await start(engines=ENGINES, spec=spec())
    found = (await router.call(explain(CODE))).json
    assert (found["strategy"], found["order"]) == ("chain", list(CHAIN))


REFUSED = [
    (explain("hm", max_cost=0), "no_model_fits", "max_cost"),
    (explain("hm", strategy="fastest"), "invalid_request", "strategy"),
    (explain("hm", strategy=7), "invalid_request", "strategy"),
    (explain("hm", max_cost="much"), "invalid_request", "max_cost"),
    (explain("hm", max_latency_ms=1e300), "invalid_request", "max_latency_ms"),
    (explain("hm", wish="max_cost=x"), "invalid_request", "max_cost"),
    (explain("hm", model="nobody"), "model_not_found", "model"),
    (post("/routing/explain", b"[" * 50_000), "invalid_request", None),
    (post("/routing/explain", b""), "invalid_request", None),
]


@pytest.mark.parametrize(("call", "code", "param"), REFUSED)
async def test_what_cannot_be_explained_is_refused_in_openai_s_shape(start: Start, call: bytes, code: str, param: str | None) -> None:
    router: Running = await start(engines=ENGINES, spec=spec("cost"))
    reply: Reply = await router.call(call)
    assert 400 <= reply.status < 500
    assert (reply.code, reply.json["error"]["param"]) == (code, param)

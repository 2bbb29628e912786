"""Sessions end to end: where a conversation is served, and what it remembers."""

from __future__ import annotations

import pytest

from router.sessions.table import Session
from tests.router.client import Reply, chat, post
from tests.router.conftest import Running, Start
from tests.router.upstream import answer, plays, resets, says_hello

OURS_QUICK = "wf-" + "0" * 31 + "3"


async def say(router: Running, session: str, model: str = "auto") -> Reply:
    return await router.call(chat(model, headers={"x-session-id": session}))


async def test_a_session_stays_at_home(start: Start) -> None:
    router: Running = await start(engines=[(f"r{n}", says_hello) for n in range(6)])
    first = await say(router, "mine")
    assert (first.headers["x-session-id"], first.route["reason"]) == ("mine", "least")
    for _ in range(8):
        reply = await say(router, "mine")
        assert (reply.route["replica"], reply.route["reason"]) == (first.route["replica"], "home")
    sessions = router.wired.plane.sessions
    assert sessions.get("mine", 0) == Session(0, "", first.route["replica"], 1, 1)
    assert sessions.turns("mine") == 8, "the others are counted without being written"


async def test_a_scale_up_moves_no_session(start: Start) -> None:
    router: Running = await start(engines=[("old", says_hello)])
    await say(router, "mine")
    for n in range(5):
        await router.engine(f"new{n}", says_hello)
    router.warm()
    for _ in range(5):
        assert (await say(router, "mine")).route["replica"] == "old"


async def test_an_id_of_ours_says_its_route_without_any_store(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello), ("b", says_hello, "small")])
    reply = await say(router, OURS_QUICK)
    assert (reply.route["selector"], reply.route["route"], reply.route["model"]) == ("3", "quick", "small")


async def test_a_new_callers_id_gets_the_route_of_its_first_model(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello), ("b", says_hello, "small")])
    assert (await say(router, "mine", "small")).route["selector"] == "3"
    assert (await say(router, "mine", "auto")).route["selector"] == "3"


async def test_a_model_named_in_the_body_goes_first_for_that_request_only(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello), ("b", says_hello, "small")])
    await say(router, "mine", "large")
    assert (await say(router, "mine", "small")).route["model"] == "small"
    assert (await say(router, "mine", "large")).route["model"] == "large"
    assert (await say(router, "mine", "auto")).route["model"] == "large"


async def test_a_swap_is_remembered_and_not_held_against_a_warm_model(start: Start) -> None:
    router: Running = await start(engines=[("s", says_hello, "small")])
    assert (await say(router, "mine", "large")).route["model"] == "small"
    await router.engine("l", says_hello)
    router.warm()
    reply = await say(router, "mine", "large")
    assert (reply.route["model"], reply.route["reason"]) == ("small", "home")
    assert (await say(router, "other", "large")).route["model"] == "large"
    router.warm(without="small/s")
    assert (await say(router, "mine", "large")).route["model"] == "large"
    assert await router.metric('warmfleet_router_arrivals_total{model="large"}') == 4
    assert await router.metric('warmfleet_router_arrivals_total{model="small"}') == 0


async def test_a_home_that_fails_is_left_for_good(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello), ("b", says_hello)])
    home = (await say(router, "mine")).route["replica"]
    router.engines[f"large/{home}"].script = resets
    moved = await say(router, "mine")
    assert (moved.status, moved.route["attempts"]) == (200, "2")
    assert (await say(router, "mine")).route["replica"] == moved.route["replica"] != home


async def test_an_ejected_home_lets_pinned_sessions_through_once_at_half_open(start: Start) -> None:
    router: Running = await start(engines=[("a", resets, "lone")])
    for _ in range(3):
        assert (await say(router, "mine", "lone")).status == 502
    engine = router.engines["lone/a"]
    plane = router.wired.plane
    plane.sessions.put("mine", Session(0, "lone", "a"), plane.clock())
    assert (await say(router, "mine", "lone")).status == 503
    assert len(engine.heard) == 3
    later, before = 61.0, plane.clock
    plane.clock = lambda: before() + later
    plane.sessions.put("mine", Session(0, "lone", "a"), plane.clock())
    assert (await say(router, "mine", "lone")).status == 502
    assert (await say(router, "mine", "lone")).status == 503
    assert len(engine.heard) == 4
    later = 130.0
    engine.script = says_hello
    assert [(await say(router, "mine", "lone")).status for _ in range(2)] == [200, 200]


async def test_a_session_starts_over_the_api(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello), ("b", says_hello, "small")])
    begun = (await router.call(post("/initiate_call", {}))).json
    assert begun | {"session_id": "x"} == {"session_id": "x", "selector": 0, "route": "best", "model": "large"}
    assert begun["session_id"].endswith("0")
    said = await router.call(post("/chat_completions", {"session_id": begun["session_id"], "message": "hi"}))
    assert said.json == {"session_id": begun["session_id"], "response": "Hello", "model": "large", "selector": 0}
    heard = router.engines["large/a"].heard[0].json
    assert heard == {"model": "large", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("asked", "selector", "model"),
    [
        ({"selector": 10}, 10, "small"),
        ({"model": "small"}, 3, "small"),
        ({"model": "fallback"}, 10, "small"),
        ({"model": "lone"}, 0, "lone"),
        ({"selector": 3, "model": "large"}, 3, "large"),
        ({"session_id": "own-name"}, 0, "large"),
        ({"session_id": OURS_QUICK}, 3, "small"),
    ],
)
async def test_a_session_starts_where_it_is_told(start: Start, asked: dict[str, object], selector: int, model: str) -> None:
    router: Running = await start(engines=[(m, says_hello, m) for m in ("large", "small", "lone")])
    begun = (await router.call(post("/initiate_call", asked))).json
    assert (begun["selector"], begun["model"]) == (selector, model)
    assert begun["session_id"] == asked.get("session_id", begun["session_id"])
    assert begun["session_id"][-1] == f"{selector:x}" or "session_id" in asked
    assert (await say(router, begun["session_id"])).route["model"] == model


async def test_the_session_api_takes_another_model_for_one_message(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello), ("b", says_hello, "small")])
    session = (await router.call(post("/initiate_call", {}))).json["session_id"]
    said = await router.call(post("/chat_completions", {"session_id": session, "message": "hi", "model": "small"}))
    assert said.json["model"] == "small"


async def test_the_session_api_fails_over_as_the_relay_does(start: Start) -> None:
    router: Running = await start(engines=[("a", resets), ("s", says_hello, "small")])
    session = (await router.call(post("/initiate_call", {}))).json["session_id"]
    said = await router.call(post("/chat_completions", {"session_id": session, "message": "hi"}))
    assert said.json["model"] == "small"


async def test_the_session_api_passes_an_engines_no_on(start: Start) -> None:
    no = b'{"error":{"message":"too long","type":"BadRequestError","param":null,"code":400}}'
    router: Running = await start(engines=[("a", plays(answer(no, 400)))])
    session = (await router.call(post("/initiate_call", {}))).json["session_id"]
    said = await router.call(post("/chat_completions", {"session_id": session, "message": "hi"}))
    assert (said.status, said.body) == (400, no)


async def test_the_session_api_says_when_nothing_is_warm(start: Start) -> None:
    router: Running = await start()
    session = (await router.call(post("/initiate_call", {}))).json["session_id"]
    said = await router.call(post("/chat_completions", {"session_id": session, "message": "hi"}))
    assert (said.status, said.code, said.headers["retry-after"]) == (503, "model_not_warm", "5")

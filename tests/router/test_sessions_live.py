"""The life of a session end to end: how it begins under load, goes back after a swap, shows itself, and winds down."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.state import Level
from router.sessions.table import Session
from tests.router.client import Reply, chat, post
from tests.router.conftest import LIMITS, Running, Start, with_limits
from tests.router.test_cold_served import told
from tests.router.upstream import says_hello

TOOL_CALL = [
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
    {"role": "tool", "tool_call_id": "1", "content": "4"},
]


async def say(router: Running, session: str, model: str = "auto", **more: Any) -> Reply:
    return await router.call(chat(model, headers={"x-session-id": session}, **more))


async def swapped(start: Start) -> Running:
    """A session that was begun while its route's first model was cold; that model has just become warm."""
    router: Running = await start(engines=[("s", says_hello, "small")])
    assert (await say(router, "mine")).route["model"] == "small"
    await router.engine("l", says_hello)
    router.warm()
    return router


def later(router: Running, seconds: float) -> None:
    plane = router.wired.plane
    clock, wall = plane.clock, plane.wall
    plane.clock, plane.wall = (lambda: clock() + seconds), (lambda: wall() + seconds)


async def test_a_swapped_session_goes_back_when_its_model_has_been_warm_for_a_while(start: Start) -> None:
    router = await swapped(start)
    assert (await say(router, "mine")).route["model"] == "small"
    later(router, LIMITS.return_after_s - 10)
    assert (await say(router, "mine")).route["model"] == "small"
    later(router, 11)
    assert (await say(router, "mine", messages=TOOL_CALL)).route["model"] == "small", "not in the middle of a turn"
    assert (await say(router, "mine")).route["model"] == "large"
    kept = router.wired.plane.sessions.get("mine", 0)
    assert kept is not None
    assert (kept.model, kept.home, kept.generation) == ("", "l", 2)


async def test_a_model_that_comes_and_goes_takes_nobody_back(start: Start) -> None:
    router = await swapped(start)
    later(router, LIMITS.return_after_s + 1)
    router.warm(without="large/l")
    router.warm()
    assert (await say(router, "mine")).route["model"] == "small"


@pytest.mark.parametrize(("level", "model"), [("low", "large"), ("medium", "large"), ("high", "small"), ("failure", "small")])
async def test_a_strained_model_takes_nobody_back(start: Start, level: Level, model: str) -> None:
    router = await swapped(start)
    later(router, LIMITS.return_after_s + 1)
    router.wired.plane.publish({"large": told("large", level)})
    assert (await say(router, "mine")).route["model"] == model


async def test_a_session_that_was_swapped_again_waits_again(start: Start) -> None:
    router = await swapped(start)
    later(router, LIMITS.return_after_s + 1)
    assert (await say(router, "mine")).route["model"] == "large"
    router.warm(without="large/l")
    assert (await say(router, "mine")).route["model"] == "small"
    router.warm()
    later(router, LIMITS.return_after_s - 1)
    assert (await say(router, "mine")).route["model"] == "small"


async def test_what_the_caller_chose_is_kept(start: Start) -> None:
    router: Running = await start(engines=[("l", says_hello), ("s", says_hello, "small")])
    session = (await router.call(post("/initiate_call", {"selector": 0, "model": "small"}))).json["session_id"]
    later(router, 10 * LIMITS.return_after_s)
    assert (await say(router, session)).route["model"] == "small"


@pytest.mark.parametrize(("level", "model"), [("medium", "large"), ("high", "small"), ("failure", "small")])
async def test_under_load_new_sessions_begin_with_the_next_model_and_old_ones_stay(start: Start, level: Level, model: str) -> None:
    router: Running = await start(engines=[("l", says_hello), ("s", says_hello, "small")])
    await say(router, "old")
    router.wired.plane.publish({"large": told("large", level)})
    assert (await say(router, "old")).route["model"] == "large"
    assert (await say(router, "new")).route["model"] == model
    begun = (await router.call(post("/initiate_call", {}))).json
    assert begun["model"] == model
    assert (await say(router, begun["session_id"])).route["model"] == model
    assert await router.metric('warmfleet_router_session_starts_total{model="large"}') == (3 if model == "large" else 1)
    assert await router.metric('warmfleet_router_session_starts_total{model="small"}') == (0 if model == "large" else 2)


async def test_a_session_can_be_looked_at_and_ended(start: Start) -> None:
    router = await swapped(start)
    shown = (await router.get("/sessions/mine")).json
    assert shown == {
        "session_id": "mine",
        "selector": 0,
        "route": "best",
        "model": "small",
        "swapped": True,
        "home": "s",
        "generation": 1,
        "turns": 1,
    }
    ended = await router.call(b"DELETE /sessions/mine HTTP/1.1\r\nhost: r\r\n\r\n")
    assert (ended.status, ended.body) == (204, b"")
    gone = await router.get("/sessions/mine")
    assert (gone.status, gone.code) == (404, "session_not_found")
    again = await router.call(b"DELETE /sessions/mine HTTP/1.1\r\nhost: r\r\n\r\n")
    assert again.status == 204
    assert (await say(router, "mine")).route["model"] == "large", "it begins anew"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_id_that_is_none_is_refused(start: Start, method: str) -> None:
    router: Running = await start()
    reply = await router.call(f"{method} /sessions/a%20b HTTP/1.1\r\nhost: r\r\n\r\n".encode())
    assert (reply.status, reply.code) == (400, "invalid_session")


async def test_beginning_a_known_session_anew_makes_a_later_generation(start: Start) -> None:
    router = await swapped(start)
    begun = (await router.call(post("/initiate_call", {"session_id": "mine", "selector": 3}))).json
    assert (begun["selector"], begun["model"]) == (3, "small")
    assert router.wired.plane.sessions.get("mine", 0) == Session(3, generation=2)


async def test_ids_without_end_from_one_key_leave_the_others_alone(start: Start) -> None:
    router: Running = await start(engines=[("l", says_hello)], spec=with_limits(max_sessions=20))
    for n in range(4):
        await router.call(chat("auto", headers={"x-session-id": f"good{n}", "authorization": f"Bearer key{n}"}))
    for n in range(60):
        await router.call(chat("auto", headers={"x-session-id": f"evil{n}", "authorization": "Bearer evil"}))
    sessions = router.wired.plane.sessions
    assert len(sessions) == 20
    assert all(sessions.get(f"good{n}", 0) is not None for n in range(4))

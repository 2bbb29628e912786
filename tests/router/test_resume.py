"""A plain-text stream that breaks after content goes on at another replica, and its caller sees one stream."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest

from router.relay import transcript
from router.replicas.breaker import State
from tests.router.client import Reply, chat, post
from tests.router.conftest import Running, Start, until, with_slo
from tests.router.upstream import (
    CHAT,
    DONE,
    SSE_HEAD,
    Play,
    Script,
    answer,
    chunked,
    plays,
    plays_and_cuts,
    recording,
    resets,
    silent,
)

ERROR = b'data: {"error":{"message":"x","type":"server_error","param":null,"code":500}}\n\n'


def event(delta: dict[str, Any], who: str, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    created = {"first": 1, "second": 2}[who]
    document = {"id": who, "object": "chat.completion.chunk", "created": created, "model": f"m-{who}", "choices": [choice], **more}
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def usage(who: str, prompt: int, generated: int) -> bytes:
    numbers = {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated}
    return b"data: " + json.dumps({"id": who, "choices": [], "usage": numbers}).encode() + b"\n\n"


OPENING = {"role": "assistant", "content": ""}
BEGINNING = [event(OPENING, "first"), event({"content": "One, "}, "first"), event({"content": "two, "}, "first")]
ENDING = [event(OPENING, "second"), event({"content": "three"}, "second"), event({}, "second", "stop")]
GOES_ON = plays(SSE_HEAD + chunked([*ENDING, DONE]))


def begins_then(after: Script) -> Script:
    async def script(play: Play) -> None:
        await play.send(SSE_HEAD + chunked(BEGINNING, end=False))
        await after(play)

    return script


async def closes(play: Play) -> None:
    play.writer.close()


async def garbles(play: Play) -> None:
    await asyncio.sleep(0.05)  # in another read than the content, which would not go out else
    await play.send(b"zz\r\n")


def first_then(first: Script, *others: Script) -> Script:
    """Engines share it: the requests get these scripts in turn, and the last one from then on."""
    scripts = [first, *others]

    async def script(play: Play) -> None:
        await (scripts.pop(0) if len(scripts) > 1 else scripts[0])(play)

    return script


def said(reply: Reply) -> list[dict[str, Any]]:
    assert reply.body.endswith(DONE)
    return [json.loads(part[6:]) for part in reply.body.split(b"\n\n")[:-2]]


def text(reply: Reply) -> str:
    return "".join(c["delta"].get("content") or "" for e in said(reply) for c in e["choices"])


@dataclass(frozen=True)
class Break:
    name: str
    script: Script
    reason: str
    strikes: bool = True


BREAKS = [
    Break("reset", begins_then(resets), "connection"),
    Break("closed", begins_then(closes), "connection"),
    Break("half an event", begins_then(plays_and_cuts(chunked([ENDING[1][:30]], end=False))), "connection"),
    Break("malformed chunk", begins_then(garbles), "connection"),
    Break("a clean end without a finish", begins_then(plays(chunked([]))), "truncated"),
    Break("error event", begins_then(plays(chunked([ERROR, DONE]))), "error_event"),
    Break("error event behind content in one read", plays(SSE_HEAD + chunked([b"".join([*BEGINNING, ERROR, DONE])])), "error_event"),
    Break("stalled", begins_then(silent), "idle"),
]


@pytest.mark.parametrize("case", BREAKS, ids=lambda case: case.name)
async def test_a_stream_that_breaks_goes_on_elsewhere_as_one_stream(start: Start, case: Break) -> None:
    shared = first_then(case.script, GOES_ON)
    router: Running = await start(engines=[("a", shared), ("b", shared)], spec=with_slo(first_token_s=10.0, idle_s=0.4))
    reply = await router.call(chat(stream=True))
    events = said(reply)
    assert text(reply) == "One, two, three"
    assert {(e["id"], e["created"], e["model"]) for e in events} == {("first", 1, "m-first")}
    assert sum("role" in c["delta"] for e in events for c in e["choices"]) == 1
    assert [c["finish_reason"] for c in events[-1]["choices"]] == ["stop"]
    assert sorted(len(engine.heard) for engine in router.engines.values()) == [1, 1]
    assert await router.metric(f'warmfleet_router_resumes_total{{model="large",reason="{case.reason}"}}') == 1
    assert await router.metric('warmfleet_router_truncations_total{model="large"}') == 0
    assert sum(replica.breaker.failures for replica in router.wired.plane.replicas()) == case.strikes
    assert router.in_flight() == 0


async def test_the_next_replica_is_asked_to_continue_the_text_within_what_is_left(start: Start) -> None:
    shared = first_then(begins_then(resets), GOES_ON)
    router: Running = await start(engines=[("a", shared), ("b", shared)])
    await router.call(chat(stream=True, max_tokens=10, temperature=0, seed=7))
    (asked,) = [h.json for e in router.engines.values() for h in e.heard if b"continue_final_message" in h.body]
    assert asked == {
        "model": "large",
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "One, two, "}],
        "stream": True,
        "max_tokens": 8,
        "temperature": 0,
        "seed": 7,
        "continue_final_message": True,
        "add_generation_prompt": False,
    }


async def test_a_message_that_the_caller_began_itself_goes_on(start: Start) -> None:
    shared = first_then(begins_then(resets), GOES_ON)
    router: Running = await start(engines=[("a", shared), ("b", shared)])
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Zero, "}]
    body = {"model": "large", "messages": messages, "stream": True, "continue_final_message": True, "add_generation_prompt": False}
    await router.call(post("/v1/chat/completions", body))
    (asked,) = [h.json["messages"] for e in router.engines.values() for h in e.heard if b"One" in h.body]
    assert asked == [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Zero, One, two, "}]


UNABLE = [
    {"n": 2},
    {"tools": [{"type": "function", "function": {"name": "f"}}]},
    {"response_format": {"type": "json_object"}},
    {"guided_json": {}},
    {"logprobs": True},
    {"a_field_of_tomorrow": 1},
]


@pytest.mark.parametrize("field", UNABLE, ids=lambda field: next(iter(field)))
async def test_what_is_more_than_plain_text_ends_with_an_error(start: Start, field: dict[str, Any]) -> None:
    shared = first_then(begins_then(resets), GOES_ON)
    router: Running = await start(engines=[("a", shared), ("b", shared)])
    reply = await router.call(chat(stream=True, **field))
    assert said(reply)[-1]["error"]["code"] == "stream_truncated"
    assert router.heard() == 1
    assert await router.metric('warmfleet_router_truncations_total{model="large"}') == 1


@pytest.mark.parametrize("delta", [{"tool_calls": [{"index": 0}]}, {"reasoning_content": "hm"}])
async def test_an_answer_that_is_more_than_plain_text_ends_with_an_error(start: Start, delta: dict[str, Any]) -> None:
    broken = plays_and_cuts(SSE_HEAD + chunked([event(delta, "first")], end=False))
    router: Running = await start(engines=[("a", first_then(broken, GOES_ON)), ("b", first_then(broken, GOES_ON))])
    assert said(await router.call(chat(stream=True)))[-1]["error"]["code"] == "stream_truncated"
    assert router.heard() == 1


@pytest.mark.parametrize("nothing", [{"n": 1}, {"tools": []}, {"tools": None}, {"response_format": {"type": "text"}}, {"logprobs": False}])
async def test_a_field_that_asks_for_nothing_is_no_obstacle(start: Start, nothing: dict[str, Any]) -> None:
    shared = first_then(begins_then(resets), GOES_ON)
    router: Running = await start(engines=[("a", shared), ("b", shared)])
    assert text(await router.call(chat(stream=True, **nothing))) == "One, two, three"


@pytest.mark.parametrize(
    "refusal",
    [answer(b'{"error":{"code":400}}', 400), answer(CHAT), answer(b"x" * 300_000)],
    ids=["refused", "not a stream", "large"],
)
async def test_a_refusal_to_continue_reports_the_first_error(start: Start, refusal: bytes) -> None:
    shared = first_then(begins_then(resets), plays(refusal))
    router: Running = await start(engines=[("a", shared), ("b", shared)])
    events = said(await router.call(chat(stream=True)))
    assert "connection lost" in events[-1]["error"]["message"]
    assert router.in_flight() == 0


async def test_a_stream_may_break_again_and_again(start: Start) -> None:
    more = plays_and_cuts(SSE_HEAD + chunked(ENDING[:2], end=False))
    shared = first_then(begins_then(resets), more, more, GOES_ON)
    router: Running = await start(engines=[(name, shared) for name in "abcd"])
    reply = await router.call(chat(stream=True, max_tokens=9))
    assert text(reply) == "One, two, threethreethree"
    assert {e["id"] for e in said(reply)} == {"first"}
    assert [h.json["max_tokens"] for e in router.engines.values() for h in e.heard] != []
    assert {h.json["max_tokens"] for e in router.engines.values() for h in e.heard} == {9, 7, 6, 5}


async def test_usage_counts_the_whole_answer_once(start: Start) -> None:
    ending = plays(SSE_HEAD + chunked([*ENDING, usage("second", prompt=12, generated=3), DONE]))
    shared = first_then(begins_then(resets), ending)
    router: Running = await start(engines=[("a", shared), ("b", shared)])
    reply = await router.call(chat(stream=True, stream_options={"include_usage": True}))
    assert said(reply)[-1]["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    assert await router.metric('warmfleet_router_output_tokens_total{model="large"}') == 5


async def test_an_engine_that_counts_as_it_goes_is_believed(start: Start) -> None:
    head, body = recording("chat-stream-usage")
    parts = [part + b"\n\n" for part in body.split(b"\n\n") if part]
    broken = plays_and_cuts(head + chunked(parts[:3], end=False))
    shared = first_then(broken, GOES_ON)
    router: Running = await start(engines=[("a", shared), ("b", shared)])
    reply = await router.call(chat(stream=True, max_tokens=9))
    assert text(reply) == "Hi!three"
    assert len({e["id"] for e in said(reply)}) == 1
    (asked,) = [h.json for e in router.engines.values() for h in e.heard if b"continue_final" in h.body]
    assert asked["max_tokens"] == 7


async def test_a_stream_that_lost_only_its_end_is_ended(start: Start) -> None:
    finished = plays_and_cuts(SSE_HEAD + chunked([*BEGINNING, event({}, "first", "stop")], end=False))
    router: Running = await start(engines=[("a", finished), ("b", finished)])
    events = said(await router.call(chat(stream=True)))
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert router.heard() == 1
    assert sum(replica.breaker.failures for replica in router.wired.plane.replicas()) == 1


async def test_a_stream_that_broke_at_its_limit_has_said_everything(start: Start) -> None:
    router: Running = await start(engines=[("a", begins_then(resets)), ("b", begins_then(resets))])
    reply = await router.call(chat(stream=True, max_tokens=2))
    assert text(reply) == "One, two, "
    assert said(reply)[-1]["choices"][0]["finish_reason"] == "length"
    assert router.heard() == 1


async def test_the_only_replica_is_waited_for(start: Start) -> None:
    router: Running = await start(engines=[("a", begins_then(closes))])
    engine = router.engines["large/a"]
    async with await router.connect() as caller:
        await caller.send(chat(stream=True))
        await caller.until(1)
        await engine.stop()
        await until(lambda: [r for r in router.wired.plane.active if r.attempts > 2])  # type: ignore[attr-defined]
        engine.script = GOES_ON
        await engine.start()
        assert text(await caller.reply()) == "One, two, three"
    assert router.wired.plane.homes["a"].breaker.state is State.CLOSED


async def test_a_replica_that_does_not_come_back_is_not_waited_for_longer_than_a_first_token(start: Start) -> None:
    router: Running = await start(engines=[("a", begins_then(closes))], spec=with_slo(first_token_s=1.5, idle_s=10.0))
    engine = router.engines["large/a"]
    async with await router.connect() as caller:
        await caller.send(chat(stream=True))
        await caller.until(1)
        router.warm(without="large/a")
        reply = await caller.reply()
    assert said(reply)[-1]["error"]["code"] == "stream_truncated"
    assert len(engine.heard) == 1


async def test_a_replica_that_falls_silent_in_its_turn_does_not_use_up_the_wait(start: Start) -> None:
    async def opens_and_is_silent(play: Play) -> None:
        await play.send(SSE_HEAD + chunked(ENDING[:1], end=False))
        await silent(play)

    shared = first_then(begins_then(resets), opens_and_is_silent, GOES_ON)
    router: Running = await start(engines=[("a", shared), ("b", shared)], spec=with_slo(first_token_s=1.5, idle_s=10.0))
    reply = await router.call(chat(stream=True))
    assert text(reply) == "One, two, three"
    assert router.heard() == 3


async def test_another_model_never_goes_on_with_an_answer(start: Start) -> None:
    spec = with_slo(first_token_s=0.5, idle_s=10.0)
    router: Running = await start(engines=[("a", begins_then(resets)), ("s", GOES_ON, "small")], spec=spec)
    reply = await router.call(chat(stream=True))
    assert said(reply)[-1]["error"]["code"] == "stream_truncated"
    assert router.engines["small/s"].heard == []


async def test_a_caller_who_leaves_ends_the_wait(start: Start) -> None:
    shared = first_then(begins_then(resets), silent)
    router: Running = await start(engines=[("a", shared), ("b", shared)])
    async with await router.connect() as caller:
        await caller.send(chat(stream=True))
        await caller.until(1)
        await until(lambda: router.heard() == 2)
    await until(lambda: not router.wired.plane.active and all(engine.open == 0 for engine in router.engines.values()))
    assert router.in_flight() == 0


async def test_long_streams_are_kept_as_text_within_a_bound(start: Start) -> None:
    many = [event({"content": f"{n} "}, "first") for n in range(1000)]
    broken = plays_and_cuts(SSE_HEAD + chunked([BEGINNING[0], *many], end=False))
    shared = first_then(broken, GOES_ON)
    router: Running = await start(engines=[("a", shared), ("b", shared)])
    reply = await router.call(chat(stream=True))
    assert text(reply) == "".join(f"{n} " for n in range(1000)) + "three"


async def test_what_was_sent_is_kept_as_text_before_it_becomes_much(start: Start) -> None:
    async def script(play: Play) -> None:
        for n in range(1000):
            await play.send(chunked([event({"content": f"{n} "}, "first")], end=False) if n else SSE_HEAD + chunked(BEGINNING, end=False))
        await until(lambda: sent)
        play.cut()

    sent: list[bool] = []
    shared = first_then(script, GOES_ON)
    router: Running = await start(engines=[("a", shared), ("b", shared)])
    async with await router.connect() as caller:
        await caller.send(chat(stream=True))
        while b'"999 "' not in (await caller.until(1)).body:
            await caller._read()
        (relay,) = router.wired.plane.active
        await until(lambda: relay.begun._said is not None)  # type: ignore[attr-defined]
        assert len(relay.begun._parts) == 2  # type: ignore[attr-defined]
        sent.append(True)
        assert text(await caller.reply()) == "One, two, " + "".join(f"{n} " for n in range(1, 1000)) + "three"


async def test_a_stream_longer_than_the_bound_ends_with_an_error(start: Start) -> None:
    many = [event({"content": "x" * 4000}, "first") for _ in range(300)]
    broken = plays_and_cuts(SSE_HEAD + chunked(many, end=False))
    shared = first_then(broken, GOES_ON)
    router: Running = await start(engines=[("a", shared), ("b", shared)])
    assert said(await router.call(chat(stream=True)))[-1]["error"]["code"] == "stream_truncated"
    assert router.heard() == 1


async def test_a_stream_can_be_moved_away_from_a_replica_that_will_be_stopped(start: Start) -> None:
    shared = first_then(begins_then(silent), GOES_ON)
    router: Running = await start(engines=[("a", shared), ("b", shared)])
    async with await router.connect() as caller:
        await caller.send(chat(stream=True))
        await caller.until(1)
        (relay,) = router.wired.plane.active
        assert relay.move_away("drain")  # type: ignore[attr-defined]
        assert text(await caller.reply()) == "One, two, three"
    assert await router.metric('warmfleet_router_resumes_total{model="large",reason="drain"}') == 1
    assert all(replica.breaker.failures == 0 for replica in router.wired.plane.replicas())


async def test_a_stream_moves_before_its_replica_is_killed_and_not_sooner(start: Start) -> None:
    shared = first_then(begins_then(silent), GOES_ON)
    router: Running = await start(engines=[("a", shared), ("b", shared)])
    plane = router.wired.plane
    async with await router.connect() as caller:
        await caller.send(chat(stream=True))
        await caller.until(1)
        (relay,) = plane.active
        home = relay.attempt.replica  # type: ignore[attr-defined]
        router.warm(without=f"large/{home.endpoint.alloc_id}")
        now = plane.clock()
        assert now + plane.catalogue.stays_s("large") - 1 < home.move_at < now + plane.catalogue.stays_s("large") + 1
        relay.sweep(home.move_at - 0.01)
        assert relay.attempt.replica is home  # type: ignore[attr-defined]
        home.move_at = plane.clock()
        assert text(await caller.reply()) == "One, two, three"
    assert await router.metric('warmfleet_router_resumes_total{model="large",reason="drain"}') == 1


@pytest.mark.parametrize(("more", "replicas"), [({}, "a"), ({"n": 2}, "ab")])
async def test_a_stream_that_cannot_move_stays(start: Start, more: dict[str, Any], replicas: str) -> None:
    async def waits(play: Play) -> None:
        await until(lambda: asked)
        await play.send(chunked([*ENDING, DONE]))

    asked: list[bool] = []
    router: Running = await start(engines=[(name, begins_then(waits)) for name in replicas])
    async with await router.connect() as caller:
        await caller.send(chat(stream=True, **more))
        await caller.until(1)
        (relay,) = router.wired.plane.active
        asked.append(relay.move_away("drain"))  # type: ignore[attr-defined]
        assert text(await caller.reply()) == "One, two, three"
    assert asked == [False]


@pytest.mark.parametrize(("streams", "kept_bytes"), [(0, 32768), (128, 32768), (1000, 4194), (100_000, 2048)])
def test_the_more_streams_are_open_the_less_of_each_is_kept_unread(streams: int, kept_bytes: int) -> None:
    assert transcript.chunks_bytes(streams) == kept_bytes

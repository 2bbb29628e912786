"""A request that no engine can answer takes no replica from anybody else; a replica that fails where others do not is ejected as ever."""

from __future__ import annotations

import pytest

from router.replicas.breaker import State
from tests.router.client import chat
from tests.router.conftest import Running, Start, with_slo
from tests.router.upstream import DONE, SSE_HEAD, Play, Script, answer, chunked, plays, says_hello, silent

BROKEN = answer(b'{"error":{"message":"key not found","type":"server_error","code":500}}', 500)
ERROR_EVENT = SSE_HEAD + chunked([b'data: {"error":{"message":"engine","type":"InternalServerError","code":500}}\n\n', DONE])


def unless_poisoned(answer_to_poison: bytes) -> Script:
    async def script(play: Play) -> None:
        if b"poison" in play.heard.body:
            await play.send(answer_to_poison)
        else:
            await says_hello(play)

    return script


def states(router: Running) -> set[tuple[State, int]]:
    return {(replica.breaker.state, replica.breaker.failures) for replica in router.wired.plane.replicas()}


@pytest.mark.parametrize(("bad", "stream"), [(BROKEN, False), (BROKEN, True), (ERROR_EVENT, True)])
@pytest.mark.parametrize("engines", [(("a",), ("b",)), (("a",), ("s", "small")), (("a",),)], ids=["two", "two models", "alone"])
async def test_a_request_that_fails_everywhere_ejects_nobody(
    start: Start, bad: bytes, stream: bool, engines: tuple[tuple[str, ...], ...]
) -> None:
    script = unless_poisoned(bad)
    router: Running = await start(engines=[(name, script, *model) for name, *model in engines])
    for _ in range(8):
        assert (await router.call(chat(stream=stream, user="poison"))).status == 502
    assert states(router) == {(State.CLOSED, 0)}
    reply = await router.call(chat())
    assert (reply.status, reply.route["attempts"]) == (200, "1")


@pytest.mark.parametrize("names", [("a", "b"), ("a",)], ids=["two", "alone"])
async def test_a_prompt_that_takes_everybody_too_long_ejects_nobody(start: Start, names: tuple[str, ...]) -> None:
    async def script(play: Play) -> None:
        await (silent(play) if b"endless" in play.heard.body else says_hello(play))

    router: Running = await start(engines=[(name, script) for name in names], spec=with_slo(first_token_s=0.3, idle_s=10.0))
    for _ in range(4):
        assert (await router.call(chat(stream=True, user="endless"))).status in (502, 503, 504)
    assert states(router) == {(State.CLOSED, 0)}
    assert (await router.call(chat())).status == 200


async def test_a_replica_that_is_silent_where_another_answers_is_ejected(start: Start) -> None:
    router: Running = await start(engines=[("a", silent), ("b", says_hello)], spec=with_slo(first_token_s=0.3, idle_s=10.0))
    for _ in range(40):
        assert (await router.call(chat(stream=True))).status == 200
    assert ejected(router) == {b"model=large; replica=a"}


async def test_a_replica_that_fails_what_another_answers_is_ejected(start: Start) -> None:
    router: Running = await start(engines=[("a", plays(BROKEN)), ("b", says_hello)])
    for _ in range(40):
        assert (await router.call(chat())).status == 200
    assert ejected(router) == {b"model=large; replica=a"}
    assert len(router.engines["large/a"].heard) == 3


async def test_a_caller_of_poison_does_not_save_a_replica_that_is_broken(start: Start) -> None:
    """His requests use up retries, so one of the others may fail meanwhile."""
    router: Running = await start(engines=[("a", plays(BROKEN)), ("b", unless_poisoned(BROKEN))])
    for number in range(100):
        await router.call(chat(user="poison" if number % 10 == 0 else "somebody"))
    assert ejected(router) == {b"model=large; replica=a"}


def ejected(router: Running) -> set[bytes]:
    return {replica.trace for replica in router.wired.plane.replicas() if replica.breaker.state is State.OPEN}

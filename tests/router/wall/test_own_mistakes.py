"""What is no fault of an engine, and what nobody asked an engine for."""

from __future__ import annotations

import pytest

from tests.router.conftest import Running, Start, until
from tests.router.upstream import answer, plays
from tests.router.wall.faults import nothing_is_left
from tests.router.wall.kinds import KINDS, Kind

MISTAKES = (400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 415, 418, 422, 451, 501)


@pytest.mark.parametrize("status", MISTAKES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_the_callers_own_mistake(start: Start, kind: Kind, status: int) -> None:
    body = b'{"error":{"message":"no","type":"x","param":null,"code":%d}}' % status
    router: Running = await start(engines=[(name, plays(answer(body, status))) for name in "ab"])
    reply = await router.call(kind.request)
    assert (reply.status, reply.body) == (status, body)
    assert router.heard() == 1
    await nothing_is_left(router, strikes=0)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_more_than_the_answer_is_nobodys_answer(start: Start, kind: Kind) -> None:
    """A second answer behind the first one ends the connection, and the next request gets its own."""
    router: Running = await start(engines=[("a", plays(kind.good + answer(b'{"a":"strangers"}')))])
    for _ in range(2):
        reply = await router.call(kind.request)
        assert reply.status in (200, 502)
        assert b"strangers" not in reply.body
    await until(lambda: router.in_flight() == 0)

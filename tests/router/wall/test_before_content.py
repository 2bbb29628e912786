"""An engine fails before any content: another one answers."""

from __future__ import annotations

from tests.router.conftest import Start
from tests.router.wall.faults import BEFORE_ANYTHING, IN_AN_OPENING, Fault, each, nothing_is_left, two
from tests.router.wall.kinds import KINDS, STREAMS, Kind


@each((BEFORE_ANYTHING, KINDS), (IN_AN_OPENING, STREAMS))
async def test_before_content(start: Start, fault: Fault, kind: Kind) -> None:
    router = await two(start, fault, kind)
    reply = await router.call(kind.request)
    assert (reply.status, reply.body, reply.route["attempts"]) == (200, kind.said, "2")
    assert sorted(len(engine.heard) for engine in router.engines.values()) == [1, 1]
    await nothing_is_left(router, strikes=int(fault.strikes))

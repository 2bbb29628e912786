"""An engine fails in the middle of an answer: what has not been told yet is another one's to tell."""

from __future__ import annotations

import re

from tests.router.conftest import Start
from tests.router.wall.faults import AFTER_CONTENT, IN_A_WHOLE_ANSWER, Fault, each, nothing_is_left, two
from tests.router.wall.kinds import STREAMS, WHOLE, Kind


@each((IN_A_WHOLE_ANSWER, WHOLE))
async def test_in_an_answer_that_is_held(start: Start, fault: Fault, kind: Kind) -> None:
    router = await two(start, fault, kind)
    reply = await router.call(kind.request)
    assert (reply.status, reply.body, reply.route["attempts"]) == (200, kind.body, "2")
    await nothing_is_left(router, strikes=1)


@each((AFTER_CONTENT, STREAMS))
async def test_after_content(start: Start, fault: Fault, kind: Kind) -> None:
    router = await two(start, fault, kind)
    reply = await router.call(kind.request)
    assert reply.complete, "the framing is whole whatever happens"
    assert reply.body.startswith(b"".join((*kind.opening, *kind.begun)))
    if kind.goes_on:  # by an engine that has not read what the first one said
        assert b'"error"' not in reply.body
        assert "".join(re.findall(r'"(?:content|text)":"(.*?)"', reply.body.decode())) == "one one two"
        assert router.heard() == 2
    else:
        assert b'"error"' in reply.body[len(b"".join((*kind.opening, *kind.begun))) :]
        assert router.heard() == 1
    await nothing_is_left(router, strikes=1)

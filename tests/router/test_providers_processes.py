"""Providers that are processes of their own, each with a fault of its own: the next link answers, and nobody but the faulty is blamed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from fleet.model import Slo
from tests.router.abroad import KEY, KEY_ENV, row, spec
from tests.router.client import chat
from tests.router.conftest import Running, Start

CLOCKS = Slo(first_token_s=1.0, idle_s=1.0)
WHOLE = ("429", "429 with Retry-After", "500", "cut", "wrong model")
STREAMED = ("malformed chunk", "slow first token")


@contextmanager
def process(fault: str) -> Iterator[int]:
    """The port of a provider with a fault."""
    with subprocess.Popen([sys.executable, "-m", "tests.router.far_process", fault], stdout=subprocess.PIPE, text=True) as far:
        assert far.stdout is not None
        try:
            yield int(far.stdout.readline())
        finally:
            far.kill()


@pytest.mark.parametrize(("faults", "stream", "last"), [(WHOLE, False, "none"), (STREAMED, True, "stream")])
async def test_every_faulty_process_is_passed_over_until_one_answers(
    start: Start, monkeypatch: pytest.MonkeyPatch, faults: tuple[str, ...], stream: bool, last: str
) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    with ExitStack() as stack:
        ports = [stack.enter_context(process(fault)) for fault in (*faults, last)]
        rows = [row(f"far-{n}", port, slo=CLOCKS) for n, port in enumerate(ports)]
        router: Running = await start(spec=spec(*rows, chain=tuple(one.name for one in rows)))
        reply = await router.call(chat("best", stream=stream))
        assert reply.status == 200
        assert b"Hello" in reply.body
        assert reply.route["model"] == rows[-1].name
        assert reply.route["attempts"] == str(len(rows))


async def test_a_process_that_stalls_within_its_answer_ends_the_stream_with_an_error(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    with process("stall") as port:
        router: Running = await start(spec=spec(row("far", port, slo=CLOCKS), chain=("far",)))
        reply = await router.call(chat("best", stream=True))
    assert reply.status == 200
    assert b"Hel" in reply.body
    assert b'"code":"stream_truncated"' in reply.body

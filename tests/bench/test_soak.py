"""The soak judges what it saw, and its engines and callers tell a whole answer from every other one."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import aiohttp
import pytest

from bench.router import soak, soak_caller, soak_engine
from bench.router.soak_caller import Caller, Tally
from bench.router.soak_engine import Engine, Fault

STEADY = soak.Usage(rss_bytes=(100,) * 20, connections_left=0, requests_left=0, tracebacks=0)


def seen(**failures: int) -> Tally:
    return Tally(whole=90, failures=Counter(failures))


def test_finds_nothing_wrong_with_a_good_run() -> None:
    assert soak.problems(seen(), STEADY) == []


@pytest.mark.parametrize(
    ("tally", "usage", "problem"),
    [
        (seen(status=10), STEADY, "10 of 100 requests failed: status"),
        (Tally(), STEADY, "no request was answered"),
        (seen(), soak.Usage((100,) * 16 + (120,) * 4, 0, 0, 0), "memory grew to 1.20 x after the warm-up"),
        (seen(), soak.Usage((100,), 2, 0, 0), "2 connections are open although every caller is gone and every engine idle"),
        (seen(), soak.Usage((100,), 0, 1, 0), "1 requests are in flight although every caller is gone"),
        (seen(), soak.Usage((100,), 0, 0, 3), "3 tracebacks in the router's log"),
    ],
)
def test_names_what_is_wrong(tally: Tally, usage: soak.Usage, problem: str) -> None:
    assert soak.problems(tally, usage) == [problem]


def test_growth_leaves_out_the_warm_up() -> None:
    assert soak.growth((10, 50, 100, 100, 100, 100, 100, 100, 105, 105)) == pytest.approx(1.05)
    assert soak.growth((1, 2)) == 1.0


def test_a_text_goes_on_where_it_broke_off() -> None:
    body = soak_engine.request(5, 77, stream=True)
    whole = soak_engine.text(5, 77)
    said = whole[:9]
    body["messages"].append({"role": "assistant", "content": said})
    assert said + "".join(soak_engine.words_for(body)) == whole


def test_a_beginning_that_is_not_ours_is_told() -> None:
    body = soak_engine.request(5, 77, stream=True)
    body["messages"].append({"role": "assistant", "content": "78.0 "})
    assert soak_engine.words_for(body) == ["NO-SUCH-BEGINNING "]


STREAMS = {
    Fault.NONE: "",
    Fault.REFUSE: "connection",
    Fault.RESET: "connection",
    Fault.GARBAGE: "connection",
    Fault.ERROR: "status 500",
    Fault.BUSY: "status 503",
    Fault.ERROR_EVENT: "error event",
    Fault.EMPTY: "no [DONE]",
    Fault.HANG_UP: "",
    Fault.CUT: "connection",
    Fault.SILENT: "connection",
    Fault.STALL: "connection",
}


def test_every_fault_is_known() -> None:
    assert STREAMS.keys() == set(Fault)


@pytest.mark.parametrize(("fault", "kind"), STREAMS.items(), ids=[fault.name for fault in STREAMS])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "json"])
async def test_a_caller_without_a_router_sees_each_fault(fault: Fault, kind: str, stream: bool) -> None:
    engine = Engine("a", fault, lambda: True)
    await engine.start()
    tally, stop = Tally(), asyncio.Event()
    timeout = aiohttp.ClientTimeout(sock_read=0.5)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True)) as http:
        caller = Caller(http, f"http://127.0.0.1:{engine.port}", tally, random.Random(3).random)
        chat = asyncio.create_task(caller.chat_until(stop, stream=stream))
        await asyncio.sleep(0)  # it has looked at `stop` once
        stop.set()
        await chat
    await engine.stop()
    spared = not stream and fault in (Fault.SILENT, Fault.ERROR_EVENT, Fault.EMPTY, Fault.STALL)
    assert dict(tally.failures) == ({kind: 1} if kind and not spared else {}), tally.examples
    assert tally.whole == (not kind or spared)


def test_a_text_with_a_gap_is_not_whole() -> None:
    assert soak_caller.difference("1.0 1.1 ", "1.0 1.1 ") is None
    assert soak_caller.difference("1.0 1.2 ", "1.0 1.1 1.2 ") == "8 of 12 characters, differs at 6: '2 ' for '1 1.2 '"
    assert soak_caller.difference("1.0 ", "1.0 1.1 ") == "4 of 8 characters, differs at 4: '' for '1.1 '"

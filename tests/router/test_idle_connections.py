"""Kept connections to engines retire before vLLM's server, which waits 5 s, would close them under a request."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

from router.providers.pool import IDLE_S as REMOTE_IDLE_S
from router.wire.upstream import IDLE_S, Pool
from tests.router.client import chat
from tests.router.conftest import Far, Running, Start, until
from tests.router.upstream import Play, says_hello, silent

ENGINES_CLOSE_S = 5.0
A_MOMENT_S = 0.01


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_who_closes_first_is_the_router() -> None:
    assert IDLE_S + 0.5 <= ENGINES_CLOSE_S, "half a second for a sweep that comes late"
    assert REMOTE_IDLE_S > IDLE_S, "a handshake is dear"


async def test_a_connection_that_was_idle_for_too_long_is_closed_and_carries_no_request(far: Far) -> None:
    server, clock = await far(says_hello), Clock()
    pool = Pool("127.0.0.1", server.port, clock)
    connection = await pool.dial(10.0)
    pool.give_back(connection)
    clock.now += IDLE_S - A_MOMENT_S
    pool.retire()
    assert pool.take() is connection
    pool.give_back(connection)
    clock.now += IDLE_S + A_MOMENT_S
    assert pool.take() is None
    assert connection.transport.is_closing()


async def test_nobody_has_to_ask_for_connections_to_retire(far: Far) -> None:
    server, clock = await far(says_hello), Clock()
    pool = Pool("127.0.0.1", server.port, clock)
    connections = [await pool.dial(10.0) for _ in range(3)]
    for connection in connections:
        pool.give_back(connection)
    clock.now += IDLE_S + A_MOMENT_S
    pool.retire()
    assert len(pool) == 0
    assert all(connection.transport.is_closing() for connection in connections)


async def test_a_router_retires_them_by_itself(start: Start) -> None:
    """But for one, over which it reads the engine's queue every two seconds."""
    both = asyncio.Event()

    async def together(play: Play) -> None:
        if len(engine.heard) == 2:
            both.set()
        await both.wait()
        await says_hello(play)

    router: Running = await start()
    engine = await router.engine("a", together)
    router.warm()
    replies = await asyncio.gather(router.call(chat()), router.call(chat()))
    assert [reply.status for reply in replies] == [200, 200]
    assert engine.open == 2
    await until(lambda: engine.open == 1, 60)


async def test_a_caller_that_leaves_while_its_replica_is_dialled_leaves_nothing_behind(start: Start) -> None:
    """A listener whose queue is full answers no SYN, so that the dial waits for its clock."""
    router: Running = await start()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        engine = await router.engine("a", silent)
        port, engine.port = engine.port, address[1]
        router.warm()
        engine.port = port
        (replica,) = router.wired.plane.replicas()
        async with await router.connect() as caller:
            await caller.send(chat())
            await until(lambda: replica.in_flight)
            assert replica.counts.in_flight == 1
        await until(lambda: not router.wired.plane.active)
        assert (replica.in_flight, replica.counts.in_flight) == (0, 0)
        for filler in fillers:
            filler.close()
    assert await router.metric('warmfleet_router_requests_total{model="large",route="best",status="499"}') == 1
    assert replica.breaker.failures == 0

"""An engine that is started again is used again at once; one that never went away is not."""

from __future__ import annotations

from router.replicas.breaker import State
from tests.router.client import chat
from tests.router.conftest import Running, Start, until
from tests.router.upstream import resets, says_hello


async def test_an_engine_that_is_back_is_probed_at_once(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello, "lone")])
    engine, replica = router.engines["lone/a"], router.wired.plane.homes["a"]
    await engine.stop()
    for _ in range(3):
        await router.call(chat("lone"))
    assert replica.breaker.state is State.OPEN
    await until(lambda: replica.refused)
    await engine.start()
    await until(lambda: replica.breaker.open_until <= router.wired.plane.clock())
    reply = await router.call(chat("lone"))
    assert reply.status == 200
    assert replica.breaker.state is State.CLOSED


async def test_an_engine_that_takes_connections_and_fails_waits_its_time(start: Start) -> None:
    router: Running = await start(engines=[("a", resets, "lone")])
    engine, replica = router.engines["lone/a"], router.wired.plane.homes["a"]
    for _ in range(3):
        await router.call(chat("lone"))
    connections = engine.connections
    await until(lambda: engine.connections >= connections + 2)  # it has been knocked at, in vain
    assert replica.breaker.open_until > router.wired.plane.clock() + 30
    assert len(engine.heard) == 3

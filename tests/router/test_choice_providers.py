"""Providers among the candidates: chosen, limited and switched off like models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from fleet.model import Price, Spec
from router.models.catalogue import Catalogue
from tests.router.abroad import KEY, KEY_ENV, row, spec
from tests.router.client import chat
from tests.router.conftest import Running, Start, until
from tests.router.test_choice_limits import gated
from tests.router.upstream import Upstream, says_hello


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)


@pytest.fixture
async def far() -> AsyncIterator[tuple[Upstream, asyncio.Event]]:
    """Somebody else's server that answers when it is let."""
    script, gate = gated()
    server = Upstream(script)
    await server.start()
    yield server, gate
    await server.stop()


def described(port: int, **more: object) -> Spec:
    """A dear provider that is good at code, behind a model of ours that is not."""
    provider = row("far", port, cost=Price(output=0.5), quality=0.95, capabilities=("code_generation",), **more)
    made = spec(provider, chain=("large", "far"))
    models = tuple(replace(model, quality=0.3, capabilities=("simple_qa",)) if model.name == "large" else model for model in made.models)
    return replace(made, models=models)


def asks(text: str, wish: str = "", model: str = "best") -> bytes:
    return chat(model, headers={"x-route-strategy": wish} if wish else {}, messages=[{"role": "user", "content": text}])


async def test_a_provider_is_chosen_by_its_facts(start: Start, far: tuple[Upstream, asyncio.Event]) -> None:
    server, gate = far
    gate.set()
    router: Running = await start(engines=[("a", says_hello)], spec=described(server.port))
    assert (await router.call(asks("hm", "cost"))).route["model"] == "large"
    assert (await router.call(asks("hm", "quality"))).route["replica"] == "external"
    code = await router.call(asks("Write a Python function that reverses a list", model="auto"))
    assert (code.route["model"], code.route["chosen"]) == ("far", "specialty:code_generation")
    assert (await router.call(asks("hm", "quality; max_cost=0.01"))).route["model"] == "large"


async def test_no_more_than_the_limit_are_at_a_provider(start: Start, far: tuple[Upstream, asyncio.Event]) -> None:
    server, gate = far
    router: Running = await start(engines=[("a", says_hello)], spec=described(server.port, max_concurrent=2))
    calls = [asyncio.create_task(router.call(asks("hm", "quality"))) for _ in range(5)]
    await until(lambda: sum(call.done() for call in calls) == 3)
    assert len(server.heard) == 2
    gate.set()
    served = [reply.route["model"] for reply in await asyncio.gather(*calls)]
    assert sorted(served) == ["far", "far", "large", "large", "large"]


async def test_a_provider_that_is_off_is_passed_over(start: Start, far: tuple[Upstream, asyncio.Event]) -> None:
    server, gate = far
    gate.set()
    made = described(server.port)
    router: Running = await start(engines=[("a", says_hello)], spec=made)
    plane = router.wired.plane
    plane.configure(Catalogue(made, {"far": "disabled"}), plane.limits, "")
    assert (await router.call(asks("hm", "quality"))).route["model"] == "large"
    assert server.heard == []

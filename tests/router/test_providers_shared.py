"""Rate limits of providers over several routers, with a real Redis; and what of a provider's use a tenant sees."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from fleet import names
from fleet.model import Price, Provider, Spec
from fleet.names import REDIS_LIMITS_PREFIX
from tests.router.abroad import KEY, KEY_ENV, replica, row, spec
from tests.router.client import Reply, chat
from tests.router.conftest import SPEC, Far, Running, Start
from tests.router.tenancy import auth, tenant
from tests.router.upstream import answer, plays, says_hello
from tests.servers import RedisServer

ADMIN = "admin-key-for-tests"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    monkeypatch.setenv(names.ENV_ADMIN_KEY, ADMIN)


def described(redis: str, *rows: Provider) -> Spec:
    return spec(*rows, chain=tuple(one.name for one in rows), fleet=replace(SPEC.fleet, redis=redis))


async def models(router: Running, count: int) -> Counter[str]:
    """Who has answered so many chats that were sent one after the other."""
    return Counter([(await router.call(chat("best"))).route["model"] for _ in range(count)])


def fresh() -> str:
    return f"far-{uuid.uuid4().hex[:8]}"


async def test_two_routers_together_keep_to_a_providers_limit_and_use_all_of_it(start: Start, far: Far, redis_server: RedisServer) -> None:
    limited, open_ended, name = await far(says_hello), await far(says_hello), fresh()
    rows = row(name, limited.port, requests_per_min=6), row("next", open_ended.port)
    routers: list[Running] = [await start(spec=described(redis_server.url, *rows)) for _ in range(2)]
    assert await models(routers[0], 5) == {name: 5}, "one alone has all of it, not a share"
    assert await models(routers[1], 5) == {name: 1, "next": 4}
    assert await models(routers[0], 2) == {"next": 2}
    assert len(limited.heard) == 6
    assert all(0 < replica(one, name).rest_until - one.wired.plane.clock() <= 65 for one in routers), "until the minute has room again"


async def test_many_callers_of_two_routers_never_exceed_a_providers_limit(start: Start, far: Far, redis_server: RedisServer) -> None:
    limited, open_ended, name = await far(says_hello), await far(says_hello), fresh()
    rows = row(name, limited.port, requests_per_min=100), row("next", open_ended.port)
    routers: list[Running] = [await start(spec=described(redis_server.url, *rows)) for _ in range(2)]
    replies: list[Reply] = []
    for _ in range(10):
        replies += await asyncio.gather(*(routers[n % 2].call(chat("best")) for n in range(16)))
    assert {reply.status for reply in replies} == {200}
    assert 100 - 12 <= len(limited.heard) <= 100, "at most an eighth lies in a slice while another router is refused"


async def test_tokens_of_answers_count_for_all_routers(start: Start, far: Far, redis_server: RedisServer) -> None:
    body = json.dumps({"choices": [], "usage": {"prompt_tokens": 400, "completion_tokens": 600}}).encode()
    limited, open_ended, name = await far(plays(answer(body))), await far(says_hello), fresh()
    rows = row(name, limited.port, tokens_per_min=1900), row("next", open_ended.port)
    routers: list[Running] = [await start(spec=described(redis_server.url, *rows)) for _ in range(2)]
    assert await models(routers[0], 1) == {name: 1}
    await until_tokens(routers[0], name, 1000)
    assert await models(routers[1], 1) == {name: 1}
    await until_tokens(routers[1], name, 2000)
    assert await models(routers[0], 1) == {"next": 1}


async def until_tokens(router: Running, name: str, tokens: int) -> None:
    client = router.wired.store.client
    assert client is not None
    async with asyncio.timeout(60):
        while int(await client.hget(f"{REDIS_LIMITS_PREFIX}{SPEC.fleet.name}:provider/{name}", "t") or 0) != tokens:  # noqa: ASYNC110 - a poll with a deadline
            await asyncio.sleep(0.01)


async def test_without_redis_a_router_keeps_to_its_share(start: Start, far: Far) -> None:
    limited, open_ended, name = await far(says_hello), await far(says_hello), fresh()
    rows = row(name, limited.port, requests_per_min=6), row("next", open_ended.port)
    alone = described("", *rows)
    router: Running = await start(spec=replace(alone, router=replace(alone.router, count=2)))
    assert await models(router, 5) == {name: 3, "next": 2}


# what is told of it


async def providers(router: Running, authorization: str) -> dict[str, Any]:
    reply = await router.call(f"GET /providers HTTP/1.1\r\nhost: r\r\nauthorization: {authorization}\r\n\r\n".encode())
    assert reply.status == 200
    (standing,) = reply.json["providers"]
    return dict(standing)


async def test_a_tenant_sees_what_it_has_spent_and_the_admin_what_all_have(start: Start, far: Far) -> None:
    one, other = tenant(budget_per="none"), tenant(budget_per="none")
    server = await far(says_hello)
    priced = row("far", server.port, cost=Price(input=1.0, output=10.0))
    router: Running = await start(spec=spec(priced, chain=("far",), tenants=(one, other)))
    for who in (one, one, other):
        assert (await router.call(chat("best", headers=auth(who)))).status == 200
    each = 7 * 0.001 + 3 * 0.01
    for who, count in ((one, 2), (other, 1)):
        standing = await providers(router, auth(who)["authorization"])
        assert standing["cost"]["spent"] == pytest.approx(count * each)
        assert [standing[name] for name in ("requests", "successes", "failures", "outcomes")] == [None] * 4
        assert standing["status"] == "up"
    standing = await providers(router, f"Bearer {ADMIN}")
    assert standing["cost"]["spent"] == pytest.approx(3 * each)
    assert (standing["requests"], standing["successes"]) == (3, 3)


async def test_the_admin_key_opens_nothing_else_of_the_tenants(start: Start, far: Far) -> None:
    server = await far(says_hello)
    router: Running = await start(spec=spec(row("far", server.port), chain=("far",), tenants=(tenant(budget_per="none"),)))
    for path, status in (("/providers", 200), ("/routing/analytics", 200), ("/v1/models", 401), ("/sessions/x", 401)):
        reply = await router.call(f"GET {path} HTTP/1.1\r\nhost: r\r\nauthorization: Bearer {ADMIN}\r\n\r\n".encode())
        assert reply.status == status, path
    reply = await router.call(chat("best", headers={"authorization": f"Bearer {ADMIN}"}))
    assert reply.status == 401


async def test_without_an_admin_key_no_key_opens_the_totals(start: Start, far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(names.ENV_ADMIN_KEY)
    server = await far(says_hello)
    router: Running = await start(spec=spec(row("far", server.port), chain=("far",), tenants=(tenant(budget_per="none"),)))
    for authorization in ("Bearer ", "Bearer", ""):
        reply = await router.call(f"GET /providers HTTP/1.1\r\nhost: r\r\nauthorization: {authorization}\r\n\r\n".encode())
        assert reply.status == 401

"""All sessions, page by page: from Redis, and from this process where Redis is away."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from tests import servers
from tests.router.client import Reply, post
from tests.router.conftest import SPEC, Running, Start

KEY = "admin-0123456789"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARMFLEET_ADMIN_KEY", KEY)


async def page(router: Running, query: str = "", key: str = KEY) -> Reply:
    return await router.call(f"GET /admin/sessions{query} HTTP/1.1\r\nhost: r\r\nauthorization: Bearer {key}\r\n\r\n".encode())


async def pages(router: Running, limit: int) -> tuple[set[str], set[str], int]:
    """All ids, all sources, and the number of pages."""
    ids, sources, count, cursor = set[str](), set[str](), 0, ""
    while True:
        reply = await page(router, f"?limit={limit}{cursor}")
        assert reply.status == 200, reply.body
        ids |= {row["session_id"] for row in reply.json["sessions"]}
        sources.add(reply.json["source"])
        count += 1
        if reply.json["cursor"] is None:
            return ids, sources, count
        cursor = f"&cursor={reply.json['cursor']}"


async def begin(router: Running, ids: set[str]) -> None:
    for session_id in ids:
        assert (await router.call(post("/initiate_call", {"session_id": session_id}))).status == 200


async def test_one_router_lists_what_another_one_began(start: Start, redis_server: servers.RedisServer) -> None:
    spec = replace(SPEC, fleet=replace(SPEC.fleet, redis=redis_server.url))
    here, there = await start(spec=spec), await start(spec=spec)
    ids = {f"page-{uuid4().hex}" for _ in range(25)}
    await begin(here, ids)
    while here.wired.store.queued():
        await here.wired.store.write_some()
    found, sources, count = await pages(there, 10)
    assert ids <= found
    assert sources == {"redis"}
    assert count >= 2


async def test_without_redis_the_sessions_of_this_process_are_listed(start: Start) -> None:
    router: Running = await start()
    ids = {f"page-{n}" for n in range(25)}
    await begin(router, ids)
    assert await pages(router, 10) == (ids, {"local"}, 3)
    assert (await page(router, "?limit=5")).json["sessions"][0].keys() >= {"selector", "route", "model", "turns"}


@pytest.mark.parametrize(
    ("query", "param"), [("?limit=0", "limit"), ("?limit=1001", "limit"), ("?cursor=x", "cursor"), ("?cursor=redis-a", "cursor")]
)
async def test_a_wrong_question_is_refused(start: Start, query: str, param: str) -> None:
    router: Running = await start()
    reply = await page(router, query)
    assert (reply.status, reply.json["error"]["param"].split(".")[-1]) == (400, param)


async def test_nobody_else_lists_sessions(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    router: Running = await start()
    assert (await page(router, key="other")).status == 403
    monkeypatch.delenv("WARMFLEET_ADMIN_KEY")
    nobody: Running = await start()
    assert (await page(nobody)).status == 404

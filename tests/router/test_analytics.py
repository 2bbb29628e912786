"""GET /routing/analytics: what was used, failed and spent, from a database and without one."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.key import digest
from fleet.model import Price, Spec, Tenant
from router.analytics import sums
from router.analytics.sums import Key, Sums
from tests.router.client import Reply, chat
from tests.router.conftest import SPEC, Running, Start
from tests.router.upstream import answer, plays, says_hello

FAILS = plays(answer(b"{}", status=500))
_counts = st.integers(0, 10**6)
_sums = st.builds(Sums, *([_counts] * 10))


def described(folder: Path, **more: Any) -> Spec:
    models = tuple(replace(model, cost=Price(input=1.0, output=2.0)) for model in SPEC.models)
    return replace(SPEC, models=models, router=replace(SPEC.router, analytics=f"sqlite:///{folder / 'analytics'}"), **more)


async def shown(router: Running, query: str = "", key: str = "") -> Reply:
    lines = f"authorization: Bearer {key}\r\n" if key else ""
    return await router.call(f"GET /routing/analytics{query} HTTP/1.1\r\nhost: r\r\n{lines}\r\n".encode())


def row(reply: Reply, part: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in reply.json[part] if one["name"] == name)
    return found


async def test_requests_failures_tokens_and_costs_are_added_up(start: Start, tmp_path: Path) -> None:
    router: Running = await start(engines=[("a", FAILS, "large"), ("b", says_hello, "small")], spec=described(tmp_path))
    for _ in range(3):
        assert (await router.call(chat("best"))).status == 200
    reply = await shown(router)
    assert (reply.status, reply.json["source"]) == (200, "sqlite")
    small, large = row(reply, "models", "small"), row(reply, "models", "large")
    assert (small["requests"], small["answered"], small["failures"], small["input_tokens"], small["output_tokens"]) == (3, 3, 0, 21, 9)
    assert small["cost"] == pytest.approx(3 * (7 * 1.0 + 3 * 2.0) / 1000)
    assert small["average_latency_ms"] > 0
    assert (large["requests"], large["failures"], large["success_rate"], large["average_latency_ms"]) == (0, 3, 0.0, None)
    assert (reply.json["total"]["requests"], row(reply, "routes", "best")["requests"], len(reply.json["hours"])) == (3, 3, 1)


async def test_another_router_on_the_same_database_knows_them_too(start: Start, tmp_path: Path) -> None:
    spec = described(tmp_path)
    first: Running = await start(engines=[("a", says_hello)], spec=spec)
    await first.call(chat("best"))
    await shown(first)
    second: Running = await start(engines=[("a", says_hello)], spec=spec)
    await second.call(chat("best"))
    assert (await shown(second)).json["total"]["requests"] == 2


async def test_without_a_database_the_counters_of_the_router_answer(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    await router.call(chat("best"))
    reply = await shown(router)
    assert (reply.json["source"], reply.json["hours"], reply.json["total"]["answered"]) == ("counters", [], 1)
    large = row(reply, "models", "large")
    assert (large["answered"], large["input_tokens"], large["output_tokens"]) == (1, 7, 3)
    assert large["average_latency_ms"] > 0


async def test_a_tenant_sees_its_own_requests_only(start: Start, tmp_path: Path) -> None:
    tenants = tuple(Tenant(name=name, key_sha256=(digest(f"key-{name}"),), budget_per="none") for name in ("one", "two"))
    router: Running = await start(engines=[("a", says_hello)], spec=described(tmp_path, tenants=tenants))
    for key in ("key-one", "key-one", "key-two"):
        reply = await router.call(chat("best", headers={"authorization": f"Bearer {key}"}))
        assert reply.status == 200, reply.body
    assert [(await shown(router, key=key)).json["total"]["requests"] for key in ("key-one", "key-two")] == [2, 1]
    assert (await shown(router)).status == 401


@pytest.mark.parametrize("query", ["?since=x", "?since=-1", "?limit=0", "?limit=1001", "?cursor=-1", "?since=2&until=1", "?until=1e12"])
async def test_a_wrong_question_is_refused(start: Start, tmp_path: Path, query: str) -> None:
    router: Running = await start(spec=described(tmp_path))
    reply = await shown(router, query)
    assert (reply.status, reply.json["error"]["type"]) == (400, "invalid_request_error")


async def test_hours_come_newest_first_and_in_pages(start: Start, tmp_path: Path) -> None:
    from router.analytics.database import Database  # noqa: PLC0415 - as the router does: it is an extra

    spec = described(tmp_path)
    now = int(time.time() // sums.HOUR_S)
    database = Database(spec.router.analytics, "", spec.fleet.name)
    database.add({Key((now - ago) * sums.HOUR_S, "", "best", "large"): Sums(requests=20 - ago) for ago in range(6, 11)})
    database.close()
    router: Running = await start(spec=spec)
    first = await shown(router, "?since=0&limit=3")
    assert [hour["requests"] for hour in first.json["hours"]] == [14, 13, 12]
    second = await shown(router, f"?since=0&limit=3&cursor={first.json['cursor']}")
    assert ([hour["requests"] for hour in second.json["hours"]], second.json["cursor"]) == ([11, 10], None)
    assert second.json["hours"][1]["name"] == time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime((now - 10) * sums.HOUR_S))


@given(st.lists(st.tuples(st.builds(Key, _counts, *([st.sampled_from("ab")] * 3)), _sums), max_size=20))
def test_nothing_is_lost_in_a_sum(rows: list[tuple[Key, Sums]]) -> None:
    together: dict[Key, Sums] = {}
    sums.added(together, iter(rows))
    whole = sums.total(together)
    assert whole == sums.total({Key(n, "", "", ""): one for n, (_, one) in enumerate(rows)})
    for field in Key._fields:
        assert sums.total({Key(n, "", "", ""): one for n, one in enumerate(sums.by(together, field).values())}) == whole

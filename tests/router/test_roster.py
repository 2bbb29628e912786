"""Models that are added, removed, enabled and disabled while routers run: by order, seen by all, kept in Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import msgspec
import pytest
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st

from fleet.key import digest
from fleet.model import Route, Spec, Tenant
from router.app import wire
from router.errors import BadRequest, ModelDisabled, StoreAway, UnknownModel
from router.models import roster
from router.models.catalogue import Catalogue
from router.models.roster import Added, Roster
from router.models.roster_store import RedisRoster
from tests import servers
from tests.router.client import Reply, chat
from tests.router.conftest import SPEC, Running, Start, until
from tests.router.upstream import says_hello

KEY = "an-admin-key"


# the laws, without Redis


def test_orders_and_how_names_stand_after_them() -> None:
    now = roster.disabled(Roster(), SPEC, "small")
    assert roster.names(SPEC, now) == {"large": "enabled", "small": "disabled", "lone": "enabled"}
    now = roster.removed(now, SPEC, "large")
    now = roster.added(now, SPEC, "extra", Added(routes=("best",), quality=0.9))
    assert roster.names(SPEC, now) == {"large": "removed", "small": "disabled", "lone": "enabled", "extra": "enabled"}
    now = roster.enabled(now, SPEC, "small")
    now = roster.added(now, SPEC, "large", None)
    now = roster.removed(now, SPEC, "extra")
    assert (now.off, now.added, now.version) == ({}, {}, 6)


def test_orders_that_make_no_sense_are_refused() -> None:
    gone = roster.removed(Roster(), SPEC, "small")
    for order in (roster.disabled, roster.enabled, roster.removed):
        with pytest.raises(UnknownModel):
            order(gone, SPEC, "small")
        with pytest.raises(UnknownModel):
            order(Roster(), SPEC, "nobody")
    for name, row in (("large", None), ("large", Added()), ("best", None), ("new", Added(routes=("nowhere",)))):
        with pytest.raises(BadRequest):
            roster.added(Roster(), SPEC, name, row)


def test_no_more_models_are_added_than_there_may_be() -> None:
    now = Roster()
    for number in range(roster.MOST_ADDED):
        now = roster.added(now, SPEC, f"m{number}", None)
    with pytest.raises(BadRequest, match="64"):
        roster.added(now, SPEC, "one-more", None)
    assert roster.added(now, SPEC, "m0", Added(quality=1.0)).added["m0"].quality == 1.0


orders = st.lists(st.tuples(st.sampled_from(["disabled", "enabled", "removed", "added"]), st.sampled_from(["large", "small", "x", "y"])))


@given(orders)
def test_whatever_is_ordered_chains_hold_only_who_is_used(given_orders: list[tuple[str, str]]) -> None:
    now = Roster()
    for order, name in given_orders:
        try:
            now = roster.added(now, SPEC, name, None) if order == "added" else getattr(roster, order)(now, SPEC, name)
        except (BadRequest, UnknownModel):
            continue
    assert roster.decode(roster.encode(now)) == now
    catalogue = Catalogue(roster.laid_on(SPEC, now), now.off)
    for wanted in (*catalogue.names(), "auto"):
        try:
            chain = catalogue.plan(wanted, None).chain
        except ModelDisabled:
            continue
        assert chain
        assert not set(chain) & set(now.off)


def test_the_description_wins_over_what_was_added_under_its_name() -> None:
    now = roster.added(Roster(), replace(SPEC, models=SPEC.models[:2]), "lone", Added(routes=("best",)))
    assert roster.laid_on(SPEC, now) is SPEC


# through routers


@pytest.fixture
async def two(start: Start, redis_server: servers.RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Running, Running]]:
    """Two routers of one fleet of its own, with one Redis and an admin key."""
    monkeypatch.setenv("WARMFLEET_ADMIN_KEY", KEY)
    fleet = replace(SPEC.fleet, name=f"t-{uuid4().hex[:12]}", redis=redis_server.url)
    spec = replace(SPEC, fleet=fleet)
    engines = [("a", says_hello, "large"), ("b", says_hello, "small")]
    yield await start(engines=engines, spec=spec), await start(engines=engines, spec=spec)


async def order(router: Running, method: str, path: str = "", body: object = None, key: str = KEY) -> Reply:
    raw = b"" if body is None else json.dumps(body).encode()
    head = f"{method} /admin/models{path} HTTP/1.1\r\nhost: r\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    return await router.call(f"{head}content-length: {len(raw)}\r\n\r\n".encode() + raw)


def states(reply: Reply) -> dict[str, str]:
    assert reply.status == 200, reply.body
    return {row["name"]: row["state"] for row in reply.json["models"]}


async def seen(router: Running, off: int) -> None:
    """The roster that is in force leaves out so many."""
    await until(lambda: len(router.wired.plane.catalogue._off) == off, 60)


async def test_a_disabled_model_gets_nothing_from_any_router_until_it_is_enabled(two: tuple[Running, Running]) -> None:
    here, there = two
    assert states(await order(here, "POST", "/large/disable"))["large"] == "disabled"
    assert (await here.call(chat("best"))).route["model"] == "small"
    await seen(there, 1)
    assert (await there.call(chat("large"))).route["model"] == "small"
    assert states(await order(there, "POST", "/large/enable"))["large"] == "enabled"
    await seen(here, 0)
    assert (await here.call(chat("best"))).route["model"] == "large"


async def test_without_anybody_left_requests_are_refused_with_the_reason(two: tuple[Running, Running]) -> None:
    here, _ = two
    await order(here, "POST", "/large/disable")
    await order(here, "POST", "/small/disable")
    for name in ("best", "small"):
        reply = await here.call(chat(name))
        assert (reply.status, reply.code) == (503, "model_disabled")
        assert reply.headers["x-should-retry"] == "true"


async def test_a_removed_model_is_unknown_and_can_be_taken_back(two: tuple[Running, Running]) -> None:
    here, there = two
    await order(here, "DELETE", "/large")
    assert (await here.call(chat("large"))).status == 404
    assert (await here.call(chat("best"))).route["model"] == "small"
    await seen(there, 1)
    assert "large" not in [row["id"] for row in (await there.get("/v1/models")).json["data"]]
    assert states(await order(there, "PUT", "/large", {}))["large"] == "enabled"
    assert (await there.call(chat("large"))).route["model"] == "large"


async def test_a_model_that_somebody_else_runs_can_be_added(two: tuple[Running, Running]) -> None:
    here, there = two
    await there.engine("c", says_hello, "extra")
    row = {"routes": ["best"], "quality": 0.99, "cost": {"output": 0.5}, "capabilities": ["analysis"]}
    assert states(await order(here, "PUT", "/extra", row))["extra"] == "enabled"
    await until(lambda: "extra" in there.wired.plane.catalogue.models, 60)
    there.warm()
    assert (await there.call(chat("extra"))).route["model"] == "extra"
    assert (await there.call(chat("best", headers={"x-route-strategy": "quality"}))).route["model"] == "extra"
    assert states(await order(there, "DELETE", "/extra")).get("extra") is None
    assert (await there.call(chat("extra"))).status == 404


async def test_a_router_that_starts_later_sees_what_was_ordered(two: tuple[Running, Running], start: Start) -> None:
    here, _ = two
    await order(here, "POST", "/large/disable")
    late: Running = await start(engines=[("a", says_hello, "large"), ("b", says_hello, "small")], spec=here.wired.spec)
    await seen(late, 1)
    assert (await late.call(chat("best"))).route["model"] == "small"


BAD: list[tuple[str, str, object, int]] = [
    ("POST", "/nobody/disable", None, 404),
    ("PUT", "/large", {"quality": 1}, 400),
    ("PUT", "/best", {}, 400),
    ("PUT", "/Not_A_Label", {}, 400),
    ("PUT", "/new", {"quality": 2}, 400),
    ("PUT", "/new", {"colour": "red"}, 400),
    ("PUT", "/new", {"routes": ["nowhere"]}, 400),
    ("PUT", "/new", {"capabilities": ["magic"]}, 400),
    ("PUT", "/new", {"cost": {"input": -1}}, 400),
    ("PUT", "/new", [1], 400),
]


async def test_orders_are_judged_and_only_taken_from_who_has_the_key(two: tuple[Running, Running]) -> None:
    here, _ = two
    for method, path, body, status in BAD:
        reply = await order(here, method, path, body)
        assert (reply.status, bool(reply.code)) == (status, True), (path, body)
    for key in ("", "another", KEY + "x", "\u00e9"):
        assert (await order(here, "DELETE", "/large", key=key)).status == 403
    assert set(states(await order(here, "GET")).values()) == {"enabled"}


async def test_without_a_key_nobody_gives_orders(start: Start) -> None:
    router: Running = await start()
    assert (await order(router, "GET", key="")).status == 404
    assert (await order(router, "POST", "/large/disable", key="")).status == 404


def test_no_admin_key_is_in_what_the_router_says_of_itself() -> None:
    wired = wire(SPEC, environment={"WARMFLEET_ADMIN_KEY": KEY})
    assert KEY not in json.dumps(wired.app.openapi())


# the store


async def test_orders_at_the_same_time_are_all_kept(redis_server: servers.RedisServer) -> None:
    key = uuid4().hex
    client = redis.asyncio.from_url(redis_server.url)
    stores = [RedisRoster(lambda: client, key) for _ in range(3)]
    names = [f"m{number}" for number in range(6)]
    for at in range(0, 6, 3):
        trio = zip(stores, names[at : at + 3], strict=True)
        await asyncio.gather(*(store.order(lambda now, name=name: roster.added(now, SPEC, name, None)) for store, name in trio))
    found = roster.decode(await client.get(key))
    assert (sorted(found.added), found.version) == (names, 6)
    await client.aclose()


async def test_what_cannot_be_read_changes_nothing_and_the_next_order_mends_it(redis_server: servers.RedisServer) -> None:
    client, key = redis.asyncio.from_url(redis_server.url), uuid4().hex
    store = RedisRoster(lambda: client, key)
    await store.order(lambda now: roster.disabled(now, SPEC, "large"))
    for nonsense in (b"{", b"[1]", b'{"off": {"large": "maybe"}}', b"\xff\x00", b'{"added": {"a\\r\\nb": {}}}'):
        await client.set(key, nonsense)
        await store._look()
        assert store.now.off == {"large": "disabled"}
    await store.order(lambda now: roster.disabled(now, SPEC, "small"))
    assert roster.decode(await client.get(key)).off == {"large": "disabled", "small": "disabled"}
    await client.aclose()


async def test_a_redis_that_comes_back_empty_is_told_again(redis_server: servers.RedisServer) -> None:
    client, key = redis.asyncio.from_url(redis_server.url), uuid4().hex
    store = RedisRoster(lambda: client, key)
    before = await store.order(lambda now: roster.disabled(now, SPEC, "large"))
    await client.delete(key)
    await store._look()
    assert roster.decode(await client.get(key)) == before == store.now
    await client.aclose()


async def test_without_redis_no_order_is_taken() -> None:
    with pytest.raises(StoreAway):
        await RedisRoster(lambda: None, "k").order(lambda now: now)
    away = redis.asyncio.from_url("redis://127.0.0.1:9/0")
    with pytest.raises(StoreAway):
        await RedisRoster(lambda: away, "k").order(lambda now: now)
    await away.aclose()


def test_a_roster_of_a_later_version_is_still_read() -> None:
    assert roster.decode(b'{"version": 3, "off": {}, "news": 1}').version == 3
    with pytest.raises(msgspec.MsgspecError):
        roster.decode(b'{"version": "three"}')


def test_a_route_keeps_its_row_when_all_of_it_is_off() -> None:
    spec: Spec = replace(SPEC, routes=(Route(selector=0, name="only", chain=("large",)),))
    catalogue = Catalogue(spec, {"large": "removed"})
    with pytest.raises(ModelDisabled, match="operator"):
        catalogue.plan("only", None)


async def test_orders_need_the_admin_s_key_and_no_tenant_s(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARMFLEET_ADMIN_KEY", KEY)
    tenant = Tenant(name="t", key_sha256=(digest("wf-tenant"),))
    router: Running = await start(spec=replace(SPEC, tenants=(tenant,)))
    assert (await order(router, "GET")).status == 200
    assert (await order(router, "GET", key="wf-tenant")).status == 403


async def test_orders_that_leave_a_route_with_nobody_stop_no_router_that_has_tenants(
    start: Start, redis_server: servers.RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WARMFLEET_ADMIN_KEY", KEY)
    tenant = Tenant(name="t", key_sha256=(digest("wf-tenant"),), allow=("best",))
    fleet = replace(SPEC.fleet, name=f"t-{uuid4().hex[:12]}", redis=redis_server.url)
    router: Running = await start(engines=[("a", says_hello)], spec=replace(SPEC, fleet=fleet, tenants=(tenant,)))
    asks = chat("best", headers={"authorization": "Bearer wf-tenant"})
    assert (await router.call(asks)).status == 200
    for method, path in (("POST", "/large/disable"), ("POST", "/small/disable"), ("DELETE", "/small"), ("DELETE", "/large")):
        assert (await order(router, method, path)).status == 200
    assert (await router.call(asks)).code == "model_disabled"

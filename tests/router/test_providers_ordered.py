"""Providers that are added and removed while routers run: by order, seen by all, kept in Redis, and never a way to anybody's secrets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st

from fleet.key import digest
from fleet.model import Fleet, Provider, Route, Router, Spec, Tenant
from fleet.settings import settings_of
from router.errors import BadRequest, ModelDisabled
from router.models import roster
from router.models.catalogue import Catalogue
from router.models.roster import Added, Roster
from router.providers import ordered
from router.providers.ordered import Ordered
from router.providers.pool import RemotePool
from router.providers.remote import Address
from tests import servers
from tests.router.client import Reply, chat
from tests.router.conftest import SPEC, Far, Running, Start, until
from tests.router.upstream import answer, plays, says_hello

ADMIN = "an-admin-key"
KEY, KEY_ENV = "gsk-test-0123456789abcdefghij", "FAR_API_KEY"
ROUTES = (Route(selector=0, name="best", chain=("large",)), Route(selector=1, name="quick", chain=("small",)))
OWN = Fleet(name="t", consul="http://127.0.0.1:8500", nomad="http://127.0.0.1:4646", redis="redis://127.0.0.1/0")


def row(port: int, **more: Any) -> dict[str, Any]:
    return {"model": "vendor/big-1", "base_url": f"http://127.0.0.1:{port}/v1", "key_env": KEY_ENV, "routes": ["best"]} | more


# what an order may say


def judged(said: object, spec: Spec = SPEC, name: str = "far") -> str:
    """What is wrong with a row; empty: nothing."""
    try:
        ordered.read(name, said if isinstance(said, bytes) else json.dumps(said).encode(), spec)
    except BadRequest as error:
        return f"{error.param}: {error}"
    return ""


FAR = {"model": "m", "base_url": "https://far.example/v1"}
WITH_LAB = replace(SPEC, providers=(Provider(name="lab", model="m", base_url="https://lab.example/v1", key_env="LAB_API_KEY"),))
WITH_OWN = replace(SPEC, fleet=OWN, router=Router(port=8000))


@pytest.mark.parametrize(
    ("said", "spec", "wrong"),
    [
        (FAR, SPEC, ""),
        (FAR | {"key_env": KEY_ENV, "slo": {"idle_timeout": "5s"}, "cost": {"input": 1}}, SPEC, ""),
        ({"model": "m", "preset": "groq"}, SPEC, ""),
        ({"base_url": "https://far.example/v1"}, SPEC, "model: "),
        ({"model": "m"}, SPEC, "base_url: "),
        (FAR | {"key": "sk-live"}, SPEC, "key: "),
        (FAR | {"key_env": "sk-live-1"}, SPEC, "key_env: "),
        (FAR | {"key_env": "AWS_SECRET_ACCESS_KEY"}, SPEC, "key_env: "),
        (FAR | {"key_env": "WARMFLEET_ADMIN_API_KEY"}, SPEC, "key_env: "),
        (FAR | {"key_env": "GROQ_API_KEY"}, SPEC, "key_env: "),
        ({"model": "m", "preset": "groq", "base_url": "https://far.example/v1"}, SPEC, "key_env: "),
        (FAR | {"key_env": "LAB_API_KEY"}, WITH_LAB, "key_env: "),
        ({"model": "m", "base_url": "https://lab.example/v2", "key_env": "LAB_API_KEY"}, WITH_LAB, ""),
        (FAR | {"ca_file": "/etc/passwd"}, SPEC, "ca_file: "),
        (FAR | {"base_url": "http://far.example/v1"}, SPEC, "base_url: "),
        (FAR | {"base_url": "https://169.254.169.254/latest"}, SPEC, "base_url: "),
        (FAR | {"base_url": "https://[::ffff:169.254.169.254]/latest"}, SPEC, "base_url: "),
        (FAR | {"base_url": "https://metadata.google.internal/v1"}, SPEC, "base_url: "),
        (FAR | {"base_url": "http://127.0.0.1:19/v1"}, SPEC, ""),
        (FAR | {"base_url": "http://127.0.0.1:8500/v1"}, WITH_OWN, "base_url: "),
        (FAR | {"base_url": "http://localhost:4646/v1/var/nomad/jobs"}, WITH_OWN, "base_url: "),
        (FAR | {"base_url": "http://127.1.1.1:8000/v1"}, WITH_OWN, "base_url: "),
        (FAR | {"base_url": "http://127.0.0.1:6379/v1"}, WITH_OWN, "base_url: "),
        (FAR | {"base_url": "https://u:p@far.example/v1"}, SPEC, "base_url: "),
        (FAR | {"routes": ["nowhere"]}, SPEC, "routes: "),
        (FAR | {"routes": "best"}, SPEC, "routes: "),
        (FAR | {"name": "another"}, SPEC, "name: "),
        (FAR | {"answer_timeout": "2d"}, SPEC, "answer_timeout: "),
        ([1], SPEC, "None: "),
        (b"{", SPEC, "None: "),
        (b"\xff", SPEC, "None: "),
        (b"[" * 100_000, SPEC, "None: "),
    ],
)
def test_what_a_row_may_say(said: object, spec: Spec, wrong: str) -> None:
    found = judged(said, spec)
    assert found.startswith(wrong), found
    assert bool(found) == bool(wrong), found
    assert "sk-live" not in found


@pytest.mark.parametrize("name", ["providers", "auto"])
def test_words_with_a_meaning_are_no_names(name: str) -> None:
    assert judged(FAR, name=name).startswith("name: ")


def test_all_that_is_wrong_is_said_at_once() -> None:
    found = judged({"base_url": "http://far.example", "key_env": "lower", "colour": 1, "routes": ["nowhere"], "ca_file": "/x", "cost": [1]})
    for key in ("model", "base_url", "key_env", "colour", "routes", "ca_file", "cost"):
        assert f"{key}: " in found


values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(["5s", "https://[", "best"])
)
rows = st.dictionaries(
    st.sampled_from([*(setting.key for setting in settings_of(Provider)), "routes", "other"]),
    values | st.lists(values, max_size=3) | st.dictionaries(st.sampled_from(["input", "ttft", "idle_timeout", "x"]), values, max_size=3),
    max_size=3,
)


@given(rows)
def test_whatever_is_sent_is_a_row_that_can_be_used_or_is_refused(said: dict[str, Any]) -> None:
    try:
        found = ordered.read("far", json.dumps(FAR | said).encode(), SPEC)
    except BadRequest:
        return
    assert found is not None
    assert ordered.refused(found.row, SPEC) == ""
    now = roster.decode(roster.encode(Roster(providers={"far": found})))
    assert now.providers["far"] == found
    Catalogue(roster.laid_on(SPEC, now))


# the laws, without Redis


def far_row(**more: Any) -> Ordered:
    found = ordered.read("far", json.dumps(FAR | more).encode(), SPEC)
    assert found is not None
    return found


def test_names_are_nobody_elses() -> None:
    one = far_row()
    with_model = roster.added(Roster(), SPEC, "extra", Added())
    with_far = roster.provider_added(Roster(), SPEC, "far", one)
    for now, name, row in ((Roster(), "large", one), (Roster(), "best", one), (with_model, "extra", one), (Roster(), "far", None)):
        with pytest.raises(BadRequest):
            roster.provider_added(now, SPEC, name, row)
    for name in ("far", "providers", "auto"):
        with pytest.raises(BadRequest):
            roster.added(with_far, SPEC, name, Added())


def test_orders_and_how_names_stand_after_them() -> None:
    now = roster.provider_added(Roster(), SPEC, "far", far_row(routes=["best"]))
    assert roster.names(SPEC, now)["far"] == "enabled"
    assert roster.decode(roster.encode(now)) == now
    assert roster.laid_on(SPEC, now).routes[0].chain == ("large", "small", "far")
    off = roster.disabled(now, SPEC, "far")
    assert "far" not in Catalogue(roster.laid_on(SPEC, off), off.off).plan("best", None).chain
    assert roster.provider_added(off, SPEC, "far", far_row(priority=1)).providers["far"].row.priority == 1
    gone = roster.removed(off, SPEC, "far")
    assert (gone.providers, gone.off, roster.laid_on(SPEC, gone)) == ({}, {}, SPEC)


def test_no_more_are_added_than_there_may_be() -> None:
    now = Roster(providers={f"p{number}": far_row() for number in range(roster.MOST_ADDED)})
    with pytest.raises(BadRequest, match="64"):
        roster.provider_added(now, SPEC, "one-more", far_row())


def test_the_word_providers_means_those_that_were_added_too() -> None:
    spec = replace(WITH_LAB, routes=(Route(selector=0, name="best", chain=("large", "providers")),))
    now = roster.provider_added(Roster(), spec, "far", far_row(priority=1))
    assert Catalogue(roster.laid_on(spec, now)).plan("best", None).chain == ("large", "far", "lab")


def test_a_route_of_providers_keeps_its_row_when_all_of_them_are_off() -> None:
    spec = replace(WITH_LAB, routes=(Route(selector=0, name="best", chain=("providers",)),))
    with pytest.raises(ModelDisabled):
        Catalogue(spec, {"lab": "removed"}).plan("best", None)


def test_what_a_description_has_come_to_refuse_is_left_out() -> None:
    now = roster.provider_added(Roster(), SPEC, "far", far_row(base_url="http://127.0.0.1:8500/v1", routes=["best"]))
    assert "far" in {each.name for each in roster.laid_on(SPEC, now).providers}
    assert roster.laid_on(WITH_OWN, now) is WITH_OWN
    taken = replace(SPEC, providers=(Provider(name="far", model="mine", base_url="https://mine.example"),))
    assert roster.laid_on(taken, now) is taken


@pytest.mark.parametrize(
    "document",
    [
        b'{"providers": {"far": {"row": {"name": "far"}}}}',
        b'{"providers": {"far": 1}}',
        b'{"providers": {"F\\r\\n": {"row": {"name": "x", "model": "m"}}}}',
    ],
)
def test_a_roster_with_nonsense_for_a_provider_is_none(document: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        roster.decode(document)


@pytest.mark.parametrize("base_url", ["", "https://[x", "http://far.example", "https://169.254.169.254", "ftp://x", "https://x\r\ny/"])
def test_a_row_that_somebody_wrote_into_redis_is_judged_again(base_url: str) -> None:
    written = Roster(providers={"far": Ordered(row=Provider(name="far", model="m", base_url=base_url))})
    assert roster.laid_on(SPEC, roster.decode(roster.encode(written))) is SPEC


# through routers


@pytest.fixture
async def two(start: Start, redis_server: servers.RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Running, Running]]:
    """Two routers of one fleet of its own, with one Redis, an admin key and a key for somebody else."""
    monkeypatch.setenv("WARMFLEET_ADMIN_KEY", ADMIN)
    monkeypatch.setenv(KEY_ENV, KEY)
    fleet = replace(SPEC.fleet, name=f"t-{uuid4().hex[:12]}", redis=redis_server.url)
    spec = replace(SPEC, fleet=fleet, routes=ROUTES)
    yield await start(spec=spec), await start(spec=spec)


async def order(router: Running, method: str, path: str = "", body: object = None, key: str = ADMIN) -> Reply:
    raw = b"" if body is None else json.dumps(body).encode()
    head = f"{method} /admin/providers{path} HTTP/1.1\r\nhost: r\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    return await router.call(f"{head}content-length: {len(raw)}\r\n\r\n".encode() + raw)


def standing(reply: Reply, name: str = "far") -> dict[str, Any]:
    assert reply.status == 200, reply.body
    return next((found for found in reply.json["providers"] if found["name"] == name), {})


def knows(router: Running, name: str = "far") -> Callable[[], bool]:
    return lambda: name in router.wired.plane.providers


async def test_every_router_uses_a_provider_from_its_order_on_until_it_is_removed(two: tuple[Running, Running], far: Far) -> None:
    here, there = two
    server = await far(says_hello)
    found = standing(await order(here, "PUT", "/far", row(server.port)))
    assert (found["state"], found["added"], found["routes"], found["missing"]) == ("enabled", True, ["best"], "")
    await until(knows(there), 60)
    for router in two:
        reply = await router.call(chat("best"))
        assert (reply.status, reply.route["model"], reply.route["replica"]) == (200, "far", "external")
    heard = server.heard[0]
    assert (heard.json["model"], heard.header("authorization")) == ("vendor/big-1", f"Bearer {KEY}")
    assert [each["name"] for each in (await there.get("/providers")).json["providers"]] == ["far"]

    assert standing(await order(there, "DELETE", "/far")) == {}
    await until(lambda: not knows(here)(), 60)
    for router in two:
        assert (await router.call(chat("best"))).status == 503
    assert len(server.heard) == 2


async def test_orders_are_logged_with_where_they_lead(two: tuple[Running, Running], far: Far, caplog: pytest.LogCaptureFixture) -> None:
    server = await far(says_hello)
    await order(two[0], "PUT", "/far", row(server.port))
    await order(two[0], "DELETE", "/far")
    await order(two[0], "DELETE", "/far")
    said = [record.getMessage() for record in caplog.records if record.name == "router.pages.provider_admin"]
    assert said == [
        f"provider far was added by order: http://127.0.0.1:{server.port}/v1",
        "provider far was removed by order: nothing new is asked of it",
    ]


async def test_a_router_that_starts_later_has_it_too(two: tuple[Running, Running], start: Start, far: Far) -> None:
    server = await far(says_hello)
    await order(two[0], "PUT", "/far", row(server.port))
    late: Running = await start(spec=two[0].wired.spec)
    await until(knows(late), 60)
    assert (await late.call(chat("best"))).route["model"] == "far"


async def test_no_key_is_in_anything_that_is_said(two: tuple[Running, Running], far: Far) -> None:
    here, _ = two
    server = await far(says_hello)
    for reply in (await order(here, "PUT", "/far", row(server.port)), await order(here, "GET"), await here.get("/providers")):
        assert reply.status == 200
        assert KEY.encode() not in reply.body
    assert KEY not in roster.encode(await _kept(here)).decode()


async def _kept(router: Running) -> Roster:
    client = redis.asyncio.from_url(router.wired.spec.fleet.redis)
    document = await client.get(f"wf:roster:{router.wired.spec.fleet.name}")
    await client.aclose()
    return roster.decode(document)


async def test_a_provider_without_its_key_is_added_and_said_to_miss_it(two: tuple[Running, Running], far: Far) -> None:
    here, _ = two
    server = await far(says_hello)
    found = standing(await order(here, "PUT", "/far", row(server.port, key_env="NOBODYS_API_KEY")))
    assert found["missing"] == "NOBODYS_API_KEY is not set; it must hold the key"
    assert (await here.call(chat("best"))).status == 503
    assert server.heard == []


async def test_a_change_is_used_and_orders_of_models_hold_for_it(two: tuple[Running, Running], far: Far) -> None:
    here, _ = two
    first, second = await far(says_hello), await far(says_hello)
    await order(here, "PUT", "/far", row(first.port))
    await order(here, "PUT", "/far", row(second.port))
    assert (await here.call(chat("best"))).status == 200
    assert (len(first.heard), len(second.heard)) == (0, 1)
    models = f"POST /admin/models/far/disable HTTP/1.1\r\nhost: r\r\nauthorization: Bearer {ADMIN}\r\ncontent-length: 0\r\n\r\n"
    assert (await here.call(models.encode())).status == 200
    assert standing(await order(here, "GET"))["state"] == "disabled"
    assert (await here.call(chat("best"))).status == 503
    assert len(second.heard) == 1


async def test_a_redirect_is_not_followed(two: tuple[Running, Running], far: Far) -> None:
    here, _ = two
    elsewhere = await far(says_hello)
    location = f"location: http://127.0.0.1:{elsewhere.port}/v1/chat/completions\r\n"
    server = await far(plays(answer(b"{}", 307, extra=location)))
    await order(here, "PUT", "/far", row(server.port))
    assert (await here.call(chat("best"))).status == 502
    assert (len(server.heard), elsewhere.heard) == (1, [])


async def test_orders_are_only_taken_from_who_has_the_admins_key(two: tuple[Running, Running]) -> None:
    here, _ = two
    for key in ("", "another", ADMIN + "x", KEY):
        for method, path, body in (("GET", "", None), ("PUT", "/far", row(19)), ("DELETE", "/far", None), ("PUT", "/far", [1])):
            assert (await order(here, method, path, body, key)).status == 403
    refused = await order(here, "PUT", "/far", row(19, base_url="http://169.254.169.254/latest", key_env="AWS_SECRET_ACCESS_KEY"))
    assert (refused.status, "base_url: " in refused.json["error"]["message"], "key_env: " in refused.json["error"]["message"]) == (
        400,
        True,
        True,
    )
    assert (await order(here, "PUT", "/Not_A_Label", row(19))).status == 400
    assert [(await order(here, "DELETE", f"/{name}")).status for name in ("nobody", "large")] == [404, 404]
    assert standing(await order(here, "GET")) == {}


async def test_without_an_admin_key_there_is_nothing(start: Start) -> None:
    router: Running = await start()
    for method, path, body in (("GET", "", None), ("PUT", "/far", row(19)), ("DELETE", "/far", None)):
        assert (await order(router, method, path, body, key="")).status == 404


async def test_a_tenant_s_key_gives_no_orders(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARMFLEET_ADMIN_KEY", ADMIN)
    router: Running = await start(spec=replace(SPEC, tenants=(Tenant(name="t", key_sha256=(digest("wf-tenant"),)),)))
    assert (await order(router, "GET", key="wf-tenant")).status == 403
    assert (await order(router, "PUT", "/far", row(19), key="wf-tenant")).status == 403
    assert (await order(router, "GET")).status == 200


async def test_a_described_provider_can_be_removed_and_taken_back(
    start: Start, far: Far, monkeypatch: pytest.MonkeyPatch, redis_server: servers.RedisServer
) -> None:
    monkeypatch.setenv("WARMFLEET_ADMIN_KEY", ADMIN)
    server = await far(says_hello)
    lab = Provider(name="lab", model="m", base_url=f"http://127.0.0.1:{server.port}/v1")
    fleet = replace(SPEC.fleet, name=f"t-{uuid4().hex[:12]}", redis=redis_server.url)
    router: Running = await start(
        spec=replace(SPEC, fleet=fleet, providers=(lab,), routes=(Route(selector=0, name="best", chain=("providers",)),))
    )
    assert standing(await order(router, "DELETE", "/lab"), "lab")["state"] == "removed"
    assert (await router.call(chat("best"))).code == "model_disabled"
    assert (await order(router, "PUT", "/lab", row(server.port))).status == 400
    assert standing(await order(router, "PUT", "/lab", {}), "lab")["state"] == "enabled"
    assert (await router.call(chat("best"))).route["model"] == "lab"


# where names lead


async def test_a_name_that_leads_to_a_machine_s_own_secrets_is_not_dialled() -> None:
    pool = RemotePool(Address("169.254.169.254", 9, tls=False), None, None, lambda: 0.0)
    with pytest.raises(PermissionError, match="link-local"):
        await pool.dial(5.0)
    meant = RemotePool(Address("169.254.169.254", 9, tls=False), None, None, lambda: 0.0, may_be_link_local=True)
    assert await meant._addresses() == ["169.254.169.254"]


async def test_numbers_in_another_spelling_lead_to_the_same_address() -> None:
    for spelling in ("0xA9FEA9FE", "2852039166", "169.254.43518"):
        with pytest.raises(OSError):
            await RemotePool(Address(spelling, 9, tls=False), None, None, lambda: 0.0).dial(5.0)

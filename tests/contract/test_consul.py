"""fleet.consul against a real Consul: services with their health, check-and-set, and watches that outlive it."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.consul import Consul, Instance, Lost, Seen, next_index, watch
from fleet.errors import Refused, Unreachable
from tests import servers
from tests.servers import ConsulServer

pytestmark = pytest.mark.contract

T = TypeVar("T")

DEADLINE_S = 30.0
PASSING = {"Name": "ok", "TTL": "1h", "Status": "passing"}
CRITICAL = {"Name": "not ok", "TTL": "1h", "Status": "critical"}


@pytest.fixture
async def consul(consul_server: ConsulServer) -> AsyncIterator[Consul]:
    client = Consul(consul_server.address)
    yield client
    await client.close()


@pytest.fixture
def service(consul_server: ConsulServer) -> Iterator[str]:
    name = f"service-{uuid4().hex[:8]}"
    yield name
    for service_id, row in json.loads(call(consul_server.address, "GET", "/v1/agent/services")).items():
        if row["Service"] == name:
            call(consul_server.address, "PUT", f"/v1/agent/service/deregister/{service_id}")


@pytest.fixture
def folder() -> str:
    return f"test/{uuid4().hex[:8]}/"


def call(address: str, method: str, path: str, body: Any = None) -> str:
    """What Consul itself says, past the adapter."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None)
        response = connection.getresponse()
        text = response.read().decode()
        assert response.status == 200, text
        return text
    finally:
        connection.close()


def register(address: str, service: str, number: int = 1, **fields: Any) -> None:
    body = {"ID": f"{service}-{number}", "Name": service, "Address": "127.0.0.1", "Port": 9000 + number, "Checks": [PASSING]} | fields
    call(address, "PUT", "/v1/agent/service/register", body)


@pytest.mark.parametrize(
    ("checks", "passing"),
    [([PASSING], True), ([CRITICAL], False), ([PASSING, CRITICAL], False), ([PASSING, {**PASSING, "Status": "warning"}], False)],
)
async def test_an_instance_passes_if_all_its_checks_do(consul: Consul, service: str, checks: list[Any], passing: bool) -> None:
    register(consul.address, service, Tags=["small-model"], Meta={"model": "small-model"}, Checks=checks)
    seen = await consul.instances(service)
    assert seen.value == (
        Instance(
            service_id=f"{service}-1",
            host="127.0.0.1",
            port=9001,
            tags=("small-model",),
            meta={"model": "small-model"},
            passing=passing,
        ),
    )
    assert seen.index > 0


async def test_an_instance_without_an_address_of_its_own_has_that_of_its_node(consul: Consul, service: str) -> None:
    register(consul.address, service, Address="")
    assert [i.host for i in (await consul.instances(service)).value] == ["127.0.0.1"]


async def test_instances_come_in_the_order_of_their_ids(consul: Consul, service: str) -> None:
    for number in (3, 1, 2):
        register(consul.address, service, number)
    assert [i.port for i in (await consul.instances(service)).value] == [9001, 9002, 9003]


async def test_a_service_that_does_not_exist_has_no_instances(consul: Consul, service: str) -> None:
    assert (await consul.instances(service)).value == ()


async def test_a_watch_wakes_up_when_an_instance_stops_passing(consul: Consul, service: str) -> None:
    """Within DEADLINE_S, which is shorter than a blocking query waits. It may wake up for nothing before."""

    async def fetch(index: int) -> Seen[tuple[Instance, ...]]:
        return await consul.instances(service, index=index)

    register(consul.address, service)
    async with aclosing(watch(fetch)) as watched:
        await first(watched, lambda item: isinstance(item, Seen) and [i.passing for i in item.value] == [True])
        call(consul.address, "PUT", f"/v1/agent/check/fail/service:{service}-1")
        await first(watched, lambda item: isinstance(item, Seen) and [i.passing for i in item.value] == [False])


async def test_a_blocking_query_ends_without_a_change(consul: Consul, service: str) -> None:
    register(consul.address, service)
    before = await consul.instances(service)
    async with asyncio.timeout(DEADLINE_S):
        assert await consul.instances(service, index=before.index, wait_s=1) == before


async def test_check_and_set(consul: Consul, folder: str) -> None:
    key = folder + "state"
    assert await consul.document(key) == (None, 0)
    assert await consul.put(key, b"1", index=0)
    assert not await consul.put(key, b"2", index=0)
    value, index = await consul.document(key)
    assert value == b"1"
    assert await consul.put(key, b"2", index=index)
    assert not await consul.put(key, b"3", index=index)
    assert (await consul.document(key))[0] == b"2"


async def test_an_empty_value_is_not_a_missing_one(consul: Consul, folder: str) -> None:
    await consul.put(folder + "empty", b"", index=0)
    value, index = await consul.document(folder + "empty")
    assert value == b"" and index > 0


async def test_documents_are_all_below_a_prefix_until_deleted(consul: Consul, folder: str) -> None:
    for name in ("a", "b/c"):
        await consul.put(folder + name, name.encode(), index=0)
    assert (await consul.documents(folder)).value == {folder + "a": b"a", folder + "b/c": b"b/c"}
    await consul.delete(folder)
    assert (await consul.documents(folder)).value == {}


async def test_a_key_is_deleted_without_those_that_begin_like_it(consul: Consul, folder: str) -> None:
    for name in ("a", "ab", "a/b"):
        await consul.put(folder + name, b"", index=0)
    await consul.delete(folder + "a")
    assert set((await consul.documents(folder)).value) == {folder + "ab", folder + "a/b"}


async def test_a_blocking_query_of_documents_wakes_up(consul: Consul, folder: str) -> None:
    await consul.put(folder + "a", b"1", index=0)
    before = await consul.documents(folder)
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        waiting = group.create_task(consul.documents(folder, index=before.index))
        await consul.put(folder + "b", b"2", index=0)
    assert waiting.result().value.keys() == {folder + "a", folder + "b"}


async def test_an_address_where_nobody_listens_is_unreachable() -> None:
    consul = Consul("http://127.0.0.1:1")
    with pytest.raises(Unreachable, match="Consul does not answer"):
        await consul.instances("x")
    with pytest.raises(Unreachable):
        await consul.put("x", b"", index=0)
    await consul.close()


async def test_a_key_that_consul_does_not_take_is_refused(consul: Consul) -> None:
    with pytest.raises(Refused):
        await consul.put("x" * 10, b"x" * 600_000, index=0)


async def test_the_environment_does_not_override_a_token(consul_server: ConsulServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "of-the-environment")
    consul = Consul(consul_server.address, token="explicit")
    assert consul._client.token == "explicit"
    await consul.close()


async def first(watched: AsyncIterator[T], wanted: Callable[[T], bool]) -> T:
    async with asyncio.timeout(DEADLINE_S):
        async for item in watched:
            if wanted(item):
                return item
    raise AssertionError("a watch does not end")


async def test_a_watch_says_that_consul_is_lost_and_finds_it_again() -> None:
    """A server of its own: the others' must not be stopped."""
    with servers.consul() as server:
        consul = Consul(server.address)

        async def fetch(index: int) -> Seen[tuple[Instance, ...]]:
            return await consul.instances("watched", index=index)

        async with aclosing(watch(fetch, jitter=lambda: 0.0)) as watched:
            register(server.address, "watched")
            seen = await first(watched, lambda item: isinstance(item, Seen) and len(item.value) == 1)
            server.stop()
            lost = await first(watched, lambda item: isinstance(item, Lost))
            server.start()  # in dev mode it comes back empty, at a lower index
            empty = await first(watched, lambda item: isinstance(item, Seen))
            register(server.address, "watched", 2)
            again = await first(watched, lambda item: isinstance(item, Seen) and bool(item.value))
        await consul.close()
    assert isinstance(seen, Seen) and isinstance(empty, Seen) and isinstance(again, Seen)
    assert isinstance(lost, Lost) and isinstance(lost.error, Unreachable)
    assert empty.value == ()
    assert [i.port for i in again.value] == [9002]


class Script:
    """A fetch with prepared answers; remembers the indexes it was asked with."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers, self.asked = list(answers), list[int]()

    async def __call__(self, index: int) -> Seen[int]:
        self.asked.append(index)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Seen(answer, answer)


async def take(script: Script, count: int) -> tuple[list[Any], list[float]]:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    items: list[Any] = []
    async with aclosing(watch(script, sleep=sleep, jitter=lambda: 0.5)) as watched:
        async for item in watched:
            items.append(item)
            if len(items) == count:
                break
    return items, pauses


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ((5, 7, 7), [0, 5, 7]),
        ((5, 3, 4), [0, 5, 0]),  # backwards: Consul was restored or restarted
        ((0, 0, 1), [0, 0, 0]),
        ((5, Unreachable("gone"), 9, 9), [0, 5, 0, 9]),
        ((5, Refused("token"), 9, 9), [0, 5, 0, 9]),
    ],
)
async def test_a_watch_follows_the_index(answers: tuple[int | Exception, ...], asked: list[int]) -> None:
    script = Script(*answers)
    await take(script, len(answers))
    assert script.asked == asked


async def test_a_watch_waits_longer_after_each_failure_up_to_a_limit_and_starts_over_after_success() -> None:
    gone = Unreachable("gone")
    items, pauses = await take(Script(*[gone] * 8, 1, gone, 1), 11)
    growing = pauses[:8]
    assert all(0 < a <= b for a, b in itertools.pairwise(growing))
    assert growing[-1] == growing[-2] == 5.0
    assert pauses[9] == growing[0]
    assert [type(item) for item in items] == [Lost] * 8 + [Seen, Lost, Seen]


async def test_a_watch_does_not_swallow_what_is_our_fault() -> None:
    with pytest.raises(ZeroDivisionError):
        await take(Script(1, ZeroDivisionError()), 2)


@given(asked=st.integers(0, 2**63), answered=st.integers(-(2**63), 2**63))
def test_the_next_index_never_goes_back_and_never_waits_for_nothing(asked: int, answered: int) -> None:
    index = next_index(asked, answered)
    assert index in (0, answered)
    assert index >= 0
    if answered >= max(asked, 1):
        assert index == answered
    else:
        assert index == 0

"""Analytics in SQLite and in a real PostgreSQL: no sum is lost between routers, over restarts or while the database is away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from router.analytics.database import Database
from router.analytics.kept import Kept
from router.analytics.sums import HOUR_S, Key, Sums
from router.answered import Answered
from router.errors import AnalyticsAway
from tests.postgres import PASSWORD, PostgresServer, postgres

HOUR = 480_000 * HOUR_S
KEY = Key(HOUR, "ours", "chat", "large")
ONE = Sums(requests=1, answered=1, input_tokens=7, output_tokens=3, cost_nano=20, latency_us=500)
Open = Callable[[], Database]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the same database once more, as a fleet of its own."""
    fleet, made = f"t-{uuid4().hex[:12]}", list[Database]()
    url = f"sqlite:///{tmp_path / 'analytics'}" if request.param == "sqlite" else request.getfixturevalue("server").url

    def opens() -> Database:
        made.append(Database(url, "" if request.param == "sqlite" else PASSWORD, fleet))
        return made[-1]

    yield opens
    for database in made:
        database.close()


def answered(**more: object) -> Answered:
    facts = {
        "time": HOUR + 5.0,
        "request_id": "req-1",
        "tenant": "ours",
        "session": "",
        "route": "chat",
        "model": "large",
        "status": 200,
        "outcome": "answered",
        "attempts": 1,
        "failed": (),
        "input_tokens": 7,
        "output_tokens": 3,
        "counted": True,
        "cost_nano": 20,
        "latency_s": 0.0005,
        "ttft_s": None,
    }
    return Answered(**(facts | more))  # type: ignore[arg-type]


def test_what_is_added_is_there_for_whoever_opens_it_next(opened: Open) -> None:
    first = opened()
    assert first.read(0, HOUR + 1) == {}
    first.add({KEY: ONE, KEY._replace(model="small"): Sums(failures=2)})
    first.close()
    assert opened().read(HOUR, HOUR + 1) == {KEY: ONE, KEY._replace(model="small"): Sums(failures=2)}


def test_an_hour_is_read_by_when_it_begins(opened: Open) -> None:
    database = opened()
    database.add({KEY: ONE, KEY._replace(hour=HOUR + HOUR_S): ONE})
    assert list(database.read(HOUR, HOUR + HOUR_S)) == [KEY]
    assert database.read(HOUR + 1, HOUR + HOUR_S) == {}


def test_routers_that_write_at_the_same_time_lose_nothing(opened: Open) -> None:
    keys = [KEY._replace(model=f"m{n}") for n in range(3)]
    opened().read(0, 1)  # the table is there

    def writes(database: Database) -> None:
        for _ in range(20):
            database.add(dict.fromkeys(keys, ONE))

    threads = [threading.Thread(target=writes, args=(opened(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = opened().read(HOUR, HOUR + 1)
    assert {key: (sums.requests, sums.latency_us) for key, sums in found.items()} == dict.fromkeys(keys, (80, 40_000))


def test_old_hours_go_and_others_stay(opened: Open) -> None:
    database = opened()
    database.add({KEY: ONE, KEY._replace(hour=HOUR + HOUR_S): ONE})
    database.forget(HOUR + HOUR_S)
    assert list(database.read(0, HOUR + 2 * HOUR_S)) == [KEY._replace(hour=HOUR + HOUR_S)]


async def test_what_was_noted_is_read_at_once_and_stays_over_a_restart(opened: Open) -> None:
    kept = Kept(opened(), lambda: HOUR + 10.0)
    for _ in range(3):
        kept.noted(answered(failed=("small",)))
    kept.noted(answered(outcome="failed", status=502, model="-", cost_nano=0, input_tokens=0, output_tokens=0))
    rows = await kept.read(HOUR, HOUR + 1)
    assert rows[KEY] == Sums(requests=3, answered=3, input_tokens=21, output_tokens=9, cost_nano=60, latency_us=1500)
    assert rows[KEY._replace(model="small")] == Sums(failures=3)
    assert rows[KEY._replace(model="-")] == Sums(requests=1, failed=1)
    await kept.close()
    again = Kept(opened(), lambda: HOUR + 10.0)
    assert await again.read(HOUR, HOUR + 1) == rows
    await again.close()


async def test_a_database_that_is_away_loses_no_request(server: PostgresServer) -> None:
    database = Database(server.url, PASSWORD, f"t-{uuid4().hex[:12]}")
    kept = Kept(database, lambda: HOUR + 10.0)
    kept.noted(answered())
    await kept.write()
    server.stop()
    try:
        kept.noted(answered())
        await kept.write()
        assert kept.is_away
        with pytest.raises(AnalyticsAway):
            await kept.read(HOUR, HOUR + 1)
        kept.noted(answered())
    finally:
        server.start()
    assert (await kept.read(HOUR, HOUR + 1))[KEY].requests == 3
    assert not kept.is_away
    await kept.close()
    database.close()


def test_a_wrong_password_is_said_without_it(server: PostgresServer) -> None:
    database = Database(server.url, "wrong-password", "t")
    with pytest.raises(AnalyticsAway) as refused:
        database.read(0, 1)
    database.close()
    assert "authentication failed" in str(refused.value)
    assert "wrong-password" not in str(refused.value)


async def test_what_does_not_fit_is_counted_as_lost(caplog: pytest.LogCaptureFixture) -> None:
    class Away:
        rows: dict[Key, Sums] | None = None

        def add(self, rows: dict[Key, Sums]) -> None:
            if self.rows is None:
                raise AnalyticsAway("away")

        def read(self, since: int, until: int) -> dict[Key, Sums]:
            raise AnalyticsAway("away")

        def forget(self, before: int) -> None: ...

    store = Away()
    kept = Kept(store, lambda: HOUR + 10.0, most_rows=10)
    for number in range(12):
        kept.noted(answered(model=f"m{number}"))
        kept.noted(answered(model=f"m{number}"))
        await kept.write()
    assert kept.lost == 4
    store.rows = {}
    await kept.write()
    assert "4 requests are missing" in caplog.text
    await kept.close()

"""Weeks of one model's arrivals, read from a Datadog on loopback: in slices, zero only where the routers spoke, limits waited for."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from autoscaler.datadog.client import Access, Client
from autoscaler.datadog.errors import DatadogError, Limited
from autoscaler.datadog.history import Patience, arrivals, slices
from autoscaler.simulate.errors import NoHistory
from autoscaler.simulate.from_datadog import read_history, trace_of
from fleet.model import Capacity, Datadog, Model, Spec
from fleet.names import ENV_DATADOG_URL
from tests.contract.datadog_server import FakeDatadog, constant, datadog, document, json_response, limited, series

MODEL, TAGS = "small-model", ["model:small-model"]
NOON = 1_700_000_000.0 // 86400 * 86400 + 43200
DAY_S = 86400.0


def spec() -> Spec:
    model = Model(name=MODEL, engine="llamacpp", weights="w", cold_start_s=600, capacity=Capacity(concurrency=2, requests_per_min=60))
    return Spec(models=(model,), datadog=Datadog(offset_s=0))


async def recorded(asked: Mapping[str, Any]) -> web.StreamResponse:
    """As many requests as the minute's number within its hour; none in minute 7, and the routers silent in minutes 20 to 24."""
    attributes = asked["data"]["attributes"]
    starts = [at for at in range(attributes["from"] // 1000, attributes["to"] // 1000, 60) if not 20 <= at // 60 % 60 < 25]
    flying = dict.fromkeys(starts, 1.0)
    counts = {at: float(at // 60 % 60) for at in starts if at // 60 % 60 != 7}
    names = [query["name"] for query in attributes["queries"]]
    padded = {attributes["from"] // 1000 - 60: 1e9, attributes["to"] // 1000 + 600: 1e9}  # Datadog may send more than it was asked for
    return json_response(200, document(names, ("in_flight", TAGS, flying), ("arrivals", TAGS, counts | padded)))


async def read(server: FakeDatadog, length_s: float, waits: list[float] | None = None) -> list[float | None]:
    async def sleep(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)

    async with aiohttp.ClientSession() as session:
        client = Client(session, Access(server.url, "api", "app"), 10)
        return await arrivals(client, spec(), MODEL, list(slices(NOON, length_s)), Patience(sleep))


async def test_each_minute_has_its_count_or_none_or_is_not_known() -> None:
    async with datadog(recorded) as server:
        counts = await read(server, 3600)
    expected = [None if 20 <= minute < 25 else 0.0 if minute == 7 else float(minute) for minute in range(60)]
    assert counts == expected


async def test_weeks_are_asked_for_in_slices_of_half_a_day_and_minutes() -> None:
    async with datadog(recorded) as server:
        counts = await read(server, 1.25 * DAY_S)
    spans = [(asked["data"]["attributes"]["from"], asked["data"]["attributes"]["to"]) for asked in server.asked]
    assert [(end - start) / 3_600_000 for start, end in spans] == [12, 12, 6]
    assert all(one[1] == other[0] for one, other in itertools.pairwise(spans))
    assert {asked["data"]["attributes"]["interval"] for asked in server.asked} == {60_000}
    assert spans[-1][1] == NOON * 1000
    assert len(counts) == 1.25 * 1440


async def test_a_used_up_limit_is_waited_for_as_long_as_datadog_says() -> None:
    waits: list[float] = []
    async with datadog(limited("17"), limited(None), recorded) as server:
        counts = await read(server, 3600, waits)
    assert (waits, len(counts)) == ([17.0, 60.0], 60)


async def test_the_last_question_of_a_period_is_followed_by_a_wait() -> None:
    waits: list[float] = []
    async with datadog(series(("arrivals", TAGS, {int(NOON) - 60: 5.0}), remaining=0, reset=30)) as server:
        await read(server, 3600, waits)
    assert waits == [30.0]


async def test_a_limit_that_stays_used_up_ends_it() -> None:
    async with datadog(limited("1")) as server:
        with pytest.raises(Limited):
            await read(server, 3600)
    assert len(server.asked) == 5


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (constant(403, b'{"errors":["Forbidden"]}'), "refuses the keys"),
        (series(("arrivals", TAGS, {int(NOON) - 60: -5.0})), "impossible value -5"),
        (series(("arrivals", TAGS, {int(NOON) - 90: 5.0})), "not in buckets of 60 s"),
        (
            series(("arrivals", TAGS, {int(NOON) - 60: 5.0}), ("arrivals", TAGS, {int(NOON) - 60: 6.0})),
            "2 series for the model small-model",
        ),
    ],
)
async def test_what_cannot_be_used_says_why(answer: Any, message: str) -> None:
    async with datadog(answer) as server:
        with pytest.raises(DatadogError, match=message):
            await read(server, 3600)


async def test_the_trace_begins_with_the_first_minute_that_is_known_and_counts_from_the_epoch() -> None:
    environment = {"DD_API_KEY": "a", "DD_APP_KEY": "b"}
    parts: list[float] = []
    async with datadog(recorded) as server:
        environment[ENV_DATADOG_URL] = server.url
        trace = await read_history(spec(), MODEL, environment, until=NOON + 1380, length_s=3600, told=parts.append)
    assert trace.first_minute == NOON // 60 - 60 + 25  # the hour asked about begins in the silence
    assert (trace.name, len(trace), parts) == (MODEL, 58, [1.0])
    assert trace.requests[:3].tolist() == [25.0, 26.0, 27.0]
    assert trace.gap[-3:].tolist() == [True, True, True]


def test_a_history_of_nothing_is_none() -> None:
    with pytest.raises(NoHistory, match="no requests of small-model in 3 minutes"):
        trace_of(MODEL, 0, [None, None, None])


async def test_without_keys_nothing_is_asked() -> None:
    with pytest.raises(NoHistory, match="DD_APP_KEY not set"):
        await read_history(spec(), MODEL, {"DD_API_KEY": "a"}, until=NOON, length_s=3600, told=lambda _: None)


async def test_the_command_answers_what_would_have_been(tmp_path: Path) -> None:
    described = tmp_path / "fleet.toml"
    described.write_text(
        '[runtime]\ndriver = "raw_exec"\n[redis]\ndriver = "raw_exec"\n[datadog]\nenabled = false\n'
        f'[[model]]\nname = "{MODEL}"\nengine = "llamacpp"\nweights = "w"\ncold_start = "10m"\nreplicas = {{ min = 1, max = 9 }}\n'
        'capacity = { concurrency = 2, requests_per_min = 20 }\npolicy = [{ kind = "target" }]\n'
    )
    saved = tmp_path / "history.csv"
    options = ["--from-datadog", "26h", "--model", MODEL, "--spec", described, "--history-days", "0", "--save-trace", saved]
    async with datadog(recorded) as server:
        environment = {"DD_API_KEY": "a", "DD_APP_KEY": "b", ENV_DATADOG_URL: server.url}
        code, output = await _warmfleet("simulate", *map(str, options), **environment)
    assert code == 0, output
    assert "small-model: 1.1 days scored, one replica = 20 requests/min, lead 10 min" in output
    assert len(server.asked) == 3
    assert len(saved.read_text().splitlines()) > 25 * 60


async def _warmfleet(*arguments: str, **environment: str) -> tuple[int, str]:

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from fleet.cli import main; main()",
        *arguments,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()

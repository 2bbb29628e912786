"""The Datadog reader over HTTP: recorded exchanges, derived faults, and what the loop knows meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.datadog.answer import series_of
from autoscaler.datadog.client import Access, Client, access
from autoscaler.datadog.errors import DatadogError, Limited, MalformedAnswer, NoAnswer, NotAllowed
from autoscaler.datadog.queries import queries_for
from autoscaler.datadog.reader import Reader
from autoscaler.scrape import open_session
from autoscaler.signals import (
    CONCURRENCY,
    GPU_USE,
    HELD,
    KV_USE,
    LOG_BYTES_PER_MIN,
    LOG_LINES_PER_MIN,
    QUEUE_TIME_S,
    REQUESTS_PER_MIN,
    Known,
    Partial,
    Signal,
    Unknown,
)
from fleet.errors import WarmfleetError
from fleet.metrics import DATADOG_AGE, DATADOG_QUERIES, DATADOG_REMAINING
from fleet.model import Autoscaler, Capacity, Datadog, Model, Spec
from fleet.names import ENV_DATADOG_URL
from fleet.recorder import Recorder
from tests.contract.datadog_server import Answering, FakeDatadog, constant, datadog, limited, recorded, replay, series, silent, trickling

NOW = 1_800_000_075.0  # the newest whole bucket ends 45 s before it
END = 1_800_000_030
MODEL = ("model:small-model",)
SERVICE = ("service:warmfleet-small-model",)


@asynccontextmanager
async def asking(*script: Answering, timeout_s: float = 5.0, most_bytes: int = 10**6) -> AsyncIterator[tuple[Client, FakeDatadog]]:
    async with datadog(*script) as server, open_session() as session:
        yield Client(session, Access(server.url, "the-api-key", "the-app-key"), timeout_s, most_bytes), server


def fleet(**settings: Any) -> Spec:
    one = Capacity(concurrency=2, requests_per_min=60)
    model = Model(name="small-model", engine="vllm", weights="w", image="i", volume="v", capacity=one, cold_start_s=600)
    return Spec(models=(model,), autoscaler=Autoscaler(), datadog=Datadog(**settings))


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def buckets(*values: float, end: int = END) -> Mapping[int, float]:
    """Values of the last buckets of 30 s before `end`."""
    return {end - 30 * (len(values) - i): value for i, value in enumerate(values)}


@pytest.mark.parametrize(
    "name",
    ["v2-timeseries-dense", "v2-timeseries-padded", "v2-timeseries-sparse", "v2-timeseries-dense-counts", "v2-timeseries-events"],
)
async def test_recorded_answers_are_read_point_by_point(name: str) -> None:
    request, response = recorded(name)
    async with asking(replay(name)) as (client, server):
        heard = await client.ask(json.dumps(request["body"]).encode())
    (read,) = series_of(heard.text, ["a"])
    attributes = response["body"]["data"]["attributes"]
    assert read.points == tuple((t / 1000, v) for t, v in zip(attributes["times"], attributes["values"][0], strict=True))
    assert read.query == "a"
    headers = {key.lower(): value for key, value in server.headers[0].items()}
    assert (headers["dd-api-key"], headers["dd-application-key"]) == ("the-api-key", "the-app-key")


async def test_a_recorded_empty_answer_has_no_series() -> None:
    async with asking(replay("v2-timeseries-logs-empty")) as (client, _):
        request, _response = recorded("v2-timeseries-logs-empty")
        assert series_of((await client.ask(json.dumps(request["body"]).encode())).text, ["a"]) == ()


async def test_a_recorded_rejection_is_told_in_datadogs_words() -> None:
    _, response = recorded("v2-scalar-400")
    async with asking(constant(400, json.dumps(response["body"]).encode())) as (client, _):
        with pytest.raises(NotAllowed, match="Queries ending outside the retention date are invalid"):
            await client.ask(b"{}")


FAULTS: list[tuple[str, Answering, type[DatadogError], str]] = [
    ("429", limited(), Limited, "rate limit is used up"),
    ("429 without a header", limited(None), Limited, "rate limit is used up"),
    ("403", constant(403, b'{"errors":["Forbidden"]}'), NotAllowed, "Forbidden.*DD_API_KEY and DD_APP_KEY must be of http"),
    ("401", constant(401, b"<html>"), NotAllowed, "refuses the keys"),
    ("500", constant(500, b"oops"), NoAnswer, "trouble of its own .HTTP 500"),
    ("redirect", constant(302, headers={"location": "http://127.0.0.1:9/"}), MalformedAnswer, "redirects"),
    ("silence", silent, NoAnswer, "within 0.5 s"),
    ("a byte now and then", trickling, NoAnswer, "within 0.5 s"),
    ("too much", constant(200, b" " * 2_000_000), MalformedAnswer, "larger than 1000000 bytes"),
    ("the key in the words", constant(403, b'{"errors":["bad the-app-key"]}'), NotAllowed, r"bad \*\*\*"),
]


@pytest.mark.parametrize(("answering", "error", "says"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
async def test_every_fault_is_an_error_of_its_kind(answering: Answering, error: type[DatadogError], says: str) -> None:
    async with asking(answering, timeout_s=0.5) as (client, _):
        with pytest.raises(error, match=says) as raised:
            await client.ask(b"{}")
    assert "the-app-key" not in str(raised.value)
    assert "the-app-key" not in repr(client)


async def test_nobody_listening_is_no_answer() -> None:
    async with open_session() as session:
        with pytest.raises(NoAnswer, match="does not answer"):
            await Client(session, Access("http://127.0.0.1:9", "a", "b"), 5.0).ask(b"{}")


GARBAGE = [b"", b"<html>proxy</html>", b"[1]", b"{}", b'{"data":{"attributes":{"series":[{}],"times":[],"values":[]}}}', b"[" * 100_000]
ERRORS_WITH_200 = [b'{"status":"error","error":"Rate limit"}', b'{"errors":["no"]}', b'{"meta":{"status":"timeout"},"data":{}}']


@pytest.mark.parametrize("text", [*GARBAGE, *ERRORS_WITH_200], ids=range(9))
async def test_an_answer_that_is_none_leaves_the_last_one_standing(text: bytes) -> None:
    rows = (("in_flight", MODEL, buckets(*[2.0] * 12)), ("arrivals", MODEL, buckets(*[30.0] * 12)))
    async with asking(series(*rows), constant(200, text)) as (client, _):
        reader = Reader(fleet(), client, Recorder(), Clock(), lambda: 0.0)
        await reader.ask_once()
        before = reader.signals("small-model", NOW)
        await reader.ask_once()
    assert reader.signals("small-model", NOW) == before
    assert before[REQUESTS_PER_MIN] == Known(60.0, 45.0)
    assert reader.recorder.counts[DATADOG_QUERIES, ("malformed",)] == 1


async def test_one_question_asks_for_metrics_and_logs_of_all_models() -> None:
    async with asking(series()) as (client, server):
        await Reader(fleet(), client, Recorder(), Clock(), lambda: 0.0).ask_once()
    attributes = server.asked[0]["data"]["attributes"]
    recorded_metrics, recorded_logs = (recorded(n)[0]["body"]["data"] for n in ("v2-timeseries-dense", "v2-timeseries-logs-empty"))
    assert server.asked[0]["data"]["type"] == recorded_metrics["type"]
    assert attributes.keys() == recorded_metrics["attributes"].keys()
    assert (attributes["from"], attributes["to"], attributes["interval"]) == ((END - 360) * 1000, END * 1000, 30_000)
    texts = {query["name"]: query for query in attributes["queries"]}
    assert [formula["formula"] for formula in attributes["formulas"]] == list(texts)
    scope = "{service:warmfleet-router,env:production}"
    assert texts["arrivals"]["query"] == f"sum:warmfleet.router.arrivals{scope} by {{model}}.as_count().fill(null).rollup(sum, 30)"
    assert texts["in_flight"]["query"] == f"sum:warmfleet.router.in_flight{scope} by {{model}}.fill(null).rollup(avg, 30)"
    assert texts["latency_count"]["query"] == f"count:warmfleet.router.latency{scope} by {{model}}.as_count().fill(null).rollup(30)"
    engines = "{env:production AND service IN (warmfleet-small-model)} by {service}"
    assert texts["kv_use"]["query"] == f"avg:vllm.kv_cache_usage_perc{engines}.fill(null).rollup(avg, 30)"
    assert recorded_logs["attributes"]["queries"][0].keys() <= texts["log_lines"].keys()
    assert texts["log_lines"]["search"] == {"query": "env:production service:(warmfleet-small-model)"}


async def test_the_signals_of_a_model() -> None:
    rows = (
        ("in_flight", MODEL, buckets(*[2.0] * 12)),
        ("arrivals", MODEL, buckets(15.0, 45.0)),
        ("kv_use", SERVICE, buckets(0.5, 0.7)),
        ("log_lines", SERVICE, buckets(300.0, 100.0)),
        ("arrivals", ("model:other",), buckets(9e5)),
    )
    async with asking(series(*rows)) as (client, _):
        reader = Reader(fleet(), client, Recorder(), Clock(), lambda: 0.0)
        await reader.ask_once()
    seen = reader.signals("small-model", NOW + 20)
    assert seen[REQUESTS_PER_MIN] == Known(60.0, 65.0)
    assert seen[CONCURRENCY] == Known(2.0, 65.0)
    assert seen[HELD] == Known(0.0, 65.0)
    assert seen[KV_USE] == Known(pytest.approx(0.6), 65.0)  # type: ignore[arg-type]
    assert seen[LOG_LINES_PER_MIN] == Known(400.0, 65.0)


@pytest.mark.parametrize(
    ("rows", "name", "signal"),
    [
        ({"kv_use": buckets(0.5, 0.7)}, KV_USE, Known(0.6, 45.0)),
        ({"kv_use_old": buckets(0.2, 0.4)}, KV_USE, Known(0.3, 45.0)),
        ({"kv_use": buckets(0.5, 0.7), "kv_use_old": buckets(0.2, 0.4)}, KV_USE, Known(0.6, 45.0)),
        ({}, KV_USE, Unknown("Datadog has no data of kv_use for it")),
        ({"kv_use": buckets(0.5, 7.0)}, KV_USE, Unknown("vllm.kv_cache_usage_perc in Datadog has the impossible value 7")),
        ({"queue_sum": buckets(30.0, 30.0), "queue_count": buckets(10.0, 20.0)}, QUEUE_TIME_S, Known(2.0, 45.0)),
        ({"queue_sum": buckets(0.0, 0.0), "queue_count": buckets(0.0, 0.0)}, QUEUE_TIME_S, Unknown("no request began in the window")),
        ({"queue_sum": buckets(3.0, 3.0)}, QUEUE_TIME_S, Unknown("Datadog has no data of queue_count for it")),
        ({"logs_ingested": buckets(100.0, 200.0)}, LOG_BYTES_PER_MIN, Known(300.0, 45.0)),
        ({}, LOG_BYTES_PER_MIN, Unknown("Datadog has no data of logs_ingested for it")),
    ],
)
async def test_the_signals_of_the_engines(rows: Mapping[str, Mapping[int, float]], name: str, signal: Signal) -> None:
    async with asking(series(*((query, SERVICE, values) for query, values in rows.items()))) as (client, _):
        reader = Reader(fleet(), client, Recorder(), Clock(), lambda: 0.0)
        await reader.ask_once()
    seen = reader.signals("small-model", NOW)[name]
    assert seen == (signal if isinstance(signal, Unknown) else replace(signal, value=pytest.approx(signal.value)))


async def test_engines_that_datadog_does_not_watch_are_not_unknown_but_absent() -> None:
    """A model on llama.cpp beside one on vLLM: no check of Datadog's reads llama.cpp."""
    mixed = fleet()
    other = replace(mixed.models[0], name="local-model", engine="llamacpp")
    async with asking(series(("kv_use", SERVICE, buckets(0.5, 0.7)))) as (client, _):
        reader = Reader(replace(mixed, models=(*mixed.models, other)), client, Recorder(), Clock(), lambda: 0.0)
        await reader.ask_once()
    assert KV_USE in reader.signals("small-model", NOW)
    assert KV_USE not in reader.signals("local-model", NOW)
    assert REQUESTS_PER_MIN in reader.signals("local-model", NOW)


async def test_the_routers_own_count_of_log_bytes_goes_before_datadogs_estimate() -> None:
    rows = (
        ("in_flight", MODEL, buckets(*[1.0] * 12)),
        ("log_bytes", MODEL, buckets(40.0)),
        ("logs_ingested", SERVICE, buckets(9e4, 9e4)),
    )
    async with asking(series(*rows)) as (client, _):
        reader = Reader(fleet(), client, Recorder(), Clock(), lambda: 0.0)
        await reader.ask_once()
    assert reader.signals("small-model", NOW)[LOG_BYTES_PER_MIN] == Known(40.0, 45.0)


async def test_short_requests_between_two_reports_are_found_by_littles_law() -> None:
    """One a second of two seconds each, though the level was zero at every report."""
    rows = {"in_flight": 0.0, "arrivals": 30.0, "latency_sum": 60.0, "latency_count": 30.0}
    async with asking(series(*((name, MODEL, buckets(*[value] * 12)) for name, value in rows.items()))) as (client, _):
        reader = Reader(fleet(), client, Recorder(), Clock(), lambda: 0.0)
        await reader.ask_once()
    assert reader.signals("small-model", NOW)[CONCURRENCY] == Known(2.0, 45.0)


async def test_gpus_are_asked_about_only_where_a_tag_names_the_model() -> None:
    rows = (("gpu_use", ("llm:small-model",), buckets(80.0, 100.0)),)
    async with asking(series(*rows)) as (client, server):
        reader = Reader(fleet(gpu_tag="llm"), client, Recorder(), Clock(), lambda: 0.0)
        await reader.ask_once()
    texts = [query.get("query") for query in server.asked[0]["data"]["attributes"]["queries"]]
    assert "avg:dcgm.gpu_utilization{env:production} by {llm}.fill(null).rollup(avg, 30)" in texts
    assert reader.signals("small-model", NOW)[GPU_USE] == Known(pytest.approx(0.9), 45.0)  # type: ignore[arg-type]
    assert not any(query.name == "gpu_use" for query in queries_for(fleet()))


async def test_a_429_waits_as_long_as_datadog_says_and_costs_no_knowledge() -> None:
    rows = (("in_flight", MODEL, buckets(*[2.0] * 12)),)
    async with asking(series(*rows), limited("240")) as (client, _):
        reader = Reader(fleet(), client, Recorder(), Clock(), lambda: 0.5)
        assert await reader.ask_once() == 31.5
        assert reader.recorder.gauges[DATADOG_REMAINING, ()] == 42
        assert await reader.ask_once() == 241.5
    assert reader.signals("small-model", NOW)[CONCURRENCY] == Known(2.0, 45.0)
    assert reader.recorder.counts[DATADOG_QUERIES, ("limited",)] == 1
    assert (DATADOG_REMAINING, ()) not in reader.recorder.gauges


async def test_a_limit_that_is_used_up_is_respected_without_a_429() -> None:
    async with asking(series(remaining=0, reset=90)) as (client, _):
        assert await Reader(fleet(), client, Recorder(), Clock(), lambda: 0.0).ask_once() == 90


async def test_five_minutes_without_datadog_end_in_unknown_and_then_all_is_as_before() -> None:
    rows = (("in_flight", MODEL, buckets(*[2.0] * 12)),)
    later = (("in_flight", MODEL, buckets(*[3.0] * 12, end=END + 300)),)
    async with asking(series(*rows), constant(503), series(*later)) as (client, server):
        clock = Clock()
        reader = Reader(fleet(), client, Recorder(), clock, lambda: 0.0)
        await reader.ask_once()
        assert await reader.ask_once() == 30  # an outage does not slow it down: there is nothing to spare
        clock.now += 136
        assert reader.signals("small-model", clock.now)[CONCURRENCY] == Unknown(
            "Datadog's last data is 181 s old, more than 180 s (Datadog has trouble of its own (HTTP 503))"
        )
        clock.now = NOW + 300
        await reader.ask_once()
        assert reader.signals("small-model", clock.now)[CONCURRENCY] == Known(3.0, 45.0)
    assert len(server.asked) == 3


async def test_before_the_first_answer_nothing_is_known_and_nothing_is_zero() -> None:
    async with asking(constant(403)) as (client, _):
        reader = Reader(fleet(), client, Recorder(), Clock(), lambda: 0.0)
        assert reader.signals("small-model", NOW)[REQUESTS_PER_MIN] == Unknown("Datadog: it was not asked yet")
        await reader.ask_once()
    assert "refuses the keys" in reader.signals("small-model", NOW)[REQUESTS_PER_MIN].why  # type: ignore[union-attr]


async def test_where_datadog_is_not_needed_to_scale_in_only_what_it_knows_is_told() -> None:
    rows = (("in_flight", MODEL, buckets(*[2.0] * 12)), ("kv_use", SERVICE, buckets(0.5)))
    async with asking(series(*rows)) as (client, _):
        reader = Reader(fleet(needed_to_scale_in=False), client, Recorder(), Clock(), lambda: 0.0)
        assert CONCURRENCY not in reader.signals("small-model", NOW)
        await reader.ask_once()
    told = reader.signals("small-model", NOW)
    assert told[CONCURRENCY] == told[f"datadog.{CONCURRENCY}"] == Known(2.0, 45.0)
    assert isinstance(told[f"datadog.{KV_USE}"], Partial)  # shown all the same
    assert all(isinstance(signal, Known) for name, signal in told.items() if not name.startswith("datadog."))


async def test_keys_that_are_refused_for_long_are_left_out_loudly_until_datadog_answers() -> None:
    """Half an hour of 403: at first it is as good as an outage, then a mistake that must not hold every replica for ever."""
    clock, heard = Clock(), list[str]()
    rows = (("in_flight", MODEL, buckets(*[2.0] * 12)),)
    refused = [constant(403, b'{"errors":["Forbidden"]}')] * 3
    async with asking(series(*rows), *refused, series(*rows)) as (client, _):
        reader = Reader(fleet(), client, Recorder(), clock, lambda: 0.0, heard.append)
        await reader.ask_once()
        assert (reader.remark(clock.now), heard) == ("", [])
        for waited_s in (300, 899, 1):
            clock.now += waited_s
            await reader.ask_once()
            assert (CONCURRENCY in reader.signals("small-model", clock.now)) is (waited_s != 1)
        assert "left out, 15 min after it began to refuse: Datadog refuses the keys (HTTP 403" in reader.remark(clock.now)
        assert isinstance(reader.signals("small-model", clock.now)[f"datadog.{CONCURRENCY}"], Unknown)
        clock.now = NOW
        await reader.ask_once()
    assert (reader.remark(clock.now), reader.signals("small-model", NOW)[CONCURRENCY]) == ("", Known(2.0, 45.0))
    assert [text.partition(":")[0] for text in heard] == ["Datadog refuses the keys (HTTP 403", "Datadog answers again"]


async def test_the_age_of_the_data_is_a_gauge_that_grows_in_an_outage() -> None:
    clock, recorder = Clock(), Recorder()
    async with asking(series()) as (client, _):
        await Reader(fleet(), client, recorder, clock, lambda: 0.0).ask_once()
    clock.now += 600
    recorder.collect()
    assert recorder.gauges[DATADOG_AGE, ()] == 645


async def test_the_reader_asks_beside_the_loop_and_ends_when_cancelled() -> None:
    async with asking(silent, timeout_s=30) as (client, server), asyncio.timeout(10):
        reader = Reader(fleet(), client, Recorder(), Clock(), lambda: 0.0)
        running = asyncio.create_task(reader.run())
        await server.came.wait()
        assert isinstance(reader.signals("small-model", NOW)[CONCURRENCY], Unknown)  # a question under way keeps nobody waiting
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


def test_keys_and_site_come_from_the_environment() -> None:
    keys = {"DD_API_KEY": "a", "DD_APP_KEY": "b"}
    assert access(keys, "datadoghq.eu") == Access("https://api.datadoghq.eu", "a", "b")
    assert access(keys | {"DD_SITE": "us5.datadoghq.com"}, "datadoghq.eu") == Access("https://api.us5.datadoghq.com", "a", "b")
    assert access({"DD_API_KEY": "a"}, "datadoghq.eu") == Unknown("DD_APP_KEY not set")
    assert access({}, "datadoghq.eu") == Unknown("DD_API_KEY and DD_APP_KEY not set")
    assert access(keys | {ENV_DATADOG_URL: "http://127.0.0.1:1/"}, "x") == Access("http://127.0.0.1:1", "a", "b")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("DD_SITE", "evil.example/x", "set it to a Datadog site"), (ENV_DATADOG_URL, "https://evil.example", "for tests on loopback")],
)
def test_keys_go_nowhere_else(name: str, value: str, says: str) -> None:
    with pytest.raises(WarmfleetError, match=says):
        access({"DD_API_KEY": "a", "DD_APP_KEY": "b", name: value}, "datadoghq.com")


async def test_a_young_series_is_known_in_part() -> None:
    rows = (("in_flight", MODEL, buckets(4.0)),)
    async with asking(series(*rows)) as (client, _):
        reader = Reader(fleet(), client, Recorder(), Clock(), lambda: 0.0)
        await reader.ask_once()
    assert reader.signals("small-model", NOW)[HELD] == Partial(0.0, 45.0, "Datadog has 1 of 2 buckets")

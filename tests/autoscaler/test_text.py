"""Prometheus text of our routers, of a recorded vLLM and of a recorded llama.cpp."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.errors import MalformedMetrics
from autoscaler.history import ANY, Scrape, Track
from autoscaler.text import (
    ARRIVED,
    ENGINE_BEGUN,
    ENGINE_KV,
    ENGINE_LOAD,
    ENGINE_QUEUE,
    ENGINE_QUEUED_S,
    ENGINE_RUNNING,
    FLYING,
    LATENCY_COUNT,
    LATENCY_SUM,
    LOGGED,
    STARTED,
    engine_values,
    router_values,
)
from fleet.metrics import ARRIVALS, IN_FLIGHT, LATENCY, LOG_BYTES, SESSIONS
from fleet.recorder import Recorder, prometheus_text

RECORDINGS = Path(__file__).parents[1] / "recordings" / "engine-metrics"


def recorded(name: str) -> str:
    return (RECORDINGS / name).read_bytes().decode().partition("\r\n\r\n")[2]


def test_what_our_recorder_writes_is_read_back_summed_over_routes() -> None:
    recorder = Recorder()
    recorder.count(ARRIVALS, "small-model", by=7)
    recorder.gauge(IN_FLIGHT, "small-model", value=3)
    recorder.observe(LATENCY, "small-model", "chat", seconds=0.5)
    recorder.observe(LATENCY, "small-model", "batch", seconds=1.5)
    values = router_values(prometheus_text(recorder))
    assert values[ARRIVED, "small-model"] == 7
    assert values[FLYING, "small-model"] == 3
    assert values[LATENCY_SUM, "small-model"] == pytest.approx(2.0)
    assert values[LATENCY_COUNT, "small-model"] == 2


def test_a_metric_that_a_router_has_is_noted_for_all_models() -> None:
    recorder = Recorder()
    recorder.count(LOG_BYTES, "small-model", by=7)
    values = router_values(prometheus_text(recorder))
    assert (values[LOGGED, "small-model"], values[LOGGED, ANY]) == (7, 0)
    track = Track((Scrape("r", 1.0, values),))
    assert [point.value for point in track.told((LOGGED, "large-model"))] == [0]
    assert track.told((STARTED, "large-model")) == []


def test_an_idle_router_is_a_router() -> None:
    recorder = Recorder()
    recorder.gauge(SESSIONS, "0", "small-model", value=0)
    assert router_values(prometheus_text(recorder)) == {}


@pytest.mark.parametrize(
    ("recording", "engine", "values"),
    [
        (
            "vllm-0.32.0.http",
            "vllm",
            {
                ENGINE_LOAD: 0.0,
                ENGINE_RUNNING: 0.0,
                ENGINE_QUEUE: 0.0,
                ENGINE_KV: 0.0,
                ENGINE_QUEUED_S: 0.00022096800012150197,
                ENGINE_BEGUN: 5.0,
            },
        ),
        ("llamacpp-busy.http", "llamacpp", {ENGINE_LOAD: 3.0, ENGINE_RUNNING: 2.0, ENGINE_QUEUE: 1.0}),
    ],
)
def test_recorded_engines(recording: str, engine: str, values: dict[str, float]) -> None:
    assert engine_values(recorded(recording), engine, "small-model") == {(name, "small-model"): value for name, value in values.items()}


def test_a_busy_vllm_with_two_data_parallel_ranks() -> None:
    text = recorded("vllm-0.32.0.http")
    for name, value in (("running", 4.0), ("waiting", 2.0)):
        line = f'vllm:num_requests_{name}{{engine="%s",model_name="small-model"}} %s'
        assert line % ("0", "0.0") in text
        text = text.replace(line % ("0", "0.0"), line % ("0", value) + "\n" + line % ("1", 1.0))
    assert engine_values(text, "vllm", "small-model")[ENGINE_LOAD, "small-model"] == 8.0


def test_vllms_queue_is_what_waits_for_capacity() -> None:
    line = 'vllm:num_requests_waiting_by_reason{engine="0",model_name="small-model",reason="%s"} %s'
    text = recorded("vllm-0.32.0.http")
    for reason, value in (("capacity", 3.0), ("deferred", 9.0)):
        assert line % (reason, "0.0") in text
        text = text.replace(line % (reason, "0.0"), line % (reason, value))
    assert engine_values(text, "vllm", "small-model")[ENGINE_QUEUE, "small-model"] == 3.0


def test_the_cache_of_several_ranks_is_their_mean() -> None:
    text = recorded("vllm-0.32.0.http")
    line = 'vllm:kv_cache_usage_perc{engine="%s",model_name="small-model"} %s'
    assert line % ("0", "0.0") in text
    text = text.replace(line % ("0", "0.0"), line % ("0", 0.2) + "\n" + line % ("1", 0.6))
    assert engine_values(text, "vllm", "small-model")[ENGINE_KV, "small-model"] == pytest.approx(0.4)


def test_the_former_name_of_the_kv_cache_is_read_where_the_new_one_is_not() -> None:
    text = (
        recorded("vllm-0.32.0.http")
        .replace("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
        .replace('_perc{engine="0",model_name="small-model"} 0.0', "_perc{} 0.25")
    )
    assert engine_values(text, "vllm", "small-model")[ENGINE_KV, "small-model"] == 0.25


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<html>hello</html>", "it is no router"),
        ('warmfleet_router_arrivals_total{model="x"} many\n', "not Prometheus text"),
    ],
)
def test_what_is_no_router_is_refused(text: str, says: str) -> None:
    with pytest.raises(MalformedMetrics, match=says):
        router_values(text)


def test_an_engine_without_its_gauges_is_refused_and_not_idle() -> None:
    with pytest.raises(MalformedMetrics, match="lacks llamacpp:requests_deferred"):
        engine_values("llamacpp:requests_processing 1\n", "llamacpp", "small-model")


@pytest.mark.parametrize("value", ["nan", "-1", "+Inf"])
def test_what_cannot_be_is_refused_and_not_left_out(value: str) -> None:
    with pytest.raises(MalformedMetrics, match="which cannot be"):
        engine_values(f"llamacpp:requests_processing {value}\nllamacpp:requests_deferred 0\n", "llamacpp", "small-model")
    with pytest.raises(MalformedMetrics, match="which cannot be"):
        router_values(f'warmfleet_router_in_flight{{model="m"}} {value}\n')


def test_the_same_series_twice_is_refused_and_not_added() -> None:
    with pytest.raises(MalformedMetrics, match="twice"):
        router_values('warmfleet_router_in_flight{model="m"} 1\nwarmfleet_router_in_flight{model="m"} 2\n')

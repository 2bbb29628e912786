"""Prometheus text of our routers, of a recorded vLLM and of a recorded llama.cpp."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.errors import MalformedMetrics
from autoscaler.text import ARRIVED, ENGINE_LOAD, FLYING, LATENCY_COUNT, LATENCY_SUM, engine_values, router_values
from fleet.metrics import ARRIVALS, IN_FLIGHT, LATENCY, SESSIONS
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


def test_an_idle_router_is_a_router() -> None:
    recorder = Recorder()
    recorder.gauge(SESSIONS, value=0)
    assert router_values(prometheus_text(recorder)) == {}


@pytest.mark.parametrize(
    ("recording", "engine", "load"),
    [("vllm-0.32.0.http", "vllm", 0.0), ("llamacpp-busy.http", "llamacpp", 3.0)],
)
def test_recorded_engines(recording: str, engine: str, load: float) -> None:
    assert engine_values(recorded(recording), engine, "small-model") == {(ENGINE_LOAD, "small-model"): load}


def test_a_busy_vllm_with_two_data_parallel_ranks() -> None:
    text = recorded("vllm-0.32.0.http")
    for name, value in (("running", 4.0), ("waiting", 2.0)):
        line = f'vllm:num_requests_{name}{{engine="%s",model_name="small-model"}} %s'
        assert line % ("0", "0.0") in text
        text = text.replace(line % ("0", "0.0"), line % ("0", value) + "\n" + line % ("1", 1.0))
    assert engine_values(text, "vllm", "small-model") == {(ENGINE_LOAD, "small-model"): 8.0}


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


def test_not_a_number_counts_as_missing() -> None:
    with pytest.raises(MalformedMetrics, match="lacks"):
        engine_values("llamacpp:requests_processing nan\nllamacpp:requests_deferred 0\n", "llamacpp", "small-model")

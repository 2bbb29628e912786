"""Recorded values come out whole: as Prometheus text that a foreign parser reads, and as DogStatsD lines on a real socket."""

import socket

import pytest
from datadog.dogstatsd import DogStatsd
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from fleet import metrics, statsd
from fleet.recorder import Histogram, Recorder, bucket_bounds_us, prometheus_text


@given(st.floats(min_value=0, max_value=4000, allow_nan=False))
def test_a_value_lies_in_its_bucket_and_the_bucket_is_narrow(seconds: float) -> None:
    histogram = Histogram()
    histogram.add(seconds)
    (bucket,) = histogram.buckets
    low, high = bucket_bounds_us(bucket)
    assert low <= int(seconds * 1e6) < high
    assert high - low <= max(1, low / 8)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_buckets_are_ordered_as_their_values(a: int, b: int) -> None:
    first, second = Histogram(), Histogram()
    first.add(a / 1e6)
    second.add(b / 1e6)
    if a <= b:
        assert min(first.buckets) <= min(second.buckets)


def test_prometheus_text_is_read_back_by_the_reference_parser() -> None:
    recorder = Recorder()
    recorder.count(metrics.ARRIVALS, 'odd "name"\\', by=3)
    recorder.gauge(metrics.IN_FLIGHT, "small-model", value=2)
    for seconds in (0.001, 0.001, 0.5):
        recorder.observe(metrics.LATENCY, "small-model", "chat", seconds=seconds)
    families = {f.name: f for f in text_string_to_metric_families(prometheus_text(recorder))}
    arrivals = families["warmfleet_router_arrivals"].samples[0]
    assert (arrivals.labels, arrivals.value) == ({"model": 'odd "name"\\'}, 3)
    assert families["warmfleet_router_in_flight"].samples[0].value == 2
    latency = {(s.name, s.labels.get("le")): s.value for s in families["warmfleet_router_latency"].samples}
    assert latency["warmfleet_router_latency_count", None] == latency["warmfleet_router_latency_bucket", "+Inf"] == 3
    assert latency["warmfleet_router_latency_sum", None] == pytest.approx(0.502)


def test_collectors_set_gauges_before_they_are_read() -> None:
    recorder = Recorder()
    recorder.collectors.append(lambda r: r.gauge(metrics.SNAPSHOT_AGE, value=7))
    assert "warmfleet_router_snapshot_age 7" in prometheus_text(recorder)


@pytest.fixture
def agent():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


def test_a_flush_sends_what_is_new_and_weights_buckets_by_rate(agent: socket.socket) -> None:
    host, port = agent.getsockname()
    client = DogStatsd(host=host, port=port, disable_telemetry=True, disable_buffering=False, disable_aggregation=True)
    recorder = Recorder()
    flusher = statsd.Flusher(client, recorder)
    recorder.count(metrics.ARRIVALS, "small-model", by=3)
    for _ in range(4):
        recorder.observe(metrics.TTFT, "small-model", "chat", seconds=0.010)
    flusher.flush()
    first = agent.recv(65536).decode().split("\n")
    assert any(line.startswith("warmfleet.router.arrivals:3|c|#model:small-model") for line in first)
    assert any(line.startswith("warmfleet.router.ttft:0.0") and "|d|@0.25|#model:small-model,route:chat" in line for line in first)
    recorder.count(metrics.ARRIVALS, "small-model")
    flusher.flush()
    second = agent.recv(65536).decode().split("\n")
    assert [line for line in second if line] and all("arrivals:1|c" in line for line in second if line)
    client.stop()


def test_without_an_agent_in_the_environment_nothing_is_sent() -> None:
    assert statsd.from_environment({}) is None


def test_every_metric_has_a_unique_lawful_name_and_a_meaning() -> None:
    names = [m.name for m in metrics.ALL]
    assert len(set(names)) == len(names) > 10
    assert all(m.name.replace(".", "").replace("_", "").isalnum() and m.name.islower() and m.help for m in metrics.ALL)

"""The benchmark reads what its tools print, and judges as its bars say. No timing here: tests of time are the benchmark itself."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import httptools
import pytest
from rich.console import Console

from bench.router import load, meter, micro, peers, proxies, report, results, upstream, wire
from bench.router.errors import BenchError
from bench.router.results import OURS, Reading
from fleet import spec
from fleet.local.ports import is_free
from router import app
from tests.router.client import Caller
from tests.router.conftest import until

WRK = """\
Running 8s test @ http://127.0.0.1:20030/v1/chat/completions
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   271.12ms   13.03ms 339.55ms   71.91%
    Req/Sec   239.63     94.10   384.00     64.71%
  Latency Distribution
     50%  270.12ms
     75%  278.03ms
     90%  288.61ms
     99%    1.32s
  1904 requests in 8.01s, 31.86MB read
"""
TROUBLE = """\
  Socket errors: connect 1, read 20, write 0, timeout 3
  Non-2xx or 3xx responses: 1000
"""


def test_reads_what_wrk_says() -> None:
    assert load.parse(WRK) == load.Outcome(requests=1904, errors=0, p50_ms=270.12, p99_ms=1320.0)


def test_counts_every_kind_of_error() -> None:
    assert load.parse(WRK + TROUBLE).errors == 1024


def test_says_what_wrk_said_instead_of_a_report() -> None:
    with pytest.raises(BenchError, match="unable to connect"):
        load.parse("unable to connect to 127.0.0.1:1 Connection refused")


@pytest.mark.parametrize("stream", [False, True])
def test_sends_requests_that_the_parser_and_the_stub_understand(stream: bool) -> None:
    got: dict[str, bytes] = {}

    class Parsed:
        def on_header(self, name: bytes, value: bytes) -> None:
            got[name.decode()] = value

        def on_body(self, body: bytes) -> None:
            got["body"] = body

        def on_message_complete(self) -> None:
            got["complete"] = b"yes"

    httptools.HttpRequestParser(Parsed()).feed_data(wire.request(stream=stream, events=7, gap_ms=30))
    body = json.loads(got["body"])
    assert got["complete"] == b"yes"
    assert got["x-session-id"] == wire.SESSION_MARK
    assert (body.get("stream", False), body["max_tokens"], body["metadata"]) == (stream, 7, {"gap_ms": "30"})
    assert 800 < len(got["body"]) < 1100


def test_events_have_the_size_of_recorded_ones() -> None:
    recorded = (Path(__file__).parents[1] / "recordings" / "vllm" / "chat-stream-usage.http").read_bytes()
    theirs = recorded.split(b"\n\n")[1]
    assert len(wire.event("Hi")) == pytest.approx(len(theirs), rel=0.15)
    assert json.loads(wire.event("Hi")[6:]).keys() == json.loads(theirs.partition(b"data: ")[2]).keys()


def test_reads_the_ticks_of_a_program_with_a_strange_name() -> None:
    fields = "S 1 1 1 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 1000"
    assert meter.ticks_s(f"42 (a ) b (c) {fields}") == pytest.approx(300 / os.sysconf("SC_CLK_TCK"))
    assert meter.ticks_s("") == 0.0


def test_measures_a_child_of_a_child() -> None:
    burn = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\nprint('done', flush=True); input()"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    with subprocess.Popen([sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        assert len(meter.tree(process.pid)) == 2
        assert meter.cpu_s(process.pid) > 0.2
        assert meter.rss_bytes(process.pid) > 10_000_000
        process.communicate("\n")
    assert meter.cpu_s(process.pid) == 0


def rounds(proxy: str, subject: str, *values: float) -> list[Reading]:
    return [Reading(proxy, subject, value) for value in values]


PEERS = ("envoy", "vllm-router")
FAST = [
    *rounds(OURS, results.JSON, 70, 10, 900),
    *rounds("envoy", results.JSON, 100, 100, 101),
    *rounds("vllm-router", results.JSON, 120, 50, 121),
    *rounds("nginx", results.JSON, 20),
]


def test_compares_medians_with_the_lower_peer_only() -> None:
    (verdict,) = results.verdicts(FAST, PEERS)
    assert verdict.value == pytest.approx(0.70)
    assert verdict.is_met
    assert str(verdict) == "met     json: at most 0.75 x the lower peer: 0.70"


@pytest.mark.parametrize(
    ("readings", "said"),
    [
        (rounds(OURS, "json", 90) + rounds("envoy", "json", 100), "MISSED  json: at most 0.75 x the lower peer: 0.90, 20% over"),
        (rounds(OURS, "stream", 190) + rounds("envoy", "stream", 100), "MISSED  stream: at most 0.95 x the lower peer: 1.90, 100% over"),
        (rounds(OURS, "memory", 50_000), "MISSED  memory: at most 25 kB per open stream: 50.00, 100% over"),
        (
            rounds(OURS, "replicas 10", 10) + rounds(OURS, "replicas 1000", 25),
            "MISSED  replicas 1000: at most 1.25 x the cost with 10 replicas: 2.50, 100% over",
        ),
    ],
)
def test_says_by_how_much_a_bar_is_missed(readings: list[Reading], said: str) -> None:
    assert [str(verdict) for verdict in results.verdicts(readings, PEERS)] == [said]


def test_judges_nothing_that_was_not_measured() -> None:
    assert results.verdicts(rounds(OURS, "json", 1), PEERS) == ()
    assert results.verdicts(rounds("envoy", "json", 1), PEERS) == ()


def test_what_replicas_cost_is_judged_within_a_round_because_machines_change_their_speed() -> None:
    base = rounds(OURS, "replicas 10", 20, 40, 20)
    now = rounds(OURS, "replicas 1000", 24, 48, 60)
    assert results.grown([*base, *now, *rounds("envoy", "replicas 1000", 1, 1, 1)], OURS, "replicas 1000") == pytest.approx(1.2)
    assert results.grown(now, OURS, "replicas 1000") is None


def test_prints_every_proxy_and_a_dash_for_what_it_has_not() -> None:
    console = Console(width=140, file=io.StringIO())
    console.print(report.main_table([*FAST, *rounds(OURS, results.MEMORY, 17_300)], (OURS, *PEERS, "nginx"), PEERS))
    console.print(report.curve_table(rounds(OURS, results.curve(1000), 880), (OURS, *PEERS)))
    console.print(report.growth_table([*rounds(OURS, results.replicas(10), 71), *rounds(OURS, results.SESSIONS, 72)]))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert "70 (10 to 900)" in text
    assert "17.3" in text
    assert lines["nginx"][1:] == ["20", "0.20", "-", "-", "-", "-", "-"]
    assert "100,000 sessions" in text


def test_saves_readings_and_verdicts() -> None:
    held = results.verdicts(FAST, PEERS)
    saved = json.loads(report.document(FAST, held, at="2026-01-01 00:00:00", versions=peers.versions(), load=0.5))
    assert saved["bars"] == [{"bar": "json: at most 0.75 x the lower peer", "value": pytest.approx(0.7), "limit": 0.75, "met": True}]
    assert len(saved["readings"]) == len(FAST)
    assert saved["versions"] == {"envoy": "1.40.0", "vllm-router": "0.1.17"}


def test_describes_a_fleet_that_the_router_takes(tmp_path: Path) -> None:
    backing = proxies.Backing("http://127.0.0.1:1", "redis://127.0.0.1:2/0", 3)
    proxy = proxies.ours(4, tmp_path, backing, described=proxies.fleet("f", backing, max_sessions=200_000))
    for name, text in proxy.files.items():
        (tmp_path / name).write_text(text)
    loaded = spec.load(Path(proxy.env["WARMFLEET_SPEC"])).spec
    assert (loaded.fleet.consul, loaded.fleet.redis, loaded.router.max_sessions) == ("http://127.0.0.1:1", "redis://127.0.0.1:2/0", 200_000)


def test_the_traced_router_runs_as_its_job_has_it() -> None:
    job = (Path(__file__).parents[2] / "jobs" / "router.nomad.hcl").read_text()
    said = {
        name: value.strip()
        for line in job.splitlines()
        if line.strip().startswith("DD_")
        for name, _, value in [line.strip().partition(" ")]
    }
    rules = said.pop("DD_TRACE_SAMPLING_RULES").removeprefix("= jsonencode(").removesuffix(")")
    assert json.loads(rules.replace("resource =", '"resource":').replace("sample_rate =", '"sample_rate":')) == json.loads(
        proxies.TRACING["DD_TRACE_SAMPLING_RULES"]
    )
    plain = {name: value for name, value in proxies.TRACING.items() if name != "DD_TRACE_SAMPLING_RULES"}
    assert {name: said[name] for name in plain} == {name: f'= "{value}"' for name, value in plain.items()}


def test_the_traced_router_is_the_same_one_with_all_that_watches_it(tmp_path: Path) -> None:
    backing = proxies.Backing("http://127.0.0.1:1", "redis://127.0.0.1:2/0", 3)
    proxy = proxies.traced(4, tmp_path, backing, 5)
    for name, text in proxy.files.items():
        (tmp_path / name).write_text(text)
    loaded = spec.load(Path(proxy.env["WARMFLEET_SPEC"])).spec
    assert (loaded.fleet.name, loaded.router.access_log, proxy.env["DD_TRACE_AGENT_URL"]) == (OURS, "sampled", "http://127.0.0.1:5")
    assert proxy.argv[:3] == (sys.executable, "-m", "ddtrace.commands.ddtrace_run")


def test_compares_each_round_with_the_lower_peer_of_the_same_round() -> None:
    of = results.per_round(FAST, OURS, results.JSON, PEERS)
    assert of == results.Spread(pytest.approx(0.7), pytest.approx(0.2), pytest.approx(900 / 101))
    assert results.per_round(FAST, "nobody", results.JSON, PEERS) is None


def test_the_bars_hold_with_traces_too() -> None:
    readings = [*FAST, *rounds(results.TRACED, results.JSON, 80)]
    assert [str(v) for v in results.verdicts(readings, PEERS)][1:] == [
        "MISSED  with traces, json: at most 0.75 x the lower peer: 0.80, 7% over"
    ]


@pytest.mark.parametrize("gate", micro.gates(micro.PYTHON), ids=lambda gate: gate.name)
async def test_the_gate_plays_whole_requests_through_the_real_router(gate: micro.Gate) -> None:
    bench = micro.Bench(app.wire(micro.spec()))
    micro.through_router(bench, gate.traffic, 3)()
    body = b"".join(gate.traffic.answer)
    assert bench.sent.size_bytes > 3 * len(body)
    assert {tags: answers.by_status for tags, answers in bench.plane.tally._answers.items()} == {(wire.MODEL, "chat"): {200: 3}}
    assert all(bench.plane.sessions.get(f"bench-{n}", 0.0).turns == 1 for n in range(3))  # type: ignore[union-attr]


def test_the_gate_says_by_how_much_it_is_missed() -> None:
    gate = micro.Gate("JSON request", micro.json_traffic(), 1, 8.0)
    assert micro.judge(gate, 16.0, 2.0) == (True, "JSON request: 16.0 us, 8.00 floors of 2.0 us; bar 8.0: met")
    assert micro.judge(gate, 20.0, 2.0) == (False, "JSON request: 20.0 us, 10.00 floors of 2.0 us; bar 8.0: MISSED by 25%")


async def test_the_stub_streams_as_asked_and_counts_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    serving = asyncio.create_task(upstream.serve([port]))
    await until(lambda: not is_free(port))
    async with await Caller.connect(port) as caller, await Caller.connect(port) as counter:

        async def counts() -> object:
            await counter.send(b"GET /bench HTTP/1.1\r\n\r\n")
            return (await counter.reply()).json

        await caller.send(wire.request(stream=True, events=3, gap_ms=100))
        await caller.until(1)
        while_open, stream = await counts(), await caller.reply()
        await caller.send(wire.request(stream=False))
        answer, after = await caller.reply(), await counts()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert while_open == {"answers": 0, "events": 0, "open": 1}
    assert stream.body.count(b"data: ") == 5
    assert stream.body.endswith(wire.DONE)
    assert answer.body == wire.answer()
    assert after == {"answers": 2, "events": 3, "open": 0}


@pytest.mark.parametrize(("limited_us", "said"), [(50, "met     {}: 30.00"), (70, "MISSED  {}: 50.00, 25% over")])
def test_what_a_tenant_may_add_is_judged_by_the_least_of_the_rounds(limited_us: float, said: str) -> None:
    ours = [*rounds(OURS, results.JSON, 20, 50, 21), *rounds(results.LIMITED, results.JSON, limited_us, 90, 75)]
    verdict = str(results.verdicts([*ours, *rounds("envoy", results.JSON, 100)], PEERS)[-1])
    assert verdict == said.format("tenant with limits, budget and strategy: at most 40 us more, least of rounds")

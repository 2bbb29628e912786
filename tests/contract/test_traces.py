"""Traces of a router process under ddtrace-run, as Datadog's own test agent receives them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.router_program import TRACED, RouterProgram, until
from tests.contract.test_router_consul import Process
from tests.contract.trace_agent import Span, TraceAgent, trace_agent
from tests.router.client import chat, post
from tests.router.upstream import Heard, Play, Upstream, resets, says_hello
from tests.servers import ConsulServer

pytestmark = pytest.mark.contract


@dataclass
class Mood:
    """An engine that answers until the test says otherwise."""

    resets: bool = False

    async def __call__(self, play: Play) -> None:
        await (resets if self.resets else says_hello)(play)


CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}"


@asynccontextmanager
async def traced_router(program: RouterProgram, models: str) -> AsyncIterator[tuple[Process, TraceAgent]]:
    async with trace_agent(program.folder) as agent, traced(program, agent, models) as process:
        yield process, agent


@asynccontextmanager
async def traced(program: RouterProgram, agent: TraceAgent, models: str) -> AsyncIterator[Process]:
    program.environment |= {
        "DD_TRACE_AGENT_URL": agent.url,
        "DD_SERVICE": "t-router",
        "DD_ENV": "test",
        "DD_VERSION": "1.2.3",
        "DD_CODE_ORIGIN_FOR_SPANS_ENABLED": "false",
        "DD_PATCH_MODULES": "aiohttp:false,asyncio:false,consul:false,redis:false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    }
    async with program.running(*TRACED) as process:
        await process.until("/health", 200, f"j['models'] == {models}")
        yield process


def hexadecimal(span: Span, key: str) -> str:
    return f"{int(span[key]) & (1 << 64) - 1:016x}"


def assert_tells_of(heard: Heard, root: Span, step: Span) -> None:
    """The engine was told of the attempt, in both dialects."""
    version, trace_id, parent, flags = str(heard.header("traceparent")).split("-")
    assert (version, flags) == ("00", "01")
    assert trace_id.endswith(hexadecimal(root, "trace_id"))
    assert parent == hexadecimal(step, "span_id")
    assert int(str(heard.header("x-datadog-trace-id"))) == int(trace_id[16:], 16)
    assert int(str(heard.header("x-datadog-parent-id"))) == int(parent, 16)
    assert int(str(heard.header("x-datadog-sampling-priority"))) > 0


def access_line(log: Path, request_id: str) -> dict[str, object]:
    lines = [json.loads(line) for line in log.read_text().splitlines() if '"event":"access"' in line]
    return next(line for line in lines if line["request_id"] == request_id)


async def test_a_request_is_a_span_its_attempts_are_children_and_engine_endpoint_and_log_know_them(
    consul_server: ConsulServer, tmp_path: Path
) -> None:
    """One router for all of it, because starting one under ddtrace takes a while."""
    program = RouterProgram(consul_server.address, tmp_path, trace_rate="1.0")
    mood = Mood()
    async with (
        program.engine("alloc-a", mood) as engine,
        program.engine("alloc-b", says_hello, model="small") as other,
        traced_router(program, "{'large': 1, 'small': 1}") as (process, agent),
    ):
        await _a_plain_request(process, agent, engine)
        await _a_turn_of_the_session_api(process, agent, engine)
        mood.resets = True
        await _a_failover(process, agent, other)


async def _a_plain_request(process: Process, agent: TraceAgent, engine: Upstream) -> None:
    secret = {"authorization": "Bearer sk-secret", "x-request-id": "req-one"}
    assert (await process.call(chat(headers=secret, user="my secret question"))).status == 200
    root, (step,) = await agent.request_span("req-one")
    assert (root["service"], root["resource"], root["type"]) == ("t-router", "POST /v1/chat/completions", "web")
    assert root["meta"]["env"] == "test" and root["meta"]["version"] == "1.2.3"
    told = {key: root["meta"].get(key) for key in ("span.kind", "http.status_code", "model", "route", "selector")}
    assert told == {"span.kind": "server", "http.status_code": "200", "model": "large", "route": "best", "selector": "0"}
    assert (root["metrics"]["attempts"], root["metrics"]["input_tokens"], root["metrics"]["output_tokens"]) == (1, 7, 3)
    assert root["metrics"]["_sample_rate"] == 1 and root["metrics"]["_sampling_priority_v1"] == 2
    assert (step["parent_id"], step["trace_id"]) == (root["span_id"], root["trace_id"])
    assert step["meta"]["replica"] == "alloc-a" and not step["error"] and not root["error"]
    assert_tells_of(engine.heard[-1], root, step)
    assert not re.search("secret", json.dumps(await agent.traces()))
    await until(lambda: '"request_id":"req-one"' in process.log.read_text())
    line = access_line(process.log, "req-one")
    assert str(line["dd.trace_id"]).endswith(hexadecimal(root, "trace_id"))
    assert int(str(line["dd.span_id"])) == root["span_id"]
    await until(lambda: '"dd.service":"t-router"' in process.log.read_text())  # of other lines, by ddtrace itself


async def _a_turn_of_the_session_api(process: Process, agent: TraceAgent, engine: Upstream) -> None:
    opened = (await process.call(post("/initiate_call", {}))).json
    said = await process.call(post("/chat_completions", {"session_id": opened["session_id"], "message": "Hello"}))
    assert said.status == 200, said.body

    def whole(trace: list[Span]) -> bool:
        return {"fastapi.request", "warmfleet.request", "warmfleet.attempt"} <= {span["name"] for span in trace}

    found = await agent.until(lambda traces: any(map(whole, traces)))
    (trace,) = [trace for trace in found if whole(trace)]
    names = ("fastapi.request", "warmfleet.request", "warmfleet.attempt")
    (endpoint,), (root,), (step,) = ([span for span in trace if span["name"] == name] for name in names)
    assert root["parent_id"] == endpoint["span_id"] and endpoint["resource"] == "POST /chat_completions"
    assert_tells_of(engine.heard[-1], root, step)


async def _a_failover(process: Process, agent: TraceAgent, other: Upstream) -> None:
    assert (await process.call(chat(headers={"x-request-id": "req-moved"}))).status == 200
    root, steps = await agent.request_span("req-moved")
    assert [(step["meta"]["replica"], step["error"], step["meta"].get("error.type")) for step in steps] == [
        ("alloc-a", 1, "connection"),
        ("alloc-b", 0, None),
    ]
    assert root["meta"]["moves"] == "connection" and root["meta"]["model"] == "small" and not root["error"]
    assert_tells_of(other.heard[-1], root, steps[1])


async def test_a_callers_decision_is_followed_and_its_trace_goes_on(consul_server: ConsulServer, tmp_path: Path) -> None:
    program = RouterProgram(consul_server.address, tmp_path, trace_rate="1e-12")
    async with program.engine("alloc-a", says_hello) as engine, traced_router(program, "{'large': 1, 'small': 0}") as (process, agent):
        theirs, not_theirs = CALLER.format(flags="01"), CALLER.format(flags="00")
        for request_id, fields in (
            ("req-w3c", {"Traceparent": theirs}),
            ("req-not", {"traceparent": not_theirs}),
            ("req-dd", {"X-Datadog-Trace-Id": "12", "x-datadog-parent-id": "34", "x-datadog-sampling-priority": "2"}),
            ("req-junk", {"traceparent": "junk", "x-datadog-trace-id": "0"}),
        ):
            assert (await process.call(chat(headers={**fields, "x-request-id": request_id}))).status == 200
        root, (step,) = await agent.request_span("req-w3c")
        assert hexadecimal(root, "trace_id") == "8448eb211c80319c" and hexadecimal(root, "parent_id") == "b7ad6b7169203331"
        assert_tells_of(engine.heard[0], root, step)
        assert str(engine.heard[0].header("traceparent")).startswith("00-0af7651916cd43dd8448eb211c80319c-")
        assert engine.heard[0].head.lower().count(b"\r\ntraceparent:") == 1
        other, _ = await agent.request_span("req-dd")
        assert (other["trace_id"], other["parent_id"]) == (12, 34)
        assert engine.heard[1].header("traceparent") == not_theirs  # on its way unchanged: their trace is not ours to end
        assert engine.heard[3].header("traceparent") == "junk"
        traced = {span["meta"].get("request_id") for trace in await agent.traces() for span in trace}
        assert not traced & {"req-not", "req-junk"}


async def test_what_was_traced_last_is_told_before_a_router_ends(consul_server: ConsulServer, tmp_path: Path) -> None:
    program = RouterProgram(consul_server.address, tmp_path, trace_rate="1.0")
    async with program.engine("alloc-a", says_hello), trace_agent(tmp_path) as agent:
        async with traced(program, agent, "{'large': 1, 'small': 0}") as process:
            assert (await process.call(chat(headers={"x-request-id": "req-last"}))).status == 200
        _, (step,) = await agent.request_span("req-last")
        assert step["meta"]["replica"] == "alloc-a"


STYLES = """
from random import getrandbits
from router.records import telling
library = telling.library()
born = telling.born(library, getrandbits)
trace_id = born.trace_id(1_795_000_000_999_999_999)
span_id = born.span_id()
span = library.tracer.start_span("s", child_of=library.context(trace_id=trace_id, is_remote=False))
span.span_id = span_id
span.set_tag("manual.keep")
assert born.lines(trace_id, span_id) == telling.header_lines(library, span), born.lines(trace_id, span_id)
assert trace_id >> 96 == (1_795_000_000 if born.is_wide else 0)
print(sorted(line.split(":")[0] for line in born.lines(trace_id, span_id).decode().splitlines()))
"""
DATADOG = ["x-datadog-parent-id", "x-datadog-sampling-priority", "x-datadog-tags", "x-datadog-trace-id"]


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, ["traceparent", "tracestate", *DATADOG]),
        ({"DD_TRACE_PROPAGATION_STYLE": "b3,b3multi"}, ["b3", "x-b3-flags", "x-b3-spanid", "x-b3-traceid"]),
        ({"DD_TRACE_128_BIT_TRACEID_GENERATION_ENABLED": "false", "DD_TRACE_PROPAGATION_STYLE_INJECT": "datadog"}, DATADOG),
    ],
)
def test_engines_are_told_as_the_operator_has_it_and_as_ddtrace_would_tell_them(environment: dict[str, str], names: list[str]) -> None:
    quiet = {"DD_REMOTE_CONFIGURATION_ENABLED": "false", "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false"}
    command = [sys.executable, *TRACED, "-c", STYLES]
    done = subprocess.run(command, env={**os.environ, **quiet, **environment}, capture_output=True, text=True, timeout=90, check=False)
    assert done.stdout.strip() == str(names), done.stderr

"""A process that takes traces as the Datadog agent does, and says what it was sent: Datadog's own ddapm-test-agent, on loopback."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

Span = dict[str, Any]

_PATIENCE_S = 90.0


@dataclass(frozen=True)
class TraceAgent:
    url: str

    async def traces(self) -> list[list[Span]]:
        """All that was sent so far."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.url}/test/traces") as answer:
            found: list[list[Span]] = await answer.json()
            return found

    async def until(self, holds: Callable[[list[list[Span]]], bool]) -> list[list[Span]]:
        async with asyncio.timeout(_PATIENCE_S):
            while not holds(found := await self.traces()):  # noqa: ASYNC110 - a poll with a deadline
                await asyncio.sleep(0.1)
        return found

    async def request_span(self, request_id: str) -> tuple[Span, list[Span]]:
        """The span of a request, and those of its attempts in order."""

        def of_it(trace: list[Span]) -> bool:
            return any(span["meta"].get("request_id") == request_id for span in trace)

        found = await self.until(lambda traces: any(map(of_it, traces)))
        (trace,) = [trace for trace in found if of_it(trace)]
        (root,) = [span for span in trace if span["name"] == "warmfleet.request"]
        steps = [span for span in trace if span["name"] == "warmfleet.attempt"]
        return root, sorted(steps, key=lambda span: int(span["start"]))


@asynccontextmanager
async def trace_agent(folder: Path) -> AsyncIterator[TraceAgent]:
    """Started on ports that were free a moment ago; ended with the context."""
    ports = _free_ports(3)
    names = ("--port", "--otlp-http-port", "--otlp-grpc-port")
    words = [word for name, port in zip(names, ports, strict=True) for word in (name, str(port))]
    program = str(Path(sys.executable).parent / "ddapm-test-agent")
    with (folder / "trace-agent.log").open("wb") as out:
        process = await asyncio.create_subprocess_exec(program, *words, cwd=folder, stdout=out, stderr=out)
    try:
        agent = TraceAgent(f"http://127.0.0.1:{ports[0]}")
        await _until_it_answers(agent, process, folder / "trace-agent.log")
        yield agent
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _until_it_answers(agent: TraceAgent, process: asyncio.subprocess.Process, log: Path) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            assert process.returncode is None, await asyncio.to_thread(log.read_text)
            try:
                await agent.traces()
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
            else:
                return


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [sock.getsockname()[1] for sock in held]
    finally:
        for sock in held:
            sock.close()

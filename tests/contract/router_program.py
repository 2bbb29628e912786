"""A router process of a fleet of its own, with its engines in Consul, for tests of what it sends to Datadog."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fleet import names
from fleet.names import Names
from tests.contract.test_router_consul import Process, engine, free_port, registered
from tests.router.upstream import Script, Upstream

TRACED = ("-m", "ddtrace.commands.ddtrace_run", sys.executable)
SPEC = """
[fleet]
name = "{fleet}"
consul = "{consul}"
[runtime]
driver = "raw_exec"
[redis]
driver = "raw_exec"
[datadog]
trace_rate = {trace_rate}
[router]
drain = "2s"
affinity = false
access_log = "all"
max_held = 0
workers = {workers}
[[model]]
name = "large"
engine = "llamacpp"
weights = "w"
cold_start = "10s"
capacity = {{ concurrency = 4, requests_per_min = 60.0 }}
[[model]]
name = "small"
engine = "llamacpp"
weights = "w"
cold_start = "10s"
replicas = {{ min = 0, max = 1 }}
capacity = {{ concurrency = 4, requests_per_min = 60.0 }}
[[route]]
selector = 0
name = "best"
chain = ["large", "small"]
"""


@dataclass
class RouterProgram:
    """Not started yet. `environment` is added to this process's."""

    consul: str
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    fleet: Names = field(default_factory=lambda: Names(f"dd-{uuid.uuid4().hex[:8]}"))
    workers: int = 1
    trace_rate: str = "0.0"

    @asynccontextmanager
    async def running(self, *before: str) -> AsyncIterator[Process]:
        """`before`: words between Python and `-m router`."""
        described, port = self.folder / "fleet.toml", free_port()
        described.write_text(
            SPEC.format(fleet=self.fleet.fleet, consul=self.consul, workers=self.workers, trace_rate=self.trace_rate), "utf-8"
        )
        environment = {**os.environ, **self.environment, names.ENV_SPEC: str(described)}
        environment |= {names.ENV_HOST: "127.0.0.1", names.ENV_PORT: str(port)}
        log = self.folder / "router.log"
        with log.open("wb") as out:
            command = [sys.executable, *before, "-m", "router"]
            process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=out, stderr=out)
        try:
            yield Process(port, process, log)
            process.terminate()
            async with asyncio.timeout(90):
                assert await process.wait() == 0, log.read_text()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    @asynccontextmanager
    async def engine(self, alloc: str, script: Script, model: str = "large") -> AsyncIterator[Upstream]:
        """A scripted engine that Consul reports passing."""
        service_id = f"{self.fleet.fleet}-{alloc}"
        async with (
            engine(script) as upstream,
            registered(self.consul, self.fleet.model_service, service_id, upstream.port, model=model, alloc_id=alloc),
        ):
            yield upstream


async def until(holds: Callable[[], object], patience_s: float = 90.0) -> None:
    async with asyncio.timeout(patience_s):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - a poll with a deadline
            await asyncio.sleep(0.05)

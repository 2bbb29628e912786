"""Autoscalers as processes of their own, for tests that kill them."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from fleet.names import ENV_PORT, ENV_SPEC, Names
from tests import servers
from tests.contract.autoscaler_world import MODEL


@dataclass(frozen=True)
class Program:
    """`log` is a file, so that nobody has to read it for the program to go on."""

    process: asyncio.subprocess.Process
    url: str
    log: Path

    async def get(self, path: str) -> dict[str, Any]:
        """Empty where it does not answer."""
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http, http.get(self.url + path) as response:
                found: dict[str, Any] = await response.json()
                return found
        except (aiohttp.ClientError, TimeoutError):
            return {}

    async def leads(self) -> bool:
        return bool((await self.get("/health")).get("leads"))

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@asynccontextmanager
async def autoscaler(document: Path, log: Path, **more: str) -> AsyncIterator[Program]:
    """Ends it by force at the end, if it still runs. `more`: of its environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {**os.environ, ENV_SPEC: str(document), ENV_PORT: str(port), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    environment |= more
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "autoscaler", env=environment, stdout=out, stderr=out)
    try:
        yield Program(process, f"http://127.0.0.1:{port}", log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def description(names: Names, server: servers.NomadServer, **autoscaler_settings: object) -> Mapping[str, object]:
    """One model of at most four replicas, each of which carries a concurrency of 1.4."""
    quick = {"interval": "500ms", "window": "3s", "cooldown_up": "1s", "cooldown_down": "2s", "max_age": "5s", "scalings_per_hour": 100}
    return {
        "fleet": {"name": names.fleet, "nomad": server.address, "consul": server.consul},
        "runtime": {"driver": "raw_exec"},
        "redis": {"driver": "raw_exec"},
        "autoscaler": {**quick, **autoscaler_settings},
        "model": [
            {
                "name": MODEL,
                "engine": "llamacpp",
                "weights": "w",
                "replicas": {"min": 1, "max": 4},
                "capacity": {"concurrency": 2, "requests_per_min": 60},
                "cold_start": "20s",
                "policy": [{"kind": "target"}],
            }
        ],
    }

"""A running fleet as a journey sees it: from outside, through its HTTP API, Nomad, Consul and the process table."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import requests

from fleet.local import processes, records
from fleet.names import Names
from fleet.nomad import Nomad
from fleet.state import Leader, ModelState, decode, decode_leader
from tests.journeys.load import replica

PATIENCE_S = 90.0


class Said(NamedTuple):
    """An answer: the model of the replica that gave it, and its text."""

    model: str
    text: str


async def until(holds: Callable[[], bool], what: str, *, patience_s: float = PATIENCE_S) -> None:
    """Polls until something holds. Generous, because it says when something never happens, not how fast it is."""
    deadline = time.monotonic() + patience_s
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.2)


@dataclass(frozen=True)
class Fleet:
    """The stack of one state folder."""

    state: Path
    record: records.Record

    @property
    def router(self) -> str:
        return self.record.router

    @property
    def names(self) -> Names:
        return Names(self.record.fleet)

    @property
    def nomad(self) -> Nomad:
        return Nomad(self.record.address("nomad"))

    def desired(self, model: str) -> int:
        info = self.nomad.job(self.names.job(model))
        assert info is not None
        return sum(info.counts.values())

    def ready(self, model: str) -> int:
        """Replicas of a model that Consul reports passing."""
        return self._passing(self.names.model_service, tag=model)

    def engines(self) -> tuple[str, ...]:
        """Addresses of all replicas that Consul reports passing."""
        return self._addresses(self.names.model_service)

    def addresses(self, part: str) -> tuple[str, ...]:
        """Where a part passes, as Consul reports it."""
        return self._addresses(f"{self.record.fleet}-{part}")

    def passing(self, part: str) -> int:
        return self._passing(f"{self.record.fleet}-{part}")

    def state_of(self, model: str) -> ModelState | None:
        """What the leading autoscaler tells the routers."""
        document = self._document(self.names.model_state(model))
        return decode(document) if document else None

    def level(self, model: str) -> str:
        """As the autoscaler published it; empty: it has not."""
        state = self.state_of(model)
        return state.level if state else ""

    def leader(self) -> Leader | None:
        """None while nobody leads."""
        document = self._document(self.names.leader)
        return decode_leader(document) if document else None

    def engine_pids(self, model: str) -> tuple[int, ...]:
        """Engines of a model, or of all (""), by rising pid. The last argument vector wins: a process about to exec is not one yet."""
        return self.pids(b"fleet.local.engine", *([model.encode()] if model else []))

    def pids(self, *words: bytes) -> tuple[int, ...]:
        """Tasks with all of these words among their arguments, by rising pid."""
        return tuple(pid for pid in self._pids() if all(word in _argv(pid) for word in words))

    def redis_pid(self) -> int:
        (pid,) = [pid for pid in self._pids() if _argv(pid)[:1] and b"executor" not in _argv(pid) and b"-server" in _argv(pid)[0]]
        return pid

    def agent_pid(self, name: str) -> int:
        agent = self.record.agent(name)
        assert agent is not None
        return agent.process.pid

    def stop_allocation(self, part: str) -> None:
        """Nomad stops the part's allocation in its orderly way and starts another."""
        nomad = self.nomad
        for allocation in nomad.allocations(self.names.job(part)):
            if allocation.live:
                nomad.stop_allocation(allocation.alloc_id)

    def live_allocations(self, part: str) -> frozenset[str]:
        return frozenset(a.alloc_id for a in self.nomad.allocations(self.names.job(part)) if a.client_status == "running")

    def router_answers(self) -> bool:
        try:
            return requests.get(f"{self.router}/health", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    async def get(self, http: aiohttp.ClientSession, path: str) -> dict[str, Any]:
        async with http.get(self.router + path) as answer:
            assert answer.status == 200, await answer.text()
            body: dict[str, Any] = await answer.json()
            return body

    async def post(self, http: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with http.post(self.router + path, json=body) as answer:
            assert answer.status == 200, await answer.text()
            said: dict[str, Any] = await answer.json()
            return said

    async def chat(self, http: aiohttp.ClientSession, model: str, *, session: str) -> Said:
        """One turn of a session."""
        body = {"model": model, "max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}]}
        async with http.post(f"{self.router}/v1/chat/completions", json=body, headers={"x-session-id": session}) as answer:
            assert answer.status == 200, await answer.text()
            said = await answer.json()
            return Said(replica(answer.headers["x-route"]).split("/")[0], said["choices"][0]["message"]["content"])

    def _document(self, key: str) -> bytes:
        return requests.get(f"{self.record.address('consul')}/v1/kv/{key}?raw", timeout=60).content

    def _addresses(self, service: str) -> tuple[str, ...]:
        rows = self._health(service, {"passing": "true"})
        return tuple(f"http://{row['Service']['Address']}:{row['Service']['Port']}" for row in rows)

    def _passing(self, service: str, tag: str = "") -> int:
        return len(self._health(service, {"passing": "true", **({"tag": tag} if tag else {})}))

    def _health(self, service: str, query: dict[str, str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = requests.get(f"{self.record.address('consul')}/v1/health/service/{service}", query, timeout=60).json()
        return found

    def _pids(self) -> list[int]:
        return [process.pid for process in processes.marked(self.state)]


def _argv(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return []


def kill(pid: int, number: int) -> None:
    """A signal to a process of the fleet."""
    os.kill(pid, number)

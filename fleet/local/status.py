"""How a local stack is: its agents from their processes, its jobs from Nomad, its warmth from Consul.

Looks and changes nothing. "up" means that every part answers: at least one passing instance each; a replica that is still loading
beside a warm one is no defect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fleet.consul import Consul, Instance
from fleet.errors import ControlPlaneError
from fleet.local import records
from fleet.local.agents import log_tail
from fleet.local.processes import is_alive
from fleet.local.records import Record
from fleet.names import Names
from fleet.nomad import Allocation, JobInfo, Nomad
from fleet.state import decode_pause

GIVE_UP_AFTER_RESTARTS = 2
_LAST_LINES = 5
OUR_PARTS = ("redis", "router", "autoscaler")


@dataclass(frozen=True, slots=True)
class Part:
    """One job in numbers: `desired` replicas, of which `running` have a process and `passing` answer.

    `failed` counts broken allocations while replicas are missing; what was made good again is history.
    """

    name: str
    status: str
    desired: int
    running: int
    passing: int
    failed: int
    failure: str

    @property
    def answers(self) -> bool:
        return self.passing >= min(self.desired, 1)

    @property
    def is_complete(self) -> bool:
        return self.status == "running" and min(self.running, self.passing) >= self.desired


@dataclass(frozen=True, slots=True)
class Status:
    """`problems` are sentences; none where the state is up or down. `autoscaler`: its base URL. `paused`: by whom and why."""

    state: Literal["up", "down", "degraded"]
    record: Record | None
    parts: tuple[Part, ...] = ()
    problems: tuple[str, ...] = ()
    autoscaler: str = ""
    paused: str = ""

    @property
    def advice(self) -> str:
        """What to do about its problems; empty: there are none, or nothing is to be done."""
        if not self.problems or self.record is None or _is_under_way(self.record):
            return ""
        if self.parts and self.record.phase == "up":
            return "Nomad starts again what has ended. If it stays like this: `make down`, then `make up`."
        return "Run `make down`, then `make up`."


def look(state: Path) -> Status:
    """Raises: StackError: the folder is not a stack's."""
    record = records.read(state)
    if record is None:
        return Status("down", None)
    problems: list[str] = list(_dead_agents(record))
    parts: tuple[Part, ...] = ()
    autoscaler = paused = ""
    if not problems:
        try:
            parts = look_at_parts(replace(record, parts=_deployed(record)))
            autoscaler, paused = asyncio.run(_scaling(record))
        except ControlPlaneError as error:
            problems.append(str(error))
    problems += [*_unfinished(record), *(f"{part.name} does not answer: {_why(part)}" for part in parts if not part.answers)]
    return Status("degraded" if problems else "up", record, parts, tuple(problems), autoscaler, paused)


def look_at_parts(record: Record) -> tuple[Part, ...]:
    """Raises: ControlPlaneError: Nomad or Consul does not answer."""
    nomad, names = Nomad(record.address("nomad")), Names(record.fleet)
    seen = asyncio.run(_instances(record.address("consul"), {_service(names, part) for part in record.parts}))
    return tuple(_part(nomad, names, part, seen) for part in record.parts)


def _deployed(record: Record) -> tuple[str, ...]:
    """The parts as `up` began them, and what was deployed since. Raises: ControlPlaneError."""
    prefix = Names(record.fleet).job("")
    ids = (info.job_id for info in Nomad(record.address("nomad")).jobs(prefix) if not info.stopped)
    return (*record.parts, *sorted({job_id.removeprefix(prefix) for job_id in ids} - set(record.parts)))


async def _scaling(record: Record) -> tuple[str, str]:
    """Where the autoscaler shows what it does, and who has paused it; empty where there is none. Raises: ControlPlaneError."""
    names, consul = Names(record.fleet), Consul(record.address("consul"))
    try:
        instances = (await consul.instances(names.autoscaler_service)).value
        document, _ = await consul.document(names.pause)
    finally:
        await consul.close()
    pause = decode_pause(document) if document is not None else None
    address = next((f"http://{one.host}:{one.port}" for one in instances if one.passing), "")
    return address, f"{pause.by}: {pause.reason}" if pause else ""


def _part(nomad: Nomad, names: Names, name: str, seen: dict[str, tuple[Instance, ...]]) -> Part:
    info, allocations = nomad.job(names.job(name)), nomad.allocations(names.job(name))
    desired = sum(info.counts.values()) if info and not info.stopped else 0
    passing = sum(i.passing for i in seen[_service(names, name)] if name in OUR_PARTS or name in i.tags)
    broken = [a for a in allocations if is_broken(a)] if passing < desired else []
    return Part(
        name=name,
        status=_status(info),
        desired=desired,
        running=sum(a.live and a.client_status == "running" for a in allocations),
        passing=passing,
        failed=len(broken),
        failure=broken[-1].failure if broken else "",
    )


def _status(info: JobInfo | None) -> str:
    if info is None:
        return "not deployed"
    wants_none = not info.stopped and not any(info.counts.values())
    return "running" if wants_none else info.status  # Nomad calls a job of no replicas dead, but it is as it should be


def is_broken(allocation: Allocation) -> bool:
    """It failed for good, or its task dies again and again."""
    return allocation.client_status == "failed" or (allocation.live and allocation.restarts >= GIVE_UP_AFTER_RESTARTS)


async def _instances(address: str, services: Iterable[str]) -> dict[str, tuple[Instance, ...]]:
    consul = Consul(address)
    try:
        return {service: (await consul.instances(service)).value for service in services}
    finally:
        await consul.close()


def _service(names: Names, part: str) -> str:
    return getattr(names, f"{part}_service") if part in OUR_PARTS else names.model_service


def _dead_agents(record: Record) -> Iterable[str]:
    for name in ("consul", "nomad"):
        agent = record.agent(name)
        if agent is None:
            yield f"{name} was never started"
        elif not is_alive(agent.process):
            yield f"{name} (process {agent.process.pid}) has ended; the end of {agent.log}:\n{log_tail(agent.log, _LAST_LINES)}"


def _is_under_way(record: Record) -> bool:
    return record.phase == "starting" and is_alive(record.owner)


def _unfinished(record: Record) -> Iterable[str]:
    if _is_under_way(record):
        yield f"process {record.owner.pid} is still bringing it up: wait for it, or end it"
    elif record.phase == "starting":
        yield "it was never completely up: the process that started it has ended"


def _why(part: Part) -> str:
    return part.failure or f"job {part.status}, {part.passing} of {part.desired} passing"

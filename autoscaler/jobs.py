"""Nomad as the loop sees it: read one job, order one count.

Nomad's client blocks, so calls stand in a line of their own. Everything that decides is read in one go; the job's modify index is read
first, so that a change between the reads makes the order fail (Conflict) instead of going through on old numbers.
Judges only whether Nomad would take an order at all (`obstacle`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from autoscaler.line import Line
from fleet.errors import Refused
from fleet.names import GROUP
from fleet.nomad import Allocation, JobInfo, Nomad, Rollout, Unplaced
from fleet.owner import ADVICE, stranger

ANY = (0, sys.maxsize)


@dataclass(frozen=True, slots=True)
class JobView:
    """A job's group at one moment.

    scaled_at: times of its last scalings, oldest first. obstacle: empty where Nomad would take an order.
    bounds: the least and the most that the job itself allows; Nomad refuses anything else.
    gave_up: why Nomad places no more replicas, also when there is room, until the job is scaled again; else empty.
    """

    count: int
    modify_index: int
    allocations: tuple[Allocation, ...] = ()
    unplaced: tuple[Unplaced, ...] = ()
    scaled_at: tuple[float, ...] = ()
    obstacle: str = ""
    bounds: tuple[int, int] = ANY
    gave_up: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """A count to ask for, if the job is still at `modify_index`. `sentence` and `inputs` stand in Nomad's scaling event."""

    job_id: str
    count: int
    modify_index: int
    sentence: str
    inputs: Mapping[str, object]


class Jobs(Protocol):
    async def read(self, job_id: str) -> JobView:
        """Raises: ControlPlaneError: Nomad does not answer, or says no."""

    async def order(self, order: Order) -> None:
        """Raises: Conflict, Blocked, or another ControlPlaneError."""


@dataclass(slots=True)
class NomadJobs:
    """`fleet`: of jobs that another one, or somebody else, has deployed nothing is known and none is scaled.

    `patience_s`: longest wait for an answer about one job, however many wait for theirs.
    """

    nomad: Nomad
    fleet: str
    patience_s: float = 30.0
    _line: Line = field(init=False)

    def __post_init__(self) -> None:
        self._line = Line(f"Nomad at {self.nomad.address}", self.patience_s)

    async def read(self, job_id: str) -> JobView:
        try:
            return await self._line.ask(partial(_read, self.nomad, self.fleet, job_id))
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise Refused(
                f"what Nomad says of job {job_id} is not understood ({error!r}): see what answers at {self.nomad.address}"
            ) from error

    async def order(self, order: Order) -> None:
        await self._line.ask(partial(_scaled, self.nomad, order))


def _scaled(nomad: Nomad, order: Order) -> None:
    message, meta = order.sentence, order.inputs
    nomad.scale(order.job_id, GROUP, order.count, modify_index=order.modify_index, message=message, meta=meta)


def _read(nomad: Nomad, fleet: str, job_id: str) -> JobView:
    job = nomad.job(job_id)
    if job is None:
        return JobView(0, 0, obstacle=f"job {job_id} is not registered in Nomad: deploy the fleet")
    if job.stopped:
        return JobView(0, job.modify_index, obstacle=f"job {job_id} is stopped: start it, or take the model out of the fleet")
    if whose := stranger(job.meta, fleet):
        return JobView(0, job.modify_index, obstacle=f"job {job_id} {whose}, so it is left alone: {ADVICE}")
    if GROUP not in job.counts:
        return JobView(0, job.modify_index, obstacle=f"job {job_id} has no group {GROUP!r}: it is not one that warmfleet rendered")
    return _read_live(nomad, job)


def _read_live(nomad: Nomad, job: JobInfo) -> JobView:
    allocations = nomad.allocations(job.job_id)
    count = job.counts[GROUP]
    short = sum(a.live and not a.is_canary for a in allocations) < count
    rollout = nomad.rollout(job.job_id)
    return JobView(
        count=count,
        modify_index=job.modify_index,
        allocations=allocations,
        unplaced=tuple(u for u in nomad.unplaced(job.job_id) if u.group == GROUP) if short else (),
        scaled_at=nomad.scaled_at(job.job_id, GROUP),
        obstacle=_obstacle(rollout),
        bounds=job.bounds.get(GROUP, ANY),
        gave_up=rollout.gave_up if rollout.job_version == job.version else "",
    )


def _obstacle(rollout: Rollout) -> str:
    if not rollout.active:
        return ""
    said = "a deployment is under way, and Nomad scales nothing meanwhile"
    return f"{said}: new replicas wait to be promoted, `warmfleet deploy` sees them to the end" if rollout.waits_for_promotion else said

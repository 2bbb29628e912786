"""Nomad as the loop sees it: read one job, order one count.

Nomad's client blocks, so calls stand in a line of their own. Everything that decides is read in one go; the job's modify index is read
first, so that a change between the reads makes the order fail (Conflict) instead of going through on old numbers.
Judges only whether Nomad would take an order at all (`obstacle`), and what is in its way that may be given up (`placing`):

    a deployment under way            made by              an order
    has a place for all of it         anybody              waits for it
    waits to be promoted              whoever deploys      waits for it
    looks for room for some of it     a scaling of ours    for fewer gives it up first; for more waits
                                      anybody else         waits for it

A deployment is given up by its id, and an id never comes again: what somebody else began meanwhile is not touched.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from autoscaler.line import Line
from fleet.errors import Denied, Refused
from fleet.names import GROUP
from fleet.nomad import Allocation, JobInfo, Nomad, Rollout, Unplaced
from fleet.owner import ADVICE, stranger

ANY = (0, sys.maxsize)
_BY = "warmfleet autoscaler"
_DENIED = "the autoscaler's token is not known to Nomad, has expired, or lacks a right; its task starts with a new one when it is restarted"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JobView:
    """A job's group at one moment.

    scaled_at: times of its last scalings, oldest first. obstacle: empty where Nomad would take an order.
    bounds: the least and the most that the job itself allows; Nomad refuses anything else.
    gave_up: why Nomad places no more replicas, also when there is room, until the job is scaled again; else empty.
    placing: the deployment in which Nomad looks for room for replicas that an autoscaler has ordered; or empty.
    """

    count: int
    modify_index: int
    allocations: tuple[Allocation, ...] = ()
    unplaced: tuple[Unplaced, ...] = ()
    scaled_at: tuple[float, ...] = ()
    obstacle: str = ""
    bounds: tuple[int, int] = ANY
    gave_up: str = ""
    placing: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """A count to ask for, if the job is still at `modify_index`. `sentence` and `inputs` stand in Nomad's scaling event.

    gives_up: the deployment that looks for room for what is no longer wanted, or empty.
    """

    job_id: str
    count: int
    modify_index: int
    sentence: str
    inputs: Mapping[str, object]
    gives_up: str = ""


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
        return await self._asked(job_id, partial(_read, self.nomad, self.fleet, job_id))

    async def order(self, order: Order) -> None:
        await self._asked(order.job_id, partial(_scaled, self.nomad, order))

    async def _asked(self, job_id: str, question: Callable[[], T]) -> T:
        try:
            return await self._line.ask(question)
        except (KeyError, TypeError, IndexError, ValueError) as error:
            said = f"what Nomad says of job {job_id} is not understood ({error!r}): see what answers at {self.nomad.address}"
            raise Refused(said) from error
        except Denied as error:
            raise Denied(f"{error}: {_DENIED}") from error


def _scaled(nomad: Nomad, order: Order) -> None:
    if order.gives_up:
        _given_up(nomad, order.gives_up)
    message, meta = order.sentence, {"by": _BY, **order.inputs}
    nomad.scale(order.job_id, GROUP, order.count, modify_index=order.modify_index, message=message, meta=meta)


def _given_up(nomad: Nomad, deployment_id: str) -> None:
    try:
        nomad.fail(deployment_id)
    except Denied as error:
        said = "Nomad looks for room for what is no longer wanted, and this autoscaler's token may not end that (fail-deployment)"
        raise Refused(f"{said}: `nomad deployment fail {deployment_id[:8]}` does") from error


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
    unplaced = tuple(u for u in nomad.unplaced(job.job_id) if u.group == GROUP) if short else ()
    placing = rollout.deployment_id if unplaced and _is_only_ours(nomad, job, rollout, allocations) else ""
    return JobView(
        count=count,
        modify_index=job.modify_index,
        allocations=allocations,
        unplaced=unplaced,
        scaled_at=nomad.scaled_at(job.job_id, GROUP),
        obstacle="" if placing else _obstacle(rollout),
        bounds=job.bounds.get(GROUP, ANY),
        gave_up=rollout.gave_up if rollout.job_version == job.version else "",
        placing=placing,
    )


def _is_only_ours(nomad: Nomad, job: JobInfo, rollout: Rollout, allocations: Sequence[Allocation]) -> bool:
    """Whether the deployment under way is an autoscaler's scaling, in which nothing is replaced: nobody else's work is in it."""
    if not (rollout.active and rollout.is_harmless and rollout.job_version == job.version):
        return False
    return all(a.job_version == job.version for a in allocations if a.live) and nomad.scaled_by(job, GROUP) == _BY


def _obstacle(rollout: Rollout) -> str:
    if not rollout.active:
        return ""
    said = "a deployment is under way, and Nomad scales nothing meanwhile"
    return f"{said}: new replicas wait to be promoted, `warmfleet deploy` sees them to the end" if rollout.waits_for_promotion else said

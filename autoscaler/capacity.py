"""Capacity of one model by state, from Nomad's allocations and Consul's instances.

    desired   what the job asks for
    placed    has a node: loading + ready + draining
    loading   placed, not passing; running is not warm
    ready     passing in Consul, and gets new sessions
    draining  chosen to be stopped, gets none
    missing   desired and not placed, with Nomad's reason: no capacity, but ordered

Canaries are beside the count until they are promoted: they serve nobody, and how long they wait for that is no cold start.
Pure. Consul decides what is ready; Nomad's own `Healthy` falls to zero after every scaling and is not used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from autoscaler.signals import Signal, Unknown
from fleet.consul import Instance
from fleet.names import META_ALLOC_ID, META_MODEL
from fleet.nomad import Allocation, Unplaced

State = Literal["loading", "ready", "draining"]


@dataclass(frozen=True, slots=True)
class Replica:
    """A placed replica. `index` is Nomad's allocation index; `requests` are those that its engine runs or queues.

    `since`: when it was placed, or its task restarted in place; seconds since the epoch.
    """

    alloc_id: str
    index: int
    state: State
    passing: bool
    since: float
    restarts: int = 0
    requests: Signal = Unknown("was not asked yet")

    @property
    def incarnation(self) -> str:
        """A task restarted in place loads its weights again."""
        return f"{self.alloc_id}.{self.restarts}"


@dataclass(frozen=True, slots=True)
class Failure:
    """An allocation of which a task failed, in Nomad's words. `has_ended`: it is not tried again in place, but elsewhere."""

    alloc_id: str
    restarts: int
    has_ended: bool
    why: str


@dataclass(frozen=True, slots=True)
class Capacity:
    """`replicas` by rising allocation index; `missing_why` is empty where nothing is missing. `failures` of any time."""

    desired: int
    replicas: tuple[Replica, ...] = ()
    missing_why: str = ""
    failures: tuple[Failure, ...] = ()

    @property
    def placed(self) -> int:
        return len(self.replicas)

    @property
    def missing(self) -> int:
        return max(0, self.desired - self.placed)

    @property
    def ready(self) -> int:
        return self.count("ready")

    def count(self, state: State) -> int:
        return sum(replica.state == state for replica in self.replicas)

    def with_draining(self, alloc_ids: Collection[str]) -> Capacity:
        """The same replicas, with these and no others draining."""
        return replace(self, replicas=tuple(replace(r, state=_state(r.alloc_id, r.passing, alloc_ids)) for r in self.replicas))

    def victims(self, target: int) -> tuple[Replica, ...]:
        """The replicas that Nomad stops when the count becomes `target`: the highest allocation indexes."""
        by_index = sorted(self.replicas, key=lambda replica: replica.index, reverse=True)
        return tuple(by_index[: max(0, self.placed - target)])

    def passing_below(self, target: int) -> int:
        """Those that pass of the replicas that stay when the count becomes `target`."""
        going = {replica.alloc_id for replica in self.victims(target)}
        return sum(replica.passing for replica in self.replicas if replica.alloc_id not in going)


def capacity(
    desired: int,
    allocations: Sequence[Allocation],
    unplaced: Sequence[Unplaced],
    instances: Sequence[Instance],
    *,
    draining: Collection[str] = (),
    requests: Mapping[str, Signal] | None = None,
) -> Capacity:
    """`instances` are those of this model; `requests` maps allocation ids to their engine's load."""
    allocations = [allocation for allocation in allocations if not allocation.is_canary]
    passing = {i.meta.get(META_ALLOC_ID, "") for i in instances if i.passing}
    loads = requests or {}
    replicas = tuple(
        Replica(
            alloc_id=a.alloc_id,
            index=a.index,
            state=_state(a.alloc_id, a.alloc_id in passing, draining),
            passing=a.alloc_id in passing,
            since=max(a.created_at, a.started_at) if a.restarts else a.created_at,
            restarts=a.restarts,
            requests=loads.get(a.alloc_id, Unknown("was not asked yet")),
        )
        for a in sorted(allocations, key=lambda a: a.index)
        if a.live
    )
    why = _missing_why(allocations, unplaced) if desired > len(replicas) else ""
    return Capacity(desired, replicas, why, tuple(Failure(a.alloc_id, a.restarts, not a.live, a.failure) for a in allocations if a.failure))


def of_model(instances: Sequence[Instance], model: str) -> tuple[Instance, ...]:
    return tuple(instance for instance in instances if instance.meta.get(META_MODEL) == model)


def _state(alloc_id: str, passing: bool, draining: Collection[str]) -> State:
    if alloc_id in draining:
        return "draining"
    return "ready" if passing else "loading"


def _missing_why(allocations: Sequence[Allocation], unplaced: Sequence[Unplaced]) -> str:
    if unplaced:
        return unplaced[0].why
    if any(a.desired == "run" and a.client_status == "unknown" for a in allocations):
        return "its node is out of Nomad's reach, and no second one is started before model.lost_after"
    failures = [a.failure for a in sorted(allocations, key=lambda a: a.created_at) if a.failure]
    return f"the last one failed: {failures[-1]}" if failures else "Nomad has not placed it yet"

"""What Consul says, as values: the endpoints of all models at one index, and what the autoscaler published about them.

Law: only passing instances that name their model and allocation are endpoints. Draining allocations stay endpoints (they finish
what they have) but are not warm: no new turn goes there. Immutable, no I/O; the last good snapshot is kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fleet import names
from fleet.consul import Instance
from fleet.state import ModelState


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address of a replica that Consul reports passing."""

    service_id: str
    alloc_id: str
    model: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Endpoints in order of their service ids, at Consul's index."""

    index: int = 0
    endpoints: tuple[Endpoint, ...] = ()

    def count(self, model: str) -> int:
        return sum(endpoint.model == model for endpoint in self.endpoints)


@dataclass(frozen=True, slots=True)
class Published:
    """The autoscaler's documents by model, as far as there are any."""

    states: Mapping[str, ModelState] = field(default_factory=dict)

    @property
    def draining(self) -> frozenset[str]:
        """Allocation ids that get no new turns."""
        return frozenset(alloc for state in self.states.values() for alloc in state.draining)


def snapshot(instances: Iterable[Instance], index: int) -> Snapshot:
    """Reads a service's instances. Ones without `model` or `alloc_id` in their meta are not ours and are left out."""
    return Snapshot(index, tuple(_endpoint(i) for i in instances if i.passing and _is_replica(i)))


def _is_replica(instance: Instance) -> bool:
    return bool(instance.meta.get(names.META_MODEL) and instance.meta.get(names.META_ALLOC_ID))


def _endpoint(instance: Instance) -> Endpoint:
    meta = instance.meta
    return Endpoint(instance.service_id, meta[names.META_ALLOC_ID], meta[names.META_MODEL], instance.host, instance.port)

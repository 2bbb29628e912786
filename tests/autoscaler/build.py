"""Small builders for the values that the autoscaler's tests are made of."""

from __future__ import annotations

from autoscaler.capacity import Capacity, Replica
from autoscaler.decide import Settings
from autoscaler.signals import Known, Signal
from fleet.consul import Instance
from fleet.model import Autoscaler, Model, Policy, Replicas
from fleet.model import Capacity as PerReplica
from fleet.names import META_ALLOC_ID, META_ALLOC_INDEX, META_MODEL
from fleet.nomad import Allocation

NOW = 1_800_000_000.0
IDLE = Known(0.0, 0.0)


def settings(*, least: int = 1, most: int = 10, policy: tuple[Policy, ...] | None = None, **autoscaler: object) -> Settings:
    """Capacity 2 at target 70 % unless told otherwise: one replica carries a concurrency of 1.4."""
    model = Model(
        name="small-model",
        engine="llamacpp",
        weights="w",
        replicas=Replicas(min=least, max=most),
        capacity=PerReplica(concurrency=2, requests_per_min=60),
        cold_start_s=600,
        policy=(Policy(),) if policy is None else policy,
    )
    return Settings(model, Autoscaler(**autoscaler))  # type: ignore[arg-type]


def replica(index: int, *, passing: bool = True, draining: bool = False, requests: Signal = IDLE) -> Replica:
    state = "draining" if draining else "ready" if passing else "loading"
    return Replica(f"alloc-{index}", index, state, passing, NOW - 60, requests=requests)  # type: ignore[arg-type]


def fleet(desired: int, *, ready: int | None = None, loading: int = 0, missing_why: str = "") -> Capacity:
    ready = desired - loading if ready is None else ready
    rows = tuple(replica(i, passing=i < ready) for i in range(ready + loading))
    return Capacity(desired, rows, missing_why)


def allocation(index: int, **change: object) -> Allocation:
    fields: dict[str, object] = {
        "alloc_id": f"alloc-{index}",
        "job_id": "wf-small-model",
        "index": index,
        "desired": "run",
        "client_status": "running",
        "job_version": 0,
        "created_at": NOW - 60,
        "failure": "",
    }
    return Allocation(**{**fields, **change})  # type: ignore[arg-type]


def instance(index: int, *, passing: bool = True, model: str = "small-model") -> Instance:
    meta = {META_MODEL: model, META_ALLOC_ID: f"alloc-{index}", META_ALLOC_INDEX: str(index)}
    return Instance(f"service-{index}", "127.0.0.1", 9000 + index, (model,), meta, passing)

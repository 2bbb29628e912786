"""What delivery asks of Nomad beyond fleet.nomad: plans, evaluations, deployments, versions, and what tasks went through.

Same client, same errors. A blocking question carries the index of the answer before it and is answered when something has changed, or
after `wait_s`; it is shorter than the client's timeout. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nomad.api import exceptions

from fleet import placement
from fleet.errors import Refused
from fleet.names import JOB_META_SOURCE
from fleet.nomad import Job, Nomad, Unplaced

WAIT_S = 1.0
_ACTIVE = ("running", "pending", "blocked", "unblocking", "paused", "initializing")


@dataclass(frozen=True, slots=True)
class Plan:
    """What Nomad would do. `diff` is its own tree of changes; `updates` counts by kind of change, such as {"canary": 2}.

    `check_index` is the modify index that the job must still have for the plan to hold; 0: there is no such job.
    """

    diff: Mapping[str, Any]
    updates: Mapping[str, int]
    unplaced: tuple[Unplaced, ...]
    warnings: str
    check_index: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One pass of the scheduler over a job. `why` is set where it has failed."""

    status: str
    why: str
    deployment_id: str
    unplaced: tuple[Unplaced, ...]
    index: int

    @property
    def ended(self) -> bool:
        return self.status in ("complete", "failed", "canceled")


@dataclass(frozen=True, slots=True)
class Deployment:
    """A change of version under way, or ended. Counts are those of all groups together; `canaries` are allocation ids."""

    deployment_id: str
    job_version: int
    status: str
    why: str
    desired: int
    desired_canaries: int
    canaries: tuple[str, ...]
    placed: int
    healthy: int
    unhealthy: int
    promoted: bool
    auto_revert: bool
    index: int

    @property
    def active(self) -> bool:
        return self.status in _ACTIVE

    @property
    def waits_for_promotion(self) -> bool:
        return self.active and self.desired_canaries > 0 and not self.promoted


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a job that Nomad remembers. `source` digests what it runs; `tag` is empty where it has none."""

    number: int
    stable: bool
    stopped: bool
    tag: str
    source: str
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Story:
    """What the tasks of an allocation went through: (task, event) in order, in Nomad's words."""

    alloc_id: str
    node: str
    job_version: int
    client_status: str
    desired: str
    tasks: tuple[str, ...]
    events: tuple[tuple[str, str], ...]
    restarts: int

    @property
    def wanted(self) -> bool:
        return self.desired == "run"


class Delivery(Nomad):
    """A Nomad client that can also deliver. Errors as in `fleet.nomad.Nomad`."""

    def plan(self, job: Job) -> Plan:
        """What registering the job would change. Nothing is changed."""
        answer = self._call("job", job["ID"], "plan", method="post", json={"Job": job, "Diff": True})
        return Plan(
            diff=answer["Diff"],
            updates=_updates(answer["Annotations"] or {}),
            unplaced=unplaced(answer["FailedTGAllocs"] or {}, placement.devices(job)),
            warnings=answer.get("Warnings") or "",
            check_index=answer["JobModifyIndex"],
        )

    def evaluation(self, eval_id: str, *, index: int = 0, wait_s: float = WAIT_S) -> Evaluation:
        row = self._call("evaluation", eval_id, method="get", params=_blocking(index, wait_s))
        return _evaluation(row, self._devices(row["JobID"], [row.get("FailedTGAllocs") or {}]))

    def deployment(self, deployment_id: str, *, index: int = 0, wait_s: float = WAIT_S) -> Deployment:
        return _deployment(self._call("deployment", deployment_id, method="get", params=_blocking(index, wait_s)))

    def latest_deployment(self, job_id: str) -> Deployment | None:
        """None: the job never had one that Nomad remembers."""
        row = self._call("job", job_id, "deployment", method="get")
        return _deployment(row) if row is not None else None

    def promote(self, deployment_id: str) -> None:
        """Canaries become the job's replicas, the old ones are stopped. Raises: Refused: not all of them are healthy."""
        self._call("deployment", "promote", deployment_id, method="post", json={"DeploymentID": deployment_id, "All": True})

    def call_healthy(self, deployment_id: str, alloc_ids: Sequence[str]) -> None:
        """For a deployment whose health check is manual: these allocations are well, it may go on."""
        body = {"DeploymentID": deployment_id, "HealthyAllocationIDs": list(alloc_ids), "UnhealthyAllocationIDs": []}
        self._call("deployment", "allocation-health", deployment_id, method="post", json=body)

    def versions(self, job_id: str) -> tuple[Version, ...]:
        """Newest first."""
        return tuple(sorted(map(_version, self._versions(job_id)), key=lambda v: -v.number))

    def definition(self, job_id: str, number: int) -> Job:
        """A version of a job as it may be registered again. Raises: Refused: Nomad no longer remembers it."""
        for row in self._versions(job_id):
            if row["Version"] == number:
                return Job(row | {"VersionTag": None, "Stop": False})
        raise Refused(f"Nomad does not remember version {number} of {job_id}")

    def source(self, job_id: str, number: int) -> str:
        """The text a version was made from; empty where Nomad does not have it."""
        try:
            row = self._call("job", job_id, "submission", method="get", params={"version": str(number)})
        except Refused as error:
            if isinstance(error.__cause__, exceptions.URLNotFoundNomadException):
                return ""
            raise
        return str(row["Source"])

    def tag(self, job_id: str, number: int, name: str, description: str) -> None:
        """Keeps a version from being forgotten. Raises: Refused: another version has this name."""
        body = {"Name": name, "Version": number, "Description": description}
        self._call("job", job_id, "versions", name, "tag", method="post", json=body)

    def untag(self, job_id: str, name: str) -> None:
        self._call("job", job_id, "versions", name, "tag", method="delete")

    def sees_variable(self, path: str) -> bool:
        """Whether it is there and the token may at least list it. What is in it is not asked for."""
        rows = self._call("vars", method="get", params={"prefix": path})
        return any(row["Path"] == path for row in rows)

    def stories(self, job_id: str) -> tuple[Story, ...]:
        """Of all allocations that Nomad still remembers, oldest first."""
        rows = self._call("job", job_id, "allocations", method="get")
        return tuple(map(_story, sorted(rows, key=lambda row: row["CreateIndex"])))

    def _versions(self, job_id: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._call("job", job_id, "versions", method="get")["Versions"]
        return rows


def unplaced(failed: Mapping[str, Mapping[str, Any]], devices: str = "") -> tuple[Unplaced, ...]:
    """Placement failures of groups, each with its reason in words. `devices`: those that the job asks for."""
    return tuple(Unplaced(group, int(metric.get("CoalescedFailures") or 0) + 1, _why(metric, devices)) for group, metric in failed.items())


def _why(metric: Mapping[str, Any], devices: str) -> str:
    """In words that name the resource, class or constraint, as `nomad job plan` does."""
    if not metric.get("NodesInPool", 1):
        return f"there is no node in node pool {metric.get('NodePool')!r}"
    if not metric.get("NodesEvaluated"):
        return f"no ready node in datacenters {', '.join(metric.get('NodesAvailable') or ()) or '(none known)'}"
    kinds = (
        ("DimensionExhausted", "resource {!r} is exhausted on {} node(s)"),
        ("ClassExhausted", "node class {!r} is exhausted on {} node(s)"),
        ("ConstraintFiltered", "constraint {!r} leaves {} node(s) out"),
        ("ClassFiltered", "node class {!r} leaves {} node(s) out"),
    )
    said = [words.format(placement.named(name, devices), count) for key, words in kinds for name, count in (metric.get(key) or {}).items()]
    said += [f"quota {name!r} is exhausted" for name in metric.get("QuotaExhausted") or ()]
    return f"{'; '.join(said) or 'no node fits'} (of {metric['NodesEvaluated']} evaluated)"


def _blocking(index: int, wait_s: float) -> dict[str, str]:
    return {"index": str(index), "wait": f"{int(wait_s * 1000)}ms"} if index else {}


def _updates(annotations: Mapping[str, Any]) -> dict[str, int]:
    names = {"Place": "place", "Canary": "canary", "DestructiveUpdate": "replace", "InPlaceUpdate": "update in place"}
    names |= {"Stop": "stop", "Ignore": "leave", "Migrate": "migrate", "Preemptions": "preempt"}
    groups = (annotations.get("DesiredTGUpdates") or {}).values()
    totals = {word: sum(group.get(key) or 0 for group in groups) for key, word in names.items()}
    return {word: count for word, count in totals.items() if count}


def _evaluation(row: Mapping[str, Any], devices: str) -> Evaluation:
    return Evaluation(
        status=row["Status"],
        why=row.get("StatusDescription") or "",
        deployment_id=row.get("DeploymentID") or "",
        unplaced=unplaced(row.get("FailedTGAllocs") or {}, devices),
        index=row["ModifyIndex"],
    )


def _deployment(row: Mapping[str, Any]) -> Deployment:
    groups = list((row["TaskGroups"] or {}).values())
    return Deployment(
        deployment_id=row["ID"],
        job_version=row["JobVersion"],
        status=row["Status"],
        why=row["StatusDescription"],
        desired=sum(g["DesiredTotal"] for g in groups),
        desired_canaries=sum(g["DesiredCanaries"] for g in groups),
        canaries=tuple(alloc for g in groups for alloc in g["PlacedCanaries"] or ()),
        placed=sum(g["PlacedAllocs"] for g in groups),
        healthy=sum(g["HealthyAllocs"] for g in groups),
        unhealthy=sum(g["UnhealthyAllocs"] for g in groups),
        promoted=all(g["Promoted"] for g in groups if g["DesiredCanaries"]),
        auto_revert=any(g["AutoRevert"] for g in groups),
        index=row["ModifyIndex"],
    )


def _version(row: Mapping[str, Any]) -> Version:
    return Version(
        number=row["Version"],
        stable=row["Stable"],
        stopped=row["Stop"],
        tag=(row.get("VersionTag") or {}).get("Name", ""),
        source=(row["Meta"] or {}).get(JOB_META_SOURCE, ""),
        counts={g["Name"]: g["Count"] for g in row["TaskGroups"]},
    )


def _story(row: Mapping[str, Any]) -> Story:
    states = row["TaskStates"] or {}
    events = sorted((e["Time"], task, e["DisplayMessage"] or e["Type"]) for task, s in states.items() for e in s["Events"] or ())
    return Story(
        alloc_id=row["ID"],
        node=row["NodeName"],
        job_version=row["JobVersion"],
        client_status=row["ClientStatus"],
        desired=row["DesiredStatus"],
        tasks=tuple(states),
        events=tuple((task, text) for _, task, text in events),
        restarts=sum(state["Restarts"] for state in states.values()),
    )

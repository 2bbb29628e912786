"""Nomad, as command line and autoscaler use it.

The only user of python-nomad. It closes what that library leaves open: TLS verification (off by default there), one HTTP session
for all endpoints, environment variables that override arguments, a timeout and a namespace on every call, the missing scale call, and
its errors.
Calls block; from an event loop they run in a thread. A job is Nomad's own JSON, opaque to everyone but this module.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any, NewType

import nomad
import requests
import urllib3
from nomad.api import exceptions

from fleet import placement
from fleet.errors import Blocked, Conflict, Denied, Refused, Silent, Unreachable

Job = NewType("Job", dict[str, Any])

_TIMEOUT_S = 30.0
_TIMES_UP = (requests.Timeout, urllib3.exceptions.TimeoutError)  # the second where an answer had begun
_UNWELL = (429, 502, 503, 504)
_LEADERLESS = ("No cluster leader", "leadership lost", "leadership transfer", "Not ready to serve consistent reads", "No path to region")
"""What a server says for the seconds of an election, with the status of any other refusal."""
_UNKNOWN = "ACL token not found"  # with status 500 where it is not even of a token's form


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A registered job. `counts` is the wanted count of every task group, `bounds` the least and the most that it may be scaled to."""

    job_id: str
    status: str
    version: int
    modify_index: int
    counts: Mapping[str, int]
    meta: Mapping[str, str]
    stopped: bool
    bounds: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Allocation:
    """A placed instance. `failure` is the last thing that went wrong with a task, in Nomad's words, or empty.

    `restarts` of its tasks; `started_at`: when a task of it started last, seconds since the epoch, 0 before that.
    is_canary: of a new version, not promoted yet: it is beside the count, and stands for no replica.
    """

    alloc_id: str
    job_id: str
    index: int
    desired: str
    client_status: str
    job_version: int
    created_at: float
    failure: str
    restarts: int = 0
    started_at: float = 0.0
    is_canary: bool = False

    @property
    def live(self) -> bool:
        """Wanted and not at an end: pending or running."""
        return self.desired == "run" and self.client_status in ("pending", "running")


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Why a group's allocations have no node: `wanted` of them wait, `why` names the missing resource or the failed constraint."""

    group: str
    wanted: int
    why: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """A job's newest deployment, as far as scaling is concerned.

    active: under way, so that scaling is refused. waits_for_promotion: until somebody promotes its canaries, however long that takes.
    gave_up: why it failed, in Nomad's words, where it has failed and had no canaries: then Nomad places nothing more of `job_version`.
    is_harmless: to give it up stops no canary and brings no earlier version back.
    """

    active: bool = False
    waits_for_promotion: bool = False
    gave_up: str = ""
    job_version: int = -1
    deployment_id: str = ""
    is_harmless: bool = False


@dataclass(frozen=True, slots=True)
class Registration:
    eval_id: str
    modify_index: int
    warnings: str


class Nomad:
    """A client of one Nomad region and namespace. Safe to use from several threads.

    Args:
        address: base URL, `http://127.0.0.1:4646`. TLS certificates are verified.
        environment: NOMAD_CACERT, a file with the CA of the server's certificate; NOMAD_CLIENT_CERT and NOMAD_CLIENT_KEY, our own.
        timeout_s: to connect, and between two parts of an answer.

    Every method raises Unreachable when there is no answer, or none for now (an election, a limit of requests), Silent of that kind when
    the time was over, and Refused with Nomad's own words when the answer is no, Denied of that kind when it is about the token.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        namespace: str = "default",
        region: str = "global",
        environment: Mapping[str, str] = os.environ,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self.address = address
        session = requests.Session()
        session.trust_env = False
        self._api: Any = nomad.Nomad(
            address=address,
            token=token,
            namespace=namespace,
            region=region,
            verify=environment.get("NOMAD_CACERT") or True,
            cert=tuple(environment.get(name, "") for name in ("NOMAD_CLIENT_CERT", "NOMAD_CLIENT_KEY")),
            session=session,
        )
        self._namespace = namespace
        self._timeout_s = timeout_s

    def parse(self, hcl: str) -> Job:
        """HCL to a job, by Nomad's own parser. Raises: Refused: with the parser's message and line."""
        return Job(self._call("jobs", "parse", method="post", json={"JobHCL": hcl, "Canonicalize": True}))

    def validate(self, job: Job) -> tuple[str, ...]:
        """Errors in a job, none where Nomad would take it."""
        answer = self._call("validate", "job", method="post", json={"Job": job})
        if not answer["ValidationErrors"] and not answer["Error"]:
            return ()
        return tuple(answer["ValidationErrors"] or (answer["Error"],))

    def register(self, job: Job, *, source: str = "", check_index: int | None = None, keep_counts: bool = True) -> Registration:
        """Submits a job. With `check_index` only if its modify index is still that (0: it does not exist). Raises: Conflict."""
        body: dict[str, Any] = {"Job": job, "PreserveCounts": keep_counts}
        if source:
            body["Submission"] = {"Source": source, "Format": "hcl2"}
        if check_index is not None:
            body |= {"EnforceIndex": True, "JobModifyIndex": check_index}
        answer = self._call("jobs", method="post", json=body)
        return Registration(answer["EvalID"], answer["JobModifyIndex"], answer.get("Warnings") or "")

    def deregister(self, job_id: str, *, purge: bool = True) -> None:
        self._call("job", job_id, method="delete", params={"purge": "true" if purge else "false"})

    def job(self, job_id: str) -> JobInfo | None:
        """None: no such job."""
        row = self._found("job", job_id)
        return None if row is None else _job_info(row)

    def jobs(self, prefix: str) -> tuple[JobInfo, ...]:
        """Jobs whose id begins with the prefix, stopped ones too."""
        rows = self._call("jobs", method="get", params={"prefix": prefix})
        return tuple(info for row in rows if (info := self.job(row["ID"])) is not None)

    def allocations(self, job_id: str) -> tuple[Allocation, ...]:
        """All that Nomad still remembers, ended ones too, by rising index."""
        rows = self._call("job", job_id, "allocations", method="get")
        return tuple(sorted(map(_allocation, rows), key=lambda a: (a.index, a.created_at)))

    def unplaced(self, job_id: str) -> tuple[Unplaced, ...]:
        """Groups with allocations that the newest evaluation could not place."""
        rows = self._call("job", job_id, "evaluations", method="get")
        blocked = [row["FailedTGAllocs"] for row in rows if row["Status"] == "blocked" and row.get("FailedTGAllocs")]
        devices = self._devices(job_id, blocked)
        return tuple(_unplaced(group, metric, devices) for failed in blocked for group, metric in failed.items())

    def rollout(self, job_id: str) -> Rollout:
        """An inactive one where the job never had a deployment that Nomad remembers."""
        row = self._call("job", job_id, "deployment", method="get")
        return Rollout() if row is None else _rollout(row)

    def deployment_active(self, job_id: str) -> bool:
        """A deployment is under way, so that scaling is refused."""
        return self.rollout(job_id).active

    def scaled_at(self, job_id: str, group: str) -> tuple[float, ...]:
        """When the group's count was changed by a scaling, by whomever, oldest first; seconds since the epoch. Nomad keeps about 20."""
        return tuple(sorted(event["Time"] / 1e9 for event in self._scalings(job_id, group)))

    def scaled_by(self, job: JobInfo, group: str) -> str:
        """Who made this version of the job by scaling the group, as the order's meta says (`by`); empty: it was made otherwise."""
        last = max(self._scalings(job.job_id, group), key=lambda event: event["CreateIndex"], default=None)
        if last is None or (evaluation := self._found("evaluation", last["EvalID"])) is None:
            return ""
        made = evaluation["TriggeredBy"] == "job-scaling" and evaluation.get("JobModifyIndex") == job.modify_index
        return str((last.get("Meta") or {}).get("by", "")) if made else ""

    def scale(self, job_id: str, group: str, count: int, *, modify_index: int, message: str, meta: Mapping[str, Any]) -> str:
        """Sets a group's count if the job's modify index is still `modify_index`; the message stands in Nomad's scaling events.

        Returns: the evaluation's id.
        Raises:
            Blocked: a deployment is under way.
            Conflict: the job has changed since it was read.
        """
        body = {
            "Count": count,
            "Target": {"Group": group},
            "Message": message,
            "Meta": dict(meta),
            "EnforceIndex": True,
            "JobModifyIndex": modify_index,
        }
        return str(self._call("job", job_id, "scale", method="post", json=body)["EvalID"])

    def fail(self, deployment_id: str) -> None:
        """Gives a deployment up: its canaries are stopped, and nothing more of it is placed. Raises: Refused: it has ended already."""
        self._call("deployment", "fail", deployment_id, method="post", json={})

    def ready_nodes(self) -> int:
        """Nodes that take allocations."""
        return sum(n["Status"] == "ready" and n["SchedulingEligibility"] == "eligible" for n in self._call("nodes", method="get"))

    def stop_allocation(self, alloc_id: str) -> None:
        self._call("allocation", alloc_id, "stop", method="post")

    def logs(self, alloc_id: str, task: str, kind: str = "stderr", *, tail_bytes: int = 4000) -> str:
        """The last bytes of a task's output."""
        params = {"task": task, "type": kind, "origin": "end", "offset": tail_bytes, "plain": "true"}
        return str(self._call("client", "fs", "logs", alloc_id, method="get", params=params, text=True))

    def _found(self, *path: str) -> Any:
        """None: there is no such thing."""
        try:
            return self._call(*path, method="get")
        except Refused as error:
            if isinstance(error.__cause__, exceptions.URLNotFoundNomadException):
                return None
            raise

    def _scalings(self, job_id: str, group: str) -> list[dict[str, Any]]:
        """Events of a group that have changed its count."""
        groups = self._call("job", job_id, "scale", method="get")["TaskGroups"] or {}
        events = groups.get(group, {}).get("Events") or ()
        return [event for event in events if event.get("Count") is not None and not event.get("Error")]

    def _devices(self, job_id: str, failed: Iterable[Mapping[str, Any]]) -> str:
        """Which devices the job asks for, where they are why it has no place; empty otherwise."""
        if not any(placement.is_about_devices(metric) for groups in failed for metric in groups.values()):
            return ""
        return placement.devices(self._call("job", job_id, method="get"))

    def _call(self, *path: str, method: str, params: dict[str, Any] | None = None, json: Any = None, text: bool = False) -> Any:
        params = {"namespace": self._namespace, **(params or {})}
        url, wait_s = "v1/" + "/".join(path), self._timeout_s  # the library's own timeout reaches only calls that its endpoints make
        try:
            response = self._api.jobs._request(method=method, endpoint=url, params=params, json=json, timeout=wait_s)
        except (exceptions.TimeoutNomadException, requests.RequestException) as error:
            raise self._away(type(error).__name__, error) from error
        except exceptions.BaseNomadException as error:
            raise self._refusal(error) from error
        try:
            return response.text if text else response.json()
        except requests.JSONDecodeError as error:
            raise Unreachable(f"what answers at {self.address} is no answer of Nomad: {response.text[:60]!r}") from error

    def _away(self, said: str, cause: object) -> Unreachable:
        if "CERTIFICATE_VERIFY_FAILED" in str(cause):
            return Unreachable(f"{self.address} shows a certificate that is not trusted: name the file of its CA in NOMAD_CACERT")
        if isinstance(cause, BaseException) and any(isinstance(each, _TIMES_UP) for each in (cause, *cause.args)):
            return Silent(f"Nomad at {self.address} does not answer within {self._timeout_s:g} s")
        return Unreachable(f"Nomad at {self.address} does not answer: {said}")

    def _refusal(self, error: exceptions.BaseNomadException) -> Exception:
        answer = error.nomad_resp
        if not isinstance(answer, requests.Response):
            return self._away(str(answer), answer)
        said = answer.text.strip()
        if "blocked due to active deployment" in said:
            return Blocked(said)
        if "job modify index" in said:
            return Conflict(said)
        if answer.status_code in _UNWELL or any(words in said for words in _LEADERLESS):
            return Unreachable(f"Nomad at {self.address} is unwell: {said} (HTTP {answer.status_code})")
        is_denied = answer.status_code == HTTPStatus.FORBIDDEN or _UNKNOWN in said
        return (Denied if is_denied else Refused)(f"Nomad: {said} (HTTP {answer.status_code})")


def _job_info(row: Mapping[str, Any]) -> JobInfo:
    return JobInfo(
        job_id=row["ID"],
        status=row["Status"],
        version=row["Version"],
        modify_index=row["JobModifyIndex"],
        counts={g["Name"]: g["Count"] for g in row["TaskGroups"]},
        meta=row["Meta"] or {},
        stopped=row["Stop"],
        bounds={g["Name"]: (g["Scaling"]["Min"], g["Scaling"]["Max"]) for g in row["TaskGroups"] if g.get("Scaling")},
    )


def _rollout(row: Mapping[str, Any]) -> Rollout:
    active = row["Status"] in ("running", "pending", "blocked", "unblocking", "paused", "initializing")
    groups = (row["TaskGroups"] or {}).values()
    canaries = [group for group in groups if group["DesiredCanaries"]]
    return Rollout(
        active=active,
        waits_for_promotion=active and any(not group["Promoted"] for group in canaries),
        gave_up=row["StatusDescription"] if row["Status"] == "failed" and not canaries else "",
        job_version=row["JobVersion"],
        deployment_id=row["ID"],
        is_harmless=not canaries and not any(group["AutoRevert"] for group in groups),
    )


def _allocation(row: Mapping[str, Any]) -> Allocation:
    return Allocation(
        alloc_id=row["ID"],
        job_id=row["JobID"],
        index=int(row["Name"].rsplit("[", 1)[1].rstrip("]")),
        desired=row["DesiredStatus"],
        client_status=row["ClientStatus"],
        job_version=row["JobVersion"],
        created_at=row["CreateTime"] / 1e9,
        failure=_failure(row["TaskStates"] or {}),
        restarts=sum(state["Restarts"] for state in (row["TaskStates"] or {}).values()),
        started_at=max((_epoch(state["StartedAt"]) for state in (row["TaskStates"] or {}).values()), default=0.0),
        is_canary=bool((row.get("DeploymentStatus") or {}).get("Canary")),
    )


def _epoch(time: str | None) -> float:
    """Seconds since the epoch of Go's RFC 3339; its zero time, and none, are 0."""
    return max(0.0, datetime.fromisoformat(time).timestamp()) if time else 0.0


def _failure(states: Mapping[str, Any]) -> str:
    """The last cause, and after it what Nomad made of it: "main: Exit Code: 3; Policy allows no restarts"."""
    failures = [failure for task, state in states.items() if (failure := _task_failure(task, state))]
    return failures[-1] if failures else ""


def _task_failure(task: str, state: Mapping[str, Any]) -> str:
    events = state["Events"] or ()
    causes = [
        event["DisplayMessage"]
        for event in events
        if event["Type"] in ("Driver Failure", "Failed Validation", "Setup Failure")
        or (event["Type"] == "Terminated" and (state["Failed"] or state["Restarts"]))
        or (event.get("FailsTask") and event["Type"] != "Not Restarting")
    ]
    verdicts = [event["DisplayMessage"] for event in events if event["Type"] == "Not Restarting"]
    said = "; ".join(causes[-1:] + verdicts[-1:])
    return f"{task}: {said}" if said else ""


def _unplaced(group: str, metric: Mapping[str, Any], devices: str) -> Unplaced:
    named = placement.named
    exhausted = [f"{named(name, devices)} exhausted on {n} node(s)" for name, n in (metric.get("DimensionExhausted") or {}).items()]
    filtered = [f"{named(rule, devices)} filtered {n} node(s)" for rule, n in (metric.get("ConstraintFiltered") or {}).items()]
    why = "; ".join(exhausted + filtered) or f"no node fits ({metric.get('NodesEvaluated', 0)} evaluated)"
    return Unplaced(group, int(metric.get("CoalescedFailures") or 0) + 1, why)

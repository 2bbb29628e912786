"""A job as delivery prepares it: Nomad's JSON in, the same JSON with other numbers out.

Law: what the autoscaler owns (the count of a group that has bounds) is taken from what runs; everything else from the description.
A group that starts canaries and promotes none by itself is warm first: as many canaries as there are replicas, promoted by us.
Pure: nothing is sent, and the job that was passed in is left as it was.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fleet.nomad import Job

_READS = re.compile(r'\bnomadVar "([^"]+)"')
_MAY_READ = re.compile(r'\bnomadVarExists "([^"]+)"')
_ITEM = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")

_FIRST, _LAST = ("redis",), ("router", "autoscaler", "datadog-agent")


def in_order(parts: Sequence[str]) -> tuple[str, ...]:
    """Who is needed comes first: redis, models, router, autoscaler, datadog-agent."""
    ranks = {part: rank for rank, part in enumerate((*_FIRST, "", *_LAST))}
    return tuple(sorted(parts, key=lambda part: ranks.get(part, ranks[""])))


def is_warm_first(job: Job) -> bool:
    """A new version starts as canaries that wait for us to promote them."""
    return any(_canary(group) and not group["Update"].get("AutoPromote") for group in job["TaskGroups"])


def count(job: Job) -> int:
    return sum(group["Count"] or 0 for group in job["TaskGroups"])


def kept(job: Job, live: Mapping[str, int]) -> Job:
    """The job with the running count of every group that the autoscaler scales, within the group's bounds."""
    fresh = copy.deepcopy(job)
    for group in fresh["TaskGroups"]:
        if (scaling := group.get("Scaling")) and group["Name"] in live:
            group["Count"] = max(scaling["Min"], min(live[group["Name"]], scaling["Max"]))
    return fresh


def counted(job: Job, counts: Mapping[str, int]) -> Job:
    """The job with these counts, whatever its bounds: what a version from before is to run with."""
    fresh = copy.deepcopy(job)
    for group in fresh["TaskGroups"]:
        group["Count"] = counts.get(group["Name"], group["Count"])
    return fresh


def beside(job: Job) -> Job:
    """A warm-first job whose canaries are as many as its replicas, so that all of the old ones can leave at once."""
    fresh = copy.deepcopy(job)
    for group in fresh["TaskGroups"]:
        if _canary(group):
            group["Update"]["Canary"] = max(1, group["Count"])
    return fresh


def one_by_one(job: Job, floor: int) -> Job:
    """A warm-first job without canaries: at least `floor` replicas stay; a new one counts when we say that it is warm.

    This is the form for one deployment only. Left in place, every later scaling would wait for somebody to call replicas healthy.
    """
    fresh = copy.deepcopy(job)
    for group in fresh["TaskGroups"]:
        if _canary(group):
            group["Update"] |= {"Canary": 0, "MaxParallel": max(1, group["Count"] - floor), "HealthCheck": "manual"}
    return fresh


def with_canaries_of(job: Job, live: Job) -> Job:
    """The job with as many canaries as the registered one asks for: how many there are is no change of the job."""
    fresh = copy.deepcopy(job)
    running = {group["Name"]: _canary(group) for group in live["TaskGroups"]}
    for group in fresh["TaskGroups"]:
        if _canary(group) and running.get(group["Name"]):
            group["Update"]["Canary"] = running[group["Name"]]
    return fresh


def secrets(job: Job) -> dict[str, tuple[str, ...]]:
    """Nomad variables without which a task of it waits for ever, by path, each with the items that are read of it by name."""
    found: dict[str, tuple[str, ...]] = {}
    for text in _templates(job):
        for path in sorted({*_READS.findall(text)} - {*_MAY_READ.findall(text)}):
            found[path] = tuple(dict.fromkeys((*found.get(path, ()), *_ITEM.findall(text))))
    return found


def _templates(job: Job) -> Iterator[str]:
    for group in job["TaskGroups"]:
        for task in group.get("Tasks") or ():
            yield from (template.get("EmbeddedTmpl") or "" for template in task.get("Templates") or ())


def _canary(group: Mapping[str, Any]) -> int:
    return int((group.get("Update") or {}).get("Canary") or 0)


def usual(job: Job) -> Job:
    """The job without what `one_by_one` did to it, should a version that was registered so be wanted again."""
    fresh = copy.deepcopy(job)
    for group in fresh["TaskGroups"]:
        update = group.get("Update") or {}
        if update.get("HealthCheck") == "manual":
            group["Update"] = update | {"Canary": 1, "MaxParallel": max(1, group["Count"]), "HealthCheck": "checks"}
    return fresh

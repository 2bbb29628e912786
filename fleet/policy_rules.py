"""What must hold within a scaling rule and between it and its model: every kind takes its own keys, and needs some of them.

Pure: rows in, (key, message) pairs out. A key counts as given when its value is not the default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping

from fleet.cron import parse_cron, parse_zone
from fleet.policy import DEMANDS, LONGEST_SCHEDULE_S, NEEDS, TAKES, LogVolume, Policy
from fleet.settings import settings_of

Said = tuple[str, str]

_KEYS: Mapping[str, str] = {field.name: setting.key for field, setting in zip(dataclasses.fields(Policy), settings_of(Policy), strict=True)}
_DEFAULT = Policy()
_OF_VLLM = ("kv_cache_use", "queue_time_s")


def policy_complaints(policy: Policy, most: int) -> Iterator[Said]:
    """`most`: replicas.max of the model."""
    yield from _keys(policy)
    yield from _demand(policy)
    yield from _schedule(policy, most)
    if policy.kind == "threshold" and policy.upper and policy.lower >= policy.upper:
        yield "lower", f"is {policy.lower:g}, which must be less than upper = {policy.upper:g}"
    if policy.kind == "spare" and not policy.replicas and not policy.share:
        yield "replicas", 'is required with kind = "spare", or `share` is: how many are to be idle'


def unseen_complaints(policy: Policy, *, engine: str, gpu_tag: str, reads_datadog: bool) -> Iterator[Said]:
    """A signal that nobody tells is never known, and a rule that does not know its signal lets no replica go, for ever."""
    if policy.kind != "threshold":
        return
    if policy.signal in _OF_VLLM and engine != "vllm":
        yield "signal", f'{policy.signal} is told by vllm only, and the engine is "{engine}": the rule would never let a replica go'
    if policy.signal == "gpu_use" and not (gpu_tag and reads_datadog):
        yield "signal", "gpu_use comes from Datadog alone: set datadog.gpu_tag and datadog.read, or the rule would never let a replica go"
    if policy.signal == "log_lines_per_min" and not reads_datadog:
        yield "signal", "log_lines_per_min comes from Datadog alone: set datadog.read, or the rule would never let a replica go"


def log_volume_complaints(rule: LogVolume, models: Collection[str]) -> Iterator[Said]:
    there = ", ".join(sorted(models)) or "none"
    for key, name in (("large", rule.large), ("small", rule.small)):
        if name not in models:
            yield key, f"no model {name!r}; there are: {there}"
    if rule.large == rule.small:
        yield "small", f"is {rule.small!r} like `large`; the rule is about two models"


def _keys(policy: Policy) -> Iterator[Said]:
    for field, key in _KEYS.items():
        given = getattr(policy, field) != getattr(_DEFAULT, field)
        if given and field != "kind" and field not in TAKES[policy.kind]:
            kinds = " or ".join(f'"{kind}"' for kind, fields in TAKES.items() if field in fields)
            yield key, f'belongs to kind = {kinds}, not "{policy.kind}"; remove it, or change the kind'
        if not given and field in NEEDS.get(policy.kind, ()):
            yield key, f'is required with kind = "{policy.kind}"'


def _demand(policy: Policy) -> Iterator[Said]:
    if policy.kind in ("target", "spare") and policy.signal not in DEMANDS:
        yield "signal", f'must be {" or ".join(DEMANDS)} with kind = "{policy.kind}", not "{policy.signal}"'


def _schedule(policy: Policy, most: int) -> Iterator[Said]:
    if policy.kind != "schedule":
        return
    if policy.cron:
        yield from _parsed("cron", policy)
    yield from _parsed("timezone", policy)
    if policy.duration_s > LONGEST_SCHEDULE_S:
        yield "duration", "is longer than 7d; a floor that always stands is replicas.min"
    if policy.replicas > most:
        yield "replicas", f"is {policy.replicas}, more than replicas.max = {most}"


def _parsed(key: str, policy: Policy) -> Iterator[Said]:
    try:
        if key == "cron":
            parse_cron(policy.cron)
        else:
            parse_zone(policy.timezone)
    except ValueError as error:
        yield key, str(error)

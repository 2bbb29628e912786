"""What must hold between the settings of a fleet, beyond the type and bounds of each one.

Pure: a draft in, complaints out. A draft holds every row that is well-formed by itself, by its index in the file, and the names
of all rows, so that a mistake in one row neither hides another one nor causes false alarms elsewhere.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fleet.model import Autoscaler, Datadog, Model, Redis, Route, Router, Runtime, Tenant
from fleet.policy_rules import log_volume_complaints, policy_complaints, unseen_complaints
from fleet.provider import PROVIDERS, Provider
from fleet.provider_rules import name_complaints, provider_complaints
from fleet.toml_lines import Path
from fleet.units import format_duration

_NOMAD_SIZE = re.compile(r"\d+(\.\d+)? ?[kKMGT]i?B")
_SLOW_PASS = 1.5  # a pass that waits for somebody lasts longer than its interval
RESERVED = ("router", "autoscaler", "redis", "datadog-agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Sections and rows of a description that may still have errors elsewhere."""

    runtime: Runtime
    datadog: Datadog
    redis: Redis
    router: Router
    autoscaler: Autoscaler
    models: Mapping[int, Model]
    routes: Mapping[int, Route]
    providers: Mapping[int, Provider]
    model_names: Mapping[int, str]
    route_names: Mapping[int, str]
    provider_names: Mapping[int, str]
    selectors: Mapping[int, int]
    tenants: Mapping[int, Tenant]
    tenant_names: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Complaint:
    path: Path
    message: str


def complaints(draft: Draft) -> Iterator[Complaint]:
    """Everything wrong between the settings, in the order of the sections."""
    yield from _programs(draft)
    yield from _open(draft)
    yield from _clocks(draft)
    yield from _duplicates(("model", "name"), draft.model_names)
    yield from _duplicates(("route", "selector"), draft.selectors)
    yield from _duplicates(("route", "name"), draft.route_names)
    for index, model in draft.models.items():
        for complaint in (*_model(model), *_gpu(model), *_engine(model), *_model_clocks(model, draft), *_policies(model, draft.datadog)):
            yield Complaint(("model", index, *complaint.path), complaint.message)
    yield from _log_volume(draft)
    yield from _gpu_budget(draft)
    yield from _providers(draft)
    for index, route in draft.routes.items():
        yield from _route(index, route, draft)
    yield from _tenants(draft)


def _providers(draft: Draft) -> Iterator[Complaint]:
    yield from _duplicates(("provider", "name"), draft.provider_names)
    names = draft.provider_names, set(draft.model_names.values()), set(draft.route_names.values())
    for index, message in name_complaints(*names):
        yield Complaint(("provider", index, "name"), message)
    for index, provider in draft.providers.items():
        for key, message in provider_complaints(provider, draft.router):
            yield Complaint(("provider", index, key), message)


def _programs(draft: Draft) -> Iterator[Complaint]:
    if draft.runtime.driver == "docker" and not draft.runtime.image:
        yield Complaint(("runtime", "image"), 'is required with runtime.driver = "docker": the image with this distribution installed')
    if draft.redis.driver == "docker" and not draft.redis.image:
        yield Complaint(("redis", "image"), 'is required with redis.driver = "docker"')
    yield from _redis_folder(draft.redis)


def _redis_folder(redis: Redis) -> Iterator[Complaint]:
    """The volume says on which node the data is, the folder where on it; a container has it mounted."""
    if redis.driver == "raw_exec" and redis.volume and not redis.folder.startswith("/"):
        message = "must say where redis.volume is on its node, as an absolute path: raw_exec mounts nothing"
        yield Complaint(("redis", "folder"), message)
    if redis.folder and (redis.driver == "docker" or not redis.volume):
        yield Complaint(("redis", "folder"), 'belongs to redis.driver = "raw_exec" with a redis.volume; remove it')


def _open(draft: Draft) -> Iterator[Complaint]:
    router = draft.router
    if router.host and not router.allow_open and not draft.tenant_names and not is_loopback(router.host):
        message = f"{router.host} is not loopback and nobody is asked for a key: add [[tenant]] rows, or set router.allow_open = true"
        yield Complaint(("router", "host"), message)


def is_loopback(host: str) -> bool:
    """Only this machine can reach the address; a name is one only if it is localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _clocks(draft: Draft) -> Iterator[Complaint]:
    router, autoscaler = draft.router, draft.autoscaler
    if router.connect_s >= router.total_s:
        yield _longer(("router", "connect_timeout"), router.connect_s, "router.total_timeout", router.total_s)
    if _SLOW_PASS * autoscaler.interval_s > autoscaler.max_age_s:
        message = f"is {format_duration(autoscaler.interval_s)}; answers come so far apart, and a slow pass later, and must be younger than"
        yield Complaint(("autoscaler", "interval"), f"{message} autoscaler.max_age = {format_duration(autoscaler.max_age_s)}")
    yield from _datadog_clocks(draft.datadog)


def _datadog_clocks(datadog: Datadog) -> Iterator[Complaint]:
    """Right before the next answer comes the last one is this old; a shorter max_age would forget it every time."""
    oldest_s = datadog.offset_s + datadog.rollup_s + datadog.read_interval_s + datadog.read_timeout_s
    if datadog.read and datadog.max_age_s < oldest_s:
        known = format_duration(oldest_s)
        message = f"is {format_duration(datadog.max_age_s)}; offset + rollup + read_interval + read_timeout = {known} must fit into it"
        yield Complaint(("datadog", "max_age"), message)


def _duplicates(key: tuple[str, str], values: Mapping[int, str] | Mapping[int, int]) -> Iterator[Complaint]:
    seen: dict[str | int, int] = {}
    for index, value in values.items():
        if value in seen:
            yield Complaint((key[0], index, key[1]), f"{value!r} is taken by [[{key[0]}]] row {seen[value] + 1}; each row needs its own")
        seen.setdefault(value, index)


def _model(model: Model) -> Iterator[Complaint]:
    if model.name in RESERVED:
        yield Complaint(("name",), f"{model.name!r} is the name of one of our own jobs; choose another")
    if model.replicas.min > model.replicas.max:
        yield Complaint(("replicas", "min"), f"is {model.replicas.min}, more than replicas.max = {model.replicas.max}")


def _gpu(model: Model) -> Iterator[Complaint]:
    """Nomad compares what it cannot read as text, and then no device is ever large enough."""
    if model.gpu.memory and not _NOMAD_SIZE.fullmatch(model.gpu.memory):
        yield Complaint(("gpu", "memory"), f'is {model.gpu.memory!r}; Nomad compares a number with a unit, such as "40 GiB"')


def _policies(model: Model, datadog: Datadog) -> Iterator[Complaint]:
    for index, policy in enumerate(model.policy):
        unseen = unseen_complaints(policy, engine=model.engine, gpu_tag=datadog.gpu_tag, reads_datadog=datadog.read)
        for key, message in (*policy_complaints(policy, model.replicas.max), *unseen):
            yield Complaint(("policy", index, key), message)
    for index in [index for index, policy in enumerate(model.policy) if policy.kind == "forecast"][1:]:
        yield Complaint(("policy", index, "kind"), "the model has a forecast already; one says how many are needed")


def _log_volume(draft: Draft) -> Iterator[Complaint]:
    for index, rule in enumerate(draft.autoscaler.log_volume):
        for key, message in log_volume_complaints(rule, set(draft.model_names.values())):
            yield Complaint(("autoscaler", "log_volume", index, key), message)


def _gpu_budget(draft: Draft) -> Iterator[Complaint]:
    budget = draft.autoscaler.gpu_budget
    least = sum(model.replicas.min * model.gpus for model in draft.models.values())
    if budget and least > budget:
        yield Complaint(("autoscaler", "gpu_budget"), f"is {budget}; replicas.min of all models together need {least} GPUs")


def _engine(model: Model) -> Iterator[Complaint]:
    if model.engine == "llamacpp":
        return
    for key in ("image", "volume"):
        if not getattr(model, key):
            yield Complaint((key,), 'is required with engine = "vllm"')
    if model.weights.startswith("/") or ".." in model.weights.split("/"):
        yield Complaint(("weights",), f'{model.weights!r} must be a path below the volume, such as "small/snapshot"')
    if model.load_delay_s:
        yield Complaint(("load_delay",), 'only engine = "llamacpp" takes it; remove it')


def _model_clocks(model: Model, draft: Draft) -> Iterator[Complaint]:
    slo, total_s = model.slo, draft.router.total_s
    if slo.ttft_s > slo.first_token_s:
        yield _longer(("slo", "ttft"), slo.ttft_s, "slo.first_token_timeout", slo.first_token_s)
    for key, value in (("first_token_timeout", slo.first_token_s), ("idle_timeout", slo.idle_s)):
        if value > total_s:
            yield _longer(("slo", key), value, "router.total_timeout", total_s)
    if model.engine == "llamacpp" and model.load_delay_s > model.cold_start_s:
        yield _longer(("load_delay",), model.load_delay_s, "cold_start", model.cold_start_s)


def _longer(path: Path, value_s: float, other: str, other_s: float) -> Complaint:
    return Complaint(path, f"is {format_duration(value_s)}, which must be shorter than {other} = {format_duration(other_s)}")


def _route(index: int, route: Route, draft: Draft) -> Iterator[Complaint]:
    models, providers = tuple(draft.model_names.values()), tuple(draft.provider_names.values())
    there = ", ".join(sorted({*models, *providers})) or "none"
    for at, link in enumerate(route.chain):
        if link == PROVIDERS and not providers:
            yield Complaint(("route", index, "chain", at), "there is no [[provider]] row; add one, or leave the word out")
        elif link not in (*models, *providers, PROVIDERS):
            yield Complaint(("route", index, "chain", at), f"no model or provider {link!r}; there are: {there}")
        if link in route.chain[:at]:
            yield Complaint(("route", index, "chain", at), f"{link!r} stands in the chain twice")
    if route.name in models and route.chain[0] != route.name:
        message = f"{route.name!r} is a model too, so its chain must begin with it; callers who ask for the model would get another one"
        yield Complaint(("route", index, "name"), message)


def _tenants(draft: Draft) -> Iterator[Complaint]:
    yield from _duplicates(("tenant", "name"), draft.tenant_names)
    seen: dict[str, int] = {}
    for index, tenant in draft.tenants.items():
        for at, key in enumerate(tenant.key_sha256):
            if key in seen:
                yield Complaint(("tenant", index, "key_sha256", at), f"is a key of [[tenant]] row {seen[key] + 1}; a key says who asks")
            seen.setdefault(key, index)
        names = _askable(draft)
        for at, name in enumerate(tenant.allow):
            if name not in names:
                message = f"no model, provider or route {name!r}; there are: {', '.join(names) or 'none'}"
                yield Complaint(("tenant", index, "allow", at), message)


def _askable(draft: Draft) -> tuple[str, ...]:
    """What callers may put in `model`."""
    return tuple(sorted({*draft.model_names.values(), *draft.provider_names.values(), *draft.route_names.values()}))

"""Monitors of what warmth rests on: the autoscaler, what it reads, Consul and Redis, engines and GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from fleet.boards import integrations as foreign
from fleet.boards.query import Scope
from fleet.boards.watch import ALARM, WELL, Runbook, Watch
from fleet.metrics import (
    BLOCKED,
    BOUNDS,
    BREAKERS,
    DATADOG_AGE,
    DATADOG_REMAINING,
    DEGRADED,
    LEADS,
    LOAD,
    LOG_BYTES,
    PAUSED,
    PROVIDER_STATES,
    REFUSED,
    SNAPSHOT_AGE,
)
from fleet.model import Spec
from fleet.units import format_size

_WITHOUT_CONSUL = "The router on {{host.name}} serves by its last good snapshot: it does not know of replicas that come and go since."
_WITHOUT_REDIS = "The router on {{host.name}} keeps sessions to itself: at another router a caller may get another replica."


def autoscaling(spec: Spec, scope: Scope) -> Iterator[tuple[str, Watch]]:
    yield "near-maximum", _near_maximum(scope)
    yield "no-leader", _no_leader(scope)
    yield "paused", _paused(scope)
    yield "scaling-blocked", _blocked(scope)
    if spec.datadog.read:
        yield "datadog-old", _datadog_old(spec, scope)
        yield "datadog-limit", _datadog_limit(scope)
    for rule in spec.autoscaler.log_volume:
        yield f"log-volume-{rule.large}", _log_volume(scope, rule.large, rule.threshold_bytes)


def _near_maximum(scope: Scope) -> Watch:
    load, most = scope.ask(LOAD, "sum", "demand:concurrency", by=("model",)), scope.ask(BOUNDS, "sum", "bound:max", by=("model",))
    return Watch(
        "Demand is at what all allowed replicas carry",
        f"avg(last_15m):{load} / {most} * 100",
        ">",
        95,
        Runbook(
            "{{model.name}} could not answer much more, even if every replica that fleet.toml allows were warm.",
            "load by model against the bounds (group 3), GPUs in use (group 4).",
            "Raise `replicas.max` where there are GPUs; it is changed in place and reloads nothing. Else let the route's chain take over.",
        ),
        priority=2,
        silence=WELL,
        warning=80,
    )


def _no_leader(scope: Scope) -> Watch:
    return Watch(
        "No autoscaler leads",
        f"max(last_5m):{scope.ask(LEADS, 'sum')}",
        "<",
        1,
        Runbook(
            "What is warm goes on serving, but nothing is scaled any more.",
            "`/health` of the autoscalers; Consul, which holds the lock `warmfleet/<fleet>/leader`.",
            "None runs: `nomad job status`. They run and none leads: Consul has no quorum, or the autoscaler's Consul role may no longer "
            "write sessions.",
        ),
        priority=1,
        silence=ALARM,
    )


def _paused(scope: Scope) -> Watch:
    return Watch(
        "Scaling has been paused for an hour",
        f"min(last_1h):{scope.ask(PAUSED, 'max')}",
        ">=",
        1,
        Runbook(
            "Somebody paused the fleet and may have forgotten it; demand is not followed meanwhile.",
            "`/health` of the autoscaler says who and why.",
            "`warmfleet resume`.",
        ),
        priority=3,
        silence=WELL,
    )


def _blocked(scope: Scope) -> Watch:
    return Watch(
        "Nomad has taken no scaling of a model for an hour",
        f"min(last_1h):{scope.ask(BLOCKED, 'max', by=('model',))}",
        ">=",
        1,
        Runbook(
            "A deployment of {{model.name}} does not end, or its job is missing, stopped or not ours: demand is not followed, up or down.",
            "`warmfleet explain {{model.name}}` says which; `nomad job deployments` since when.",
            "New replicas that wait to be promoted: `warmfleet deploy {{model.name}}` sees them to the end. No room: add or free a node. "
            "Missing or stopped: deploy it, or take it out of fleet.toml. Not ours: name the fleet anew, or deploy with --take-over.",
        ),
        priority=2,
        silence=WELL,
    )


def _datadog_old(spec: Spec, scope: Scope) -> Watch:
    return Watch(
        "The autoscaler has no fresh answer from Datadog",
        f"min(last_15m):{scope.ask(DATADOG_AGE, 'max')}",
        ">",
        spec.datadog.max_age_s,
        Runbook(
            "Signals come from scrapes alone, and with `datadog.needed_to_scale_in` nothing is scaled in: it costs GPUs, not answers.",
            "questions by outcome (group 3): refused is a key or a scope, limited the rate limit, unreachable the network.",
            "Renew the keys in the Nomad variable of the autoscaler's job. Meanwhile `needed_to_scale_in = false` lets scrapes decide.",
        ),
        priority=3,
        silence=WELL,
    )


def _datadog_limit(scope: Scope) -> Watch:
    return Watch(
        "Datadog's rate limit is nearly used up",
        f"max(last_15m):{scope.ask(DATADOG_REMAINING, 'min')}",
        "<",
        2,
        Runbook(
            "The organisation's limit for questions is shared with everybody else's, and the autoscaler's next one may be refused.",
            "questions by outcome (group 3); who else queries the API of this organisation.",
            "Raise `datadog.read_interval`, or ask Datadog for a higher limit.",
        ),
        priority=3,
        silence=WELL,
    )


def _log_volume(scope: Scope, model: str, threshold_bytes: int) -> Watch:
    return Watch(
        f"The log grows far beyond what starts {model}",
        f"sum(last_15m):{scope.ask(LOG_BYTES, 'sum')} / 15",
        ">",
        8 * threshold_bytes,
        Runbook(
            f"The routers log eight times the {format_size(threshold_bytes)} a minute of the rule, which has doubled them three times.",
            "log bytes by model (group 3) and what the routers say (group 5).",
            "Real traffic: check `replicas.max`. A flood of errors: mend those, and the rule takes its replicas back.",
        ),
        priority=2,
        silence=WELL,
        warning=4 * threshold_bytes,
    )


def ground(spec: Spec, scope: Scope) -> Iterator[tuple[str, Watch]]:
    yield "router-without-consul", _without(scope, "Consul", _WITHOUT_CONSUL)
    yield "router-without-redis", _without(scope, "Redis", _WITHOUT_REDIS)
    yield "routers-silent", _silent(scope)
    yield "redis-memory", _redis_memory(scope)
    yield "breakers-open", _breakers(scope)
    if spec.providers:
        yield "provider-away", _provider(scope)
    if spec.tenants:
        yield "tenants-unlimited", _limits_away(scope)


def _without(scope: Scope, what: str, means: str) -> Watch:
    return Watch(
        f"A router goes without {what}",
        f"min(last_5m):{scope.ask(DEGRADED, 'max', f'what:{what.lower()}', by=('host',))}",
        ">",
        0,
        Runbook(
            means,
            f"`/health` of the router; whether {what} runs, and is reached from that node.",
            "One node: its agent or its network. All of them: the service itself; routers take it up again by themselves.",
        ),
        priority=2,
        silence=WELL,
    )


def _silent(scope: Scope) -> Watch:
    return Watch(
        "Routers say nothing, or old news",
        f"min(last_5m):{scope.ask(SNAPSHOT_AGE, 'max')}",
        ">",
        300,
        Runbook(
            "Without data: no router runs, or no Datadog agent takes what they send. With it: Consul has been silent for five minutes.",
            "`nomad job status` of the router and of the agent; a chat through the public port.",
            "Routers gone: `warmfleet deploy router`. They answer and are silent here: the agent's job and its API key.",
        ),
        priority=1,
        silence=ALARM,
    )


def _redis_memory(scope: Scope) -> Watch:
    used, most = scope.ask(foreign.REDIS_MEMORY, "max"), scope.ask(foreign.REDIS_MOST, "max")
    return Watch(
        "Redis is nearly full of sessions",
        f"avg(last_15m):{used} / {most} * 100",
        ">",
        90,
        Runbook(
            "Redis will forget the sessions used longest ago; their next turn may go elsewhere, or back to the route's first model.",
            "Redis' memory and evictions (group 5), sessions by selector (group 2).",
            "Raise `redis.memory`, or shorten `router.session_ttl`.",
        ),
        priority=3,
        silence=WELL,
        warning=75,
    )


def _breakers(scope: Scope) -> Watch:
    return Watch(
        "A replica fails although Consul says that it passes",
        f"min(last_10m):{scope.ask(BREAKERS, 'sum', 'state:open', by=('model',))}",
        ">",
        0,
        Runbook(
            "Routers keep a replica of {{model.name}} out of use. Callers are served by the others as long as there are some.",
            "failovers by reason (group 5) and the router's log (`breaker_opened` names the allocation).",
            "`nomad alloc stop ALLOCATION` has Nomad replace it; with GPU errors on the node, drain the node first.",
        ),
        priority=2,
        silence=WELL,
    )


def _provider(scope: Scope) -> Watch:
    return Watch(
        "A provider is not used, because it fails or refuses our key",
        f"min(last_15m):{scope.ask(PROVIDER_STATES, 'sum', 'state:open', by=('provider',))}",
        ">",
        0,
        Runbook(
            "{{provider.name}} is passed over. Nothing is lost while models are warm; it is what chains fall back to when they are not.",
            "attempts by outcome (group 5): refused is our key or row, busy its limit, failed its own trouble.",
            "Refused: renew its key in the variable of the routers' job. Failed: see its status page; routers try it again by themselves.",
        ),
        priority=3,
        silence=WELL,
    )


def _limits_away(scope: Scope) -> Watch:
    return Watch(
        "Tenants are refused because their limits cannot be read",
        f"sum(last_10m):{scope.ask(REFUSED, 'sum', 'reason:limits_away')}",
        ">",
        0,
        Runbook(
            "Rates and budgets are kept in Redis, which does not answer, so routers refuse whom they cannot count.",
            "the monitor about routers without Redis; Redis' own memory and evictions (group 5).",
            "Bring Redis back (`nomad job status`); counting goes on from what it still has.",
        ),
        priority=1,
        silence=WELL,
    )


def engines(scope: Scope) -> Iterator[tuple[str, Watch]]:
    yield "kv-cache-full", _kv_cache(scope)
    yield "gpu-error", _gpu_error(scope)


def _kv_cache(scope: Scope) -> Watch:
    return Watch(
        "Engines have no room for more context",
        f"min(last_15m):{scope.ask(foreign.KV_USE, 'avg', by=('model',))}",
        ">",
        0.95,
        Runbook(
            "The KV caches of {{model.name}} are full: new requests wait inside the engines, running ones are put back and computed again.",
            "requests inside the engines and put back (group 5), tokens by model (group 4).",
            'More replicas (`{ kind = "threshold", signal = "kv_cache_use", upper = 0.9 }` does that by itself), or a smaller `context`.',
        ),
        priority=2,
        silence=WELL,
        warning=0.9,
    )


def _gpu_error(scope: Scope) -> Watch:
    return Watch(
        "A GPU reports errors",
        f"max(last_10m):{scope.ask(foreign.GPU_ERROR, 'max', by=('host', 'gpu'))}",
        ">",
        0,
        Runbook(
            "GPU {{gpu.name}} of {{host.name}} has had an XID error; engines on it may answer slowly, wrongly or not at all.",
            "the kernel's log of the node for the code; breakers and failovers (group 5).",
            "`nomad node drain -enable` moves the replicas elsewhere, warm first where there is room; then reset or replace the GPU.",
        ),
        priority=2,
        silence=WELL,
    )

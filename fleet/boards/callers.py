"""Monitors of what callers feel, and of the warmth that they need.

Numbers that the description has (what is promised, how long a cold start takes) come from there.
"""

from __future__ import annotations

from collections.abc import Iterator

from fleet.boards.query import Scope
from fleet.boards.watch import ALARM, WELL, Runbook, Watch
from fleet.metrics import COLD_START, FAILED_STARTS, HELD, REPLICAS, REQUESTS, TRUNCATIONS, TTFT
from fleet.model import Model, Spec
from fleet.units import format_duration

_EXPLAIN = "`warmfleet explain {{model.name}}` says what was decided and why; group 2 of the dashboard shows the replicas."
_STARTS = "the events of the model's allocations (`nomad job status`), and the end of their logs."


def callers(spec: Spec, scope: Scope) -> Iterator[tuple[str, Watch]]:
    yield "failed-answers", _failed_answers(scope)
    yield "broken-streams", _broken_streams(scope)
    for model in spec.models:
        yield f"first-token-{model.name}", _first_token(scope, model)


def _failed_answers(scope: Scope) -> Watch:
    bad, every = scope.ask(REQUESTS, "sum", "status:5*"), scope.ask(REQUESTS, "sum")
    return Watch(
        "Callers get errors instead of answers",
        f"sum(last_5m):{bad} / {every} * 100",
        ">",
        5,
        Runbook(
            "More than one answer in twenty of the last five minutes was a 5xx.",
            "status and route of the failed answers (group 1), then group 5 from the top: breakers, engines, Consul.",
            "503 with `x-warm-eta`: nothing is warm, see the monitor about cold models. 502: a version that breaks, so "
            "`warmfleet rollback MODEL`. Both: callers fall back by themselves where the route's chain has another model.",
        ),
        priority=1,
        silence=WELL,
        warning=1,
    )


def _broken_streams(scope: Scope) -> Watch:
    return Watch(
        "Streams end with an error in the middle of their answer",
        f"sum(last_15m):{scope.ask(TRUNCATIONS, 'sum', by=('model',))}",
        ">",
        10,
        Runbook(
            "Callers of {{model.name}} saw an answer begin and then an error event, and no other replica could go on with it.",
            "failovers and resumes by reason (group 5); the engine's own log around that time.",
            "One node: drain it in Nomad. Every node since a deployment: `warmfleet rollback {{model.name}}`.",
        ),
        priority=2,
        silence=WELL,
        warning=3,
    )


def _first_token(scope: Scope, model: Model) -> Watch:
    promised_s = model.slo.ttft_s
    return Watch(
        f"{model.name} is slow to its first token",
        f"percentile(last_15m):{scope.ask(TTFT, 'p95', f'model:{model.name}')}",
        ">",
        promised_s,
        Runbook(
            f"One caller in twenty waits longer than the {format_duration(promised_s)} that fleet.toml promises for {model.name}.",
            "load against ready replicas (group 3), requests that wait inside the engines and the KV cache (group 5).",
            f"Load above ready: `warmfleet scale {model.name} N` now, and ask `warmfleet explain {model.name}` why it was not done before. "
            "Load below it: prompts have become longer, so lower `capacity` or raise `slo.ttft` in fleet.toml.",
        ),
        priority=2,
        silence=WELL,
        warning=round(promised_s * 0.75, 3),
    )


def warmth(spec: Spec, scope: Scope) -> Iterator[tuple[str, Watch]]:
    yield "cold-model", _cold_model(spec, scope)
    yield "callers-held", _callers_held(scope)
    yield "unplaced-replicas", _unplaced(scope)
    yield "failed-starts", _failed_starts(scope)
    for model in spec.models:
        yield f"cold-start-{model.name}", _slow_start(scope, model)


def _cold_model(spec: Spec, scope: Scope) -> Watch:
    may_be_cold = [f"!model:{model.name}" for model in spec.models if model.replicas.min == 0]
    return Watch(
        "A model that should be warm has no ready replica",
        f"max(last_5m):{scope.ask(REPLICAS, 'sum', 'state:ready', *may_be_cold, by=('model',))}",
        "<",
        1,
        Runbook(
            "Callers of {{model.name}} wait, get another model of the chain, or a 503.",
            _EXPLAIN,
            "Loading: wait, the ETA is in `/health` of a router. Without a node: free what the sentence names. Failing: see its logs, "
            "`warmfleet rollback {{model.name}}`.",
        ),
        priority=1,
        silence=ALARM,
    )


def _callers_held(scope: Scope) -> Watch:
    return Watch(
        "Callers have waited for a warm replica for minutes",
        f"min(last_5m):{scope.ask(HELD, 'sum', by=('model',))}",
        ">",
        0,
        Runbook(
            "Somebody has been waiting for {{model.name}} in every moment of the last five minutes: capacity is behind demand.",
            _EXPLAIN,
            "Replicas loading: it ends with the cold start. None ordered: the sentence says what stands before it (bounds, GPU budget, "
            "pause, cooldown). Raise `replicas.max`, or move traffic with the route's chain.",
        ),
        priority=2,
        silence=WELL,
    )


def _unplaced(scope: Scope) -> Watch:
    return Watch(
        "A replica has no node",
        f"min(last_15m):{scope.ask(REPLICAS, 'sum', 'state:missing', by=('model',))}",
        ">",
        0,
        Runbook(
            "{{model.name}} wants more replicas than Nomad can place, so it will not get warmer than it is.",
            "`warmfleet explain {{model.name}}` names the resource that is missing; `nomad job status` the nodes that were tried.",
            "Add or free a node with those GPUs, or give the model's share to it with `model.priority` and `autoscaler.gpu_budget`.",
        ),
        priority=2,
        silence=WELL,
    )


def _failed_starts(scope: Scope) -> Watch:
    return Watch(
        "Replicas end before they are ever warm",
        f"sum(last_1h):{scope.ask(FAILED_STARTS, 'sum', by=('model',))}",
        ">=",
        3,
        Runbook(
            "{{model.name}} is started again and again and never serves; each try holds GPUs for a cold start.",
            _STARTS,
            "Weights, image or arguments changed: `warmfleet rollback {{model.name}}`. Out of memory: lower `context` or "
            "`--gpu-memory-utilization`. One node only: take it out of the pool.",
        ),
        priority=2,
        silence=WELL,
        warning=1,
    )


def _slow_start(scope: Scope, model: Model) -> Watch:
    return Watch(
        f"{model.name} needs much longer to become warm than described",
        f"percentile(last_4h):{scope.ask(COLD_START, 'p90', f'model:{model.name}')}",
        ">",
        1.5 * model.cold_start_s,
        Runbook(
            f"A cold start takes over half as long again as the {format_duration(model.cold_start_s)} in fleet.toml. "
            "The autoscaler plans with what it measured, so it orders earlier and pays more.",
            "length of cold starts (group 2); in the engine's log the time between its start, its weights and its first answer.",
            "Weights on a slow volume, an image pulled anew, or compilation: warm the caches of the nodes. If it is to stay so, say so "
            "in `cold_start`.",
        ),
        priority=3,
        silence=WELL,
        warning=1.2 * model.cold_start_s,
    )

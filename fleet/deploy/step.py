"""What to do next about a deployment: a view in, one step out. Pure, so that every case is a row of a test.

wait ──(every canary warm)──> promote ──> wait ──(deployment ended, enough warm replicas serve)──> done
wait ──(a replaced one warm)──> call healthy ──> wait                                    one by one
wait ──(a new replica breaks, or nothing moves for too long)──> give up
wait ──(Nomad ends it otherwise)──> failed
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fleet.deploy.nomad import Deployment
from fleet.deploy.proposal import Way
from fleet.units import format_duration

Kind = Literal["wait", "promote", "call healthy", "give up", "failed", "done"]


@dataclass(frozen=True, slots=True)
class Fresh:
    """A replica of the new version. `serves`: callers are sent to it."""

    alloc_id: str
    warm: bool
    serves: bool
    called_healthy: bool = False
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """How it stands. `replicas`: those that must serve at the end, 0 where Consul is not asked; `still_s`: since anything moved."""

    way: Way
    deployment: Deployment | None
    replicas: int
    fresh: tuple[Fresh, ...] = ()
    broken: str = ""
    still_s: float = 0.0
    patience_s: float = 1800.0


@dataclass(frozen=True, slots=True)
class Step:
    kind: Kind
    why: str = ""
    alloc_ids: tuple[str, ...] = ()


def next_step(view: View) -> Step:
    """The one thing to do now."""
    deployment = view.deployment
    if deployment and deployment.status in ("failed", "cancelled"):
        return Step("failed", deployment.why)
    if not _is_over(view) and (why := view.broken or _impatience(view)):
        return Step("give up", why)
    if deployment and deployment.active:
        return _under_way(view, deployment)
    return Step("done") if _is_over(view) else Step("wait", _missing(view))


def _under_way(view: View, deployment: Deployment) -> Step:
    if view.way == "beside" and deployment.waits_for_promotion:
        warm = {fresh.alloc_id for fresh in view.fresh if fresh.warm}
        ready = [alloc for alloc in deployment.canaries if alloc in warm]
        if len(ready) >= deployment.desired_canaries <= deployment.healthy:
            return Step("promote", alloc_ids=tuple(ready))
        return Step("wait", f"{len(ready)} of {deployment.desired_canaries} new replicas are warm, the old ones serve")
    if view.way == "one by one":
        warm_now = tuple(fresh.alloc_id for fresh in view.fresh if fresh.warm and not fresh.called_healthy)
        if warm_now:
            return Step("call healthy", alloc_ids=warm_now)
        return Step("wait", f"{sum(f.warm for f in view.fresh)} of {view.replicas} replicas are replaced and warm")
    return Step("wait", f"{deployment.healthy} of {deployment.desired} healthy")


def _is_over(view: View) -> bool:
    if view.deployment and view.deployment.active:
        return False
    return sum(fresh.warm and fresh.serves for fresh in view.fresh) >= view.replicas


def _missing(view: View) -> str:
    return f"{sum(f.warm and f.serves for f in view.fresh)} of {view.replicas} replicas are warm"


def _impatience(view: View) -> str:
    if view.still_s <= view.patience_s:
        return ""
    trouble = next((f"; {fresh.trouble}" for fresh in view.fresh if fresh.trouble), "")
    return f"nothing has moved for {format_duration(float(round(view.still_s)))}{trouble}"

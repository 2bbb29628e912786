"""Routers that Consul still lists and that are no more: a node that died is listed for three days, and its services with it.

    neither passes in Consul nor answers    the router is
    less than 15 min                        silent: what it would have said is missing, and nothing is scaled in
    longer                                  left out, until it passes or answers; every decision says so

A router that passes, or answers, is never left out. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

PATIENCE_S = 900.0

Since = Mapping[str, float]
"""By target: when it was first seen neither passing nor answering, seconds since the epoch."""


def absent(known: Since, targets: Iterable[str], now: float) -> Since:
    """`targets`: those that neither pass nor answer now."""
    return {target: min(now, known.get(target, now)) for target in targets}


def left_out(known: Since, now: float) -> Mapping[str, str]:
    """Why, by target."""
    gone = {target: now - since for target, since in known.items() if now - since >= PATIENCE_S}
    return {
        target: f"{target} is left out: for {for_s / 60:.0f} min it has neither passed in Consul nor answered"
        for target, for_s in gone.items()
    }

"""The table of the forecaster: replica-hours against late requests on four traces, beside the baselines, in one run.

    python bench/forecast/frontier.py [--price .003 --price .012] [--lead-min 15] [--hold-s 30] [--trace nasa]

One configuration for all traces; the days before the scored ones are shown as history. A replica's capacity is the largest scored
minute / 20, which is given to every policy as the product is given it by fleet.toml. Use one thread: OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from autoscaler.forecast.question import PRICE
from autoscaler.simulate.commands import POLICIES, Options, Task, task_of
from autoscaler.simulate.replay import replay
from autoscaler.simulate.score import Score, score

TRACES = Path(__file__).parent.parent / "traces"
PEAK_REPLICAS = 20
BASELINES = ("static", "target", "reactive")


@dataclass(frozen=True, slots=True)
class Case:
    """A trace and its scored days: first, and how many."""

    name: str
    file: str
    first_day: int
    days: int


CASES = (
    Case("azure code", "azure2024_code_1min.csv", 2, 5),
    Case("m-large", "servegen_m-large_1min.csv", 7, 7),
    Case("m-mid", "servegen_m-mid_first10d_1min.csv", 7, 3),
    Case("nasa", "nasa1995_jul_1min.csv", 14, 13),
)


def task(case: Case, lead_min: int, hold_s: float, price: float) -> Task:
    return task_of(
        Options(
            trace=TRACES / case.file,
            lead_min=lead_min,
            peak_replicas=PEAK_REPLICAS,
            capacity=None,
            history_days=case.first_day,
            days=case.days,
            hold_s=hold_s,
            least=1,
            most=60,
            price=price,
            policies=(),
            out=None,
            plot=None,
        )
    )


def measured(policy: str, case: Case, lead_min: int, hold_s: float, price: float) -> Score:
    asked = task(case, lead_min, hold_s, price)
    started = time.perf_counter()
    desired = replay(asked.trace, asked.first, POLICIES[policy](asked))
    click.echo(f"{policy} {price:g} {case.name}: {time.perf_counter() - started:.1f} s for {case.days} days", err=True)
    return score(asked.trace, asked.first, desired, asked.rules)


def line(name: str, scores: list[Score]) -> str:
    """One row: the means over the traces, then H / V / actions a day of each."""
    hours, late, actions = (
        np.array([s.hours_ratio for s in scores]),
        [s.late_held_percent for s in scores],
        [s.actions_per_day for s in scores],
    )
    each = [f"{h:.3f} / {v:.3f} / {a:.0f}" for h, v, a in zip(hours, late, actions, strict=True)]
    means = (f"{hours.mean():.3f}", f"{np.mean(late):.3f}", f"{max(late):.3f}", f"{np.mean(actions):.0f}")
    return "| " + " | ".join((name, *means, *each)) + " |"


def rows(cases: list[Case], lead_min: int, hold_s: float, prices: tuple[float, ...]) -> Iterator[str]:
    for policy in BASELINES:
        yield line(policy, [measured(policy, case, lead_min, hold_s, PRICE) for case in cases])
    for price in prices:
        yield line(f"forecast {price:g}", [measured("forecast", case, lead_min, hold_s, price) for case in cases])


@click.command(context_settings={"show_default": True})
@click.option("--price", "prices", multiple=True, type=float, default=(PRICE,))
@click.option("--lead-min", default=15)
@click.option("--hold-s", default=30.0)
@click.option("--trace", "names", multiple=True, type=click.Choice([case.name for case in CASES]))
def main(prices: tuple[float, ...], lead_min: int, hold_s: float, names: tuple[str, ...]) -> None:
    """Print the table in Markdown, a row as soon as it is known."""
    cases = [case for case in CASES if not names or case.name in names]
    head = ("policy", "H", f"V{hold_s:g}", "worst", "actions/day", *(f"{case.name} H / V{hold_s:g} / A" for case in cases))
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows(cases, lead_min, hold_s, prices):
        print(row)
        sys.stdout.flush()


if __name__ == "__main__":
    main()

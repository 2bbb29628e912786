"""The table of the forecaster: replica-hours against late requests on four traces, beside the baselines, in one run.

    python -m bench.forecast.frontier [--price .003 --price .012] [--lead-min 15] [--hold-s 30] [--trace nasa] [--others]

One configuration for all traces, through the production decide(); the days before the scored ones are shown as history. A replica's
capacity is the largest scored minute / 20 unless a case says otherwise, which is given to every policy as the product is given it by
fleet.toml. `--others` are cases that nothing was chosen on (cases.py). Use one thread: OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence

import click
import numpy as np

from autoscaler.forecast.learner import lightgbm_learner
from autoscaler.simulate.choices import BASELINES, build
from autoscaler.simulate.replay import replay
from autoscaler.simulate.score import Score, score
from autoscaler.simulate.task import Numbers, task_of
from bench.forecast.cases import CASES, OTHERS, Case
from fleet.policy import PRICE


def measured(policy: str, case: Case, lead_min: int, hold_s: float, price: float) -> Score:
    numbers = Numbers(
        lead_min=lead_min,
        peak_replicas=case.peak_replicas,
        history_days=case.first_day,
        days=case.days,
        hold_s=hold_s,
        price=price,
    )
    task = task_of(case.trace(), numbers)
    started = time.perf_counter()
    desired = replay(task.trace, task.first, build(policy, task, lightgbm_learner()))
    click.echo(f"{policy} {price:g} {case.name}: {time.perf_counter() - started:.1f} s for {case.days} days", err=True)
    return score(task.trace, task.first, desired, task.rules)


def head(cases: Sequence[Case], hold_s: float) -> str:
    columns = ("policy", "H", "V", "V30", "V60", f"worst V{hold_s:g}", "actions/day", *(f"{c.name} H / V{hold_s:g} / A" for c in cases))
    return "| " + " | ".join(columns) + " |\n|" + "---|" * len(columns)


def line(name: str, scores: Sequence[Score]) -> str:
    """One row: the means over the traces, then H / V with the hold / actions a day of each."""
    each = [f"{s.hours_ratio:.3f} / {s.late_held_percent:.3f} / {s.actions_per_day:.0f}" for s in scores]
    late = [f"{np.mean([s.late_percent[hold_s] for s in scores]):.3f}" for hold_s in (0, 30, 60)]
    hours, actions = np.mean([s.hours_ratio for s in scores]), np.mean([s.actions_per_day for s in scores])
    worst = max(s.late_held_percent for s in scores)
    return "| " + " | ".join((name, f"{hours:.3f}", *late, f"{worst:.3f}", f"{actions:.0f}", *each)) + " |"


def rows(cases: Sequence[Case], lead_min: int, hold_s: float, prices: tuple[float, ...]) -> Iterator[str]:
    for policy in BASELINES:
        yield line(policy, [measured(policy, case, lead_min, hold_s, PRICE) for case in cases])
    for price in prices:
        yield line(f"forecast {price:g}", [measured("forecast", case, lead_min, hold_s, price) for case in cases])


@click.command(context_settings={"show_default": True})
@click.option("--price", "prices", multiple=True, type=float, default=(PRICE,))
@click.option("--lead-min", default=15)
@click.option("--hold-s", default=30.0)
@click.option("--others", is_flag=True, help="the cases that nothing was chosen on")
@click.option("--trace", "names", multiple=True, type=click.Choice([case.name for case in (*CASES, *OTHERS)]))
def main(prices: tuple[float, ...], lead_min: int, hold_s: float, others: bool, names: tuple[str, ...]) -> None:
    """Print the table in Markdown, a row as soon as it is known."""
    cases = [case for case in (*CASES, *OTHERS) if case.name in names] if names else OTHERS if others else CASES
    print(head(cases, hold_s))
    for row in rows(cases, lead_min, hold_s, prices):
        print(row)
        sys.stdout.flush()


if __name__ == "__main__":
    main()

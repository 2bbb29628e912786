"""Policies see the past only, and the command turns a file into decisions, a table and a picture."""

import csv
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner

from autoscaler.simulate.commands import main
from autoscaler.simulate.policies import Bounds, Policy, Reactive, Static, Target
from autoscaler.simulate.replay import replay
from autoscaler.simulate.trace import Trace

WIDE = Bounds(1, 60)


@dataclass
class Witness:
    """Decides nothing, writes down what it was told and when."""

    seen: list[tuple[str, int, float | None]] = field(default_factory=list)

    def observe(self, minute: int, requests: float | None) -> None:
        self.seen.append(("observe", minute, requests))

    def desired(self, minute: int) -> int:
        self.seen.append(("desired", minute, None))
        return 1


def trace_of(requests: list[float], gap: list[bool] | None = None, first_minute: int = 0) -> Trace:
    return Trace("t", first_minute, np.array(requests), np.array(gap if gap is not None else [False] * len(requests)))


def test_a_policy_decides_for_a_minute_before_it_is_told_of_it() -> None:
    witness = Witness()
    assert replay(trace_of([5.0, 6.0, 7.0], [False, False, True], 100), 1, witness).tolist() == [1, 1]
    assert witness.seen == [
        ("observe", 100, 5.0),
        ("desired", 101, None),
        ("observe", 101, 6.0),
        ("desired", 102, None),
        ("observe", 102, None),
    ]


def test_progress_is_told_after_each_day() -> None:
    told: list[int] = []
    replay(trace_of([1.0] * 3000), 0, Static(1), told.append)
    assert told == [1440, 2880]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Static(4), [4, 4, 4, 4, 4, 4]),
        (Reactive(10, WIDE, target=0.7), [1, 1, 2, 2, 1, 1]),
        (Reactive(10, WIDE, target=0.7, held_min=3), [1, 1, 2, 2, 2, 2]),
        (Reactive(10, Bounds(2, 2), target=0.7), [2, 2, 2, 2, 2, 2]),
        (Target(10, WIDE, target=0.7, cooldown_min=1), [1, 1, 2, 2, 1, 1]),
        (Target(10, WIDE, target=0.7, cooldown_min=5), [1, 1, 1, 1, 1, 1]),  # rests from its first answer on
    ],
)
def test_baselines(policy: Policy, expected: list[int]) -> None:
    requests = [7.0, 7.1, 0.0, 0.0, 0.0, 0.0]
    gap = [False, False, True, False, False, False]  # the third is not known: what was known before stands
    assert replay(trace_of(requests, gap), 0, policy).tolist() == expected


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "demand.csv"
    rows = "\n".join(f"{minute},{100 + 50 * (minute // 60 % 2)}" for minute in range(2000))
    path.write_text(f"minute,requests\n{rows}\n")
    return path


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_the_command_writes_one_decision_for_each_scored_minute(trace: Path, tmp_path: Path) -> None:
    out, plot = tmp_path / "decisions.csv", tmp_path / "picture.svg"
    options = ["--capacity", 10, "--history-days", 1, "--policy", "reactive", "--policy", "static", "--out", out, "--plot", plot]
    code, output = run("--trace", trace, *options)
    assert code == 0, output
    with out.open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["minute", "desired"]
    assert [int(minute) for minute, _ in rows[1:]] == list(range(1440, 2000))
    assert {int(desired) for _, desired in rows[1:]} == {15, 22}
    assert "reactive" in output
    assert "static" in output
    assert ElementTree.parse(plot).getroot().tag.endswith("svg")


def test_the_forecaster_with_too_little_history_says_what_the_reactive_rule_says(trace: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "forecast.csv", tmp_path / "reactive.csv"]
    for name, out in zip(("forecast", "reactive"), outs, strict=True):
        assert run("--trace", trace, "--peak-replicas", 15, "--history-days", 1, "--policy", name, "--out", out)[0] == 0
    assert outs[0].read_text() == outs[1].read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--capacity", "10", "--peak-replicas", "20"], 2, "either --peak-replicas or --capacity"),
        ([], 2, "either --peak-replicas or --capacity"),
        (["--capacity", "10", "--min", "5", "--max", "4"], 2, "--min 5 is above --max 4"),
        (["--capacity", "10", "--policy", "wish"], 2, "wish"),
        (["--capacity", "10", "--history-days", "7"], 1, "no requests after 7 days of history"),
    ],
)
def test_wrong_options_are_refused(trace: Path, arguments: list[str], code: int, message: str) -> None:
    got, output = run("--trace", trace, *arguments)
    assert (got, message in output) == (code, True), output


def test_a_malformed_trace_ends_with_exit_code_1_and_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("minute,requests\n0,1\n1,x\n")
    code, output = run("--trace", path, "--capacity", 1)
    assert (code, len(output.splitlines())) == (1, 1)
    assert "bad.csv:3: column requests: 'x'" in output

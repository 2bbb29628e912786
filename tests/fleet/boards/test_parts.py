"""Queries refuse what a metric does not carry; widgets stand side by side; the command keeps a folder up to date."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fleet.boards import integrations
from fleet.boards.commands import boards
from fleet.boards.query import How, NoSuchQuery, Scope
from fleet.boards.widgets import Widget, column, group
from fleet.metrics import ARRIVALS, REPLICAS, TTFT, Metric
from fleet.names import Names

CHECKOUT = Path(__file__).parents[3]
SCOPE = Scope(Names("demo"), "$env", "$model")


@pytest.mark.parametrize(
    ("metric", "how", "where", "by", "text"),
    [
        (ARRIVALS, "sum", (), ("model",), "sum:warmfleet.router.arrivals{$env,service:demo-router,$model} by {model}.as_count()"),
        (REPLICAS, "sum", ("state:ready",), (), "sum:warmfleet.autoscaler.replicas{$env,service:demo-autoscaler,$model,state:ready}"),
        (TTFT, "p95", ("model:a",), (), "p95:warmfleet.router.ttft{$env,service:demo-router,model:a}"),
        (TTFT, "count", (), (), "count:warmfleet.router.ttft{$env,service:demo-router,$model}.as_count()"),
        (integrations.GPU_USE, "avg", (), ("host",), "avg:dcgm.gpu_utilization{$env} by {host}"),
    ],
)
def test_a_query_is_made_of_a_metric(metric: Metric, how: How, where: tuple[str, ...], by: tuple[str, ...], text: str) -> None:
    assert SCOPE.ask(metric, how, *where, by=by) == text


@pytest.mark.parametrize(
    ("metric", "how", "where", "by"),
    [
        (ARRIVALS, "sum", (), ("route",)),
        (ARRIVALS, "sum", ("status:200",), ()),
        (ARRIVALS, "sum", ("!alloc_id:x",), ()),
        (ARRIVALS, "p95", (), ()),
        (REPLICAS, "count", (), ()),
    ],
)
def test_what_a_metric_does_not_carry_cannot_be_asked_of_it(metric: Metric, how: How, where: tuple[str, ...], by: tuple[str, ...]) -> None:
    with pytest.raises(NoSuchQuery, match=metric.name):
        SCOPE.ask(metric, how, *where, by=by)


@given(st.lists(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 5)), min_size=1, max_size=12), min_size=1, max_size=4))
def test_widgets_stand_side_by_side_inside_twelve_columns_and_no_two_on_one_place(sizes: list[list[tuple[int, int]]]) -> None:
    groups = [group("g", "gray", [Widget({"type": "note"}, width, height) for width, height in rows]) for rows in sizes]
    placed = column(groups)
    for outer in placed:
        inner = outer["definition"]["widgets"]  # type: ignore[index]
        _stand_apart([widget["layout"] for widget in inner], height=outer["layout"]["height"])  # type: ignore[index]
    _stand_apart([outer["layout"] for outer in placed], height=1000)  # type: ignore[misc]


def _stand_apart(layouts: list[dict[str, int]], height: int) -> None:
    taken = [set(itertools.product(range(p["x"], p["x"] + p["width"]), range(p["y"], p["y"] + p["height"]))) for p in layouts]
    everything = set().union(*taken)
    assert len(everything) == sum(map(len, taken))
    assert all(x < 12 and y < height for x, y in everything)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(CHECKOUT)
    return tmp_path / "made"


def test_the_command_writes_what_is_stale_and_removes_what_is_no_longer_made(folder: Path) -> None:
    runner = CliRunner()
    assert "dashboard.json: written" in runner.invoke(boards, ["--out", str(folder)]).output
    assert "none changed" in runner.invoke(boards, ["--out", str(folder)]).output
    assert runner.invoke(boards, ["--out", str(folder), "--check"]).exit_code == 0
    (folder / "slo.json").write_text("{}")
    (folder / "monitors/of-yore.json").write_text("{}")
    stale = runner.invoke(boards, ["--out", str(folder), "--check"])
    assert stale.exit_code == 1
    assert {"slo.json", "of-yore.json"} == {finding.where.rpartition("/")[2] for finding in stale.exception.findings}  # type: ignore[union-attr]
    done = runner.invoke(boards, ["--out", str(folder)]).output
    assert "slo.json: written" in done and "of-yore.json: removed" in done
    assert not (folder / "monitors/of-yore.json").exists()


def test_productions_folder_is_not_written_from_an_overlay(folder: Path) -> None:
    refused = CliRunner().invoke(boards, ["-var", "datadog.env=staging"])
    assert refused.exit_code == 2 and "add --out FOLDER" in refused.output
    assert CliRunner().invoke(boards, ["-var", "datadog.env=staging", "--out", str(folder)]).exit_code == 0
    assert "env:staging" in (folder / "slo.json").read_text()

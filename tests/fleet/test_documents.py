"""docs/operations.md tells every setting, metric and command, as the code has them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet import metrics, model
from fleet.cli import main
from fleet.documents import fill, metrics_table, settings_tables, tables
from fleet.errors import SpecError
from fleet.settings import sections, settings_of, table_at

DOCUMENT = Path(__file__).parents[2] / "docs/operations.md"


def test_the_document_is_up_to_date() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert fill(text, tables(main), where="docs/operations.md") == text, "run `warmfleet docs` and commit the result"


def test_every_setting_has_a_row_with_a_meaning() -> None:
    classes = [c for c in vars(model).values() if dataclasses.is_dataclass(c) and isinstance(c, type) and c is not model.Spec]
    listed = [setting for section in sections() for setting in section.settings]
    assert set(listed) == {setting for c in classes for setting in settings_of(c) if setting.table is None}
    assert all(setting.meaning and setting.kind for setting in listed)


def test_every_metric_has_a_row() -> None:
    rows = metrics_table().splitlines()[2:]
    assert len(rows) == len(metrics.ALL) > 0
    assert all(f"`{metric.name}`" in row and metric.help in row for metric, row in zip(metrics.ALL, rows, strict=True))


@pytest.mark.parametrize(
    "row",
    [
        "| `cold_start` | duration, > 0s | required | submit to passing; a prior until measured |",
        '| `driver` | "docker" or "raw_exec" | `"docker"` | Nomad task driver |',
        '| `memory` | size | `"1GiB"` | memory of one replica |',
        "| `selector` | whole number, >= 0, <= 15 | required | 4 bits: 0 to 15 |",
        '| `max_body` | size, >= 1KiB | `"16MiB"` | largest request body |',
        "| `shadow` | true or false | `false` | decide and say so, but change nothing |",
        "| `args` | array of text | `[]` | further arguments of the engine |",
    ],
)
def test_a_setting_is_shown_with_the_units_of_the_file(row: str) -> None:
    assert row in settings_tables().splitlines()


@pytest.mark.parametrize(
    ("path", "table"),
    [
        (("router",), model.Router),
        (("model", 0, "replicas"), model.Replicas),
        (("model", 1, "policy", 0), model.Policy),
        (("other",), None),
    ],
)
def test_a_table_is_found_by_its_path(path: tuple[str | int, ...], table: type | None) -> None:
    assert table_at(path) is table


def test_a_block_is_replaced_and_the_rest_stays() -> None:
    text = "before\n<!-- made: a -->\nold\n<!-- end -->\nafter\n"
    made = fill(text, {"a": lambda: "new"}, where="x.md")
    assert made == "before\n<!-- made: a -->\n\nnew\n<!-- end -->\nafter\n"
    assert fill(made, {"a": lambda: "new"}, where="x.md") == made


def test_a_block_that_nothing_makes_and_a_table_without_a_block_are_named() -> None:
    with pytest.raises(SpecError) as caught:
        fill("<!-- made: b -->\n<!-- end -->\n", {"a": lambda: ""}, where="x.md")
    assert [finding.key for finding in caught.value.findings] == ["b", "a"]


def test_docs_mends_what_its_check_complains_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Path(shutil.copytree(DOCUMENT.parent, tmp_path / "docs")) / "operations.md"
    copy.write_text(DOCUMENT.read_text("utf-8").replace("4 bits: 0 to 15", "5 bits"), "utf-8")
    monkeypatch.chdir(tmp_path)
    stale = CliRunner().invoke(main, ["docs", "--check"])
    assert (stale.exit_code, "run `warmfleet docs`" in stale.stderr) == (1, True)
    assert CliRunner().invoke(main, ["docs"]).exit_code == 0
    assert CliRunner().invoke(main, ["docs", "--check"]).exit_code == 0
    assert copy.read_text("utf-8") == DOCUMENT.read_text("utf-8")


def test_docs_outside_of_a_checkout_says_where_to_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "run this in the root of the checkout" in CliRunner().invoke(main, ["docs"]).stderr

"""Nothing that stands in terraform/datadog/*.json is dropped on the way to Datadog.

Those documents are in the form of Datadog's API, and datadog.tf takes them apart into arguments: what it does not name would be lost
without a word. What the documents say is tested where they are made (tests/fleet).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.configuration import FOLDER

TEXT = (FOLDER / "datadog.tf").read_text("utf-8")
MONITORS = sorted((FOLDER / "datadog/monitors").glob("*.json"))


def _document(name: str) -> Any:
    return json.loads((FOLDER / "datadog" / name).read_text("utf-8"))


def _leaves(document: Any, path: str = "") -> Iterator[str]:
    """`options.thresholds.critical` for each value; of a list its items' keys, without numbers."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _leaves(value, f"{path}.{key}" if path else key)
    elif isinstance(document, list) and any(isinstance(item, dict) for item in document):
        for item in document:
            yield from _leaves(item, f"{path}[]")
    else:
        yield path


def _taken(reference: str, item: str = "") -> set[str]:
    """What datadog.tf reads below `reference`; `item` is what a list's items are called there, and `reference[]` here."""
    return set(re.findall(rf"\b{re.escape(reference)}\.([\w.]+)", TEXT)) if not item else {f"{item}[].{key}" for key in _taken(reference)}


@pytest.mark.parametrize("path", MONITORS, ids=lambda path: path.stem)
def test_a_monitor_goes_to_datadog_as_a_whole(path: Path) -> None:
    assert set(_leaves(json.loads(path.read_text("utf-8")))) <= _taken("each.value")


def test_the_objective_goes_to_datadog_as_a_whole() -> None:
    assert set(_leaves(_document("slo.json"))) <= _taken("local.slo") | _taken("thresholds.value", "thresholds")


def test_the_log_metric_goes_to_datadog_as_a_whole() -> None:
    told = set(_leaves(_document("log_metric.json")["data"])) - {"type"}
    assert told <= _taken("local.log_lines") | _taken("group_by.value", "attributes.group_by")


def test_there_are_monitors_and_percentiles_to_make() -> None:
    assert MONITORS
    assert all(isinstance(tags, list) for tags in _document("distributions.json").values())

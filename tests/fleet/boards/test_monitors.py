"""Every monitor can be acted on: a runbook, thresholds that agree with the query, a choice for silence."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from fleet.boards.monitors import monitors
from fleet.model import Replicas
from tests.fleet.boards.test_documents import FULL, PRODUCTION

MADE = monitors(FULL)
COMPARED = re.compile(r" (>=|<=|>|<) ([\d.e+]+)$")


@pytest.mark.parametrize("name", MADE)
def test_a_monitor_says_what_it_means_where_to_look_and_what_to_do(name: str) -> None:
    text = MADE[name]["message"]
    assert isinstance(text, str)
    meaning, look, do = text.split("\n\n")
    assert len(meaning) > 30 and look.startswith("Look: ") and do.startswith("Do: ")


@pytest.mark.parametrize("name", MADE)
def test_thresholds_agree_with_the_query_and_warnings_come_first(name: str) -> None:
    monitor: Any = MADE[name]
    match = COMPARED.search(monitor["query"])
    assert match is not None
    thresholds = monitor["options"]["thresholds"]
    assert float(match[2]) == pytest.approx(thresholds["critical"])
    if "warning" in thresholds:
        assert (thresholds["warning"] < thresholds["critical"]) == (match[1] in (">", ">="))


@pytest.mark.parametrize("name", MADE)
def test_silence_is_chosen_and_texts_name_only_groups_that_the_query_has(name: str) -> None:
    monitor: Any = MADE[name]
    assert monitor["options"]["on_missing_data"] in ("show_and_notify_no_data", "resolve")
    groups = {group for by in re.findall(r"by \{([^}]*)\}", monitor["query"]) for group in by.split(",")}
    assert set(re.findall(r"\{\{(\w+)\.name\}\}", monitor["message"])) <= groups
    assert monitor["tags"] == ["fleet:warmfleet", "env:production"]


def test_where_the_fleet_itself_would_fall_silent_silence_is_an_alert() -> None:
    loud = {name for name, monitor in MADE.items() if monitor["options"]["on_missing_data"] == "show_and_notify_no_data"}  # type: ignore[index]
    assert loud == {"cold-model", "no-leader", "routers-silent"}


def test_what_is_promised_is_what_is_watched() -> None:
    for model in PRODUCTION.models:
        assert str(MADE[f"first-token-{model.name}"]["query"]).endswith(f"model:{model.name}}} > {model.slo.ttft_s:g}")
        assert str(MADE[f"cold-start-{model.name}"]["query"]).endswith(f" > {1.5 * model.cold_start_s:g}")
    assert str(MADE["log-volume-large-model"]["query"]).endswith(" > 1.6e+07")


def test_a_model_that_may_be_cold_wakes_nobody_by_being_cold() -> None:
    idle = tuple(replace(m, replicas=Replicas(min=0, max=2)) if m.name == "large-model" else m for m in PRODUCTION.models)
    assert "!model:large-model" in str(monitors(replace(PRODUCTION, models=idle))["cold-model"]["query"])
    assert "!model" not in str(MADE["cold-model"]["query"])


def test_without_reading_datadog_nobody_is_told_that_its_data_is_old() -> None:
    blind = monitors(replace(PRODUCTION, datadog=replace(PRODUCTION.datadog, read=False)))
    assert {"datadog-old", "datadog-limit"} == set(monitors(PRODUCTION)) - set(blind)


def test_providers_and_tenants_are_watched_where_there_are_any() -> None:
    none = monitors(replace(FULL, providers=(), tenants=()))
    assert set(MADE) - set(none) == {"provider-away", "tenants-unlimited"}

"""The documents are what the API takes, are up to date, and ask for nothing that nobody sends."""

from __future__ import annotations

import copy
import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datadog_api_client import Configuration
from datadog_api_client.model_utils import validate_and_convert_types
from datadog_api_client.v1.model.dashboard import Dashboard
from datadog_api_client.v1.model.monitor import Monitor
from datadog_api_client.v1.model.service_level_objective_request import ServiceLevelObjectiveRequest
from datadog_api_client.v2.model.logs_metric_create_request import LogsMetricCreateRequest

from fleet import metrics, spec
from fleet.boards import integrations
from fleet.boards.files import files
from fleet.model import Spec, Tenant
from fleet.names import Names
from fleet.policy import LogVolume
from fleet.provider import Provider

CHECKOUT = Path(__file__).parents[3]
LISTS = CHECKOUT / "tests/recordings/datadog-integrations"
FOLDER = CHECKOUT / "terraform/datadog"
PRODUCTION = spec.load(CHECKOUT / "jobs/fleet.toml").spec
LOCAL = spec.load(
    CHECKOUT / "jobs/fleet.toml", var_files=(CHECKOUT / "jobs/local.toml",), variables=("fleet.redis=redis://127.0.0.1",)
).spec
RULE = LogVolume(large="large-model", small="small-model", threshold_bytes=2_000_000)
FULL = replace(
    PRODUCTION,
    autoscaler=replace(PRODUCTION.autoscaler, log_volume=(RULE,)),
    providers=(Provider(name="lab", model="x", base_url="https://lab.example/v1"),),
    tenants=(Tenant(name="shop", key_sha256=("0" * 64,)),),
)
"""With everything that has boards or monitors of its own."""

QUERY = re.compile(r"(?:p\d\d|sum|avg|min|max|count):([a-z0-9_.]+)\{([^}]*)\}(?: by \{([^}]*)\})?")
KINDS = {
    "dashboard.json": Dashboard,
    "slo.json": ServiceLevelObjectiveRequest,
    "log_metric.json": LogsMetricCreateRequest,
}


def documents(described: Spec) -> dict[str, Any]:
    return {name: json.loads(text) for name, text in files(described).items()}


def taken(document: Any, model: type) -> Any:
    """As Datadog's own client reads it, with types checked."""
    return validate_and_convert_types(document, (model,), ["document"], True, True, configuration=Configuration())


def is_wholly_understood(document: Any, model: type) -> bool:
    return not taken(copy.deepcopy(document), model)._unparsed


def strings(document: Any) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for value in document.values():
            yield from strings(value)
    elif isinstance(document, list):
        for value in document:
            yield from strings(value)


def asked(document: Any) -> Iterator[tuple[str, set[str]]]:
    """Every metric in a document, with the tags that it is filtered or grouped by."""
    for text in strings(document):
        for name, filters, by in QUERY.findall(text):
            keys = {part.strip().lstrip("!").partition(":")[0] for part in re.split(r",| OR ", filters)}
            yield name, {key.lstrip("$") for key in keys if key} | {key for key in by.split(",") if key}


def listed() -> dict[str, str]:
    rows = [row for path in LISTS.glob("*.csv") for row in csv.DictReader(path.read_text().splitlines())]
    return {row["metric_name"]: row["metric_type"] for row in rows}


@pytest.mark.parametrize("described", [PRODUCTION, LOCAL, FULL], ids=["production", "local", "full"])
def test_datadogs_own_client_understands_every_document_whole(described: Spec) -> None:
    for name, document in documents(described).items():
        if name != "distributions.json":
            assert is_wholly_understood(document, KINDS.get(name, Monitor)), name


def _unknown_widget(board: Any) -> None:
    board["widgets"][0]["definition"]["widgets"][1]["definition"]["type"] = "manage_nothing"


def _wrong_source(board: Any) -> None:
    board["widgets"][1]["definition"]["widgets"][-1]["definition"]["requests"][0]["queries"][0]["data_source"] = "metric"


def _wrong_colour(board: Any) -> None:
    numbers = [w["definition"] for w in board["widgets"][0]["definition"]["widgets"] if w["definition"]["type"] == "query_value"]
    numbers[1]["requests"][0]["conditional_formats"][0]["palette"] = "mauve_on_red"


@pytest.mark.parametrize("spoil", [_unknown_widget, _wrong_source, _wrong_colour])
def test_that_judge_finds_a_spoilt_dashboard(spoil: Callable[[Any], None]) -> None:
    board = documents(PRODUCTION)["dashboard.json"]
    del board["widgets"][2:]  # to judge a whole one takes seconds
    spoil(board)
    assert not is_wholly_understood(board, Dashboard)


def test_the_committed_documents_are_those_of_the_description() -> None:
    made = files(PRODUCTION)
    there = {path.relative_to(FOLDER).as_posix(): path.read_text() for path in FOLDER.rglob("*.json")}
    assert there == dict(made), "run `warmfleet boards`"


@pytest.mark.parametrize("described", [PRODUCTION, FULL], ids=["production", "full"])
def test_every_metric_and_tag_is_one_that_we_send_or_an_integration_lists(described: Spec) -> None:
    ours = {metric.name: metric for metric in metrics.ALL}
    foreign = {metric.name: metric for metric in integrations.ALL}
    lists = listed()
    for name, document in documents(described).items():
        for metric, tags in asked(document):
            assert metric in ours or metric in lists, f"{name} asks for {metric}, which nobody sends"
            known = ours.get(metric) or foreign[metric]
            assert tags <= {"env", "service", "host", *known.tags}, f"{name} asks {metric} for {tags}"


def test_no_query_of_the_dashboard_escapes_that_look() -> None:
    text = files(PRODUCTION)["dashboard.json"]
    assert len(list(asked(json.loads(text)))) == text.count('"data_source": "metrics"') > 80


def test_what_is_declared_of_integrations_is_what_they_list() -> None:
    lists = listed()
    assert {metric.name: metric.kind for metric in integrations.ALL}.items() <= lists.items()


def test_services_in_queries_are_those_that_the_jobs_set() -> None:
    names = Names(PRODUCTION.fleet.name)
    known = {names.router_service, names.autoscaler_service, *(names.job(model.name) for model in PRODUCTION.models)}
    for document in documents(PRODUCTION).values():
        for text in strings(document):
            for _, filters, _ in QUERY.findall(text):
                assert set(re.findall(r"service:([\w*-]+)", filters)) <= known


@pytest.mark.parametrize(
    ("metric", "tags"),
    [
        ("warmfleet.router.sessions", {"selector", "model"}),
        ("warmfleet.router.ttft", {"model"}),
        ("warmfleet.router.failovers", {"model", "reason"}),
        ("warmfleet.router.breakers", {"model", "state"}),
        ("warmfleet.autoscaler.cold_start", {"model"}),
        ("warmfleet.autoscaler.replicas", {"state"}),
        ("warmfleet.autoscaler.forecast", {"bound"}),
        ("warmfleet.autoscaler.load", {"demand"}),
        ("warmfleet.autoscaler.decisions", {"reason"}),
        ("warmfleet.router.session_lookups", {"result"}),
        ("warmfleet.router.log_bytes", {"model"}),
        ("warmfleet.autoscaler.log_threshold", {"model"}),
        ("warmfleet.autoscaler.datadog_age", set()),
        ("warmfleet.autoscaler.datadog_remaining", set()),
        ("warmfleet.router.spent", {"tenant"}),
        ("warmfleet.router.provider_cost", {"provider"}),
        ("warmfleet.router.provider_requests", {"provider", "outcome"}),
        ("dcgm.gpu_utilization", {"host"}),
        ("vllm.kv_cache_usage_perc", {"model"}),
        ("nomad.client.allocations.running", set()),
        ("consul.catalog.services_critical", set()),
        ("redis.mem.used", set()),
    ],
)
def test_the_dashboard_answers_what_an_operator_asks(metric: str, tags: set[str]) -> None:
    board = documents(PRODUCTION)["dashboard.json"]
    assert any(name == metric and tags <= found for name, found in asked(board))


def test_the_questions_stand_in_the_order_in_which_they_are_asked() -> None:
    groups = [widget["definition"]["title"] for widget in documents(PRODUCTION)["dashboard.json"]["widgets"]]
    assert groups == ["1. Is it healthy?", "2. Is it warm?", "3. Will it stay warm?", "4. What does it cost?", "5. What is wrong?"]


def test_percentiles_are_asked_of_distributions_that_terraform_is_told_to_keep_them_of() -> None:
    made = documents(PRODUCTION)
    text = json.dumps(made)
    for metric in re.findall(r"p\d\d:([a-z_.]+)\{", text):
        assert metric in made["distributions.json"]


@pytest.mark.parametrize(
    ("prefix", "job", "switch"),
    [
        ("vllm.", "large-model", "vllm = {"),
        ("redis.", "redis", "redisdb = {"),
        ("consul.", "datadog-agent", "conf.d/consul.d/conf.yaml"),
        ("dcgm.", "", ""),
        ("nomad.", "", ""),
        ("datadog.", "", ""),
    ],
)
def test_our_jobs_switch_on_the_integrations_that_are_theirs_to_switch_on(prefix: str, job: str, switch: str) -> None:
    assert any(metric.name.startswith(prefix) for metric in integrations.ALL)
    if job:
        assert switch in (CHECKOUT / f"jobs/{job}.nomad.hcl").read_text()
    else:  # the nodes' own: a monitor or graph about them stays empty until the nodes are told, and operations.md says how
        assert prefix.rstrip(".") in (CHECKOUT / "docs/operations.md").read_text()


def test_every_declared_metric_is_recorded_by_a_part_that_runs() -> None:
    """That what is recorded also arrives, with these tags, is judged at a socket: tests/contract/test_datagrams.py."""
    sources = [path.read_text() for part in ("router", "autoscaler") for path in (CHECKOUT / part).rglob("*.py")]
    names = {name for name, value in vars(metrics).items() if isinstance(value, metrics.Metric)}
    assert {name for name in names if not any(re.search(rf"\b{name}\b", source) for source in sources)} == set()

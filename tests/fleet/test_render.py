"""Rendered jobs are the same every time, hold whatever stands in the description, and restart replicas only when they must."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import SpecError
from fleet.render import deadlines, hcl, heredoc_json, render_jobs
from fleet.spec import Loaded, load, resolved_json

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "templates"


def fleet(*variables: str) -> Loaded:
    return load(ROOT / "jobs/fleet.toml", variables=variables)


def source(loaded: Loaded, job: str) -> str:
    match = re.search(r'"warmfleet.source"\s+= "(\w+)"', render_jobs(loaded, TEMPLATES)[f"{job}.nomad.hcl"])
    assert match
    return match[1]


def test_there_is_one_file_per_job_and_each_ends_in_a_newline() -> None:
    jobs = render_jobs(fleet(), TEMPLATES)
    names = ["router", "autoscaler", "redis", "datadog-agent", "small-model", "large-model"]
    assert list(jobs) == [f"{name}.nomad.hcl" for name in names]
    assert all(text.endswith("}\n") for text in jobs.values())
    assert all(text.startswith("# Made by `warmfleet render`") for text in jobs.values())


def test_the_same_description_gives_the_same_bytes() -> None:
    assert render_jobs(fleet(), TEMPLATES) == render_jobs(fleet(), TEMPLATES)


def test_without_datadog_there_is_no_agent_and_nobody_talks_to_one() -> None:
    jobs = render_jobs(fleet("datadog.enabled=false"), TEMPLATES)
    assert "datadog-agent.nomad.hcl" not in jobs
    router = jobs["router.nomad.hcl"]
    assert "DD_" not in router
    assert "ddtrace" not in router


@pytest.mark.parametrize(
    "variable",
    [
        "model.small-model.replicas.max=5",
        "model.small-model.cold_start=14m",
        "model.small-model.lost_after=2h",
        "model.large-model.context=4096",
        "router.port=8001",
        "autoscaler.interval=11s",
    ],
)
def test_a_replica_is_not_restarted_for(variable: str) -> None:
    assert source(fleet(variable), "small-model") == source(fleet(), "small-model")


@pytest.mark.parametrize(
    "variable",
    [
        "model.small-model.context=4096",
        "model.small-model.image=vllm/vllm-openai:v0.31.0",
        'model.small-model.args=["--seed", "1"]',
        "model.small-model.gpu.count=2",
        "check.interval=4s",
        "fleet.shutdown_delay=3s",
    ],
)
def test_a_replica_is_replaced_for(variable: str) -> None:
    assert source(fleet(variable), "small-model") != source(fleet(), "small-model")


def test_every_change_of_the_description_reaches_the_router() -> None:
    assert source(fleet("route.chat.chain=['small-model']"), "router") != source(fleet(), "router")


def test_a_comment_in_a_template_restarts_nothing(tmp_path: Path) -> None:
    for template in TEMPLATES.iterdir():
        (tmp_path / template.name).write_text(template.read_text())
    model = tmp_path / "model.nomad.hcl.j2"
    model.write_text(model.read_text().replace("    network {", "    # A comment.\n    network {"))
    assert f'"{source(fleet(), "small-model")}"' in render_jobs(fleet(), tmp_path)["small-model.nomad.hcl"]


@given(st.floats(1, 7200))
def test_nomad_waits_longer_than_a_cold_start_takes(cold_start_s: float) -> None:
    patience = deadlines(cold_start_s)
    assert cold_start_s + 299 <= patience.healthy_s < patience.progress_s
    assert patience.restart_s >= 3 * cold_start_s


pieces = [
    "${",
    "%{",
    "$",
    "%",
    "{",
    "}",
    '"',
    "\\",
    "~",
    " ",
    "\n",
    "\t",
    "\r",
    "\x00",
    "\x1f",
    "\x7f",
    "a",
    "[",
    "<<<",
    "#",
    "é",
    "\u2028",
]
hostile = st.lists(st.sampled_from(pieces), max_size=8).map("".join)


@given(hostile | st.text())
def test_a_quoted_value_keeps_its_content_and_opens_nothing(value: str) -> None:
    quoted = hcl(value)
    assert quoted[0] == quoted[-1] == '"'
    assert not re.search(r"[$%]\{|[\x00-\x1f]", quoted)
    assert json.loads(quoted) == value  # where HCL has escapes, they are those of JSON


@given(st.dictionaries(hostile, hostile | st.integers() | st.lists(hostile), max_size=4))
def test_a_document_in_a_heredoc_keeps_its_content_and_opens_nothing(document: dict[str, Any]) -> None:
    text = heredoc_json(json.dumps(document, indent=2))
    assert json.loads(text) == document
    assert not re.search(r"[$%<>]", text)
    assert "FLEET_JSON" not in text.splitlines()


def test_the_document_in_a_job_is_the_one_that_tasks_must_see() -> None:
    loaded = fleet('fleet.region="${x} %{ if } <<< {{ FLEET_JSON"')
    text = render_jobs(loaded, TEMPLATES)["router.nomad.hcl"]
    match = re.search(r"<<FLEET_JSON\n(.*)\nFLEET_JSON\n", text, re.DOTALL)
    assert match
    assert json.loads(match[1]) == json.loads(resolved_json(loaded))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("router", "[[ spec.router.prot ]]", "router.nomad.hcl.j2: cannot be rendered: .*has no attribute 'prot'"),
        ("router", "\n[% for x in %]", r"router.nomad.hcl.j2:2: is not a valid template"),
        ("model", '[% import "nothing.j2" as m %]', "there is no template nothing.j2"),
    ],
)
def test_a_mistake_in_a_template_names_the_template(tmp_path: Path, name: str, text: str, expected: str) -> None:
    for template in TEMPLATES.iterdir():
        (tmp_path / template.name).write_text(template.read_text())
    (tmp_path / f"{name}.nomad.hcl.j2").write_text(text)
    with pytest.raises(SpecError, match=expected):
        render_jobs(fleet(), tmp_path)


def test_a_template_that_is_no_text_is_named(tmp_path: Path) -> None:
    for template in TEMPLATES.iterdir():
        (tmp_path / template.name).write_bytes(template.read_bytes())
    (tmp_path / "redis.nomad.hcl.j2").write_bytes(b"# caf\xe9")
    with pytest.raises(SpecError, match=r"redis\.nomad\.hcl\.j2: or what it includes is not UTF-8 text: .* at byte 5"):
        render_jobs(fleet(), tmp_path)


def test_a_folder_without_templates_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=rf"there is no template router\.nomad\.hcl\.j2 in {tmp_path}; run this in"):
        render_jobs(fleet(), tmp_path)

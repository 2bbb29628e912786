"""The linter finds what an edited template has lost, and nothing in our own."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.blocks import blocks
from fleet.lint import lint
from fleet.render import render_jobs
from fleet.spec import load

ROOT = Path(__file__).parents[2]
LOADED = load(ROOT / "jobs/fleet.toml")
JOBS = render_jobs(LOADED, ROOT / "templates")
NAME = "small-model.nomad.hcl"


def line_of(text: str, start: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if line.strip().startswith(start))


def test_nothing_is_found_in_our_own_jobs() -> None:
    assert lint(JOBS, LOADED.spec) == ()


@pytest.mark.parametrize(
    ("old", "new", "block", "expected"),
    [
        ("      check {", "      unchecked {", "service {", "has no check"),
        ("    service {", "    disservice {", "group ", "has ports and no service"),
        ("      canary_meta {", "      canary_mate {", "service {", "has no canary_meta"),
        ('        canary      = "small-model"', '        model       = "small-model"', "service {", "canary_meta says model"),
        ("vllm-openai:v0.30.0", "vllm-openai:latest", "config {", "image 'vllm/vllm-openai:latest' is not pinned"),
        ("vllm-openai:v0.30.0", "vllm-openai", "config {", "is not pinned"),
        ('healthy_deadline  = "15m"', 'healthy_deadline  = "10m"', "update {", "healthy_deadline is not longer than the cold start"),
        ('progress_deadline = "20m"', 'progress_deadline = "15m"', "update {", "progress_deadline is not longer than healthy_deadline"),
        ('healthy_deadline  = "15m"', 'healthy_deadline  = "soon"', "update {", "healthy_deadline 'soon': a duration is a string"),
        ("    update {", "    outdate {", "group ", "has no update block"),
        ("    restart {", "    restarted {", "group ", "has no restart block"),
        ('interval = "1h"', 'interval = "20m"', "restart {", "interval is not longer than 2 cold starts"),
        ('    shutdown_delay = "2s"', "", "group ", "has no shutdown_delay"),
        ("    disconnect {", "    misconnect {", "group ", "has devices and no disconnect block"),
        ("replace    = false", "replace    = true", "group ", "disconnect may replace"),
        ('        device "nvidia/gpu" {', '        advice "nvidia/gpu" {', "resources {", "asks for no device"),
        ("          constraint {", "          restraint {", "device ", "has no constraint"),
        ("      volume_mount {", "      volume_moult {", "group ", "mounts no host volume"),
        ('kill_timeout = "125s"', "", "task ", "has no kill_timeout"),
        ('kill_timeout = "125s"', 'kill_timeout = "15m"', "task ", "kill_timeout is 15m, and the Nomad clients allow 10m"),
    ],
)
def test_a_lost_safeguard_is_found_at_its_block(old: str, new: str, block: str, expected: str) -> None:
    assert JOBS[NAME].count(old) >= 1
    text = JOBS[NAME].replace(old, new, 1)
    (finding,) = lint({NAME: text}, LOADED.spec)
    assert finding.where == f"{NAME}:{line_of(text, block)}"
    assert expected in finding.message


def test_a_device_that_is_named_with_its_model_needs_no_constraint() -> None:
    text = (
        JOBS[NAME].replace('device "nvidia/gpu"', 'device "nvidia/gpu/H100"').replace("          constraint {", "          restraint {", 1)
    )
    assert lint({NAME: text}, LOADED.spec) == ()


def test_a_digest_pins_an_image() -> None:
    text = JOBS[NAME].replace("vllm-openai:v0.30.0", f"vllm-openai@sha256:{'0' * 64}")
    assert lint({NAME: text}, LOADED.spec) == ()


def test_what_stands_in_a_heredoc_is_no_block() -> None:
    text = 'job "x" {\n  data = <<JSON\nservice {\n  image = "a"\n}\nJSON\n  group "g" {}\n  other {\n  }\n}\n'
    assert [(block.kind, block.line) for block in blocks(text)] == [("job", 1), ("group", 7), ("other", 8)]


@pytest.mark.parametrize(
    ("grace", "found"),
    [("10m", True), ("11m", False)],
)
def test_the_grace_of_a_check_that_restarts_is_longer_than_the_cold_start(grace: str, found: bool) -> None:
    block = f'      check {{\n        check_restart {{\n          limit = 3\n          grace = "{grace}"\n        }}'
    text = JOBS[NAME].replace("      check {", block, 1)
    assert [f.key for f in lint({NAME: text}, LOADED.spec)] == (["check_restart"] if found else [])


def test_the_cap_of_the_clients_is_a_setting() -> None:
    loaded = load(ROOT / "jobs/fleet.toml", variables=["fleet.max_kill_timeout=30s"])
    findings = lint(render_jobs(loaded, ROOT / "templates"), loaded.spec)
    assert {f.where.split(":")[0] for f in findings} == {"router.nomad.hcl", "small-model.nomad.hcl", "large-model.nomad.hcl"}
    assert all("fleet.max_kill_timeout" in f.message for f in findings)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('DD_API_KEY = "0123456789abcdef0123456789abcdef"', "DD_API_KEY"),
        ('        "password": "hunter2",', "password"),
        ('"--hf-token", "abcdefgh",', "hf-token"),
        ('"--api-key=abcdefgh",', "api-key"),
        ('args = ["-c", "curl -H authorization:AKIAABCDEFGHIJKLMNOP"]', "AKIAAB"),
        ('x = "sk-abcdefghijklmnopqrstuv"', "sk-abc"),
    ],
)
def test_a_secret_in_clear_text_is_found_at_its_line(line: str, name: str) -> None:
    text = JOBS[NAME].replace("      env {", f"      env {{\n{line}", 1)
    findings = lint({NAME: text}, LOADED.spec)
    assert findings
    assert {f.where for f in findings} == {f"{NAME}:{line_of(text, line.strip())}"}
    assert all(f.message.startswith(name) and "Nomad variable" in f.message for f in findings)


@pytest.mark.parametrize(
    "line",
    [
        'DD_API_KEY = "{{ .api_key }}"',
        'HF_TOKEN = "${NOMAD_SECRETS_DIR}/token"',
        '"key_env": "OPENAI_API_KEY",',
        '"api_key_env": "OPENAI_API_KEY",',
        '"first_token_timeout": "20s",',
        '"--max-num-batched-tokens", "8192",',
        '"output_tokens_per_s": "x",',
    ],
)
def test_a_reference_to_a_secret_is_none(line: str) -> None:
    text = JOBS[NAME].replace("      env {", f"      env {{\n{line}", 1)
    assert lint({NAME: text}, LOADED.spec) == ()


def test_attributes_after_a_table_in_a_list_belong_to_their_own_block() -> None:
    text = 'config {\n  labels = [{\n    a = "1"\n  }]\n}\nnext "n" {\n  bare = 3 # why\n}\n'
    config, following = blocks(text)
    assert (config.kind, following.label, following.values) == ("config", "n", {"bare": "3"})

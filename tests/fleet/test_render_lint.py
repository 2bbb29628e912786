"""The linter finds what an edited template has lost, and nothing in our own."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.lint import blocks, lint
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
        ("vllm-openai:v0.30.0", "vllm-openai:latest", "config {", "image 'vllm/vllm-openai:latest' is not pinned"),
        ("vllm-openai:v0.30.0", "vllm-openai", "config {", "is not pinned"),
        ('healthy_deadline  = "15m"', 'healthy_deadline  = "10m"', "update {", "healthy_deadline is not longer than the cold start"),
        ('progress_deadline = "20m"', 'progress_deadline = "15m"', "update {", "progress_deadline is not longer than healthy_deadline"),
    ],
)
def test_a_lost_safeguard_is_found_at_its_block(old: str, new: str, block: str, expected: str) -> None:
    assert JOBS[NAME].count(old) == 1
    text = JOBS[NAME].replace(old, new)
    (finding,) = lint({NAME: text}, LOADED.spec)
    assert finding.where == f"{NAME}:{line_of(text, block)}"
    assert expected in finding.message


def test_a_digest_pins_an_image() -> None:
    text = JOBS[NAME].replace("vllm-openai:v0.30.0", f"vllm-openai@sha256:{'0' * 64}")
    assert lint({NAME: text}, LOADED.spec) == ()


def test_what_stands_in_a_heredoc_is_no_block() -> None:
    text = 'job "x" {\n  data = <<JSON\nservice {\n  image = "a"\n}\nJSON\n  group "g" {}\n  other {\n  }\n}\n'
    assert [(block.kind, block.line) for block in blocks(text)] == [("job", 1), ("group", 7), ("other", 8)]

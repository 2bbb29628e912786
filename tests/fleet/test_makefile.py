"""What `make` runs: the commands of the same names, with what they are told. Nothing is run but the refusals."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DONE = ("-o", ".venv/.running", "-o", ".venv/.installed")  # as if they were there, whatever their age


def make(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *DONE, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("up",), "up"),
        (("down",), "down"),
        (("status",), "status"),
        (("render",), "render"),
        (("validate",), "validate"),
        (("plan",), "plan"),
        (("plan", "JOBS=redis router"), "plan redis router"),
        (("deploy",), "deploy"),
        (("deploy", "JOBS=small-model"), "deploy small-model"),
        (("rollback", "JOB=small-model"), "rollback small-model"),
        (("rollback", "JOB=small-model", "VERSION=3"), "rollback small-model 3"),
        (("scale", "MODEL=small-model", "COUNT=2"), "scale small-model 2"),
    ],
)
def test_a_target_runs_the_command_of_its_name(words: tuple[str, ...], command: str) -> None:
    said = make("--dry-run", *words)
    assert (said.returncode, said.stderr) == (0, "")
    last = said.stdout.splitlines()[-1].partition("||")[0]
    assert last.split() == [".venv/bin/warmfleet", *command.split()]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("rollback",), "say which: make rollback JOB="),
        (("scale", "MODEL=small-model"), "say which and how many: make scale"),
        (("simulate",), "say which: make simulate TRACE="),
    ],
)
def test_a_target_that_is_not_told_what_says_what_to_write(words: tuple[str, ...], says: str) -> None:
    said = make(*words)
    assert (said.returncode, said.stderr.startswith(says)) == (2, True), said


def test_every_target_is_listed_with_what_it_does() -> None:
    listed = [line.split()[1] for line in make("help").stdout.splitlines()]
    phony = next(line for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if line.startswith(".PHONY:")).split()[1:]
    assert sorted(listed) == sorted(phony)

"""What is installed is pinned, the running system's packages are a part of all packages, and they are all that it imports."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPORT_WITHOUT_THE_REST = """
import importlib, re, sys
from importlib.metadata import packages_distributions

there = set(sys.argv[1].split(",")) | {"warmfleet"}
absent = {
    package
    for package, homes in packages_distributions().items()
    if not {re.sub(r"[-_.]+", "-", home).lower() for home in homes} & there
}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
for module in sys.argv[2:]:
    importlib.import_module(module)
"""
RUNNING = (
    *("fleet.local.commands", "fleet.local.build", "fleet.commands", "fleet.deploy.commands", "fleet.reload", "fleet.live", "fleet.key"),
    *("fleet.local.engine", "router.process.server", "router.process.supervisor", "router.app", "autoscaler.app"),
)


def pins(lock: str) -> dict[str, frozenset[str]]:
    """Hashes by requirement, which is a name, a version, and where it holds."""
    requirements = re.split(r"\n(?=\S)", (ROOT / lock).read_text("utf-8").strip())
    return {one.splitlines()[0].rstrip(" \\"): frozenset(re.findall(r"--hash=(sha256:[0-9a-f]{64})", one)) for one in requirements}


def named(lock: str) -> set[str]:
    return {requirement.partition("==")[0] for requirement in pins(lock)}


def required(extras: Mapping[str, list[str]], *names: str) -> set[str]:
    """Of extras."""
    return {re.split(r"[^\w-]", text)[0].lower() for name in names for text in extras[name]}


def test_a_running_system_gets_a_part_of_what_tests_have() -> None:
    running, everything = pins("requirements-run.lock"), pins("requirements.lock")
    assert running.items() < everything.items()


@pytest.mark.parametrize("lock", ["requirements-run.lock", "requirements.lock"])
def test_all_is_pinned_by_hash_and_nothing_says_where_it_comes_from(lock: str) -> None:
    assert all(pins(lock).values())
    assert all(re.match(r"[a-z0-9-]+==[\w.]+( ;|$)", requirement) for requirement in pins(lock))
    assert "://" not in (ROOT / lock).read_text("utf-8")


def test_the_locks_are_those_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    assert required(extras, "", "local", "checkout") <= named("requirements-run.lock")
    assert required(extras, *extras) <= named("requirements.lock")
    assert not named("requirements-run.lock") & required(extras, "dev", "forecast", "tracing", "analytics")


def test_what_make_up_runs_imports_nothing_else() -> None:
    ran = imported(*RUNNING)
    assert ran.returncode == 0, ran.stderr


def test_an_import_of_something_else_is_seen() -> None:
    ran = imported("autoscaler.simulate.replay")
    assert ran.returncode == 1
    assert "No module named 'numpy'" in ran.stderr


def imported(*modules: str) -> subprocess.CompletedProcess[str]:
    """These, where nothing else is there than what a running system has."""
    command = [sys.executable, "-c", IMPORT_WITHOUT_THE_REST, ",".join(named("requirements-run.lock")), *modules]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

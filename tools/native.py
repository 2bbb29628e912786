"""Compiles what every request goes through: `python tools/native.py` leaves it in .native, and a wheel has it (`make wheel`).

    pyproject.toml [tool.warmfleet] compiled ─► a copy of the packages ─► mypyc ─► C ─► extension modules in the copy

Law: what is compiled is the Python that stands in the packages, all of it typed; nothing is written in another language, and everything
runs without a compiler too. Nothing compiled lies beside the sources, where it would go on being used after they have changed:
`PYTHONSAFEPATH=1 PYTHONPATH=.native:. python -m router` runs it, and a wheel is made of a copy that is thrown away.
Each compilation has a folder of its own; one at a time in a checkout leaves its result in .native.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CHECKOUT = Path(__file__).resolve().parents[1]
FOLDER = CHECKOUT / ".native"
PACKAGES = ("fleet", "router", "autoscaler")
_STAMP = ".made-of"


def modules(checkout: Path = CHECKOUT) -> list[str]:
    """Paths of what is compiled, from the checkout's folder."""
    described = tomllib.loads((checkout / "pyproject.toml").read_text())
    return [str(path) for path in described["tool"]["warmfleet"]["compiled"]]


def sources(checkout: Path = CHECKOUT) -> str:
    """A digest of everything that what is compiled is made of."""
    found = hashlib.sha256(f"{sys.version} mypy {version('mypy')}".encode())
    paths = [path for package in PACKAGES for path in sorted((checkout / package).rglob("*.py"))]
    for path in (*paths, checkout / "pyproject.toml", Path(__file__)):
        found.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())
    return found.hexdigest()


def compile_into(folder: Path, checkout: Path = CHECKOUT) -> None:
    """Makes `folder`, which must not be there yet: those packages, whole, that have compiled modules.

    Raises:
        SystemExit: a compiler is missing, or a module cannot be compiled.
    """
    if missing := _missing():
        sys.exit(f"compiling needs {missing}; without them the router runs as plain Python, at more CPU a request")
    for package in PACKAGES:
        shutil.copytree(checkout / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(checkout / "pyproject.toml", folder)
    with contextlib.chdir(folder):
        _build(modules(checkout))
    shutil.rmtree(folder / "build")
    for path in folder.iterdir():
        if path.is_file() and path.suffix != ".so":
            path.unlink()
        elif path.is_dir() and not any(path.rglob("*.so")):
            shutil.rmtree(path)


def _missing() -> str:
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"a C compiler ({compiler}; Debian, Ubuntu: apt-get install gcc)"
    series = f"{sys.version_info.major}.{sys.version_info.minor}"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    return "" if header.exists() else f"Python's own headers (Debian, Ubuntu: apt-get install python{series}-dev)"


def _build(paths: list[str]) -> None:
    """In the current folder."""
    from mypyc.build import mypycify  # noqa: PLC0415 - takes its time
    from setuptools import Distribution  # noqa: PLC0415

    extensions = mypycify(paths, opt_level="2", debug_level="0", verbose=False)
    distribution = Distribution({"name": "warmfleet", "ext_modules": extensions, "packages": []})
    command: Any = distribution.get_command_obj("build_ext")
    command.inplace = True
    distribution.run_command("build_ext")


def up_to_date(folder: Path = FOLDER, checkout: Path = CHECKOUT, compiled: Callable[[Path, Path], None] = compile_into) -> None:
    """Makes `folder` anew, unless it was made of what is in the checkout now. Waits for another that does; `compiled` is what makes it."""
    with _alone(checkout):
        stamp, wanted = folder / _STAMP, sources(checkout)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        sys.stderr.write(f"compiling {len(modules(checkout))} modules into {folder.name}, for about a minute\n")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".native-") as made:
            fresh = Path(made) / "all"
            compiled(fresh, checkout)
            (fresh / _STAMP).write_text(wanted)
            if folder.exists():
                folder.rename(Path(made) / "old")  # so that what is there is whole, or is not there
            fresh.rename(folder)


@contextlib.contextmanager
def _alone(checkout: Path) -> Iterator[None]:
    """Holds a lock on the list of what is compiled: whoever compiles reads it, and it leaves no file behind."""
    with (checkout / "pyproject.toml").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


class CompiledWheel(BuildHookInterface[Any]):
    """Puts the compiled modules into a wheel, beside their sources. pyproject.toml names it to hatchling."""

    PLUGIN_NAME = "custom"
    _scratch: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        Path(self.directory).mkdir(parents=True, exist_ok=True)
        self._scratch = tempfile.TemporaryDirectory(dir=self.directory, prefix="native-")
        made = Path(self._scratch.name) / "all"
        compile_into(made, Path(self.root))
        built = {str(path): str(path.relative_to(made)) for path in made.rglob("*.so")}
        build_data |= {"pure_python": False, "infer_tag": True}
        build_data["force_include"] |= built

    def finalize(self, *_: Any) -> None:
        if self._scratch is not None:
            self._scratch.cleanup()


if __name__ == "__main__":
    up_to_date()

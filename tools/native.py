"""Compiles what every request goes through: `python tools/native.py` leaves it in .native, and a wheel has it (`make wheel`).

    pyproject.toml [tool.warmfleet] compiled ─► a copy of the packages ─► mypyc ─► C ─► extension modules in the copy

Law: what is compiled is the Python that stands in the packages, all of it typed; nothing is written in another language, and everything
runs without a compiler too. Nothing compiled lies beside the sources, where it would go on being used after they have changed:
`PYTHONSAFEPATH=1 PYTHONPATH=.native:. python -m router` runs it, and a wheel is made of a copy that is thrown away.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sys
import sysconfig
import tempfile
import tomllib
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


def up_to_date(folder: Path = FOLDER) -> None:
    """Makes `folder` anew, unless it was made of what is in the checkout now."""
    stamp, wanted = folder / _STAMP, sources()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    sys.stderr.write(f"compiling {len(modules())} modules into {folder.name}, for about a minute\n")
    with tempfile.TemporaryDirectory(dir=CHECKOUT, prefix=".native-") as made:
        compile_into(Path(made) / "all")
        (Path(made) / "all" / _STAMP).write_text(wanted)
        shutil.rmtree(folder, ignore_errors=True)
        (Path(made) / "all").rename(folder)


class CompiledWheel(BuildHookInterface[Any]):
    """Puts the compiled modules into a wheel, beside their sources. pyproject.toml names it to hatchling."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        made = Path(self.directory) / "native"
        shutil.rmtree(made, ignore_errors=True)
        compile_into(made, Path(self.root))
        built = {str(path): str(path.relative_to(made)) for path in made.rglob("*.so")}
        build_data |= {"pure_python": False, "infer_tag": True}
        build_data["force_include"] |= built

    def finalize(self, *_: Any) -> None:
        shutil.rmtree(Path(self.directory) / "native", ignore_errors=True)


if __name__ == "__main__":
    up_to_date()

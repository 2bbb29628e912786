"""What is compiled (tools/native.py): the list in pyproject.toml is one that the compiler takes, and that means what the Python means.

And what a wheel has, of the same checkout.
"""

from __future__ import annotations

import ast
import fcntl
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tools import native

pytestmark = pytest.mark.long

COMMAND_LINE = "from fleet.cli import main; main()"
READ_AT_RUN_TIME = {"msgspec.Struct", "BaseModel", "pydantic.BaseModel"}


def classes(path: Path) -> Iterator[tuple[str, list[str]]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            yield node.name, [ast.unparse(base).split("[")[0] for base in node.bases]


COMPILED = [native.CHECKOUT / path for path in native.modules()]


def test_the_list_names_modules_each_once_and_in_order() -> None:
    listed = native.modules()
    assert [path for path in COMPILED if not path.is_file()] == []
    assert listed == sorted(set(listed))


@pytest.mark.parametrize("path", COMPILED, ids=native.modules())
def test_no_compiled_module_has_classes_whose_types_are_read_at_run_time(path: Path) -> None:
    assert [name for name, bases in classes(path) if READ_AT_RUN_TIME.intersection(bases)] == []


def test_no_class_that_is_not_compiled_has_a_compiled_base() -> None:
    compiled = {name for path in COMPILED for name, _ in classes(path)}
    others = set((native.CHECKOUT / "router").rglob("*.py")) - set(COMPILED)
    derived = {name: compiled.intersection(bases) for path in others for name, bases in classes(path)}
    assert {name: bases for name, bases in derived.items() if bases} == {}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for package in native.PACKAGES:
        shutil.copytree(native.CHECKOUT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(native.CHECKOUT / "pyproject.toml", tmp_path)
    return tmp_path


def test_any_change_of_a_source_asks_for_a_new_compilation(checkout: Path) -> None:
    before = native.sources(checkout)
    assert native.sources(checkout) == before == native.sources()
    changed(checkout)
    assert native.sources(checkout) != before


def changed(checkout: Path) -> None:
    with (checkout / "router" / "errors.py").open("a") as file:
        file.write("# changed\n")


@dataclass
class Compiler:
    """Writes one file in place of many. `begun`: how often it was started; `alone`: nobody else could have been meanwhile."""

    begun: int = 0
    alone: bool = True

    def compile_into(self, folder: Path, checkout: Path) -> None:
        self.begun += 1
        self.alone = self.alone and is_locked(checkout)
        folder.mkdir()
        (folder / "made.so").write_text(str(self.begun))


def is_locked(checkout: Path) -> bool:
    with (checkout / "pyproject.toml").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_of_two_that_start_together_one_compiles(checkout: Path) -> None:
    compiler, folder = Compiler(), checkout / ".native"
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: native.up_to_date(folder, checkout, compiler.compile_into), range(2)))
    assert compiler == Compiler(begun=1, alone=True)
    assert not is_locked(checkout)
    assert sorted(path.name for path in checkout.glob(".native*")) == [".native"]
    assert sorted(path.name for path in folder.iterdir()) == [".made-of", "made.so"]


def test_a_compilation_that_breaks_off_leaves_what_was_there(checkout: Path) -> None:
    compiler, folder = Compiler(), checkout / ".native"
    native.up_to_date(folder, checkout, compiler.compile_into)
    changed(checkout)

    def broken(made: Path, _: Path) -> None:
        made.mkdir()
        sys.exit("a module cannot be compiled")

    with pytest.raises(SystemExit):
        native.up_to_date(folder, checkout, broken)
    assert (folder / "made.so").read_text() == "1"
    native.up_to_date(folder, checkout, compiler.compile_into)
    assert (folder / "made.so").read_text() == "2"
    assert sorted(path.name for path in checkout.glob(".native*")) == [".native"]


def test_without_a_compiler_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"needs a C compiler \(.*apt-get install gcc\); without them the router runs as plain Python"):
        native.compile_into(tmp_path / "made")
    assert not (tmp_path / "made").exists()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """As `pip wheel .` makes it: without compiled modules."""
    folder = tmp_path_factory.mktemp("wheel")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HATCH_")}
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=native.CHECKOUT, env=environment, capture_output=True, check=True, timeout=120)
    (made,) = folder.glob("warmfleet-*-py3-none-any.whl")
    return zipfile.ZipFile(made)


@pytest.fixture(scope="module")
def installed(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpacked. Programs leave their bytecode in it, as in any installation, so that only the first one compiles."""
    folder = tmp_path_factory.mktemp("installed")
    wheel.extractall(folder)
    return folder


def test_a_wheel_has_every_module_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == {str(path.relative_to(native.CHECKOUT)) for name in native.PACKAGES for path in (native.CHECKOUT / name).rglob("*.py")}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("-c", COMMAND_LINE, "--help"), 0, "Start the whole system on this machine"),
        (("-c", COMMAND_LINE, "check"), 1, "run this in the root of the checkout, or name a file with --spec"),
        (("-c", COMMAND_LINE, "up"), 1, "is an installation: clone the repository and run `make up` in it"),
        (("-m", "router"), 2, "WARMFLEET_SPEC: is not set"),
        (("-m", "autoscaler"), 1, "set WARMFLEET_SPEC"),
    ],
    ids=["help", "check", "up", "router", "autoscaler"],
)
def test_what_is_installed_runs_anywhere_and_says_what_needs_a_checkout(
    installed: Path, tmp_path: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WARMFLEET_", "PYTHON"))}
    environment = kept | {"PYTHONPATH": str(installed)}
    said = subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert (said.returncode, says in said.stdout + said.stderr) == (code, True), said
    assert list(tmp_path.iterdir()) == []

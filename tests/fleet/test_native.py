"""What is compiled (tools/native.py): the list in pyproject.toml is one that the compiler takes, and that means what the Python means."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import native

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
    with (checkout / "router" / "errors.py").open("a") as file:
        file.write("# changed\n")
    assert native.sources(checkout) != before


def test_without_a_compiler_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"needs a C compiler \(.*apt-get install gcc\); without them the router runs as plain Python"):
        native.compile_into(tmp_path / "made")
    assert not (tmp_path / "made").exists()

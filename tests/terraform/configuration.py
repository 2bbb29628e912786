"""terraform/*.tf as Python sees it: blocks and their arguments, without Terraform.

Reads with python-hcl2, which parses and evaluates nothing: expressions stay text. `filled` puts values in for `${var.NAME}`, and that is
all it can do; whatever needs more is asserted in terraform/tests/ by Terraform itself.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hcl2

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "terraform"
FILES = sorted([*FOLDER.glob("*.tf"), *(FOLDER / "tests").glob("*.hcl")])


@dataclass(frozen=True, slots=True)
class Resource:
    """`kind` is its type, such as nomad_variable; `body` its arguments and blocks as python-hcl2 gives them."""

    kind: str
    name: str
    body: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.kind}.{self.name}"


@functools.cache
def read(path: Path) -> dict[str, Any]:
    """Parsed once in a test run, because that takes a while: not to be changed."""
    with path.open(encoding="utf-8") as file:
        parsed: dict[str, Any] = hcl2.load(file)
    return parsed


def blocks(kind: str) -> Iterator[dict[str, Any]]:
    """Every top-level block of that kind, of all files."""
    for path in sorted(FOLDER.glob("*.tf")):
        yield from read(path).get(kind, [])


def resources() -> list[Resource]:
    return [
        Resource(bare(kind), bare(name), body)
        for block in blocks("resource")
        for kind, named in block.items()
        for name, body in named.items()
    ]


def variables() -> dict[str, dict[str, Any]]:
    return {bare(name): body for block in blocks("variable") for name, body in block.items()}


def local(name: str) -> Any:
    return next(block[name] for block in blocks("locals") if name in block)


def bare(text: str) -> str:
    """A quoted string without its quotes."""
    return text.removeprefix('"').removesuffix('"')


def filled(text: str, values: Mapping[str, object]) -> str:
    return re.sub(r"\$\{var\.([\w.]+)\}", lambda match: str(values[match[1]]), bare(text))

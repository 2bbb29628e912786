"""The blocks of a rendered job, with their lines: enough of HCL to judge what a template has made.

Reads the form that `nomad fmt` gives (a block opens at the end of a line and closes on one of its own), which is the form
templates are written in. Not a parser of HCL: whether Nomad takes a job is asked of Nomad (`warmfleet validate`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_HEREDOC = re.compile(r"<<-?(\w+)$")
_BLOCK = re.compile(r'^(\w+)(?: "([^"]*)")?(?: "[^"]*")* \{(\})?$')
_ATTRIBUTE = re.compile(r'^(\w+)\s*= (?:"(.*?)"|([\w.]+))\s*(?:#.*)?$')


@dataclass(slots=True)
class Block:
    """A block of a job; `values` are its plain attributes as text, `label` is what stands quoted behind its kind."""

    kind: str
    line: int
    label: str = ""
    values: dict[str, str] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def inner(self, kind: str) -> list[Block]:
        """The blocks of a kind directly in this one."""
        return [block for block in self.blocks if block.kind == kind]


def blocks(text: str) -> Iterator[Block]:
    """All blocks of a job, outer before inner."""
    root = Block("", 0)
    path, end = [root], ""
    for number, line in enumerate((raw.strip() for raw in text.splitlines()), 1):
        if end:
            end = "" if line == end else end
        elif heredoc := _HEREDOC.search(line):
            end = heredoc[1]
        elif opened := _BLOCK.match(line):
            path[-1].blocks.append(Block(opened[1], number, opened[2] or ""))
            if not opened[3]:
                path.append(path[-1].blocks[-1])
        elif line.startswith("}") and len(path) > 1:
            path.pop()
        elif value := _ATTRIBUTE.match(line):
            path[-1].values[value[1]] = value[2] if value[2] is not None else value[3]
        elif line.endswith("{"):  # a table as a value: its attributes are not ours
            path.append(Block("", number))
    yield from walk(root)


def walk(block: Block) -> Iterator[Block]:
    """All blocks inside one, outer before inner."""
    for child in block.blocks:
        yield child
        yield from walk(child)

"""What every rendered job must have, whatever its template says: judged on the text, so that an edited template is judged too.

Reads the form that `nomad fmt` gives (a block opens at the end of a line and closes on one of its own), which is the form
templates are written in. Not a parser of HCL: whether Nomad takes a job is asked of Nomad (`warmfleet validate`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fleet.errors import Finding
from fleet.model import Spec
from fleet.units import parse_duration

_HEREDOC = re.compile(r"<<-?(\w+)$")
_BLOCK = re.compile(r'^(\w+)(?: "[^"]*")* \{(\})?$')
_ATTRIBUTE = re.compile(r'^(\w+)\s*= "(.*)"$')
_PINNED = re.compile(r"(@sha256:[0-9a-f]{64}|:(?!latest$)[\w.-]+)$")


@dataclass(slots=True)
class Block:
    """A block of a job; `values` are its quoted attributes."""

    kind: str
    line: int
    values: dict[str, str] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)


def lint(files: Mapping[str, str], spec: Spec) -> tuple[Finding, ...]:
    """Findings in rendered jobs by file name; none where all is well."""
    cold_starts = {f"{model.name}.nomad.hcl": model.cold_start_s for model in spec.models}
    return tuple(finding for name, text in files.items() for finding in _job(name, text, cold_starts.get(name, 0.0)))


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
            path[-1].blocks.append(Block(opened[1], number))
            if not opened[2]:
                path.append(path[-1].blocks[-1])
        elif line == "}" and len(path) > 1:
            path.pop()
        elif value := _ATTRIBUTE.match(line):
            path[-1].values[value[1]] = value[2]
        elif line.endswith("{"):  # a table as a value: its attributes are not ours
            path.append(Block("", number))
    yield from _inner(root)


def _inner(block: Block) -> Iterator[Block]:
    for child in block.blocks:
        yield child
        yield from _inner(child)


def _job(name: str, text: str, cold_start_s: float) -> Iterator[Finding]:
    for block in blocks(text):
        for message in (*_service(block), *_group(block), *_image(block), *_update(block, cold_start_s)):
            yield Finding(f"{name}:{block.line}", block.kind, message)


def _service(block: Block) -> Iterator[str]:
    if block.kind == "service" and not any(inner.kind == "check" for inner in block.blocks):
        yield "has no check: Consul would call it passing before it answers"


def _group(block: Block) -> Iterator[str]:
    serves = any(inner.kind == "service" for inner in block.blocks)
    count = any(inner.kind == "network" for inner in block.blocks)
    if block.kind == "group" and count and not serves:
        yield "has ports and no service: nobody can find or check it"


def _image(block: Block) -> Iterator[str]:
    image = block.values.get("image", "") if block.kind == "config" else ""
    if image and not _PINNED.search(image):
        yield f"image {image!r} is not pinned: give it a version or a digest, so that a restart runs what was tested"


def _update(block: Block, cold_start_s: float) -> Iterator[str]:
    if block.kind != "update" or "healthy_deadline" not in block.values:
        return
    healthy, progress = (parse_duration(block.values.get(key, "10m")) for key in ("healthy_deadline", "progress_deadline"))
    if healthy <= cold_start_s:
        yield f"healthy_deadline is not longer than the cold start: a replica would be given up while it loads ({cold_start_s:g} s)"
    if progress <= healthy:
        yield "progress_deadline is not longer than healthy_deadline: Nomad refuses that"

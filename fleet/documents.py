"""The parts of documents that are made from the code; of docs/operations.md: settings, metrics and commands.

A block stands between `<!-- made: NAME -->` and `<!-- end -->`; what is between them is replaced, the rest is left as written.
Pure: text in, text out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import click

from fleet import metrics
from fleet.errors import Finding, SpecError
from fleet.settings import Section, Setting, sections

_BLOCK = re.compile(r"(<!-- made: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(text: str, tables: Mapping[str, Callable[[], str]], *, where: str) -> str:
    """The text with every marked block made anew.

    Raises:
        SpecError: a block has a name that nothing makes, or a table has no block.
    """
    marked = [match[2] for match in _BLOCK.finditer(text)]
    unknown = [Finding(where, name, f"nothing makes this block; there are: {', '.join(tables)}") for name in marked if name not in tables]
    unplaced = [Finding(where, name, f"has no block: add <!-- made: {name} --> and <!-- end -->") for name in tables if name not in marked]
    if unknown or unplaced:
        raise SpecError((*unknown, *unplaced))
    return _BLOCK.sub(lambda match: f"{match[1]}\n{tables[match[2]]()}\n{match[3]}", text)


def tables(group: click.Group) -> Mapping[str, Callable[[], str]]:
    """What can be made, by the name of its block; `group` is the command line."""
    return {"settings": settings_tables, "metrics": metrics_table, "commands": lambda: commands_table(group)}


def settings_tables() -> str:
    return "\n".join(_settings_table(section) for section in sections() if section.settings)


def metrics_table() -> str:
    rows = ((f"`{m.name}`", m.kind, m.unit, ", ".join(m.tags), m.help) for m in metrics.ALL)
    return table(("metric", "kind", "unit", "tags", "meaning"), rows)


def commands_table(group: click.Group) -> str:
    return table(("command", "what it does"), _command_rows(group))


def _command_rows(group: click.Group) -> Iterator[tuple[str, str]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            yield f"`warmfleet {name}`", command.get_short_help_str(limit=120)


def _settings_table(section: Section) -> str:
    rows = (_setting_row(setting) for setting in section.settings)
    return f"### `{section.title}`\n\n{_title_meaning(section)}{table(('key', 'type', 'default', 'meaning'), rows)}"


def _title_meaning(section: Section) -> str:
    meaning = section.meaning.rstrip(".")
    return f"{meaning[0].upper()}{meaning[1:]}.\n\n" if meaning else ""


def _setting_row(setting: Setting) -> tuple[str, str, str, str]:
    default = "required" if setting.required else f"`{setting.default}`"
    return f"`{setting.key}`", setting.kind, default, setting.meaning


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """As Markdown."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)

"""The settings of a fleet as data: keys, types, bounds, defaults and meanings, read from the dataclasses of fleet/model.py.

For the loader's hints and for the generated table in docs/operations.md. It adds nothing of its own: what is not in
fleet/model.py is not a setting.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from fleet.model import Spec
from fleet.units import format_duration, format_size, parse_duration, parse_size

_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}
_SIGNS = {Ge: (">=", "ge"), Gt: (">", "gt"), Le: ("<=", "le"), Lt: ("<", "lt")}


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a table. `kind` is its type in words, `default` TOML or empty where the key is required; `table` is set for a table."""

    key: str
    kind: str
    default: str
    required: bool
    meaning: str
    table: type | None
    is_rows: bool


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the file, by its header: `[router]`, `[[model]]`, `model.replicas`."""

    title: str
    meaning: str
    settings: tuple[Setting, ...]


def settings_of(table: type) -> tuple[Setting, ...]:
    """The keys that a table takes, as they stand in the file."""
    hints = get_type_hints(table, include_extras=True)
    return tuple(_setting(f, hints[f.name]) for f in dataclasses.fields(table))


def table_at(path: tuple[str | int, ...]) -> type | None:
    """The dataclass of the table or row at a path; None where no table is."""
    table: type | None = Spec
    for part in path:
        if isinstance(part, int):
            continue
        found = [s.table for s in settings_of(table) if s.key == part] if table else []
        table = found[0] if found else None
    return table


def sections() -> Iterator[Section]:
    """Every table of the file, nested ones after the one that holds them."""
    for setting in settings_of(Spec):
        title = f"[[{setting.key}]]" if setting.is_rows else f"[{setting.key}]"
        yield from _sections(setting, title, setting.key)


def _sections(setting: Setting, title: str, path: str) -> Iterator[Section]:
    if setting.table is None:
        return
    inner = settings_of(setting.table)
    meaning = (setting.table.__doc__ or "").partition(":")[2].strip()
    yield Section(title, meaning, tuple(s for s in inner if s.table is None))
    for nested in inner:
        name = f"{path}.{nested.key}"
        yield from _sections(nested, f"[[{name}]]" if nested.is_rows else name, name)


def _setting(field: dataclasses.Field[Any], hint: Any) -> Setting:
    plain, extras = _split(hint)
    infos = [e for e in extras if isinstance(e, FieldInfo)]
    required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    row = get_args(plain)[0] if get_origin(plain) is tuple else plain
    return Setting(
        key=next((i.alias for i in infos if i.alias), field.name),
        kind=_kind(plain, extras),
        default="" if required else _default(field, extras),
        required=required,
        meaning=next((i.description for i in infos if i.description), ""),
        table=row if dataclasses.is_dataclass(row) and isinstance(row, type) else None,
        is_rows=get_origin(plain) is tuple and dataclasses.is_dataclass(row),
    )


def _split(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return (hint.__origin__, hint.__metadata__) if get_origin(hint) is Annotated else (hint, ())


def _kind(plain: Any, extras: tuple[Any, ...]) -> str:
    bounds = [_bound(m, extras) for i in extras if isinstance(i, FieldInfo) for m in i.metadata if type(m) in _SIGNS]
    return ", ".join([_type_words(plain, extras), *bounds])


def _type_words(plain: Any, extras: tuple[Any, ...]) -> str:
    parser = _parser(extras)
    if parser is parse_duration:
        return "duration"
    if parser is parse_size:
        return "size"
    if choices := _choices(plain):
        return " or ".join(map(json.dumps, choices))
    if get_origin(plain) is tuple:
        one, _ = _split(get_args(plain)[0])
        return f"array of {' or '.join(map(json.dumps, _choices(one))) or _WORDS.get(one, 'tables')}"
    return _WORDS.get(plain, "table")


def _choices(plain: Any) -> tuple[Any, ...]:
    """Of a Literal; none: it is something else."""
    return get_args(plain) if get_origin(plain) is Literal else ()


def _bound(mark: Any, extras: tuple[Any, ...]) -> str:
    sign, attribute = _SIGNS[type(mark)]
    return f"{sign} {_shown(getattr(mark, attribute), extras).strip(chr(34))}"


def _default(field: dataclasses.Field[Any], extras: tuple[Any, ...]) -> str:
    value = field.default if field.default is not dataclasses.MISSING else None
    return "" if dataclasses.is_dataclass(value) or value is None else _shown(value, extras)


def _shown(value: Any, extras: tuple[Any, ...]) -> str:
    parser = _parser(extras)
    if parser is parse_duration:
        return json.dumps(format_duration(value))
    if parser is parse_size:
        return json.dumps(format_size(value))
    return json.dumps(value)


def _parser(extras: tuple[Any, ...]) -> types.FunctionType | None:
    return next((e.func for e in extras if isinstance(e, BeforeValidator)), None)  # type: ignore[return-value]

"""fleet.toml, read: base file, overlays and single values in; a checked Spec out, or every finding at once.

Types and bounds are pydantic's business (fleet/model.py), what must hold between settings is in fleet/rules.py, and where a value
came from is in fleet/source.py. Here they meet, and pydantic's wording becomes plain sentences with file, line and key.
Tasks load the same description as one JSON document: `resolved_json`.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from fleet.errors import Finding, SpecError
from fleet.model import Autoscaler, Datadog, Model, Redis, Route, Router, Runtime, Spec, Tenant
from fleet.presets import filled
from fleet.provider import Provider
from fleet.rules import Draft, complaints
from fleet.settings import Setting, settings_of, table_at
from fleet.source import Node, assign, dotted, locate, merge, plain, read, read_json
from fleet.toml_lines import Path as KeyPath
from fleet.units import format_duration, format_size

T = TypeVar("T")

_SPEC = TypeAdapter(Spec)
_PROVIDER = TypeAdapter(Provider)

_SAYS = {
    "string_type": "must be text in quotes, not {input}",
    "int_type": "must be a whole number, not {input}",
    "float_type": "must be a number, not {input}",
    "bool_type": "must be true or false, not {input}",
    "literal_error": "must be {expected}, not {input}",
    "greater_than_equal": "must be at least {ge}, not {input}",
    "greater_than": "must be more than {gt}, not {input}",
    "less_than_equal": "must be at most {le}, not {input}",
    "less_than": "must be less than {lt}, not {input}",
    "string_too_short": "must not be empty",
    "too_short": "needs at least {min_length} entry",
    "dataclass_type": "must be a table, not {input}",
    "value_error": "is {input}; {error}",
}
_STAND_INS: Mapping[type, dict[str, Any]] = {
    Model: {
        "name": "unnamed",
        "engine": "llamacpp",
        "weights": "none",
        "cold_start": "1000d",
        "capacity": {"concurrency": 1, "requests_per_min": 1},
    },
    Route: {"selector": 0, "name": "unnamed", "chain": ["none"]},
    Provider: {"name": "unnamed", "model": "none", "base_url": "https://unnamed.invalid"},
    Tenant: {"name": "unnamed", "key_sha256": ["0" * 64]},
}
_PATTERNS = {
    "^[a-z0-9]": "must be lower-case letters, digits and inner hyphens, at most 63 of them, not {input}",
    "^https?": "must be http://HOST:PORT or https://HOST:PORT, not {input}",
    "^[0-9a-f]{64}": "must be a SHA-256 hash in 64 lower-case hexadecimal digits, as `warmfleet key` prints it, not {input}",
    "^(https?": "must be an http(s) address without a user, a password or a query",
    "^([A-Z_]": "must be the name of an environment variable in capitals, such as GROQ_API_KEY; the key itself never stands here",
    "^(redis": "must begin with redis:// or rediss://, or be empty, not {input}",
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked description; `raw` is the merged document it was made from, `source_hash` names exactly that document."""

    spec: Spec
    raw: Mapping[str, Any]
    source_hash: str


def load(path: Path, *, var_files: Sequence[Path] = (), variables: Sequence[str] = ()) -> Loaded:
    """The fleet of a TOML or JSON file, with overlays and `key.path=value` options laid on it in order; later wins.

    Raises:
        SpecError: with every finding, each with its file and line, or the option it is about.
    """
    return _checked(_merged(path, var_files, variables))


def parse(document: bytes, where: str) -> Loaded:
    """The fleet in a JSON document as `resolved_json` makes it; `where` names it in findings.

    Raises:
        SpecError: with every finding.
    """
    return _checked(read_json(document.decode(errors="replace"), where))


def _checked(root: Node) -> Loaded:
    raw = plain(root)
    try:
        spec = _SPEC.validate_json(json.dumps(raw))
        wrong: list[ErrorDetails] = []
    except ValidationError as error:
        spec, wrong = None, error.errors(include_url=False)
    findings = [_finding(detail, root) for detail in wrong]
    findings += _cross_findings(raw, root, {detail["loc"] for detail in wrong})
    if spec is None or findings:
        raise SpecError(tuple(findings))
    spec = replace(spec, providers=tuple(map(filled, spec.providers)))
    return Loaded(spec, raw, hashlib.sha256(_json(raw).encode()).hexdigest()[:12])


def read_provider(row: Mapping[str, Any], rules: Callable[[Provider], Iterable[tuple[str, str]]]) -> Provider:
    """One [[provider]] row as JSON has it, its preset filled in. `rules`: (key, message) for what is wrong beyond types and bounds.

    Raises:
        SpecError: with every finding; a key is dotted within the row.
    """
    root, wrong = read_json(json.dumps({"provider": [row]}), ""), _wrong_in(row)
    findings = [Finding("", ".".join(map(str, path[2:])), _sentence(detail, path)) for detail in wrong for path in [detail["loc"]]]
    unsure = {str(detail["loc"][2]) for detail in wrong}
    if (draft := _lenient(Provider, plain(root)["provider"][0])) is not None:
        findings += [Finding("", key, message) for key, message in rules(filled(draft)) if key.partition(".")[0] not in unsure]
    if findings or draft is None:
        raise SpecError(tuple(findings))
    return filled(draft)


def _wrong_in(row: Mapping[str, Any]) -> list[ErrorDetails]:
    """What is wrong with a row's types and bounds, at its path in a description."""
    try:
        _PROVIDER.validate_json(json.dumps(row))
    except ValidationError as error:
        return [ErrorDetails(**{**detail, "loc": ("provider", 0, *detail["loc"])}) for detail in error.errors(include_url=False)]
    return []


def resolved_json(loaded: Loaded) -> str:
    """The merged document as JSON in ASCII; `load` of a `.json` file with it gives the same Spec."""
    return _json(loaded.raw)


def _json(raw: Mapping[str, Any]) -> str:
    return json.dumps(raw, indent=2, sort_keys=True)


def _merged(path: Path, var_files: Sequence[Path], variables: Sequence[str]) -> Node:
    root = Node({}, str(path))
    findings: list[Finding] = []
    for file in (path, *var_files):
        try:
            root = merge(root, read(file)) if root.value else read(file)
        except SpecError as error:
            findings += error.findings
    if findings:  # options would be judged against half a document
        raise SpecError(tuple(findings))
    for option in variables:
        try:
            root = assign(root, option)
        except SpecError as error:
            findings += error.findings
    if findings:
        raise SpecError(tuple(findings))
    return root


def _finding(detail: ErrorDetails, root: Node) -> Finding:
    path = detail["loc"]
    return Finding(locate(root, path).where, dotted(root, path), _sentence(detail, path))


def _sentence(detail: ErrorDetails, path: KeyPath) -> str:
    kind = detail["type"]
    if kind == "unexpected_keyword_argument":
        return _unknown_key(path)
    if kind == "missing":
        setting = _setting(path)
        return f"is required: {setting.meaning if setting else ''}"
    if kind == "tuple_type":
        return f"must be written as [[{path[0]}]] rows" if len(path) == 1 else f"must be an array, such as [{_shown(detail['input'])}]"
    template = _SAYS.get(kind, detail["msg"].replace("{", "{{").replace("}", "}}"))
    context = {name: _bound(value, path) for name, value in detail.get("ctx", {}).items()}
    if kind == "string_pattern_mismatch":
        template = next((says for start, says in _PATTERNS.items() if context["pattern"].startswith(start)), template)
    return template.format(**{**context, "input": _shown(detail["input"])})


def _bound(value: Any, path: KeyPath) -> Any:
    """A bound in the units of its setting: 60.0 is `"1m"` where a duration is wanted."""
    setting = _setting(path)
    kind = setting.kind if setting else ""
    if isinstance(value, int | float) and kind.startswith("duration"):
        return f'"{format_duration(value)}"'
    if isinstance(value, int | float) and kind.startswith("size"):
        return f'"{format_size(int(value))}"'
    return f"{value:g}" if isinstance(value, float) else value


def _setting(path: KeyPath) -> Setting | None:
    table = table_at(path[:-1])
    return next((s for s in settings_of(table) if s.key == path[-1]), None) if table else None


def _unknown_key(path: KeyPath) -> str:
    table = table_at(path[:-1])
    known = [setting.key for setting in settings_of(table)] if table else []
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"unknown key; did you mean {near[0]}?" if near else f"unknown key; known here: {', '.join(known)}"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _cross_findings(raw: Mapping[str, Any], root: Node, wrong: set[KeyPath]) -> Iterator[Finding]:
    """What the rules say, without the keys that are wrong already by themselves."""
    for complaint in complaints(_draft(raw)):
        path = complaint.path
        if not any(path[:length] in wrong for length in range(1, len(path) + 1)):
            yield Finding(locate(root, path).where, dotted(root, path), complaint.message)


def _draft(raw: Mapping[str, Any]) -> Draft:
    models, routes, tenants = _rows(raw, "model"), _rows(raw, "route"), _rows(raw, "tenant")
    providers = _rows(raw, "provider")
    return Draft(
        runtime=_lenient(Runtime, raw.get("runtime")) or Runtime(image="any"),
        datadog=_lenient(Datadog, raw.get("datadog")) or Datadog(),
        redis=_lenient(Redis, raw.get("redis")) or Redis(),
        router=_lenient(Router, raw.get("router")) or Router(),
        autoscaler=_lenient(Autoscaler, raw.get("autoscaler")) or Autoscaler(),
        models={i: model for i, row in models.items() if (model := _lenient(Model, row))},
        routes={i: route for i, row in routes.items() if (route := _lenient(Route, row))},
        providers={i: provider for i, row in providers.items() if (provider := _lenient(Provider, row))},
        model_names={i: row["name"] for i, row in models.items() if isinstance(row.get("name"), str)},
        route_names={i: row["name"] for i, row in routes.items() if isinstance(row.get("name"), str)},
        provider_names={i: row["name"] for i, row in providers.items() if isinstance(row.get("name"), str)},
        selectors={i: row["selector"] for i, row in routes.items() if type(row.get("selector")) is int},
        tenants={i: tenant for i, row in tenants.items() if (tenant := _lenient(Tenant, row))},
        tenant_names={i: row["name"] for i, row in tenants.items() if isinstance(row.get("name"), str)},
    )


def _rows(raw: Mapping[str, Any], table: str) -> dict[int, dict[str, Any]]:
    rows = raw.get(table, [])
    return {i: row for i, row in enumerate(rows) if isinstance(row, dict)} if isinstance(rows, list) else {}


@functools.cache  # making one takes longer than a hundred uses of it
def _adapter(table: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(table)


def _lenient(table: type[T], value: Any) -> T | None:
    """The table, with stand-ins that offend no rule for what is wrong or missing in it; None where it is no table at all."""
    adapter: TypeAdapter[T] = _adapter(table)  # type: ignore[arg-type]  # a class is hashable, mypy does not know
    try:
        return adapter.validate_json(json.dumps(value))
    except ValidationError as error:
        mended = _without(value, [detail["loc"] for detail in error.errors()])
    try:
        return adapter.validate_json(json.dumps(_STAND_INS.get(table, {}) | mended))
    except ValidationError:
        return None


def _without(value: Any, paths: Sequence[KeyPath]) -> dict[str, Any]:
    """A table without its keys that contain a wrong value."""
    wrong = {path[0] for path in paths if path}
    return {key: child for key, child in value.items() if key not in wrong} if isinstance(value, dict) else {}

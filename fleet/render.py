"""Jobs from a fleet description: Jinja2 templates in, HCL text out, one file per job.

Deterministic: the same description, templates and version give the same bytes. Templates hold the form of a job, the description
holds the numbers; what follows from a number (a deadline from a cold start) is computed here. Every value from the description
passes a filter that quotes it for HCL. Nothing is sent anywhere.

The `source` of a job is a digest of what a change of must restart its tasks: bounds and deadlines of a model are not in it,
so that raising `replicas.max` does not reload every replica.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2

from fleet import names
from fleet.errors import Finding, SpecError
from fleet.model import Model, Replicas, Spec
from fleet.names import Names
from fleet.spec import Loaded, resolved_json
from fleet.units import format_duration

SUFFIX = ".nomad.hcl"
OWN_JOBS = ("router", "autoscaler", "redis", "datadog-agent")

_ESCAPES = {'"': r"\"", "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
_AWKWARD = re.compile(r'["\\\x00-\x1f\x7f]|[$%](?=\{)')


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Nomad's patience with a replica, in order: a cold start fits into the first with room for a slow one.

    `restart_s` is the time in which Nomad counts the restarts of a task: long enough for all of them to be cold starts.
    """

    healthy_s: float
    progress_s: float
    restart_s: float


def render_jobs(loaded: Loaded, templates: Path) -> dict[str, str]:
    """HCL text by file name: our own jobs, then one per model (`small-model.nomad.hcl`). Without Datadog, no agent's job.

    Raises:
        SpecError: a template is missing, malformed, or names a value that does not exist.
    """
    environment = _environment(templates)
    own = [part for part in OWN_JOBS if part != "datadog-agent" or loaded.spec.datadog.enabled]
    jobs = {part: _own_job(environment, loaded, part) for part in own}
    jobs |= {model.name: _model_job(environment, loaded, model) for model in loaded.spec.models}
    return {part + SUFFIX: text for part, text in jobs.items()}


def deadlines(cold_start_s: float) -> Deadlines:
    """A third more than the cold start, at least five minutes more: an image may have to be pulled first."""
    healthy_s = float(round(cold_start_s + max(cold_start_s / 3, 300)))
    return Deadlines(healthy_s, healthy_s + 300, 4 * healthy_s)


def hcl(value: str) -> str:
    """A quoted HCL string with exactly this content: `say "hi" to ${x}` -> `"say \\"hi\\" to \\u0024{x}"`."""
    return '"' + _AWKWARD.sub(lambda match: _ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04x}", value) + '"'


def heredoc_json(document: str) -> str:
    """JSON for a heredoc: the same document without any character that HCL or consul-template (`<<<`) would take for its own.

    All of these can only stand inside JSON's strings, where an escape means the same; a heredoc leaves backslashes alone.
    """
    return re.sub(r"[$%<>]", lambda match: f"\\u{ord(match[0]):04x}", document)


def _own_job(environment: jinja2.Environment, loaded: Loaded, part: str) -> str:
    secrets = router_secrets(loaded.spec) if part == "router" else ()
    values = _values(loaded.spec) | {"part": part, "document": heredoc_json(resolved_json(loaded)), "secrets": secrets}
    source = _digest(_text(environment, part, values | {"source": ""}))
    return _header(part) + _text(environment, part, values | {"source": source})


def router_secrets(spec: Spec) -> tuple[str, ...]:
    """Environment variables that a router reads from its Nomad variable, as far as they are there."""
    analytics = (names.ENV_ANALYTICS_PASSWORD,) if spec.router.analytics.startswith("postgresql") else ()
    return (*sorted({provider.key_env for provider in spec.providers} - {""}), *analytics, names.ENV_ADMIN_KEY)


def _model_job(environment: jinja2.Environment, loaded: Loaded, model: Model) -> str:
    def text(model: Model, source: str) -> str:
        more = {"part": model.name, "model": model, "deadlines": deadlines(model.cold_start_s), "source": source}
        return _text(environment, "model", _values(loaded.spec) | more)

    # Only what Nomad changes in place. A changed check is not: it leaves a deployment that waits for a canary nobody places.
    steady = replace(model, replicas=Replicas(), cold_start_s=1.0, lost_after_s=1.0)
    return _header("model") + text(model, _digest(text(steady, "")))


def _values(spec: Spec) -> dict[str, Any]:
    return {"spec": spec, "fleet": Names(spec.fleet.name), "names": names, "version": metadata.version("warmfleet")}


def _text(environment: jinja2.Environment, template: str, values: Mapping[str, Any]) -> str:
    file = f"{template}{SUFFIX}.j2"
    try:
        return environment.get_template(file).render(values).strip("\n") + "\n"
    except jinja2.TemplateSyntaxError as error:
        raise SpecError((Finding(f"{error.filename}:{error.lineno}", "", f"is not a valid template: {error.message}"),)) from error
    except jinja2.TemplateNotFound as error:
        where = " or ".join(environment.loader.searchpath) if isinstance(environment.loader, jinja2.FileSystemLoader) else ""
        said = f"there is no template {error.name} in {where}; run this in the root of the checkout, or name the folder with --templates"
        raise SpecError((Finding(file, "", said),)) from error
    except jinja2.TemplateError as error:
        raise SpecError((Finding(file, "", f"cannot be rendered: {error}"),)) from error
    except UnicodeDecodeError as error:
        raise SpecError((Finding(file, "", f"or what it includes is not UTF-8 text: {error.reason} at byte {error.start}"),)) from error


def _header(template: str) -> str:
    made = f"# Made by `warmfleet render` from the fleet description and templates/{template}{SUFFIX}.j2."
    return f"{made}\n# Edit those, not this file; then run `make render`.\n\n"


def _digest(text: str) -> str:
    """Comments do not count."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _environment(templates: Path) -> jinja2.Environment:
    environment = jinja2.Environment(  # noqa: S701  HCL, not HTML: values are quoted by the filter `hcl`
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        block_start_string="[%",
        block_end_string="%]",
        variable_start_string="[[",
        variable_end_string="]]",
        comment_start_string="[#",
        comment_end_string="#]",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"hcl": hcl, "hcl_list": _hcl_list, "duration": format_duration, "mib": _mib, "seconds": _seconds}
    return environment


def _hcl_list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(hcl, values))}]"


def _mib(size_bytes: int) -> int:
    """Whole MiB, as Nomad counts memory; a part of one counts as one."""
    return -(-size_bytes // 1024**2)


def _seconds(value_s: float) -> str:
    return f"{value_s:g}"

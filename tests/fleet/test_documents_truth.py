"""README and docs/ name nothing that is not there: commands, options, targets, settings, metrics, paths, files, links; examples load."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import click
import pytest

from fleet import metrics, model
from fleet.cli import main
from fleet.local import jobs
from fleet.spec import load
from router.api_page import calls
from router.following import reload
from router.health.report import Degraded

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/api.md", "docs/design.md", "docs/library.md", "docs/operations.md", "terraform/README.md")
QUOTED = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
TOML = re.compile(r"```toml\n(.*?)```", re.DOTALL)
SECTIONS = "fleet|runtime|check|datadog|redis|router|autoscaler|model|route|provider|tenant"


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def quoted(pattern: str) -> list[tuple[str, str]]:
    """(page, what stands in backquotes) for all that begins so."""
    return [(name, text) for name in PAGES for text in QUOTED.findall(page(name)) if re.fullmatch(pattern, text)]


def options(command: click.Command) -> set[str]:
    return {word for parameter in command.params for word in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def test_every_command_that_is_named_exists_with_its_options() -> None:
    context, found = click.Context(main), quoted(r"(\.venv/bin/)?warmfleet [a-z].*")
    assert found
    for name, text in found:
        words = text.split()
        command = main.get_command(context, words[1])
        assert command is not None, (name, text)
        assert {word.split("=")[0] for word in words if word.startswith("-")} <= options(command), (name, text)


def test_every_target_of_make_that_is_named_exists() -> None:
    targets, found = set(re.findall(r"^([a-z-]+):", page("Makefile"), re.MULTILINE)), quoted(r"make [a-z-]+.*")
    assert found
    assert [(name, text) for name, text in found if text.split()[1] not in targets] == []


def test_every_setting_that_is_named_exists() -> None:
    generated = page("docs/operations.md").partition("## Settings")[2].partition("## Metrics")[0]
    keys = {f"{section}.{key}" for section, rows in sections(generated) for key in re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE)}
    assert "router.max_held" in keys
    wrong = []
    for name, text in quoted(rf"({SECTIONS})\.[a-z_.]+"):
        is_file = any((ROOT / text.replace(".", "/")).with_suffix(suffix).exists() for suffix in ("", ".py")) or text.endswith(
            (".tf", ".json")
        )
        if not is_file and text not in keys and not any(key.startswith(f"{text}.") for key in keys):
            wrong.append((name, text))
    assert wrong == []


def test_every_setting_that_a_reload_takes_over_is_listed_and_no_other() -> None:
    _, _, text = page("docs/operations.md").partition("**Reload.**")
    _, _, listed = text.partition("of `[router]`")
    hints = get_type_hints(model.Router, include_extras=True)
    keys = {next((m.alias for m in getattr(hints[name], "__metadata__", ()) if getattr(m, "alias", None)), name) for name in reload._LIVE}
    assert set(re.findall(r"`(\w+)`", listed.partition("What")[0])) == keys


def test_everything_that_health_calls_degraded_is_explained() -> None:
    _, _, text = page("docs/operations.md").partition("| degraded | meaning |")
    rows = re.findall(r"^\| `(\w+)` \|", text.partition("\n\n")[0], re.MULTILINE)
    assert sorted(rows) == sorted(get_args(get_type_hints(Degraded)["what"]))


def sections(generated: str) -> Iterator[tuple[str, str]]:
    heads = re.split(r"^### `\[*([a-z_.]+)\]*`$", generated, flags=re.MULTILINE)[1:]
    return zip(heads[::2], heads[1::2], strict=True)


def test_every_metric_that_is_named_exists() -> None:
    there = set(re.findall(r"^\| `(warmfleet\.[a-z_.]+)` \|", page("docs/operations.md"), re.MULTILINE))
    assert metrics.ARRIVALS.name in there
    assert [found for found in quoted(r"warmfleet\.(router|autoscaler)\.[a-z_.]+") if found[1] not in there] == []


def test_every_path_that_is_named_exists() -> None:
    there = [re.sub(r"\{[^}]+\}", "[^/]+", call.path) for call in calls()] + ["/docs", "/redoc", "/openapi.json", "/status"]
    for name, text in quoted(r"(GET|POST|PUT|DELETE) /.*"):
        path = re.sub(r"\{[^}]+\}", "x", text.split()[1].partition("?")[0])
        assert any(re.fullmatch(pattern, path) for pattern in there), (name, text)


def test_every_file_that_is_named_exists() -> None:
    found = quoted(r"(autoscaler|bench|docs|fleet|jobs|router|templates|terraform|tests|tools)/[\w./-]*")
    assert found
    assert [(name, text) for name, text in found if not (ROOT / text).exists()] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    for link in LINK.findall(page(name)):
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / name).parent / file if file else ROOT / name
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def anchors(target: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


EXAMPLES = TOML.findall(page("docs/operations.md"))
LOCAL_ONES = [example for example in EXAMPLES if "llamacpp" in example]


def test_the_example_for_one_machine_loads_at_the_end_of_the_local_overlay(tmp_path: Path) -> None:
    (example,) = LOCAL_ONES
    overlay = tmp_path / "local.toml"
    overlay.write_text((ROOT / "jobs" / "local.toml").read_text("utf-8") + example, "utf-8")
    spec = jobs.read_over(ROOT / "jobs" / "fleet.toml", overlay, (), ("redis.command=/bin/redis-server",)).spec
    assert spec.model("third-model").weights == str(jobs.bundled_weights())


@pytest.mark.parametrize("example", [example for example in EXAMPLES if example not in LOCAL_ONES])
def test_every_example_loads_over_the_fleet(tmp_path: Path, example: str) -> None:
    """What begins with a key stands in a row of a model; chains may name the provider of another example."""
    text = f'[[model]]\nname = "small-model"\n{example}' if example.startswith("policy") else example
    if "[[provider]]" not in text:
        text += '\n[[provider]]\nname = "groq"\npreset = "groq"\nmodel = "m"\n'
    overlay = tmp_path / "overlay.toml"
    overlay.write_text(text, "utf-8")
    assert isinstance(load(ROOT / "jobs" / "fleet.toml", var_files=[overlay]).spec, model.Spec)

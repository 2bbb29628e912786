"""[[provider]] rows: presets fill what a row leaves out, mistakes are named, and no message ever shows what might be a key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.errors import SpecError
from fleet.model import Router
from fleet.presets import PRESETS, filled
from fleet.provider import Provider
from fleet.provider_rules import provider_complaints
from fleet.spec import load, read_provider, resolved_json

BASE = """\
[runtime]
driver = "raw_exec"
[[model]]
name = "small"
engine = "llamacpp"
weights = "/w/small.gguf"
cold_start = "10m"
capacity = { concurrency = 2, requests_per_min = 60 }
[[provider]]
name = "groq"
preset = "groq"
model = "llama-3.1-8b-instant"
[[provider]]
name = "lab"
base_url = "https://lab.example/v1"
model = "big"
[[route]]
selector = 0
name = "chat"
chain = ["small", "groq", "providers"]
"""


def rules(row: Provider) -> Iterator[tuple[str, str]]:
    return provider_complaints(row, Router())


def findings(folder: Path, text: str) -> list[str]:
    path = folder / "fleet.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(SpecError) as caught:
        load(path)
    return [str(finding).removeprefix(f"{folder}/") for finding in caught.value.findings]


def test_a_preset_fills_what_its_row_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(BASE, "utf-8")
    groq, lab = load(tmp_path / "fleet.toml").spec.providers
    assert (groq.base_url, groq.key_env) == ("https://api.groq.com/openai/v1", "GROQ_API_KEY")
    assert {"top_k", "logprobs"} <= set(groq.drop)
    assert (lab.key_env, lab.drop, lab.max_tokens_as) == ("", (), "")


def test_a_rows_own_words_win_over_its_preset() -> None:
    row = Provider(name="p", model="m", preset="openai", base_url="https://eu.example/v1", key_env="MINE", drop=("seed",))
    full = filled(row)
    assert (full.base_url, full.key_env, full.max_tokens_as) == ("https://eu.example/v1", "MINE", "max_completion_tokens")
    assert {"seed", "top_k"} <= set(full.drop)
    assert filled(full) == full


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_makes_a_row_that_breaks_no_rule(tmp_path: Path, name: str) -> None:
    (tmp_path / "fleet.toml").write_text(BASE.replace('preset = "groq"', f'preset = "{name}"'), "utf-8")
    provider = load(tmp_path / "fleet.toml").spec.providers[0]
    assert provider.base_url.startswith("https://")
    assert provider == replace(provider, preset=name)


def test_the_document_for_tasks_holds_names_of_variables_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-very-secret")
    (tmp_path / "fleet.toml").write_text(BASE, "utf-8")
    assert "gsk-very-secret" not in resolved_json(load(tmp_path / "fleet.toml"))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('preset = "groq"\n', "", "provider.groq.base_url: is required where no preset says it"),
        ('preset = "groq"', 'preset = "grok"', "provider.groq.preset: must be '', 'openai', 'groq', 'together' or 'google'"),
        ("https://lab.example/v1", "http://lab.example/v1", "would send keys and prompts in clear text"),
        ("https://lab.example/v1", "https://:443/v1", "names no host"),
        ("https://lab.example/v1", "https://lab.example:99999/v1", "names no host, or a port that is none"),
        ("https://lab.example/v1", "https://me:pass@lab.example/v1", "without a user, a password or a query"),
        ('model = "big"', 'model = "big"\nkey_env = "CONSUL_HTTP_TOKEN"', "is a secret of this fleet"),
        ('model = "big"', 'model = "big"\ndrop = ["messages"]', "provider.lab.drop: 'messages' cannot be left out"),
        (
            'model = "big"',
            'model = "big"\nslo = { idle_timeout = "1d" }',
            "slo.idle_timeout is 24h, and router.total_timeout = 30m ends a request before it",
        ),
        (
            'model = "big"',
            'model = "big"\nanswer_timeout = "31m"',
            "provider.lab.answer_timeout: answer_timeout is 31m, and router.total_timeout",
        ),
        ("https://lab.example/v1", "https://[lab.example/v1", "names no host"),
        ("https://lab.example/v1", "https://lab.example/\\u0001", "or is not ASCII"),
        ("https://lab.example/v1", "https://169.254.169.254/v1", "where a machine is told its own secrets; router.allow_link_local"),
        ("https://lab.example/v1", "https://läb.example/v1", "or is not ASCII"),
        ('model = "big"', 'modle = "big"', "provider.lab.modle: unknown key; did you mean model?"),
        ('name = "lab"', 'name = "groq"', "'groq' is taken by [[provider]] row 1"),
        ('name = "lab"', 'name = "small"', "'small' is a model too"),
        ('name = "lab"', 'name = "chat"', "'chat' is a route too"),
        ('name = "lab"', 'name = "providers"', "has a meaning of its own"),
        ('"groq", "providers"', '"grok"', "no model or provider 'grok'; there are: groq, lab, small"),
        ('"groq", "providers"', '"groq", "groq"', "'groq' stands in the chain twice"),
    ],
)
def test_a_mistake_in_a_row_is_named(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert BASE.count(old) == 1
    found = findings(tmp_path, BASE.replace(old, new))
    assert any(expected in one for one in found), found


def test_a_chain_cannot_end_with_providers_that_are_not_there(tmp_path: Path) -> None:
    text = BASE[: BASE.index("[[provider]]")] + BASE[BASE.index("[[route]]") :].replace('"groq", ', "")
    assert "there is no [[provider]] row" in findings(tmp_path, text)[0]


@pytest.mark.parametrize("wrong", ['key_env = "sk-live-0123456789"', 'base_url = "https://x.example/?key=sk-live-0123456789"'])
def test_what_might_be_a_key_is_not_shown(tmp_path: Path, wrong: str) -> None:
    found = findings(tmp_path, BASE.replace('preset = "groq"', f'preset = "groq"\n{wrong}'))
    assert len(found) == 1
    assert "sk-live" not in found[0]


def test_a_provider_in_clear_text_may_be_on_loopback(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(BASE.replace("https://lab.example/v1", "http://127.0.0.1:9/v1"), "utf-8")
    assert load(tmp_path / "fleet.toml").spec.providers[1].base_url == "http://127.0.0.1:9/v1"


def test_a_link_local_provider_is_taken_where_a_setting_says_so(tmp_path: Path) -> None:
    text = BASE.replace("https://lab.example/v1", "https://169.254.1.1/v1")
    (tmp_path / "fleet.toml").write_text(text + "[router]\nallow_link_local = true\n", "utf-8")
    assert load(tmp_path / "fleet.toml").spec.providers[1].base_url == "https://169.254.1.1/v1"


def test_a_row_by_itself_is_read_with_all_that_is_wrong_with_it_at_once() -> None:
    row = {"name": "p", "colour": 1, "slo": {"idle_timeout": 5}, "key_env": "sk-live-1", "base_url": "http://far.example/v1", "cost": [1]}
    with pytest.raises(SpecError) as caught:
        read_provider(row, rules)
    keys = [finding.key for finding in caught.value.findings]
    assert sorted(keys) == ["base_url", "colour", "cost", "key_env", "model", "slo.idle_timeout"]
    assert "sk-live" not in str(caught.value)


@pytest.mark.parametrize("row", [{}, {"name": 1}, {"name": "p", "model": "m"}, {"name": "p", "model": "m", "base_url": "https://[x"}])
def test_a_row_that_is_none_is_refused(row: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        read_provider(row, rules)


def test_a_row_by_itself_is_what_it_is_in_a_description(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(BASE, "utf-8")
    row = {"name": "groq", "preset": "groq", "model": "llama-3.1-8b-instant"}
    assert read_provider(row, rules) == load(tmp_path / "fleet.toml").spec.providers[0]


def test_a_single_value_goes_to_a_row_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(BASE, "utf-8")
    spec = load(tmp_path / "fleet.toml", variables=["provider.lab.requests_per_min=30"]).spec
    assert spec.providers[1].requests_per_min == 30

"""Scaling rules that make no sense are refused when they are read, all at once and by key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleet.errors import SpecError
from fleet.policy import NEEDS, TAKES, LogVolume, Policy, SignalName
from fleet.policy_rules import log_volume_complaints, policy_complaints, unseen_complaints
from fleet.spec import load


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"kind": "target", "signal": "kv_cache_use"}, [("signal", "must be concurrency or requests_per_min")]),
        ({"kind": "target", "cron": "0 8 * * *"}, [("cron", 'belongs to kind = "schedule", not "target"')]),
        ({"kind": "threshold"}, [("upper", 'is required with kind = "threshold"')]),
        ({"kind": "threshold", "upper": 0.8, "lower": 0.9}, [("lower", "must be less than upper = 0.8")]),
        ({"kind": "schedule"}, [("cron", "is required"), ("duration", "is required"), ("replicas", "is required")]),
        ({"kind": "schedule", "cron": "61 * * * *", "duration_s": 60.0, "replicas": 1}, [("cron", "minute '61'")]),
        (
            {"kind": "schedule", "cron": "0 8 * * *", "duration_s": 8 * 86400.0, "replicas": 9, "timezone": "Mars"},
            [("timezone", "no time zone 'Mars'"), ("duration", "longer than 7d"), ("replicas", "more than replicas.max = 4")],
        ),
        ({"kind": "spare"}, [("replicas", "or `share` is")]),
        ({"kind": "arrivals"}, [("sessions_per_min", "is required")]),
        ({"kind": "forecast", "target": 0.5, "step": 2}, [("target", "belongs to"), ("step", "belongs to")]),
    ],
)
def test_each_kind_takes_its_own_keys_and_needs_some(row: dict[str, object], says: list[tuple[str, str]]) -> None:
    found = list(policy_complaints(Policy(**row), 4))  # type: ignore[arg-type]
    assert [key for key, _ in found] == [key for key, _ in says]
    for (_, message), (_, part) in zip(found, says, strict=True):
        assert part in message


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"kind": "threshold", "signal": "kv_cache_use", "upper": 0.8, "lower": 0.3, "step": 2},
        {"kind": "schedule", "cron": "0 8 * * mon-fri", "duration_s": 36000.0, "timezone": "Europe/Berlin", "replicas": 4},
        {"kind": "spare", "share": 0.2},
        {"kind": "arrivals", "sessions_per_min": 3.0, "target": 0.8},
        {"kind": "forecast", "price": 0.003, "hold_s": 0.0},
    ],
)
def test_nothing_is_said_about_a_rule_that_is_right(row: dict[str, object]) -> None:
    assert list(policy_complaints(Policy(**row), 4)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("signal", "seen", "says"),
    [
        ("kv_cache_use", {"engine": "vllm"}, ""),
        ("kv_cache_use", {"engine": "llamacpp"}, 'kv_cache_use is told by vllm only, and the engine is "llamacpp"'),
        ("queue_time_s", {"engine": "llamacpp"}, "queue_time_s is told by vllm only"),
        ("queued", {"engine": "llamacpp"}, ""),
        ("gpu_use", {"gpu_tag": "model"}, ""),
        ("gpu_use", {"gpu_tag": ""}, "set datadog.gpu_tag and datadog.read"),
        ("gpu_use", {"gpu_tag": "model", "reads_datadog": False}, "set datadog.gpu_tag and datadog.read"),
        ("log_lines_per_min", {}, ""),
        ("log_lines_per_min", {"reads_datadog": False}, "set datadog.read, or the rule would never let a replica go"),
    ],
)
def test_a_rule_on_a_signal_that_nobody_tells_is_refused(signal: SignalName, seen: dict[str, Any], says: str) -> None:
    where: dict[str, Any] = {"engine": "vllm", "gpu_tag": "", "reads_datadog": True, **seen}
    found = list(unseen_complaints(Policy(kind="threshold", signal=signal, upper=0.9), **where))
    assert ([key for key, _ in found], all(says in message for _, message in found)) == (["signal"] if says else [], True)


def test_what_a_kind_needs_it_also_takes() -> None:
    assert all(field in TAKES[kind] for kind, fields in NEEDS.items() for field in fields)


def test_the_two_models_of_a_log_rule_are_known_and_differ() -> None:
    assert list(log_volume_complaints(LogVolume(large="large", small="small"), {"large", "small"})) == []
    found = list(log_volume_complaints(LogVolume(large="giant", small="giant"), {"large"}))
    assert [key for key, _ in found] == ["large", "small", "small"]


def test_the_loader_names_every_wrong_rule_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text(
        """[runtime]
driver = "raw_exec"
[redis]
driver = "raw_exec"
[autoscaler]
gpu_budget = 3
[[autoscaler.log_volume]]
large = "big"
small = "nobody"
[[model]]
name = "big"
engine = "vllm"
image = "i"
volume = "v"
weights = "w"
cold_start = "15m"
gpu = { count = 2 }
replicas = { min = 2, max = 4 }
capacity = { concurrency = 4, requests_per_min = 60 }
[[model.policy]]
kind = "schedule"
cron = "0 25 * * *"
duration = "10h"
replicas = 5
[[model.policy]]
kind = "threshold"
[[model.policy]]
kind = "forecast"
[[model.policy]]
kind = "forecast"
price = 0.003
[[model.policy]]
kind = "threshold"
signal = "gpu_use"
upper = 0.9
"""
    )
    with pytest.raises(SpecError) as error:
        load(file)
    said = [f"{finding.where.rpartition(':')[2]}: {finding.key}" for finding in error.value.findings]
    assert sorted(said) == [
        "22: model.big.policy.0.cron",
        "24: model.big.policy.0.replicas",
        "25: model.big.policy.1.upper",
        "30: model.big.policy.3.kind",
        "34: model.big.policy.4.signal",
        "6: autoscaler.gpu_budget",
        "9: autoscaler.log_volume.0.small",
    ]


def test_the_rules_of_the_documentation_are_right(tmp_path: Path) -> None:
    text = Path("docs/operations.md").read_text("utf-8")
    example = text.partition("## Scaling rules")[2].partition("```toml\n")[2].partition("```")[0]
    assert {row.partition('"')[2].partition('"')[0] for row in example.splitlines() if "kind" in row} == set(TAKES)
    file = tmp_path / "fleet.toml"
    file.write_text(
        f"""[runtime]
driver = "raw_exec"
[redis]
driver = "raw_exec"
[[model]]
name = "m"
engine = "vllm"
image = "i"
volume = "v"
weights = "w"
cold_start = "15m"
gpu = {{ count = 1 }}
replicas = {{ min = 0, max = 4, idle = "30m" }}
capacity = {{ concurrency = 4, requests_per_min = 60 }}
{example}"""
    )
    assert len(load(file).spec.models[0].policy) == len(TAKES)

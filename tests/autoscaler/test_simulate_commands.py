"""The command turns a file into decisions, a table and a picture, and says what is wrong with what it was given."""

import csv
import struct
import zlib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from autoscaler.simulate.commands import main

FLEET = """
[runtime]
driver = "raw_exec"

[redis]
driver = "raw_exec"

[autoscaler]
cooldown_down = "10m"
gpu_budget = 12

[[model]]
name = "big"
engine = "vllm"
image = "vllm:1"
volume = "models"
weights = "big"
gpu = { count = 2 }
cold_start = "7m30s"
replicas = { min = 2, max = 30 }
capacity = { concurrency = 16, requests_per_min = 20 }
policy = [
    { kind = "target", target = 0.5 },
    { kind = "schedule", cron = "0 12 * * *", duration = "2h", replicas = 25 },
    { kind = "arrivals", sessions_per_min = 5.0 },
]

[[model]]
name = "other"
engine = "vllm"
image = "vllm:1"
volume = "models"
weights = "other"
cold_start = "1m"
replicas = { min = 2, max = 9 }
capacity = { concurrency = 16, requests_per_min = 20 }
policy = [{ kind = "target" }]

[[route]]
selector = 0
name = "chat"
chain = ["big"]
"""


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "demand.csv"
    rows = "\n".join(f"{minute},{100 + 50 * (minute // 60 % 2)}" for minute in range(2000))
    path.write_text(f"minute,requests\n{rows}\n")
    return path


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET)
    return path


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def decisions(path: Path) -> dict[int, int]:
    with path.open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["minute", "desired"]
    return {int(minute): int(desired) for minute, desired in rows[1:]}


def row_of(policy: str, output: str) -> list[str]:
    (found,) = [line.split() for line in output.splitlines() if line.split()[:1] == [policy]][-1:]
    return found


def test_it_writes_one_decision_for_each_scored_minute_of_the_first_policy(trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "decisions.csv"
    options = ["--capacity", 10, "--history-days", 1, "--policy", "reactive", "--policy", "static", "--no-baselines", "--out", out]
    code, output = run("--trace", trace, *options)
    assert code == 0, output
    assert list(decisions(out)) == list(range(1440, 2000))
    assert set(decisions(out).values()) == {15, 22}
    assert "nomad" not in output
    assert row_of("static", output)[1] != row_of("reactive", output)[1]


@pytest.mark.parametrize(("days", "first"), [(1, 0), (3, 1), (7, 3), (16, 7)])
def test_a_week_of_history_is_shown_or_half_of_a_shorter_trace(tmp_path: Path, days: int, first: int) -> None:
    path, out = tmp_path / "trace.csv", tmp_path / "out.csv"
    path.write_text("minute,requests\n" + "".join(f"{minute},5\n" for minute in range(days * 1440)))
    assert run("--trace", path, "--capacity", 10, "--policy", "static", "--no-baselines", "--out", out)[0] == 0
    assert min(decisions(out)) == first * 1440


def test_late_requests_are_told_without_and_with_a_wait_beside_the_baselines_and_what_it_costs(trace: Path) -> None:
    code, output = run("--trace", trace, "--peak-replicas", 15, "--history-days", 1, "--policy", "target", "--hour-cost", 2.5)
    assert code == 0, output
    assert [name for name in ("target", "static", "nomad", "reactive") if row_of(name, output)] == ["target", "static", "nomad", "reactive"]
    head = next(line for line in output.splitlines() if line.startswith("policy"))
    assert head.split("  ")[0] == "policy"
    assert all(f" {title} %" in head for title in ("V", "V30", "V60"))
    _, _, *late, _, hours, cost, _, _, _ = row_of("static", output)
    assert late == ["0.000"] * 3
    assert float(cost) == 2.5 * float(hours)


def test_several_policies_are_compared_in_one_table(trace: Path) -> None:
    code, output = run(
        "--trace", trace, "--peak-replicas", 15, "--history-days", 1, "--policy", "target", "--compare", "spare,target+spare"
    )
    assert code == 0, output
    hours = [float(row_of(name, output)[6]) for name in ("target", "spare", "target+spare")]
    assert hours[2] >= max(hours[:2])  # the safest of both rules wins in each minute


def test_the_forecaster_is_the_default_and_with_too_little_history_says_what_the_reactive_rule_says(trace: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "forecast.csv", tmp_path / "reactive.csv"]
    common = ["--trace", trace, "--peak-replicas", 15, "--history-days", 1, "--min", 1]
    assert run(*common, "--out", outs[0])[0] == 0
    assert run(*common, "--policy", "reactive", "--out", outs[1])[0] == 0
    forecast, reactive = map(decisions, outs)
    assert all(forecast[minute] >= reactive[minute] for minute in forecast)
    assert sum(forecast.values()) <= 1.02 * sum(reactive.values())  # decide() rests between two steps down, and the baseline does not


def test_a_described_model_brings_its_rules_bounds_capacity_and_cold_start(trace: Path, fleet: Path, tmp_path: Path) -> None:
    out = tmp_path / "decisions.csv"
    code, output = run("--trace", trace, "--spec", fleet, "--model", "big", "--history-days", 0, "--out", out, "--no-baselines")
    assert code == 0, output
    assert "big: the rule `arrivals` is left out: a trace has no session starts" in output
    assert "one replica = 20 requests/min, lead 8 min" in output
    made = decisions(out)
    assert made[0] == 2  # nothing was seen yet: the minimum
    assert made[30] == 5  # 12 GPUs, 2 of them the other model's minimum, 2 for each replica; 10 would be half the use
    assert max(made.values()) == 5


def test_a_schedule_of_the_description_orders_ahead_by_the_lead_time(trace: Path, fleet: Path, tmp_path: Path) -> None:
    out = tmp_path / "decisions.csv"
    options = ["--spec", fleet, "-var", "autoscaler.gpu_budget=0", "--model", "big", "--history-days", 0, "--lead-min", 20, "--out", out]
    code, output = run("--trace", trace, *options)
    assert code == 0, output
    made = decisions(out)
    assert (made[699], made[700], made[839]) == (15, 25, 25)


def test_a_picture_is_made_in_the_format_of_its_name(trace: Path, tmp_path: Path) -> None:
    options = ["--trace", trace, "--capacity", 10, "--history-days", 1, "--policy", "target", "--min", 4, "--max", 12]
    for name in ("p.svg", "p.png"):
        assert run(*options, "--plot", tmp_path / name)[0] == 0
    drawn = ElementTree.parse(tmp_path / "p.svg").getroot()
    assert drawn.tag.endswith("svg")
    assert 'stroke="#000000"' in (tmp_path / "p.svg").read_text()  # twelve replicas are not enough, and it shows
    pixels = (tmp_path / "p.png").read_bytes()
    assert pixels.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", pixels[16:24])
    (length,) = struct.unpack(">I", pixels[33:37])
    assert len(zlib.decompress(pixels[41 : 41 + length])) == height * (1 + 3 * width)
    assert (width, height) == (1440, 120)


def test_a_trace_is_saved_as_it_was_replayed(trace: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.csv"
    assert run("--trace", trace, "--capacity", 10, "--history-days", 1, "--policy", "static", "--save-trace", saved)[0] == 0
    assert saved.read_text().splitlines()[:2] == ["minute,requests,gap", "0,100,0"]


@pytest.mark.parametrize("history_days", [0, 1])
def test_traffic_of_nothing_wants_the_least(tmp_path: Path, history_days: int) -> None:
    path, out = tmp_path / "zeros.csv", tmp_path / "decisions.csv"
    path.write_text("minute,requests\n" + "\n".join(f"{minute},0" for minute in range(1500)))
    code, output = run("--trace", path, "--capacity", 10, "--history-days", history_days, "--out", out)
    assert code == 0, output
    assert set(decisions(out).values()) == {1}


def test_the_shortest_trace_is_one_too(tmp_path: Path) -> None:
    path, out = tmp_path / "short.csv", tmp_path / "decisions.csv"
    path.write_text("minute,requests\n0,5\n")
    assert run("--trace", path, "--peak-replicas", 20, "--history-days", 0, "--out", out)[0] == 0
    assert decisions(out) == {0: 1}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--capacity", "10", "--peak-replicas", "20"], 2, "either --peak-replicas or --capacity"),
        ([], 2, "either --peak-replicas or --capacity"),
        (["--capacity", "10", "--min", "5", "--max", "4"], 2, "--min 5 is above --max 4"),
        (["--capacity", "10", "--policy", "wish"], 2, "'wish' is no policy"),
        (["--capacity", "10", "--compare", "target,forecast+static"], 2, "'forecast+static' is no policy"),
        (["--capacity", "10", "--policy", "fleet"], 2, "fleet needs --model"),
        (["--capacity", "10", "--model", "nobody"], 2, "no model 'nobody'"),
        (["--capacity", "10", "--from-datadog", "30d"], 2, "either --trace or --from-datadog"),
        (["--capacity", "10", "--history-days", "7"], 1, "nothing known after 7 of 1.4 days"),
        (["--capacity", "10", "--plot", "p.gif"], 1, "must end with .svg or .png"),
    ],
)
def test_wrong_options_are_refused(trace: Path, arguments: list[str], code: int, message: str) -> None:
    got, output = run("--trace", trace, *arguments)
    assert (got, message in output) == (code, True), output


def test_a_model_of_datadog_must_be_named(tmp_path: Path) -> None:
    assert run("--from-datadog", "30d", "--capacity", 1)[0] == 2
    assert "less than an hour" in run("--from-datadog", "5m", "--capacity", 1)[1]


def test_a_malformed_trace_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("minute,requests\n0,1\n1,x\n")
    code, output = run("--trace", path, "--capacity", 1)
    assert (code, len(output.splitlines())) == (1, 1)
    assert "bad.csv:3: column requests: 'x'" in output

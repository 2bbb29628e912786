"""What a real Nomad understands of the rendered jobs."""

from __future__ import annotations

import json
import re
import sys
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fleet.deploy.jobs import secrets
from fleet.model import Model
from fleet.nomad import Nomad
from fleet.render import hcl, render_jobs
from fleet.spec import Loaded, load, resolved_json
from tests import servers

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[2]
NAMES_ARGS = ["--weights", "--alias", "--host", "--port", "--slots", "--context", "--load-delay"]


@pytest.fixture(scope="module")
def nomad(nomad_server: servers.NomadServer) -> Nomad:
    return Nomad(nomad_server.address)


def production(*variables: str) -> Loaded:
    return load(ROOT / "jobs/fleet.toml", variables=variables)


def local(*variables: str) -> Loaded:
    return load(ROOT / "jobs/fleet.toml", var_files=[ROOT / "jobs/local.toml"], variables=variables)


def parsed(nomad: Nomad, loaded: Loaded, job: str) -> dict[str, Any]:
    return nomad.parse(render_jobs(loaded, ROOT / "templates")[f"{job}.nomad.hcl"])


def group(job: dict[str, Any]) -> dict[str, Any]:
    (only,) = job["TaskGroups"]
    assert only["Name"] == "main"
    return dict(only)


def task(job: dict[str, Any]) -> dict[str, Any]:
    (only,) = group(job)["Tasks"]
    return dict(only)


@given(st.lists(st.text(st.sampled_from("$%{}\"\\~ \n\t\x00\x1fa'<é\u0301\U0001f600"), max_size=9), min_size=10, max_size=30))
@example(["${x}", "$${x}", "$$${x}", "%{ if true }", "%%%{", "\\${", '"', "\\", "\\u0024{x}", "${", "$", "EOT\n", "é"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_arrives_as_it_is(nomad: Nomad, values: list[str]) -> None:
    lines = "\n".join(f"    v{i} = {hcl(value)}" for i, value in enumerate(values))
    meta = nomad.parse(f'job "values" {{\n  meta {{\n{lines}\n  }}\n  group "g" {{\n  }}\n}}\n')["Meta"]
    assert [meta[f"v{i}"] for i in range(len(values))] == [unicodedata.normalize("NFC", value) for value in values]


@pytest.mark.parametrize("part", ["router", "autoscaler", "redis", "datadog-agent", "small-model"])
def test_a_job_says_whose_it_is_of_what_it_was_made_and_by_which_version_of_us_where_that_runs(nomad: Nomad, part: str) -> None:
    """An update of our own programs must not reload models, so it is said where they run."""
    meta = parsed(nomad, production(), part)["Meta"]
    assert meta["warmfleet.fleet"] == "warmfleet"
    assert re.fullmatch("[0-9a-f]{12}", meta["warmfleet.source"])
    assert meta.get("warmfleet.version") == (version("warmfleet") if part in ("router", "autoscaler") else None)


@pytest.mark.parametrize("loaded", [production(), local()], ids=["production", "local"])
@pytest.mark.parametrize("name", ["small-model", "large-model"])
def test_a_model_is_found_by_its_tag_and_its_meta(nomad: Nomad, loaded: Loaded, name: str) -> None:
    job = parsed(nomad, loaded, name)
    (service,) = group(job)["Services"]
    assert (service["Name"], service["Tags"], service["Provider"], service["PortLabel"]) == ("warmfleet-model", [name], "consul", "http")
    assert service["Meta"] == {
        "model": name,
        "engine": loaded.spec.model(name).engine,
        "alloc_id": "${NOMAD_ALLOC_ID}",
        "alloc_index": "${NOMAD_ALLOC_INDEX}",
        "version": job["Meta"]["warmfleet.source"],
    }
    (check,) = service["Checks"]
    assert (check["Type"], check["Path"], check["OnUpdate"]) == ("http", "/health", "ignore")


@pytest.mark.parametrize("loaded", [production(), local()], ids=["production", "local"])
@pytest.mark.parametrize("name", ["small-model", "large-model"])
def test_a_model_can_be_scaled_while_it_loads_and_is_given_time_to_load(nomad: Nomad, loaded: Loaded, name: str) -> None:
    model: Model = loaded.spec.model(name)
    only = group(parsed(nomad, loaded, name))
    update, scaling = only["Update"], only["Scaling"]
    assert (update["MinHealthyTime"], update["MaxParallel"], update["Canary"]) == (0, model.replicas.max, 1)
    assert update["AutoPromote"] is False
    assert model.cold_start_s * 1e9 < update["HealthyDeadline"] < update["ProgressDeadline"]
    assert (scaling["Min"], scaling["Max"], scaling["Policy"]["owner"]) == (model.replicas.min, model.replicas.max, "warmfleet")
    assert only["Count"] == model.replicas.min
    assert only["RestartPolicy"]["Interval"] >= only["RestartPolicy"]["Attempts"] * model.cold_start_s * 1e9
    assert only["ReschedulePolicy"]["Unlimited"] is True


def test_a_vllm_replica_gets_its_gpus_its_weights_and_time_to_finish(nomad: Nomad) -> None:
    job = parsed(nomad, production(), "large-model")
    only, engine = group(job), task(job)
    (device,) = engine["Resources"]["Devices"]
    (constraint,) = device["Constraints"]
    assert (device["Name"], device["Count"]) == ("nvidia/gpu", 4)
    assert (constraint["LTarget"], constraint["Operand"], constraint["RTarget"]) == ("${device.attr.memory}", ">=", "75 GiB")
    assert (only["Disconnect"]["Replace"], only["Disconnect"]["LostAfter"]) == (False, 3600 * 10**9)
    assert only["Volumes"]["weights"]["ReadOnly"] is True
    assert engine["VolumeMounts"][0]["ReadOnly"] is True
    arguments = engine["Config"]["args"]
    assert [*engine["Config"]["entrypoint"], arguments[0]] == ["vllm", "serve", "/weights/large-model"]
    assert _value(arguments, "--served-model-name") == "large-model"
    assert _value(arguments, "--tensor-parallel-size") == "4"
    assert int(_value(arguments, "--shutdown-timeout")) * 10**9 < engine["KillTimeout"]
    assert engine["KillSignal"] == "SIGTERM"
    assert only["ShutdownDelay"] > 0
    (labels,) = engine["Config"]["labels"]
    (instance,) = json.loads(labels["com.datadoghq.ad.checks"])["vllm"]["instances"]
    assert instance["openmetrics_endpoint"] == "http://${NOMAD_IP_http}:${NOMAD_PORT_http}/metrics"


def test_a_local_replica_asks_for_a_gpu_only_where_it_is_given_one(nomad: Nomad) -> None:
    without = task(parsed(nomad, local(), "small-model"))
    assert not without["Resources"]["Devices"]
    job = parsed(nomad, local("model.small-model.gpu.count=2", "model.small-model.gpu.memory=20 GiB"), "small-model")
    (device,) = task(job)["Resources"]["Devices"]
    assert (device["Name"], device["Count"], device["Constraints"][0]["RTarget"]) == ("nvidia/gpu", 2, "20 GiB")
    assert group(job)["Disconnect"]["Replace"] is False


def test_a_local_replica_is_the_engine_with_its_own_flags(nomad: Nomad) -> None:
    loaded = local("model.small-model.load_delay=1500ms", "model.small-model.weights=/w/a b.gguf", 'model.small-model.args=["--x"]')
    config = task(parsed(nomad, loaded, "small-model"))["Config"]
    assert config["command"] == "python"
    assert config["args"][:2] == ["-m", "fleet.local.engine"]
    assert [arg for arg in config["args"] if arg in NAMES_ARGS] == NAMES_ARGS
    expected = {"--weights": "/w/a b.gguf", "--alias": "small-model", "--slots": "2", "--context": "2048", "--load-delay": "1.5"}
    assert {flag: _value(config["args"], flag) for flag in expected} == expected
    assert config["args"][-1] == "--x"


def test_router_and_autoscaler_bind_where_nomad_says(nomad: Nomad) -> None:
    for part in ("router", "autoscaler"):
        job = parsed(nomad, local(), part)
        environment = task(job)["Env"]
        assert environment["WARMFLEET_SPEC"] == "${NOMAD_TASK_DIR}/fleet.json"
        assert (environment["WARMFLEET_HOST"], environment["WARMFLEET_PORT"]) == ("${NOMAD_IP_http}", "${NOMAD_PORT_http}")
        assert group(job)["Services"][0]["Name"] == f"warmfleet-{part}"
    assert task(parsed(nomad, local("router.host=0.0.0.0", "router.allow_open=true"), "router"))["Env"]["WARMFLEET_HOST"] == "0.0.0.0"


@pytest.mark.parametrize(("port", "static"), [(8000, 8000), (0, None)])
def test_the_router_takes_its_port_or_any(nomad: Nomad, port: int, static: int | None) -> None:
    """The public port is not Nomad's: a router and its successor share it. Each has a port of its own besides."""
    job = parsed(nomad, local(f"router.port={port}"), "router")
    network = group(job)["Networks"][0]
    assert not network["ReservedPorts"]
    assert len(network["DynamicPorts"]) == 1
    assert task(job)["Env"].get("WARMFLEET_PUBLIC") == (str(static) if static else None)
    assert {s["Name"]: s["PortLabel"] for s in group(job)["Services"]} == {
        "warmfleet-router": "http",
        "warmfleet-api": str(static) if static else "http",
    }


@pytest.mark.parametrize(
    ("variables", "words", "sampled"),
    [
        ((), ["ddtrace-run", "python", "-m", "router"], 0.01),
        (("datadog.trace_rate=0.5",), ["ddtrace-run", "python", "-m", "router"], 0.5),
        (("datadog.trace_rate=0.0",), ["python", "-m", "router"], None),
        (("datadog.enabled=false",), ["python", "-m", "router"], None),
        (("runtime.driver=raw_exec",), ["python", "-m", "ddtrace.commands.ddtrace_run", "python", "-m", "router"], 0.01),
    ],
)
def test_routers_are_traced_where_there_is_an_agent_and_a_rate(
    nomad: Nomad, variables: tuple[str, ...], words: list[str], sampled: float | None
) -> None:
    only = task(parsed(nomad, production(*variables), "router"))
    assert [only["Config"]["command"], *only["Config"]["args"]] == words
    rules = json.loads(only["Env"].get("DD_TRACE_SAMPLING_RULES", "[{}]"))
    assert rules[-1].get("sample_rate") == sampled


def test_on_one_machine_routers_are_not_traced(nomad: Nomad) -> None:
    only = task(parsed(nomad, local(), "router"))
    assert [only["Config"]["command"], *only["Config"]["args"]] == ["python", "-m", "router"]


def test_in_production_our_programs_carry_no_token(nomad: Nomad) -> None:
    job = parsed(nomad, production(), "autoscaler")
    config, only = task(job)["Config"], task(job)
    assert [config["command"], *config["args"]] == ["python", "-m", "autoscaler"]
    assert only["Identity"]["Env"] is True
    assert not [name for name in only["Env"] if "TOKEN" in name or "KEY" in name]


@pytest.mark.parametrize(
    ("part", "expected"), [("datadog-agent", {"nomad/jobs/warmfleet-datadog-agent": ("api_key",)}), ("autoscaler", {}), ("router", {})]
)
def test_only_the_agent_waits_for_its_secret(nomad: Nomad, part: str, expected: dict[str, tuple[str, ...]]) -> None:
    assert secrets(parsed(nomad, production(), part)) == expected


@pytest.fixture
def printed(nomad: Nomad) -> Iterator[str]:
    """What a task of the rendered router job finds in its file, as a hostile description makes it."""
    loaded = replace(HOSTILE, spec=replace(HOSTILE.spec, fleet=replace(HOSTILE.spec.fleet, region="global")))
    text = render_jobs(loaded, ROOT / "templates")["router.nomad.hcl"]
    script = "import os, time; print(open(os.environ['WARMFLEET_SPEC']).read(), flush=True); time.sleep(60)"
    job = nomad.parse(text.replace('["-m", "router"]', f"[{hcl('-c')}, {hcl(script)}]"))
    job_id = "hostile-router"
    nomad.register(job, source=text)
    try:
        yield _output(nomad, job_id)
    finally:
        nomad.deregister(job_id)


HOSTILE = local(
    'fleet.region="${NOMAD_ALLOC_ID} %{ if } {{ env }} <<< key >>> \\" \\\\ é"',
    "fleet.name=hostile",
    "router.port=0",
    "router.cpu=50",
    "router.memory=32MiB",
    f"runtime.python={sys.executable}",
)


def test_a_task_sees_the_description_as_it_was_written(printed: str) -> None:
    assert json.loads(printed) == json.loads(resolved_json(HOSTILE))


def _output(nomad: Nomad, job_id: str) -> str:
    deadline = time.monotonic() + 60
    text = ""
    while time.monotonic() < deadline:
        allocations = nomad.allocations(job_id)
        if allocations and allocations[0].client_status == "running":
            text = nomad.logs(allocations[0].alloc_id, "router", "stdout", tail_bytes=100_000)
            if text.endswith(("}\n\n", "}\n")):
                return text
        time.sleep(0.1)
    raise AssertionError(f"the task printed nothing in time: {text!r}, {nomad.allocations(job_id)}, {nomad.unplaced(job_id)}")


def _value(arguments: list[str], flag: str) -> str:
    return arguments[arguments.index(flag) + 1]

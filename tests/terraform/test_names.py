"""What Terraform prepares is what the rendered jobs ask for: both come from one description."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleet import names
from fleet.blocks import Block, blocks
from fleet.names import Names
from fleet.render import render_jobs
from fleet.spec import Loaded, load
from fleet.terraform import FILE, tfvars
from tests.terraform import configuration
from tests.terraform.configuration import ROOT, Resource, bare, filled

ANOTHER = ("fleet.name=blue", "fleet.namespace=llm", "model.small-model.node_pool=gpu-small", "redis.volume=blue-sessions")


@dataclass(frozen=True)
class Side:
    """One description, as Terraform gets it and as Nomad does."""

    values: dict[str, Any]
    jobs: dict[str, str]

    def inner(self, kind: str) -> list[Block]:
        return [block for text in self.jobs.values() for block in blocks(text) if block.kind == kind]

    def local(self, name: str) -> dict[str, str]:
        return {part: filled(text, self.values) for part, text in configuration.local(name).items() if not part.startswith("__")}


def _side(*variables: str) -> Side:
    loaded = _loaded(*variables)
    return Side(json.loads(tfvars(loaded.spec)), render_jobs(loaded, ROOT / "templates"))


def _loaded(*variables: str) -> Loaded:
    return load(ROOT / "jobs/fleet.toml", variables=variables)


@pytest.fixture(scope="module", params=[(), ANOTHER], ids=["production", "another"])
def side(request: pytest.FixtureRequest) -> Side:
    return _side(*request.param)


def test_the_committed_variables_are_what_is_rendered_now() -> None:
    assert (ROOT / FILE).read_text("utf-8") == tfvars(_loaded().spec), f"{FILE} is stale: run `make render` and commit the result"


def test_the_description_gives_every_variable_that_has_no_default() -> None:
    declared = configuration.variables()
    assert set(_side().values) == {name for name, body in declared.items() if "default" not in body}


def test_jobs_have_the_names_that_policies_are_for(side: Side) -> None:
    ids = {block.label for block in side.inner("job")}
    models = {Names(side.values["fleet"]).job(name) for name in ("small-model", "large-model")}
    assert set(side.local("jobs").values()) | models == ids


def test_services_have_the_names_that_rules_are_for(side: Side) -> None:
    registered = {block.values["name"] for block in side.inner("service")}
    of_the_agent = side.local("jobs")["datadog_agent"]
    assert set(side.local("services").values()) | {of_the_agent} == registered


def test_jobs_are_where_terraform_prepares_for_them(side: Side) -> None:
    for job in side.inner("job"):
        assert job.values["namespace"] == side.values["namespace"]
        assert job.values["region"] == side.values["region"]
    assert {job.values.get("node_pool", "default") for job in side.inner("job")} - {"default", "all"} == set(side.values["node_pools"])


def test_jobs_ask_for_volumes_that_are_made(side: Side) -> None:
    wanted = {(block.values["source"], block.values.get("node_pool")) for block in _volumes(side)}
    made = {(volume["name"], volume["node_pool"]) for volume in side.values["weights_volumes"]} | {(side.values["sessions_volume"], None)}
    assert wanted == made


def _volumes(side: Side) -> list[Block]:
    """The volume requests of all groups, with the pool of their job."""
    found = []
    for text in side.jobs.values():
        inside = list(blocks(text))
        for block in inside:
            if block.kind == "volume":
                found.append(
                    Block("volume", block.line, values=block.values | {k: v for k, v in inside[0].values.items() if k == "node_pool"})
                )
    return found


def test_the_namespace_allows_the_drivers_that_tasks_use(side: Side) -> None:
    assert {task.values["driver"] for task in side.inner("task")} == set(side.values["task_drivers"])


def test_routers_look_for_the_keys_that_terraform_sends(tmp_path: Path) -> None:
    more = tmp_path / "more.toml"
    rows = (("groq", 'preset = "groq"'), ("ours", 'base_url = "https://llm.example.com/v1"\nkey_env = "OUR_KEY"'))
    more.write_text("".join(f'[[provider]]\nname = "{name}"\nmodel = "m"\n{how}\n' for name, how in rows))
    loaded = load(ROOT / "jobs/fleet.toml", var_files=[more])
    job = render_jobs(loaded, ROOT / "templates")["router.nomad.hcl"]
    assert set(re.findall(r'nomadVar "([^"]+)"', job)) == {"nomad/jobs/warmfleet-router"}
    looked_for = re.findall(r'index \. "(\w+)"', job)
    assert {"GROQ_API_KEY", "OUR_KEY"} < set(looked_for)
    assert looked_for == json.loads(tfvars(loaded.spec))["router_key_names"]


def test_secrets_are_where_jobs_look_for_them(side: Side) -> None:
    read = {path for text in side.jobs.values() for path in re.findall(r'nomadVar(?:Exists)? "([^"]+)"', text)}
    made = {f"nomad/jobs/{job}" for job in side.local("jobs").values()}
    assert read <= made
    assert read, "no job reads a secret any more: look at what Terraform puts there"


@pytest.mark.parametrize("part", ["datadog-agent", "autoscaler"])
def test_secrets_have_the_keys_that_templates_read(part: str) -> None:
    read = set(re.findall(r"\{\{ \.(\w+) \}\}", _side().jobs[f"{part}.nomad.hcl"]))
    assert read
    assert read == _written(part)


def _written(part: str) -> set[str]:
    """Keys that Terraform puts into the variable of a job."""
    sources = {
        "datadog-agent": _resource("nomad_variable.datadog_agent").body["items_wo"],
        "autoscaler": configuration.variables()["datadog_reader"]["type"],
    }
    return set(re.findall(r"\b(a\w+_key)\b", str(sources[part]).replace("var.datadog_agent_key", "")))


def test_the_autoscaler_has_its_policy(side: Side) -> None:
    [acl] = _resource("nomad_acl_policy.autoscaler").body["job_acl"]
    [task] = [task for task in side.inner("task") if task.label == "autoscaler"]
    assert (bare(acl["task"]), bare(configuration.local("group"))) == (task.label, names.GROUP)
    assert [identity.values for identity in task.inner("identity")] == [{"env": "true"}], "without it the policy is nobody's"


def test_tasks_that_ask_for_a_consul_token_have_a_role(side: Side) -> None:
    asking = {task.label for task in side.inner("task") if task.inner("consul")}
    assert asking == set(re.findall(r'"(\w+)"', configuration.local("consul_tasks")))


def test_every_policy_that_is_written_is_used() -> None:
    written = {path.name for path in (ROOT / "terraform/policies").glob("*.hcl")}
    text = "".join(path.read_text("utf-8") for path in configuration.FOLDER.glob("*.tf"))
    tasks = re.findall(r'"(\w+)"', configuration.local("consul_tasks"))
    used = {file for name in re.findall(r'local\.policies\}/([^"]+)"', text) for file in _each(name, tasks)}
    assert used == written


def _each(name: str, keys: list[str]) -> list[str]:
    return [name.replace("${each.key}", key) for key in keys]


def _resource(name: str) -> Resource:
    return next(resource for resource in configuration.resources() if str(resource) == name)

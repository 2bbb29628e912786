"""The ACL policies of terraform/policies/ on real agents: what each token may do, and nothing else.

That a whole fleet runs on them is shown by tests/journeys/test_rights.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple
from uuid import uuid4

import pytest
import requests

from autoscaler.jobs import NomadJobs, Order
from fleet.deploy.nomad import Delivery
from fleet.local.processes import wait_until
from fleet.names import GROUP, JOB_META_FLEET
from fleet.nomad import Nomad
from tests.contract.autoscaler_world import until
from tests.guarded import NAMESPACE, Guarded, guarded

pytestmark = pytest.mark.contract

FLEET = "acl"
MODELS, MODEL = f"{FLEET}-model", f"{FLEET}-small-model"
KEYS = f"warmfleet/{FLEET}"
PATIENCE_S = 90.0

Verdict = Literal["may", "may not"]


@pytest.fixture(scope="module")
def world() -> Iterator[Guarded]:
    with guarded(FLEET) as made:
        yield made


@pytest.fixture(scope="module")
def tokens(world: Guarded) -> dict[str, str]:
    consul = {f"consul {name}": world.consul_token(name) for name in ("router", "autoscaler", "deployer", "nomad-agent")}
    nomad = {"nomad autoscaler": world.nomad_token("autoscaler-held"), "nomad deployer": world.nomad_token("deployer")}
    return {**consul, **nomad}


class Call(NamedTuple):
    what: str
    method: str
    path: str
    body: Any = None


CONSUL_CALLS = tuple(
    Call(*row)
    for row in (
        (
            "see replicas",
            "GET",
            f"/v1/health/service/{MODELS}",
        ),
        (
            "see strangers",
            "GET",
            "/v1/health/service/others",
        ),
        (
            "read a state",
            "GET",
            f"/v1/kv/{KEYS}/models/m",
        ),
        ("write a state", "PUT", f"/v1/kv/{KEYS}/models/m", {}),
        (
            "read the description",
            "GET",
            f"/v1/kv/{KEYS}/spec",
        ),
        ("write the description", "PUT", f"/v1/kv/{KEYS}/spec", {}),
        (
            "read the pause",
            "GET",
            f"/v1/kv/{KEYS}/pause",
        ),
        ("write the pause", "PUT", f"/v1/kv/{KEYS}/pause", {}),
        ("write a memory", "PUT", f"/v1/kv/{KEYS}/memory/m", {}),
        ("write the lock", "PUT", f"/v1/kv/{KEYS}/leader", {}),
        ("open a session", "PUT", "/v1/session/create", {"TTL": "10s"}),
        (
            "read another fleet's state",
            "GET",
            "/v1/kv/warmfleet/other/models/m",
        ),
        ("write another fleet's state", "PUT", "/v1/kv/warmfleet/other/models/m", {}),
        ("register a service", "PUT", "/v1/agent/service/register", {"Name": "made", "ID": "made", "Port": 1}),
        ("make a token", "PUT", "/v1/acl/token", {}),
    )
)

CONSUL_MAY = {
    "consul router": {"see replicas", "read a state", "read the description"},
    "consul autoscaler": {
        "see replicas",
        "read a state",
        "write a state",
        "read the description",
        "read the pause",
        "write a memory",
        "write the lock",
        "open a session",
    },
    "consul deployer": {
        "see replicas",
        "read a state",
        "read the description",
        "write the description",
        "read the pause",
        "write the pause",
    },
    "consul nomad-agent": {"see replicas", "see strangers", "register a service"},
}


@pytest.fixture
def things(world: Guarded) -> Iterator[None]:
    """Services and keys to ask for."""
    consul = world.consul
    for name in (MODELS, "others"):
        consul.told("PUT", "/v1/agent/service/register", {"Name": name, "ID": name, "Port": 1})
    for key in (f"{KEYS}/models/m", f"{KEYS}/spec", f"{KEYS}/pause", f"{KEYS}/memory/m", "warmfleet/other/models/m"):
        consul.told("PUT", f"/v1/kv/{key}", {})
    yield
    for name in (MODELS, "others", "made"):
        consul.ask("PUT", f"/v1/agent/service/deregister/{name}")
    consul.told("DELETE", "/v1/kv/warmfleet/?recurse=true")


def consul_verdict(answer: requests.Response) -> Verdict:
    """Consul refuses a write, and leaves what may not be seen out of an answer."""
    if answer.status_code in (403, 404) or "Permission denied" in answer.text:
        return "may not"
    assert answer.status_code == 200, answer.text
    return "may not" if answer.text.strip() == "[]" else "may"


@pytest.mark.parametrize("holder", CONSUL_MAY)
def test_in_consul_a_token_may_what_its_part_needs_and_no_more(world: Guarded, tokens: dict[str, str], things: None, holder: str) -> None:
    verdicts = {call.what: consul_verdict(world.consul.ask(*call[1:], token=tokens[holder])) for call in CONSUL_CALLS}
    assert {what for what, verdict in verdicts.items() if verdict == "may"} == CONSUL_MAY[holder]


def job(namespace: str, job_id: str = "table", task: str = "t") -> dict[str, Any]:
    """Its task says its identity, and sleeps."""
    config = {"command": "/bin/sh", "args": ["-c", 'echo "$NOMAD_TOKEN"; exec sleep 1000']}
    tasks = [{"Name": task, "Driver": "raw_exec", "Config": config, "Identity": {"Env": True}, "Resources": {"CPU": 10, "MemoryMB": 10}}]
    group = {"Name": GROUP, "Count": 1, "Scaling": {"Min": 0, "Max": 3, "Enabled": True}, "Tasks": tasks}
    kind = {"Datacenters": ["dc1"], "Type": "service", "Update": {"MaxParallel": 0}}
    return {"ID": job_id, "Name": job_id, "Namespace": namespace, "TaskGroups": [group], **kind}


def scaling(count: int) -> dict[str, Any]:
    return {"Count": count, "Target": {"Group": GROUP}}


SECRETS = f"nomad/jobs/{FLEET}-autoscaler"
IN, OUT = f"namespace={NAMESPACE}", "namespace=default"

NOMAD_CALLS = tuple(
    Call(*row)
    for row in (
        (
            "list jobs",
            "GET",
            f"/v1/jobs?{IN}",
        ),
        (
            "read a job",
            "GET",
            f"/v1/job/table?{IN}",
        ),
        (
            "read its replicas",
            "GET",
            f"/v1/job/table/allocations?{IN}",
        ),
        (
            "read its evaluations",
            "GET",
            f"/v1/job/table/evaluations?{IN}",
        ),
        (
            "read its scalings",
            "GET",
            f"/v1/job/table/scale?{IN}",
        ),
        (
            "read its deployment",
            "GET",
            f"/v1/job/table/deployment?{IN}",
        ),
        ("scale it", "POST", f"/v1/job/table/scale?{IN}", scaling(2)),
        ("scale in another namespace", "POST", f"/v1/job/table/scale?{OUT}", scaling(2)),
        (
            "read in another namespace",
            "GET",
            f"/v1/job/table?{OUT}",
        ),
        ("parse", "POST", f"/v1/jobs/parse?{IN}", {"JobHCL": 'job "x" {}'}),
        ("validate", "POST", f"/v1/validate/job?{IN}", {"Job": job(NAMESPACE)}),
        ("plan", "POST", f"/v1/job/table/plan?{IN}", {"Job": job(NAMESPACE)}),
        ("register", "POST", f"/v1/jobs?{IN}", {"Job": job(NAMESPACE)}),
        ("register in another namespace", "POST", f"/v1/jobs?{OUT}", {"Job": job("default")}),
        ("tag a version", "POST", f"/v1/job/table/versions/kept/tag?{IN}", {"Version": 0, "Name": "kept"}),
        ("write a variable", "PUT", f"/v1/var/mine?{IN}", {"Path": "mine", "Items": {"a": "b"}}),
        (
            "lock a variable",
            "PUT",
            f"/v1/var/mine?{IN}&lock-acquire",
            {"Path": "mine", "Items": {}, "Lock": {"TTL": "15s", "LockDelay": "15s"}},
        ),
        ("read secrets of jobs", "GET", f"/v1/var/{SECRETS}?{IN}"),
        (
            "see nodes",
            "GET",
            "/v1/nodes",
        ),
        ("drain a node", "POST", f"/v1/node/{uuid4()}/drain", {"DrainSpec": None}),
        (
            "stop a job",
            "DELETE",
            f"/v1/job/table?{IN}",
        ),
        ("make a policy", "POST", "/v1/acl/policy/mine", {"Name": "mine", "Rules": 'node { policy = "read" }'}),
    )
)

_READS = {"read a job", "read its replicas", "read its evaluations", "read its scalings", "read its deployment", "validate"}

NOMAD_MAY = {
    "nomad autoscaler": {*_READS, "scale it"},
    "nomad deployer": {*_READS, "list jobs", "scale it", "parse", "plan", "register", "tag a version"},
}


@pytest.fixture
def jobs(world: Guarded) -> Iterator[None]:
    """One of the same name in both namespaces."""
    for namespace in (NAMESPACE, "default"):
        world.nomad.told("POST", f"/v1/jobs?namespace={namespace}", {"Job": job(namespace)})
    yield
    for namespace in (NAMESPACE, "default"):
        world.nomad.told("DELETE", f"/v1/job/table?purge=true&namespace={namespace}")


@pytest.mark.parametrize("holder", NOMAD_MAY)
def test_in_nomad_a_token_may_what_its_part_needs_and_no_more(world: Guarded, tokens: dict[str, str], jobs: None, holder: str) -> None:
    world.nomad.told("PUT", f"/v1/var/{SECRETS}?{IN}", {"Path": SECRETS, "Items": {"k": "v"}})
    answers = {call.what: world.nomad.ask(*call[1:], token=tokens[holder]) for call in NOMAD_CALLS}
    refused = {what for what, answer in answers.items() if answer.status_code == 403}
    assert {what: answers[what].text for what in answers if what not in refused and answers[what].status_code != 200} == {}
    assert set(answers) - refused == NOMAD_MAY[holder]


@pytest.mark.parametrize(("holder", "sees"), [("nomad deployer", True), ("nomad autoscaler", False)])
def test_who_deploys_sees_which_secrets_of_the_fleet_there_are(world: Guarded, tokens: dict[str, str], holder: str, sees: bool) -> None:
    for path in (SECRETS, "nomad/jobs/other"):
        world.nomad.told("PUT", f"/v1/var/{path}?{IN}", {"Path": path, "Items": {"k": "v"}})
    nomad = Delivery(world.nomad.address, token=tokens[holder], namespace=NAMESPACE)
    assert [nomad.sees_variable(path) for path in (SECRETS, "nomad/jobs/other", f"{SECRETS}-2")] == [sees, False, False]


async def test_the_autoscaler_may_take_back_what_there_is_no_room_for_and_promote_nothing(world: Guarded, tokens: dict[str, str]) -> None:
    nomad = Nomad(world.nomad.address, token=tokens["nomad autoscaler"], namespace=NAMESPACE)
    jobs, made = NomadJobs(nomad, FLEET), job(NAMESPACE, "full")
    made["TaskGroups"][0]["Tasks"][0]["Resources"]["MemoryMB"] = 100_000_000
    made |= {"Meta": {JOB_META_FLEET: FLEET}, "Update": {"MaxParallel": 1, "MinHealthyTime": 0}}
    made["TaskGroups"][0]["Count"] = 0
    world.nomad.told("POST", f"/v1/jobs?{IN}", {"Job": made})
    try:
        view = await until(lambda: jobs.read("full"), lambda v: not v.obstacle)
        await jobs.order(Order("full", 1, view.modify_index, "one", {}))
        view = await until(lambda: jobs.read("full"), lambda v: bool(v.placing))
        promoted = world.nomad.ask(
            "POST",
            f"/v1/deployment/promote/{view.placing}?{IN}",
            {"DeploymentID": view.placing, "All": True},
            token=tokens["nomad autoscaler"],
        )
        await jobs.order(Order("full", 0, view.modify_index, "none", {}, gives_up=view.placing))
        assert ((await jobs.read("full")).count, promoted.status_code) == (0, 403)
    finally:
        world.nomad.told("DELETE", f"/v1/job/full?purge=true&{IN}")


@pytest.mark.parametrize(
    ("job_id", "task", "verdict"),
    [
        (f"{FLEET}-autoscaler", "autoscaler", "may"),
        (f"{FLEET}-autoscaler", "beside", "may not"),
        (f"{FLEET}-router", "router", "may not"),
    ],
)
def test_the_right_to_scale_hangs_on_the_autoscalers_task(world: Guarded, jobs: None, job_id: str, task: str, verdict: Verdict) -> None:
    world.nomad.told("POST", f"/v1/jobs?{IN}", {"Job": job(NAMESPACE, job_id, task)})
    try:
        assert wait_until(lambda: bool(identity(world, job_id, task)), PATIENCE_S)
        answer = world.nomad.ask("POST", f"/v1/job/table/scale?{IN}", scaling(2), token=identity(world, job_id, task))
        assert answer.status_code == (200 if verdict == "may" else 403), answer.text
    finally:
        world.nomad.told("DELETE", f"/v1/job/{job_id}?purge=true&{IN}")


def identity(world: Guarded, job_id: str, task: str) -> str:
    """The token that Nomad signed for a task; empty until it runs."""
    for row in world.nomad.told("GET", f"/v1/job/{job_id}/allocations?{IN}"):
        logs = world.nomad.ask("GET", f"/v1/client/fs/logs/{row['ID']}?task={task}&type=stdout&plain=true&{IN}")
        if row["ClientStatus"] == "running" and logs.status_code == 200 and logs.text.endswith("\n"):
            return logs.text.strip()
    return ""

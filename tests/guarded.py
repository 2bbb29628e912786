"""A Nomad and a Consul that let nobody in without a token, set up with the policies in terraform/policies/ as Terraform sets them up.

The fleet has a namespace of its own. Tasks and services log into Consul with identities that Nomad signs; the autoscaler's rights in
Nomad hang on its job. Tokens of people are made of the same files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from string import Template
from typing import Any
from uuid import uuid4

import requests

from fleet.local import agents, tools
from fleet.local.agents import Agent, Ground
from fleet.local.processes import wait_until
from fleet.names import GROUP, Names
from tests import servers

NAMESPACE = "serving"
_METHOD = "nomad-workloads"
_POLICIES = tools.CHECKOUT / "terraform" / "policies"
_IDENTITY = {"aud": ["consul.io"], "ttl": "1h"}


@dataclass(frozen=True)
class Server:
    """`token` may do everything."""

    agent: Agent
    token: str

    @property
    def address(self) -> str:
        return self.agent.address

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> requests.Response:
        """With the token that may do everything, or another one."""
        secret = self.token if token is None else token
        headers = {"X-Nomad-Token": secret, "X-Consul-Token": secret}
        return requests.request(method, self.address + path, json=body, headers=headers, timeout=20)

    def told(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.ask(method, path, body)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None


@dataclass(frozen=True)
class Guarded:
    names: Names
    ground: Ground
    consul: Server
    nomad: Server

    def consul_token(self, policy: str) -> str:
        """A token with the rights of consul-<policy>.hcl alone."""
        body = {"Policies": [{"Name": f"{self.names.fleet}-{policy}"}]}
        return str(self.consul.told("PUT", "/v1/acl/token", body)["SecretID"])

    def nomad_token(self, policy: str) -> str:
        body = {"Name": policy, "Type": "client", "Policies": [f"{self.names.fleet}-{policy}"]}
        return str(self.nomad.told("POST", "/v1/acl/token", body)["SecretID"])


@contextmanager
def guarded(fleet: str) -> Iterator[Guarded]:
    names = Names(fleet)
    with servers.ground() as ground, ExitStack() as left:
        consul = _consul(ground, left)
        agent_token = _consul_rights(consul, names)
        nomad = _nomad(ground, consul.address, agent_token, left)
        _nomad_rights(nomad, names)
        _logins(consul, nomad.address, names)
        yield Guarded(names, ground, consul, nomad)


def policy(file: str, names: Names) -> str:
    """A policy for this fleet, as Terraform's templatefile() makes it."""
    return Template((_POLICIES / file).read_text()).substitute(fleet=names.fleet, namespace=NAMESPACE)


def _consul(ground: Ground, left: ExitStack) -> Server:
    token = str(uuid4())
    acl = {"enabled": True, "default_policy": "deny", "tokens": {"initial_management": token, "agent": token}}
    server = Server(_started("consul", agents.consul_config(ground.ports) | {"acl": acl}, ground, left), token)
    assert wait_until(lambda: _answers(server, "/v1/acl/tokens"), 90), agents.log_tail(server.agent.log)
    return server


def _consul_rights(consul: Server, names: Names) -> str:
    """Makes every policy. Returns: a token for Nomad's agents."""
    for file in sorted(_POLICIES.glob("consul-*.hcl")):
        name = f"{names.fleet}-{file.stem.removeprefix('consul-')}"
        consul.told("PUT", "/v1/acl/policy", {"Name": name, "Rules": policy(file.name, names)})
    return str(consul.told("PUT", "/v1/acl/token", {"Policies": [{"Name": f"{names.fleet}-nomad-agent"}]})["SecretID"])


def _nomad(ground: Ground, consul: str, agent_token: str, left: ExitStack) -> Server:
    token = str(uuid4())
    config = agents.nomad_config(ground.state / "nomad", ground.ports, consul) | {"acl": {"enabled": True}}
    config["consul"] |= {"token": agent_token, "service_identity": _IDENTITY, "task_identity": _IDENTITY}
    server = Server(_started("nomad", config, ground, left), token)
    assert wait_until(lambda: _bootstrapped(server), 90), agents.log_tail(server.agent.log)
    ready = lambda: any(map(agents._runs_tasks, server.told("GET", "/v1/nodes"))) and _has_key(server)  # noqa: E731
    assert wait_until(ready, 90), agents.log_tail(server.agent.log)
    return server


def _nomad_rights(nomad: Server, names: Names) -> None:
    nomad.told("POST", f"/v1/namespace/{NAMESPACE}", {"Name": NAMESPACE})
    of_the_task = {"Namespace": NAMESPACE, "JobID": names.job("autoscaler"), "Group": GROUP, "Task": "autoscaler"}
    attached: Mapping[str, Any] = {"autoscaler": {"JobACL": of_the_task}, "deployer": {}}
    for part, more in attached.items():
        name = f"{names.fleet}-{part}"
        nomad.told("POST", f"/v1/acl/policy/{name}", {"Name": name, "Rules": policy(f"nomad-{part}.hcl", names), **more})
    # The same rights for a person, so that a table can show what they are: a policy on a job is no policy for tokens.
    held = f"{names.fleet}-autoscaler-held"
    nomad.told("POST", f"/v1/acl/policy/{held}", {"Name": held, "Rules": policy("nomad-autoscaler.hcl", names)})


def _logins(consul: Server, nomad: str, names: Names) -> None:
    """How tasks and services come to their tokens, as terraform/consul.tf says."""
    claims = ("nomad_namespace", "nomad_job_id", "nomad_task", "nomad_service")
    config = {
        "JWKSURL": f"{nomad}/.well-known/jwks.json",
        "JWTSupportedAlgs": ["RS256"],
        "BoundAudiences": ["consul.io"],
        "ClaimMappings": {claim: claim for claim in claims},
    }
    consul.told("PUT", "/v1/acl/auth-method", {"Name": _METHOD, "Type": "jwt", "Config": config})
    service = f'"nomad_service" in value and value.nomad_service matches "^{names.fleet}-" and value.nomad_namespace == "{NAMESPACE}"'
    _bound(consul, service, "service", "${value.nomad_service}")
    for part in ("router", "autoscaler"):
        role = names.job(part)
        consul.told("PUT", "/v1/acl/role", {"Name": role, "Policies": [{"Name": f"{names.fleet}-{part}"}]})
        task = f'value.nomad_namespace == "{NAMESPACE}" and value.nomad_job_id == "{role}" and value.nomad_task == "{part}"'
        _bound(consul, f'"nomad_service" not in value and {task}', "role", role)


def _bound(consul: Server, selector: str, kind: str, name: str) -> None:
    body = {"AuthMethod": _METHOD, "Selector": selector, "BindType": kind, "BindName": name}
    consul.told("PUT", "/v1/acl/binding-rule", body)


def _bootstrapped(server: Server) -> bool:
    """A fresh server has no leader for a moment."""
    try:
        answer = server.ask("POST", "/v1/acl/bootstrap", {"BootstrapSecret": server.token}, token="")
    except requests.RequestException:
        return False
    return answer.status_code == 200


def _has_key(server: Server) -> bool:
    return any(key["State"] == "active" for key in server.told("GET", "/v1/operator/keyring/keys") or ())


def _answers(server: Server, path: str) -> bool:
    try:
        return server.ask("GET", path).status_code == 200
    except requests.RequestException:
        return False


def _started(name: str, config: dict[str, Any], ground: Ground, left: ExitStack) -> Agent:
    agent = servers.start(name, config, ground)
    left.callback(agents.stop, agent)
    return agent

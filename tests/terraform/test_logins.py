"""Who gets which right in Consul, by the login and the rules of terraform/consul.tf: a real Consul decides.

Nomad is played by what Consul knows of it: a page with public keys, and tokens that are signed with the private one and say what Nomad
says of a task or a service. The key is that of RFC 7515, A.2, which everybody knows, and guards nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest
import requests

from fleet.blocks import blocks
from fleet.local import agents, tools
from fleet.local.processes import spawn, terminate, wait_until
from fleet.render import render_jobs
from fleet.spec import load
from tests import servers
from tests.terraform import configuration
from tests.terraform.configuration import ROOT, filled

pytestmark = pytest.mark.contract

VALUES = {"fleet": "blue", "namespace": "llm", "deployer_login.claim": "repository", "deployer_login.value": "example/blue"}
METHOD = "nomad-workloads"
PIPELINE = "blue-deployer"
TASKS = ("router", "autoscaler")

_N = (
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b"
    "32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5"
    "IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
)
_D = (
    "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCg"
    "u-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8"
    "bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ"
)
_SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")  # what stands before the digest in a PKCS #1 signature


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=="))


def signed(claims: dict[str, Any]) -> str:
    """A JWT (RS256) with these claims, as Nomad makes them for its workloads."""
    now = int(time.time())
    body = {"aud": "consul.io", "iat": now, "nbf": now - 60, "exp": now + 600, **claims}
    told = ".".join(_text(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "known", "typ": "JWT"}, body))
    tail = b"\x00" + _SHA256 + hashlib.sha256(told.encode()).digest()
    padded = b"\x00\x01" + b"\xff" * (256 - 2 - len(tail)) + tail
    return f"{told}.{_text(pow(int.from_bytes(padded), _number(_D), _number(_N)).to_bytes(256))}"


class _Keys(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = json.dumps({"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "known", "n": _N, "e": "AQAB"}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def _keys() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Keys) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/.well-known/jwks.json"
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Consul:
    address: str
    token: str

    def put(self, path: str, body: Any) -> None:
        answer = requests.put(self.address + path, json=body, headers={"x-consul-token": self.token}, timeout=20)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"

    def is_ready(self) -> bool:
        try:
            answer = requests.get(f"{self.address}/v1/acl/policies", headers={"x-consul-token": self.token}, timeout=5)
        except requests.RequestException:
            return False
        return answer.status_code == 200

    def login(self, claims: dict[str, Any], method: str = METHOD) -> requests.Response:
        asked = {"AuthMethod": method, "BearerToken": signed(claims)}
        return requests.post(f"{self.address}/v1/acl/login", json=asked, timeout=20)

    def rights(self, claims: dict[str, Any], method: str = METHOD) -> set[str]:
        """What somebody gets who logs in: `role NAME`, `service NAME`; nothing where no rule is for it."""
        answer = self.login(claims, method)
        if answer.status_code == 403:
            return set()
        assert answer.status_code == 200, answer.text
        token = answer.json()
        roles = {f"role {role['Name']}" for role in token.get("Roles") or ()}
        return roles | {f"service {service['ServiceName']}" for service in token.get("ServiceIdentities") or ()}


@pytest.fixture(scope="module")
def consul() -> Iterator[Consul]:
    """A Consul that lets nobody in without a token, with the login and the rules of Terraform."""
    with servers.ground() as ground, _keys() as keys:
        token = str(uuid4())
        acl = {"enabled": True, "default_policy": "deny", "tokens": {"initial_management": token, "agent": token}}
        folder = ground.state / "consul"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(agents.consul_config(ground.ports) | {"acl": acl}))
        argv = [str(tools.require().consul), "agent", "-dev", "-client", "127.0.0.1", "-bind", "127.0.0.1"]
        process = spawn([*argv, "-config-file", str(folder / "config.json")], folder / "log", marker=ground.state)
        try:
            made = Consul(f"http://127.0.0.1:{ground.ports.consul_http}", token)
            assert wait_until(made.is_ready, 90), (folder / "log").read_text()
            _prepare(made, keys)
            yield made
        finally:
            terminate([process], grace_s=20.0)


def _prepare(consul: Consul, keys: str) -> None:
    claims = re.findall(r"\b(nomad_\w+)\s*[=:]", str(_resource("consul_acl_auth_method.workloads")["config_json"]))
    assert set(claims) == {"nomad_namespace", "nomad_job_id", "nomad_task", "nomad_service"}
    _let_in(consul, METHOD, keys, claims)
    _let_in(consul, PIPELINE, keys, ["repository"])
    for role in (*TASKS, "deployer"):
        consul.put("/v1/acl/role", {"Name": f"blue-{role}"})
    for task in TASKS:
        _bind(consul, METHOD, "task", ("role", f"blue-{task}"), task)
    _bind(consul, METHOD, "service", ("service", "${value.nomad_service}"))
    _bind(consul, PIPELINE, "deployer", ("role", "blue-deployer"))


def _let_in(consul: Consul, method: str, keys: str, claims: list[str]) -> None:
    """Every method gets its keys from the same page; that of a pipeline finds it by discovery, which wants TLS."""
    config = {
        "JWKSURL": keys,
        "BoundAudiences": ["consul.io"],
        "JWTSupportedAlgs": ["RS256"],
        "ClaimMappings": {name: name for name in claims},
    }
    consul.put("/v1/acl/auth-method", {"Name": method, "Type": "jwt", "TokenLocality": "local", "Config": config})


def _bind(consul: Consul, method: str, rule: str, right: tuple[str, str], each: str = "") -> None:
    told = filled(_resource(f"consul_acl_binding_rule.{rule}")["selector"], VALUES)
    selector = told.replace("${each.key}", each).replace('\\"', '"')
    assert "${" not in selector
    consul.put("/v1/acl/binding-rule", {"AuthMethod": method, "Selector": selector, "BindType": right[0], "BindName": right[1]})


def _resource(name: str) -> Any:
    return next(one.body for one in configuration.resources() if str(one) == name)


def claims(job: str, *, task: str = "", service: str = "", namespace: str = "llm", **more: Any) -> dict[str, Any]:
    return {"nomad_namespace": namespace, "nomad_job_id": job, **({"nomad_service": service} if service else {"nomad_task": task}), **more}


@pytest.mark.parametrize(
    ("workload", "rights"),
    [
        pytest.param(claims("blue-router", task="router"), {"role blue-router"}, id="router"),
        pytest.param(claims("blue-autoscaler", task="autoscaler"), {"role blue-autoscaler"}, id="autoscaler"),
        pytest.param(claims("blue-small-model", task="small-model"), set(), id="an engine needs nothing"),
        pytest.param(claims("blue-router", task="autoscaler"), set(), id="a task of another job"),
        pytest.param(claims("blue-router", task="router", namespace="default"), set(), id="another namespace"),
        pytest.param(claims("green-router", task="router"), set(), id="another fleet"),
        pytest.param(claims("blue-router-2", task="router"), set(), id="a job with a longer name"),
        pytest.param(claims("blue-small-model", service="blue-model"), {"service blue-model"}, id="a replica"),
        pytest.param(claims("blue-autoscaler", service="blue-autoscaler"), {"service blue-autoscaler"}, id="the autoscaler's service"),
        pytest.param(claims("other", service="blue-model"), set(), id="a replica of another job"),
        pytest.param(claims("blue-small-model", service="blue-model", namespace="default"), set(), id="a replica in another namespace"),
        pytest.param(claims("blue-router", service="payments"), set(), id="a service of somebody else"),
        pytest.param(claims("blue-green-router", service="blue-green-router"), set(), id="a fleet with a longer name"),
    ],
)
def test_a_workload_gets_what_is_its_own(consul: Consul, workload: dict[str, Any], rights: set[str]) -> None:
    assert consul.rights(workload) == rights


@pytest.mark.parametrize(
    ("repository", "rights"),
    [("example/blue", {"role blue-deployer"}), ("example/blue-fork", set()), ("another/blue", set()), ("", set())],
)
def test_only_the_pipeline_of_the_fleet_may_deploy(consul: Consul, repository: str, rights: set[str]) -> None:
    assert consul.rights({"repository": repository}, PIPELINE) == rights


def test_an_identity_that_is_made_for_somebody_else_is_not_taken(consul: Consul) -> None:
    answer = consul.login(claims("blue-router", task="router", aud="vault.io"))
    assert "aud claim does not match" in answer.text


def test_every_service_of_the_rendered_jobs_may_be_registered(consul: Consul) -> None:
    jobs = render_jobs(load(ROOT / "jobs/fleet.toml", variables=["fleet.name=blue", "fleet.namespace=llm"]), ROOT / "templates")
    services = {
        (inside[0].label, block.values["name"])
        for text in jobs.values()
        for inside in [list(blocks(text))]
        for block in inside
        if block.kind == "service"
    }
    assert services
    for job, service in sorted(services):
        assert consul.rights(claims(job, service=service)) == {f"service {service}"}

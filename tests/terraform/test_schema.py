"""What is given to a provider is what it takes, by the schemas that its published bindings say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.terraform.configuration import Resource, blocks, resources
from tests.terraform.schema import SCHEMAS, objections

RESOURCES = resources()


@pytest.mark.parametrize("resource", RESOURCES, ids=str)
def test_a_resource_gives_what_its_provider_takes(resource: Resource) -> None:
    assert objections(resource) == []


@pytest.mark.parametrize("provider", SCHEMAS)
def test_a_provider_is_configured_with_what_it_takes(provider: str) -> None:
    [own] = [body for block in blocks("provider") for name, body in block.items() if name == f'"{provider}"']
    given = {name for name in own if not name.startswith("__")}
    assert given <= set(SCHEMAS[provider]["provider"]["attributes"])
    assert not given & {"secret_id", "token", "api_key", "app_key"}, "keys come from the environment"


def test_no_schema_is_kept_that_nothing_uses() -> None:
    known = {name for schema in SCHEMAS.values() for name in schema["resources"]}
    assert known == {resource.kind for resource in RESOURCES}


@pytest.mark.parametrize(
    ("kind", "body", "objection"),
    [
        ("nomad_job", {}, "no such resource"),
        ("nomad_node_pool", {"name": "gpu", "nodes": "3"}, "takes no argument nodes"),
        ("nomad_variable", {"namespace": "llm"}, "needs path"),
        ("nomad_acl_role", {"name": "deployer"}, "needs a block policy"),
        ("nomad_acl_role", {"name": "deployer", "policy": [{}]}, "policy: needs name"),
        ("nomad_acl_role", {"name": "deployer", "dynamic": [{'"role"': {"content": [{}]}}]}, "takes no block role"),
        ("nomad_acl_policy", {"name": "a", "rules_hcl": "", "job_acl": [{"job_id": "a"}, {"job_id": "b"}]}, "1 block job_acl at most"),
        ("nomad_dynamic_host_volume", {"name": "a", "plugin_id": "mkdir", "capability": [], "host_path": "/srv"}, "host_path is computed"),
    ],
)
def test_a_resource_that_its_provider_would_refuse_is_found(kind: str, body: dict[str, Any], objection: str) -> None:
    assert any(objection in found for found in objections(Resource(kind, "wrong", body)))

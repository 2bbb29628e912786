"""What Terraform must know of a fleet, from the one description: the file terraform/fleet.auto.tfvars.json.

Names, addresses, node pools, volumes, task drivers, names of keys: what has to be there before the first job is deployed. Never a
count, a bound or a secret. `warmfleet render` writes the file beside the jobs, so that what Terraform prepares is what the jobs ask for.
Pure: a checked description in, text out. terraform/variables.tf says what each value means and checks it once more.
"""

from __future__ import annotations

import json
from pathlib import Path

from fleet.model import Spec
from fleet.render import router_secrets

FILE = Path("terraform/fleet.auto.tfvars.json")

_BUILT_IN_POOLS = frozenset({"default", "all"})  # every Nomad has them, and takes no second definition


def tfvars(spec: Spec) -> str:
    """The variables as JSON, in alphabetical order; the same description gives the same bytes."""
    return json.dumps(_variables(spec), indent=2, sort_keys=True) + "\n"


def _variables(spec: Spec) -> dict[str, object]:
    fleet = spec.fleet
    return {
        "fleet": fleet.name,
        "region": fleet.region,
        "namespace": fleet.namespace,
        "datacenters": list(fleet.datacenters),
        "consul_address": fleet.consul,
        "nomad_address": fleet.nomad,
        "node_pools": sorted({model.node_pool for model in spec.models} - _BUILT_IN_POOLS),
        "weights_volumes": _weights_volumes(spec),
        "sessions_volume": spec.redis.volume,
        "task_drivers": _task_drivers(spec),
        "router_key_names": list(router_secrets(spec)),
        "datadog_agent": spec.datadog.enabled,
        "datadog_site": spec.datadog.site,
    }


def _weights_volumes(spec: Spec) -> list[dict[str, str]]:
    """Each host volume with weights, once for each pool whose nodes must have it."""
    wanted = {(model.volume, model.node_pool) for model in spec.models if model.volume}
    return [{"name": name, "node_pool": pool} for name, pool in sorted(wanted)]


def _task_drivers(spec: Spec) -> list[str]:
    engines = {"docker" if model.engine == "vllm" else "raw_exec" for model in spec.models}
    agent = {"docker"} if spec.datadog.enabled else set()
    return sorted(engines | agent | {spec.runtime.driver, spec.redis.driver})

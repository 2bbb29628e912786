"""The proxies that are compared: how each is started before the same upstreams. Values only.

Every one runs as it would in production: our router with sessions in Redis, breaker, access to metrics and DogStatsD; Envoy with one
worker; vllm-router with its breaker and retries. One process each, because what is compared is the cost of a request.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from bench.router import wire
from bench.router.results import OURS, TRACED
from fleet import names
from fleet.key import digest
from tools import native

Role = Literal["ours", "peer", "orientation"]

TRACING: Final = {
    "DD_SERVICE": "warmfleet-router",
    "DD_CODE_ORIGIN_FOR_SPANS_ENABLED": "false",
    "DD_PATCH_MODULES": "aiohttp:false,asyncio:false,consul:false,redis:false",
    "DD_TRACE_SAMPLING_RULES": json.dumps(
        [{"resource": "GET /health", "sample_rate": 0}, {"resource": "GET /metrics", "sample_rate": 0}, {"sample_rate": 0.01}]
    ),
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
}
"""What the router's job sets for ddtrace; a test holds it to jobs/router.nomad.hcl."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """`files` are written, by their name, into the folder `{folder}` before the start."""

    name: str
    role: Role
    port: int
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Backing:
    """What our router needs around it: Consul, Redis (empty: sessions stay local) and the port of a DogStatsD sink."""

    consul: str
    redis: str
    statsd_port: int


def ours(
    port: int, folder: Path, backing: Backing, *, name: str = OURS, described: Mapping[str, Any] | None = None, compiled: bool = True
) -> Proxy:
    """Our router. `described`: its fleet, whose replicas it finds through Consul; by default `fleet(OURS, backing)`.

    `compiled`: as a wheel has it, from where tools/native.py has left it; else as it stands in the checkout.
    """
    spec = folder / f"{name}.json"
    env = {
        names.ENV_SPEC: str(spec),
        names.ENV_HOST: "127.0.0.1",
        names.ENV_PORT: str(port),
        "DD_AGENT_HOST": "127.0.0.1",
        "DD_DOGSTATSD_PORT": str(backing.statsd_port),
    }
    if compiled:
        env |= {"PYTHONSAFEPATH": "1", "PYTHONPATH": f"{native.FOLDER}{os.pathsep}{native.CHECKOUT}"}
    return Proxy(name, "ours", port, (sys.executable, "-m", "router"), env, {spec.name: json.dumps(described or fleet(OURS, backing))})


def fleet(name: str, backing: Backing, *, slo: Mapping[str, str] | None = None, **router: str | int) -> dict[str, Any]:
    """A fleet's description with one model and one route; `router` are settings of its table."""
    model: dict[str, Any] = {"name": wire.MODEL, "engine": "llamacpp", "weights": "none", "cold_start": "60s"}
    model["capacity"] = {"concurrency": 64, "requests_per_min": 6000}
    if slo:
        model["slo"] = dict(slo)
    return {
        "fleet": {"name": name, "consul": backing.consul, "redis": backing.redis},
        "runtime": {"driver": "raw_exec"},
        "router": {"drain": "1s", **router},
        "model": [model],
        "route": [{"selector": 0, "name": "chat", "chain": [wire.MODEL]}],
    }


def traced(port: int, folder: Path, backing: Backing, agent_port: int) -> Proxy:
    """Everything that production watches itself with: ddtrace, sampled, before an agent that takes what is sent, and the access log."""
    described = fleet(OURS, backing, access_log="sampled")
    plain = ours(port, folder, backing, name=TRACED, described=described)
    argv = (sys.executable, "-m", "ddtrace.commands.ddtrace_run", *plain.argv)
    return replace(plain, argv=argv, env={**plain.env, **TRACING, "DD_TRACE_AGENT_URL": f"http://127.0.0.1:{agent_port}"})


def limited(name: str, backing: Backing) -> dict[str, Any]:
    """The same fleet for a tenant that has every limit, a model that has a price, and a route that chooses."""
    described = fleet(name, backing)
    described["route"][0]["strategy"] = "balanced"
    described["model"][0]["cost"] = {"input": 0.0001, "output": 0.0002}
    limits = {"requests_per_min": 10**9, "tokens_per_min": 10**12, "budget_usd": 1e6}
    return described | {"tenant": [{"name": "bench", "key_sha256": [digest(wire.KEY)], **limits}]}


def envoy(programs: Path, port: int, folder: Path, upstreams: Sequence[int]) -> Proxy:
    """With `--concurrency 1`. Its base id is its port, so that a second Envoy on the machine does not refuse to start."""
    config = folder / "envoy.json"
    argv = (str(programs / "envoy"), "-c", str(config), "--concurrency", "1", "-l", "error", "--base-id", str(port))
    return Proxy("envoy", "peer", port, argv, files={config.name: json.dumps(_envoy_config(port, upstreams))})


def _envoy_config(port: int, upstreams: Sequence[int]) -> dict[str, Any]:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    }
    retries = {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 2}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "engines", "timeout": "0s", "retry_policy": retries}}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [router],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    cluster = {
        "name": "engines",
        "connect_timeout": "2s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {"cluster_name": "engines", "endpoints": [{"lb_endpoints": [_envoy_endpoint(p) for p in upstreams]}]},
        "circuit_breakers": {"thresholds": [{"max_connections": 8192, "max_requests": 8192, "max_pending_requests": 8192}]},
        "outlier_detection": {"consecutive_5xx": 3, "base_ejection_time": "60s"},
    }
    listener = {"address": _envoy_address(port), "filter_chains": [{"filters": filters}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _envoy_address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _envoy_endpoint(port: int) -> dict[str, Any]:
    return {"endpoint": {"address": _envoy_address(port)}}


def vllm_router(programs: Path, port: int, metrics_port: int, upstreams: Sequence[int]) -> Proxy:
    fixed = ("--host", "127.0.0.1", "--policy", "power_of_two", "--log-level", "error", "--max-concurrent-requests", "8192")
    ports = ("--port", str(port), "--prometheus-host", "127.0.0.1", "--prometheus-port", str(metrics_port))
    workers = tuple(f"http://127.0.0.1:{upstream}" for upstream in upstreams)
    return Proxy("vllm-router", "peer", port, (str(programs / "vllm-router"), *fixed, *ports, "--worker-urls", *workers))


def nginx(program: str, port: int, folder: Path, upstreams: Sequence[int]) -> Proxy:
    """A plain reverse proxy with keep-alive and without buffering: what the bytes alone cost."""
    servers = " ".join(f"server 127.0.0.1:{upstream};" for upstream in upstreams)
    paths = "".join(f"  {kind}_temp_path {folder}/nginx-{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config = f"""\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000;
{paths}  upstream engines {{ least_conn; {servers} keepalive 2048; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://engines; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
"""
    return Proxy("nginx", "orientation", port, (program, "-c", str(folder / "nginx.conf")), files={"nginx.conf": config})


def litellm(programs: Path, port: int, folder: Path, upstreams: Sequence[int]) -> Proxy:
    """One worker, no database."""
    config = folder / "litellm.json"  # it reads YAML, and so JSON
    models = [
        {
            "model_name": wire.MODEL,
            "litellm_params": {"model": f"openai/{wire.MODEL}", "api_base": f"http://127.0.0.1:{p}/v1", "api_key": "x"},
        }
        for p in upstreams
    ]
    env = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MASTER_KEY": wire.KEY,
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # on loopback, for minutes
    }
    argv = (str(programs / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1")
    return Proxy("litellm", "orientation", port, argv, env, {config.name: json.dumps({"model_list": models})})

"""Jobs, a router's metrics and polling, for the autoscaler's tests against real Nomad and Consul."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import aiohttp
from aiohttp import web

from fleet.local import engine
from fleet.names import JOB_META_FLEET, Names
from fleet.nomad import Nomad
from fleet.recorder import Recorder, prometheus_text

T = TypeVar("T")
MODEL = "small-model"

_JOB = """
job "%(job)s" {
  type = "service"
  meta = {
    "%(meta)s" = "%(fleet)s"
  }

  group "main" {
    count          = 1
    shutdown_delay = "1s"
    %(bounds)s
    update {
      max_parallel      = 4
      min_healthy_time  = "0s"
      healthy_deadline  = "2m"
      progress_deadline = "3m"
      canary            = 1
      auto_promote      = false
    }

    network {
      port "http" {
      }
    }
    %(service)s
    task "engine" {
      driver = "raw_exec"

      config {
        command = "%(python)s"
        args    = %(args)s
      }

      env {
        GENERATION = "%(generation)s"
        PYTHONPATH = "%(path)s"
      }

      resources {
        cpu    = 50
        memory = %(memory)d
      }
    }
  }
}
"""

_SERVICE = """
    service {
      name     = "%(service)s"
      provider = "consul"
      port     = "http"
      tags     = ["%(model)s"]

      meta {
        model       = "%(model)s"
        engine      = "llamacpp"
        alloc_id    = "${NOMAD_ALLOC_ID}"
        alloc_index = "${NOMAD_ALLOC_INDEX}"
      }

      check {
        type      = "http"
        path      = "/health"
        interval  = "1s"
        timeout   = "1s"
        on_update = "ignore"
      }
    }
"""


def job_of_sleepers(
    names: Names, *, memory_mb: int = 16, generation: int = 0, most: int = 0, deadline_s: int = 180, fleet: str | None = None
) -> str:
    """A task that does nothing, without a service. `most`: the job itself allows so many of it; 0: any number.

    `fleet`: what its meta says in place of the fleet that `names` are of.
    `deadline_s`: for so long Nomad tries to place what a deployment asks for.
    """
    bounds = f"scaling {{\n min = 1\n max = {most}\n policy {{}}\n }}" if most else ""
    job = _job(names, '["-c", "import time; time.sleep(3600)"]', "", memory_mb, generation=generation, bounds=bounds, fleet=fleet)
    return job.replace('= "3m"', f'= "{deadline_s}s"').replace('= "2m"', f'= "{deadline_s * 2 // 3}s"')


def job_of_engines(names: Names, weights: str) -> str:
    """Real llama.cpp engines, passing when their weights are loaded."""
    args = ["-m", engine.__name__, "--weights", weights, "--alias", MODEL, "--port", "${NOMAD_PORT_http}", "--load-delay", "1"]
    listed = "[" + ", ".join(f'"{arg}"' for arg in args) + "]"
    return _job(names, listed, _SERVICE % {"service": names.model_service, "model": MODEL}, 300)


def _job(names: Names, args: str, service: str, memory_mb: int, *, generation: int = 0, bounds: str = "", fleet: str | None = None) -> str:
    return _JOB % {
        "job": names.job(MODEL),
        "meta": JOB_META_FLEET,
        "fleet": names.fleet if fleet is None else fleet,
        "python": sys.executable,
        "args": args,
        "service": service,
        "memory": memory_mb,
        "generation": generation,
        "bounds": bounds,
        "path": ":".join(path for path in sys.path if path),
    }


def own_names() -> Names:
    return Names(f"as-{uuid.uuid4().hex[:8]}")


@contextmanager
def registered(nomad: Nomad, hcl: str) -> Iterator[str]:
    job = nomad.parse(hcl)
    nomad.register(job)
    try:
        yield str(job["ID"])
    finally:
        nomad.deregister(str(job["ID"]))


@asynccontextmanager
async def router(recorder: Recorder, names: Names, consul_address: str) -> AsyncIterator[None]:
    """The metrics of one router, at an address that Consul knows."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=prometheus_text(recorder))

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service = {"ID": names.router_service, "Name": names.router_service, "Address": "127.0.0.1", "Port": runner.addresses[0][1]}
    async with aiohttp.ClientSession(consul_address, raise_for_status=True) as http:
        async with http.put("/v1/agent/service/register", json=service):
            pass
        try:
            yield
        finally:
            async with http.put(f"/v1/agent/service/deregister/{names.router_service}"):
                pass
            await runner.cleanup()


async def until(read: Callable[[], Awaitable[T]], holds: Callable[[T], bool], *, seconds: float = 120) -> T:
    """Polls until `holds`; fails with what was read last."""
    deadline = time.monotonic() + seconds
    while not holds(value := await read()):
        assert time.monotonic() < deadline, f"still {value!r} after {seconds:g} s"
        await asyncio.sleep(0.05)
    return value

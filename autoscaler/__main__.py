"""`python -m autoscaler`: reads the environment, wires the loop to Consul, Nomad and HTTP, and runs until it is told to stop.

WARMFLEET_SPEC is the path of the fleet description, WARMFLEET_HOST and WARMFLEET_PORT the address of the status pages;
NOMAD_TOKEN and CONSUL_HTTP_TOKEN, or the CONSUL_TOKEN that Nomad gives a task, are the tokens where ACLs are on.
SIGTERM and SIGINT end it after the pass that is under way.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import uvicorn

from autoscaler.app import create_app
from autoscaler.jobs import NomadJobs
from autoscaler.journal import Journal
from autoscaler.loop import Loop, Ports
from autoscaler.scrape import Scraper, open_session
from autoscaler.states import ConsulStates
from fleet.consul import Consul
from fleet.errors import WarmfleetError
from fleet.model import Spec
from fleet.names import ENV_HOST, ENV_PORT, ENV_SPEC, Names
from fleet.nomad import Nomad
from fleet.recorder import Recorder
from fleet.spec import load

_SCRAPE_S = (0.25, 2.0)
_LATE_INTERVALS = 3
_LATE_LEAST_S = 60.0


async def run(spec: Spec, environment: Mapping[str, str]) -> None:
    """Serves and decides until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    consul = Consul(spec.fleet.consul, environment.get("CONSUL_HTTP_TOKEN") or environment.get("CONSUL_TOKEN"))
    try:
        async with open_session() as session:
            loop = Loop(spec, _ports(spec, consul, session, environment), Recorder())
            await _serve(loop, stop, environment)
    finally:
        await consul.close()


async def _serve(loop: Loop, stop: asyncio.Event, environment: Mapping[str, str]) -> None:
    late_after_s = max(_LATE_LEAST_S, _LATE_INTERVALS * loop.spec.autoscaler.interval_s)
    app = create_app(loop.board, loop.recorder, clock=time.time, late_after_s=late_after_s)
    host, port = environment.get(ENV_HOST, "127.0.0.1"), int(environment.get(ENV_PORT, "0"))
    server = uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_level="warning"))
    async with asyncio.TaskGroup() as tasks:
        passes = tasks.create_task(loop.run(stop))
        await server.serve()  # ends on SIGTERM and SIGINT, and repeats the signal for the handlers above
        stop.set()
        await passes


def _ports(spec: Spec, consul: Consul, session: aiohttp.ClientSession, environment: Mapping[str, str]) -> Ports:
    least_s, most_s = _SCRAPE_S
    nomad = Nomad(spec.fleet.nomad, token=environment.get("NOMAD_TOKEN"), namespace=spec.fleet.namespace, region=spec.fleet.region)
    return Ports(
        catalogue=consul,
        metrics=Scraper(session, min(most_s, max(least_s, spec.autoscaler.interval_s / 2)), time.time),
        jobs=NomadJobs(nomad),
        states=ConsulStates(consul, Names(spec.fleet.name)),
        clock=time.time,
        say=Journal(sys.stdout).say,
    )


def main() -> None:
    path = os.environ.get(ENV_SPEC)
    if not path:
        sys.exit(f"autoscaler: set {ENV_SPEC} to the path of the fleet description")
    try:
        asyncio.run(run(load(Path(path)).spec, os.environ))
    except WarmfleetError as error:
        sys.exit(f"autoscaler: {error}")


if __name__ == "__main__":
    main()

"""`python -m autoscaler`: reads the environment, and runs one autoscaler until it is told to stop.

WARMFLEET_SPEC is the path of the fleet description, WARMFLEET_HOST and WARMFLEET_PORT the address of the status pages;
NOMAD_TOKEN and CONSUL_HTTP_TOKEN, or the CONSUL_TOKEN that Nomad gives a task, are the tokens where ACLs are on.
DD_API_KEY and DD_APP_KEY let it read Datadog, DD_AGENT_HOST tell it. Several may run: one leads, the others stand by.
SIGTERM and SIGINT end it after the pass that is under way; then what is remembered is written down, what drains serves again, and the lead
is given away.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    gc.disable()  # what is imported below stays: to look for garbage in it would be a tenth of the start

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from autoscaler.app import Outside, Wired, wire
from autoscaler.pages import create_app
from autoscaler.scrape import open_session
from fleet.consul import Consul
from fleet.errors import WarmfleetError
from fleet.model import Spec
from fleet.names import ENV_HOST, ENV_PORT, ENV_SPEC
from fleet.spec import load
from fleet.state import Leader

_LATE_INTERVALS = 3
_LATE_LEAST_S = 60.0


async def run(spec: Spec, environment: Mapping[str, str]) -> None:
    """Serves and decides until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    host, port = environment.get(ENV_HOST, "127.0.0.1"), int(environment.get(ENV_PORT, "0"))
    me = Leader(name=f"{socket.gethostname()}/{os.getpid()}", url=f"http://{host}:{port}", since=0.0)
    consul = Consul(spec.fleet.consul, environment.get("CONSUL_HTTP_TOKEN") or environment.get("CONSUL_TOKEN"))
    try:
        async with open_session() as session:
            wired = wire(spec, Outside(environment, consul, session, sys.stdout, me))
            await _serve(wired, stop, uvicorn.Config(_pages(wired), host=host, port=port, log_level="warning"))
    finally:
        await consul.close()


def _pages(wired: Wired) -> FastAPI:
    loop = wired.loop
    late_after_s = max(_LATE_LEAST_S, _LATE_INTERVALS * loop.spec.autoscaler.interval_s)
    return create_app(loop.board, loop.recorder, clock=time.time, late_after_s=late_after_s)


async def _serve(wired: Wired, stop: asyncio.Event, config: uvicorn.Config) -> None:
    server, released = uvicorn.Server(config), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        beside = [tasks.create_task(each()) for each in wired.beside]
        leading = tasks.create_task(wired.lease.run(released))
        passes = tasks.create_task(wired.loop.run(stop))
        serving = tasks.create_task(server.serve())  # ends on SIGTERM and SIGINT too, and repeats the signal for the handlers above
        await passes
        server.should_exit = True
        await serving
        await asyncio.gather(wired.forecasts.close(leads=wired.lease.standing().leads), wired.loop.leave())
        released.set()
        await leading
        for task in beside:
            task.cancel()


def main() -> None:
    gc.freeze()
    gc.enable()
    path = os.environ.get(ENV_SPEC)
    if not path:
        sys.exit(f"autoscaler: set {ENV_SPEC} to the path of the fleet description")
    try:
        asyncio.run(run(load(Path(path)).spec, os.environ))
    except WarmfleetError as error:
        sys.exit(f"autoscaler: {error}")


if __name__ == "__main__":
    main()

"""`python -m router`: one router process, as Nomad starts it.

Environment: WARMFLEET_SPEC (the resolved fleet description), WARMFLEET_HOST, WARMFLEET_PORT, CONSUL_HTTP_TOKEN. The description's own
router.host and router.port hold where these are not set. SIGTERM: new work is refused, running answers get router.drain to finish.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from pathlib import Path

import uvicorn

from fleet import names, spec
from fleet.errors import WarmfleetError
from router.app import Wired, wire

_KEEP_ALIVE_S = 75


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    path = os.environ.get(names.ENV_SPEC)
    if not path:
        sys.stderr.write(f"router: {names.ENV_SPEC} is not set; it must name the fleet description.\n")
        return 2
    try:
        described = spec.load(Path(path)).spec
    except WarmfleetError as error:
        sys.stderr.write(f"router: {error}\n")
        return 2
    wired = wire(described, consul_token=os.environ.get("CONSUL_HTTP_TOKEN") or None)
    server = uvicorn.Server(config(wired, os.environ.get(names.ENV_HOST, ""), os.environ.get(names.ENV_PORT, "")))
    gc.collect()
    gc.freeze()  # what is loaded now stays; the collector need not look at it again
    gc.set_threshold(20_000, 20, 50)
    # Holds before uvicorn has its own handler, and after it: uvicorn raises the signal again at its end, but a stop asked for is no fault.
    signal.signal(signal.SIGTERM, lambda *_: setattr(server, "should_exit", True))
    server.run()
    return 0 if server.started else 1


def config(wired: Wired, host: str, port: str) -> uvicorn.Config:
    """Server settings; empty `host` and `port` leave the description's own."""
    limits = wired.spec.router
    return uvicorn.Config(
        wired.app,
        host=host or limits.host or "127.0.0.1",
        port=int(port or limits.port),
        http=wired.protocol,
        loop="uvloop",
        lifespan="on",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(limits.drain_s)),
    )


if __name__ == "__main__":
    sys.exit(main())

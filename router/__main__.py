"""`python -m router`: one router, as Nomad starts it: a single process, or with router.workers > 1 their parent.

Environment: WARMFLEET_SPEC (the resolved fleet description), WARMFLEET_HOST, WARMFLEET_PORT, WARMFLEET_PUBLIC, CONSUL_HTTP_TOKEN.
The description's own router.host and router.port hold where host and port are not set. PORT is this allocation's alone, PUBLIC (a port) is
shared with the routers before and after it on the same node. SIGTERM: new work goes elsewhere, running answers get router.drain.
`python -m router worker CHANNEL SOCKET...` is how the parent starts a worker; the numbers are file descriptors.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    gc.disable()  # what is imported below stays: to look for garbage in it would be a tenth of the start

import functools
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from fleet import metrics, names, spec
from fleet.errors import Finding, SpecError, WarmfleetError
from fleet.rules import is_loopback
from fleet.spec import Loaded
from router.errors import NoSocket
from router.process import listener
from router.process.supervisor import Supervisor
from router.records import lines

if TYPE_CHECKING:
    from router.process.server import Giving

log = logging.getLogger("router")

_PATIENCE_S = 30.0
_NOT_COMPILED = "not compiled, at about twice the CPU a request of a wheel that `make wheel` makes"


def main(arguments: Sequence[str] = ()) -> int:
    form = lines.speak_json(sys.stderr)
    try:
        loaded = _described()
        if arguments[:1] == ["worker"]:
            channel, own, *shared = (socket.socket(fileno=int(number)) for number in arguments[1:])
            return _serve(loaded, form, own, shared[0] if shared else None, parent=channel)
        host = os.environ.get(names.ENV_HOST) or loaded.spec.router.host or "127.0.0.1"
        _check_open(loaded, host)
        own, public = _sockets(loaded, host)
    except WarmfleetError as error:
        sys.stderr.write(f"router: {error}\n")
        return 2
    giving = functools.partial(listener.give_forever, host, public) if public is not None else None
    if loaded.spec.router.workers == 1:
        return _serve(loaded, form, own, public, giving=giving)
    return _supervise(loaded, [own] if public is None else [own, public], giving)


def _described() -> Loaded:
    """Raises: SpecError"""
    path = os.environ.get(names.ENV_SPEC)
    if not path:
        raise SpecError((Finding(names.ENV_SPEC, "", "is not set; it must name the fleet description"),))
    return spec.load(Path(path))


def _check_open(loaded: Loaded, host: str) -> None:
    if not is_loopback(host) and not loaded.spec.router.allow_open and not loaded.spec.tenants:
        message = f"is false, {host} is not loopback, and no [[tenant]] has a key: add one, or set it if only friends can reach the router"
        raise SpecError((Finding(names.ENV_SPEC, "router.allow_open", message),))


def _sockets(loaded: Loaded, host: str) -> tuple[socket.socket, socket.socket | None]:
    """This process's own address, and the node's public one where there is one. Raises: NoSocket"""
    port, shared = int(os.environ.get(names.ENV_PORT) or loaded.spec.router.port), int(os.environ.get(names.ENV_PUBLIC_PORT) or 0)
    if shared and shared == port:
        raise NoSocket(f"{names.ENV_PORT} and {names.ENV_PUBLIC_PORT} are both {port}; the first must be this process's alone")
    try:
        own = listener.bind(host, port)
    except OSError as error:
        raise NoSocket(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return own, listener.obtain(host, shared, _PATIENCE_S) if shared else None


def _supervise(loaded: Loaded, sockets: Sequence[socket.socket], giving: Giving | None) -> int:
    gc.enable()
    limits = loaded.spec.router
    supervisor = Supervisor(sockets, limits.workers, limits.drain_s, giving)
    return uvloop.run(supervisor.run())


def _serve(
    loaded: Loaded,
    form: lines.JsonLines,
    own: socket.socket,
    public: socket.socket | None,
    *,
    giving: Giving | None = None,
    parent: socket.socket | None = None,
) -> int:
    from router.app import IS_COMPILED, wire  # noqa: PLC0415 - half of the start, and 50 MB, that a parent of workers has no use for
    from router.process.server import Server  # noqa: PLC0415

    wired = wire(loaded.spec, description=loaded.source_hash, consul_token=os.environ.get("CONSUL_HTTP_TOKEN") or None, parent=parent)
    form.counted = lambda model, size_bytes: wired.plane.recorder.count(metrics.LOG_BYTES, model, by=size_bytes)
    server = Server(wired, "", "", public, giving)
    log.info("this router is %s", "compiled" if IS_COMPILED else _NOT_COMPILED)
    gc.freeze()  # what is loaded now stays; the collector need not look at it again
    gc.enable()
    gc.set_threshold(20_000, 20, 50)
    # Holds before uvicorn has its own handler, and after it: uvicorn raises the signal again at its end, but a stop is no failure.
    signal.signal(signal.SIGTERM, lambda *_: setattr(server, "should_exit", True))
    server.run(sockets=[own])
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

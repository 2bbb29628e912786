"""One replica of a model on this machine: llama.cpp's own HTTP server, in this process, by way of xllamacpp.

    python -m fleet.local.engine --weights FILE --alias NAME --port PORT

It listens after --load-delay, and answers 503 until the weights are loaded. What it gets beyond its slots it queues, without limit and
without a refusal.
Told to stop (SIGTERM, SIGINT) it goes on serving until nothing runs and nothing waits; who wants it gone earlier kills it, as Nomad
does after kill_timeout. llama.cpp's own shutdown is not used while a request runs: it stalls every stream for 30 s and then cuts it.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

_POLL_S = 0.1
_BUSY = re.compile(rb"^llamacpp:requests_(?:processing|deferred) (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What one replica serves and where; `context` in tokens of one request, `load_delay` in seconds."""

    weights: Path
    alias: str
    host: str
    port: int
    slots: int
    context: int
    threads: int
    load_delay: float


@click.command()
@click.option("--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True, help="GGUF file")
@click.option("--alias", required=True, help="model name in answers")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, required=True)
@click.option("--slots", type=click.IntRange(1), default=2, show_default=True, help="requests at the same time")
@click.option("--context", type=click.IntRange(128), default=2048, show_default=True, help="tokens of one request")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="of computation; replicas share the machine")
@click.option("--load-delay", type=click.FloatRange(0), default=0.0, show_default=True, help="seconds to wait before loading")
def main(**options: Any) -> None:
    """Serve one model until told to stop."""
    engine = Engine(**options)
    os.environ.update(own_gpus(os.environ))
    time.sleep(engine.load_delay)  # a signal until here, and while loading, ends the process at once: there is nothing to finish
    server = _serve(engine)  # serves while this reference lives
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    told.wait()
    _await_idle(engine.host, engine.port)
    os._exit(0 if server else 1)  # without llama.cpp's shutdown, which would wait for callers that keep their connection


def own_gpus(environment: Mapping[str, str]) -> dict[str, str]:
    """What makes the engine use the GPUs that Nomad gave its task, and no others: Nomad names them as containers want it."""
    given = environment.get("NVIDIA_VISIBLE_DEVICES", "")
    return {"CUDA_VISIBLE_DEVICES": given} if given and "CUDA_VISIBLE_DEVICES" not in environment else {}


def _serve(engine: Engine) -> Any:
    """A server that listens. llama.cpp shares its context out among the slots, so it gets `context` for each."""
    import xllamacpp  # noqa: PLC0415 - so that a wrong option is reported before a second of loading

    params = xllamacpp.CommonParams()
    params.model.path = str(engine.weights)
    params.model_alias = {engine.alias}
    params.hostnames = [engine.host]
    params.port = engine.port
    params.n_parallel = engine.slots
    params.n_ctx = engine.context * engine.slots
    params.cpuparams.n_threads = engine.threads
    params.endpoint_metrics = True
    params.ui = False
    return xllamacpp.Server(params)


def _await_idle(host: str, port: int) -> None:
    """Returns when two looks in a row find nothing running: the last bytes leave a moment after the slot is free."""
    quiet = 0
    while quiet < 2:
        quiet = 0 if is_busy(_metrics(host, port)) else quiet + 1
        time.sleep(_POLL_S)


def is_busy(metrics: bytes) -> bool:
    """Of llama.cpp's /metrics: requests run or wait. Unreadable metrics are taken for busy."""
    counts = [float(number) for number in _BUSY.findall(metrics)]
    return not counts or any(counts)


def _metrics(host: str, port: int) -> bytes:
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        connection.close()


if __name__ == "__main__":
    main()

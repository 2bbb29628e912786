"""The load: wrk, driven by a template of bytes, and what it says at its end.

wrk keeps N connections busy, each with one request after the other; requests of `sessions` different sessions take turns.
It is a generator of load only: how much work was done is counted by the stub upstream, what it cost by the kernel.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.router import wire
from bench.router.errors import BenchError

SESSIONS = 4096
_SCRIPT = Path(__file__).with_name("load.lua")
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True, slots=True)
class Load:
    """`events` and `gap_ms` are of a stream; they mean nothing for a JSON answer."""

    connections: int
    stream: bool
    events: int = 50
    gap_ms: int = 5
    sessions: int = SESSIONS


JSON = Load(connections=16, stream=False)
STREAM = Load(connections=64, stream=True)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What wrk saw. `errors`: refused, reset and timed-out requests and statuses other than 2xx and 3xx."""

    requests: int
    errors: int
    p50_ms: float
    p99_ms: float


def parse(output: str) -> Outcome:
    """Reads wrk's report.

    Raises:
        BenchError: it is not one.
    """
    requests = re.search(r"(\d+) requests in", output)
    if requests is None:
        raise BenchError(f"wrk ended without a report; it said: {output.strip()[-300:]!r}")
    wrong = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", output)))
    wrong += sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", output)))
    return Outcome(int(requests[1]), wrong, _percentile(output, 50), _percentile(output, 99))


def _percentile(output: str, percent: int) -> float:
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)$", output, re.MULTILINE)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


class Running:
    """wrk at work."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def stop(self) -> Outcome:
        """Ends it early, which it takes with a report. Raises: BenchError: no report."""
        self._process.send_signal(signal.SIGINT)
        output, _ = self._process.communicate(timeout=30)
        return parse(output)


@contextmanager
def running(load: Load, port: int, seconds: float, folder: Path) -> Iterator[Running]:
    """wrk against a port of this machine, stopped at the end of the block at the latest."""
    template = folder / f"{'stream' if load.stream else 'json'}-{load.events}-{load.gap_ms}.http"
    template.write_bytes(wire.request(stream=load.stream, events=load.events, gap_ms=load.gap_ms))
    process = subprocess.Popen(_argv(load, port, seconds, template), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield Running(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _argv(load: Load, port: int, seconds: float, template: Path) -> list[str]:
    url = f"http://127.0.0.1:{port}{wire.PATH}"
    fixed = ["-t1", f"-c{load.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "60s", "--latency", "-s", str(_SCRIPT)]
    return [_wrk(), *fixed, url, "--", str(template), str(load.sessions)]


def _wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        raise BenchError("wrk is not installed; it makes the load: `apt-get install wrk`, or the package of that name elsewhere")
    return found

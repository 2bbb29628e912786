"""Consul and Nomad behind certificates of a company's own CA: named in the environment they are trusted, and never otherwise."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fleet.consul import Consul
from fleet.errors import Unreachable
from fleet.nomad import Nomad
from tests import servers
from tests.router.abroad import Certificates, certificates


class Empty(BaseHTTPRequestHandler):
    """Has no node and no instance of any service."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-Consul-Index", "1")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, format: str, *args: object) -> None:
        pass


class Quiet(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up because it does not trust us is what the tests are about."""


@pytest.fixture(scope="module")
def made() -> Iterator[Certificates]:
    with servers.state_folder() as folder:
        yield certificates(folder)


@contextmanager
def serving(made: Certificates) -> Iterator[str]:
    with Quiet(("127.0.0.1", 0), Empty) as server:
        server.socket = made.context().wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_nomad_is_trusted_by_the_ca_that_is_named(made: Certificates) -> None:
    with serving(made) as address:
        assert Nomad(address, environment={"NOMAD_CACERT": str(made.authority)}).ready_nodes() == 0
        with pytest.raises(Unreachable, match="name the file of its CA in NOMAD_CACERT"):
            Nomad(address, environment={}).ready_nodes()


async def test_consul_is_trusted_by_the_ca_that_is_named(made: Certificates) -> None:
    with serving(made) as address:
        consul = Consul(address, environment={"CONSUL_CACERT": str(made.authority)})
        assert (await consul.instances("any")).value == ()
        await consul.close()
        stranger = Consul(address, environment={})
        with pytest.raises(Unreachable, match="name the file of its CA in CONSUL_CACERT"):
            await stranger.instances("any")
        await stranger.close()

"""What an answer of Nomad that is no success means: somebody else was first, no, or not now."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fleet.errors import Blocked, Conflict, ControlPlaneError, Denied, Refused, Unreachable
from fleet.nomad import Nomad


class Server(ThreadingHTTPServer):
    answer = (200, "")


class Says(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        status, text = self.server.answer
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Says) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (500, "rpc error: No cluster leader", Unreachable),
        (500, "leadership lost while committing log", Unreachable),
        (429, "Your IP is issuing too many concurrent connections", Unreachable),
        (503, "upstream connect error", Unreachable),
        (500, "Enforcing job modify index 7: job exists with conflicting job modify index: 9", Conflict),
        (400, "job scaling blocked due to active deployment", Blocked),
        (500, "job has too many tasks", Refused),
        (403, "Permission denied", Denied),
        (500, "ACL token not found or invalid workload identity: failed to parse signed token", Denied),
    ],
)
def test_an_election_or_a_limit_is_not_now_and_everything_else_is_no(
    server: Server, status: int, text: str, kind: type[ControlPlaneError]
) -> None:
    server.answer = status, text
    with pytest.raises(ControlPlaneError, match=text.partition(":")[0]) as caught:
        Nomad(f"http://127.0.0.1:{server.server_port}").ready_nodes()
    assert type(caught.value) is kind

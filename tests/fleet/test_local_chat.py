"""The chat at the end of `make up`: what is said where the router answers, and where it wants a key."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fleet.local import chat, commands
from fleet.local.processes import Process
from fleet.local.records import Record

KEY = "sk-wf-of-a-tenant"
ANSWER = {"choices": [{"message": {"content": " Hello. "}}]}


class Router(BaseHTTPRequestHandler):
    """Healthy; answers whoever has the key."""

    def do_GET(self) -> None:
        self._say(200, {})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        has_key = self.headers["authorization"] == f"Bearer {KEY}"
        self._say(200 if has_key else 401, ANSWER if has_key else {"error": {"message": "No valid API key"}})

    def _say(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def router() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Router) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_router_with_tenants_answers_a_key_and_says_so_without_one(router: str) -> None:
    assert chat.ask(router, "small-model", KEY) == "Hello."
    with pytest.raises(chat.KeyWanted, match="small-model was not asked"):
        chat.ask(router, "small-model")


@pytest.mark.parametrize("asks", [True, False])
def test_the_command_to_try_names_the_first_model_and_a_key_where_one_is_wanted(asks: bool) -> None:
    record = Record(phase="up", owner=Process(0, 0), router="http://127.0.0.1:9", parts=("redis", "tiny", "big", "router"))
    text = commands.next_steps(record, asks_for_key=asks)
    assert '"model": "tiny"' in text
    assert ('-H "authorization: Bearer $WARMFLEET_KEY"' in text) is asks

"""A real engine as somebody else's endpoint."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
import requests

from fleet.local import ports
from fleet.local.jobs import bundled_weights
from fleet.local.processes import spawn, terminate, wait_until
from tests import servers
from tests.router.abroad import KEY, KEY_ENV, row, spec
from tests.router.client import chat
from tests.router.conftest import Running, Start
from tests.router.upstream import DONE

pytestmark = pytest.mark.contract

ENGINE_DEADLINE_S = 90.0
"""For its weights to be loaded."""


@pytest.fixture
def llama() -> Iterator[int]:
    """The port of an engine that answers."""
    with servers.state_folder() as folder, closing(ports.lease()) as lease:
        port, log = lease.base + 1, folder / "log"
        arguments = [
            "--weights",
            str(bundled_weights()),
            "--alias",
            "vendor/far-1",
            "--port",
            str(port),
            "--slots",
            "1",
            "--context",
            "1024",
        ]
        started = spawn([sys.executable, "-m", "fleet.local.engine", *arguments], log, marker=folder)
        try:
            assert wait_until(lambda: is_well(port), ENGINE_DEADLINE_S), log.read_text()
            yield port
        finally:
            terminate([started], grace_s=0)


def is_well(port: int) -> bool:
    return not ports.is_free(port) and requests.get(f"http://127.0.0.1:{port}/health", timeout=ENGINE_DEADLINE_S).status_code == 200


async def test_a_real_engine_answers_as_a_provider(start: Start, llama: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    far = row("far", llama, base_url=f"http://127.0.0.1:{llama}/v1", drop=("session_id",), max_tokens_as="max_tokens")
    running: Running = await start(spec=spec(far, chain=("large", "far")))
    reply = await running.call(chat("best", max_completion_tokens=8, session_id="x"))
    assert (reply.status, reply.route["model"]) == (200, "far")
    assert 0 < reply.json["usage"]["completion_tokens"] <= 8
    stream = await running.call(chat("best", stream=True, max_tokens=8))
    assert stream.body.endswith(DONE)
    assert b'"usage":{' not in stream.body
    standing = (await running.get("/providers")).json["providers"][0]
    assert (standing["successes"], standing["failures"]) == (2, 0)

"""What affinity is for: two real engines, and how many prompt tokens they find in their caches."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from fleet.local import ports
from fleet.local.jobs import bundled_weights
from fleet.local.processes import Process, spawn, terminate, wait_until
from router.replicas.snapshot import Endpoint, Snapshot
from tests import servers
from tests.router.client import chat
from tests.router.conftest import LIMITS, Running, Start, until

pytestmark = pytest.mark.contract

DOCUMENTS = 3
ROUNDS = 3
ENGINES = 2
DEADLINE_S = 60.0


@pytest.fixture
def engines() -> Iterator[list[int]]:
    """Ports of engines that answer."""
    with servers.state_folder() as folder, closing(ports.lease()) as lease:
        listening = [lease.base + 1 + number for number in range(ENGINES)]
        started = [engine(port, folder / f"log{port}", folder) for port in listening]
        try:
            for port in listening:
                assert wait_until(lambda port=port: is_well(port), DEADLINE_S), (folder / f"log{port}").read_text()  # type: ignore[misc]
            yield listening
        finally:
            terminate(started, grace_s=0)


def engine(port: int, log: Path, marker: Path) -> Process:
    arguments = ["--weights", str(bundled_weights()), "--alias", "lone", "--port", str(port), "--slots", "1", "--context", "1024"]
    return spawn([sys.executable, "-m", "fleet.local.engine", *arguments], log, marker=marker)


def is_well(port: int) -> bool:
    return not ports.is_free(port) and requests.get(f"http://127.0.0.1:{port}/health", timeout=DEADLINE_S).status_code == 200


async def cached_tokens(router: Running, name: str) -> int:
    """Asks about each document in turn, several times, and adds up what the engines had in their caches."""
    found = 0
    for turn, document in itertools.product(range(ROUNDS), range(DOCUMENTS)):
        text = f"{name} document {document}. " + f"Item {document} of the list is a thing. " * 32
        messages = [{"role": "system", "content": text}, {"role": "user", "content": f"Question {turn}?"}]
        reply = await router.call(chat("lone", messages=messages, max_tokens=1))
        assert reply.status == 200
        found += reply.json["usage"]["prompt_tokens_details"]["cached_tokens"]
    return found


async def test_prefix_affinity_finds_more_in_the_engines_caches_than_taking_turns(start: Start, engines: list[int]) -> None:
    router: Running = await start()
    plane = router.wired.plane
    plane.apply(Snapshot(1, tuple(Endpoint(f"lone/{n}", f"alloc-{n}", "lone", "127.0.0.1", port) for n, port in enumerate(engines))))
    await until(lambda: len(plane.warm["lone"]) == ENGINES)
    plane.random = itertools.cycle((0.0, 0.0, 0.9, 0.0)).__next__
    by_turns = await cached_tokens(router, "first")
    plane.limits = replace(LIMITS, affinity=True)
    by_prefix = await cached_tokens(router, "other")
    assert by_prefix > 1.5 * by_turns

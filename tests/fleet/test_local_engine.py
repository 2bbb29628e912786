"""The local engine: it listens once it is loaded, and stops when what it was asked is answered."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleet.local import ports
from fleet.local.engine import is_busy, own_gpus
from fleet.local.jobs import bundled_weights
from fleet.local.processes import Process, is_alive, spawn, terminate, wait_until

pytestmark = pytest.mark.long

DEADLINE_S = 60.0
SLOTS = 2


@pytest.mark.parametrize(
    ("metrics", "busy"),
    [
        (b"llamacpp:requests_processing 0\nllamacpp:requests_deferred 0\n", False),
        (b"llamacpp:requests_processing 1\nllamacpp:requests_deferred 0\n", True),
        (b"llamacpp:requests_processing 0\nllamacpp:requests_deferred 3\n", True),
        (b"# HELP llamacpp:requests_processing 1\nllamacpp:requests_processing 0\n", False),
        (b"", True),
        (b"<html>", True),
    ],
)
def test_busy_is_read_from_metrics_and_unknown_is_busy(metrics: bytes, busy: bool) -> None:
    assert is_busy(metrics) is busy


@pytest.fixture
def lease() -> Iterator[ports.Lease]:
    own = ports.lease()
    yield own
    own.close()


def start(port: int, folder: Path, **options: object) -> Process:
    given = {"weights": bundled_weights(), "alias": "tiny", "port": port, "slots": SLOTS, "context": 512} | options
    arguments = [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    return spawn([sys.executable, "-m", "fleet.local.engine", *arguments], folder / "log", marker=folder)


@pytest.fixture
def engine(lease: ports.Lease, tmp_path: Path) -> Iterator[tuple[Process, int]]:
    port = lease.base + 1
    process = start(port, tmp_path)
    try:
        assert wait_until(lambda: is_well(port), DEADLINE_S), (tmp_path / "log").read_text()
        yield process, port
    finally:
        terminate([process], grace_s=0)


def chat(port: int, tokens: int) -> dict[str, object]:
    connection = http.client.HTTPConnection(ports.HOST, port, timeout=DEADLINE_S)
    try:
        body = {"model": "tiny", "max_tokens": tokens, "messages": [{"role": "user", "content": "Count to a hundred."}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    assert isinstance(answer, dict)
    return answer


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(ports.HOST, port, timeout=DEADLINE_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def is_well(port: int) -> bool:
    return not ports.is_free(port) and get(port, "/health")[0] == 200


def test_it_answers_under_its_alias(engine: tuple[Process, int]) -> None:
    assert chat(engine[1], 4)["model"] == "tiny"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_finishes_what_runs_and_what_waits(engine: tuple[Process, int], number: signal.Signals) -> None:
    process, port = engine
    more_than_slots = SLOTS + 1
    with ThreadPoolExecutor(more_than_slots) as callers:
        answers = [callers.submit(chat, port, 60) for _ in range(more_than_slots)]
        assert wait_until(lambda: b"requests_deferred 1" in get(port, "/metrics")[1], DEADLINE_S)
        os.kill(process.pid, number)
        finished = [answer.result()["choices"] for answer in answers]
    assert all(finished)
    assert wait_until(lambda: not is_alive(process), DEADLINE_S)


@pytest.mark.parametrize(
    ("environment", "set_"),
    [
        ({}, {}),
        ({"NVIDIA_VISIBLE_DEVICES": "GPU-1,GPU-2"}, {"CUDA_VISIBLE_DEVICES": "GPU-1,GPU-2"}),
        ({"NVIDIA_VISIBLE_DEVICES": "GPU-1", "CUDA_VISIBLE_DEVICES": "0"}, {}),
    ],
)
def test_it_keeps_to_the_gpus_of_its_task(environment: dict[str, str], set_: dict[str, str]) -> None:
    assert own_gpus(environment) == set_


def test_told_to_stop_while_it_loads_it_ends_at_once(lease: ports.Lease, tmp_path: Path) -> None:
    process = start(lease.base + 1, tmp_path, load_delay=3600)
    terminate([process], grace_s=DEADLINE_S)
    assert not is_alive(process)
    assert ports.is_free(lease.base + 1)

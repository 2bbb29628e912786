"""A Nomad that takes a question and does not answer it, or not to the end."""

from __future__ import annotations

import socket
import threading

import pytest

from fleet.errors import Silent, Unreachable
from fleet.nomad import Nomad

BEGUN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n[1, "


def answering(listener: socket.socket, part: bytes, *, over: threading.Event) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(part)
        over.wait(60)


@pytest.mark.parametrize("part", [b"", BEGUN], ids=["no byte", "half an answer"])
def test_a_question_ends_when_its_time_is_over(part: bytes) -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answering, args=(listener, part), kwargs={"over": over})
        thread.start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with pytest.raises(Silent, match=f"Nomad at {address} does not answer within 0.2 s"):
                Nomad(address, timeout_s=0.2).ready_nodes()
        finally:
            over.set()
            thread.join()


def test_who_refuses_a_connection_is_away_and_not_silent() -> None:
    with pytest.raises(Unreachable) as caught:
        Nomad("http://127.0.0.1:9", timeout_s=60).ready_nodes()
    assert type(caught.value) is Unreachable

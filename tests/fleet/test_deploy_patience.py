"""Who is away for a moment is asked again; who is away for long, or says no, is an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from fleet.deploy.display import Row
from fleet.deploy.patience import AWAY_S, Patience
from fleet.errors import Refused, Unreachable


@dataclass
class Server:
    """Away until `back_at`; its clock is moved by who sleeps."""

    back_at: float = 0.0
    now: float = 0.0
    said: list[str] = field(default_factory=list)

    def ask(self, word: str) -> str:
        if self.now < self.back_at:
            raise Unreachable("Nomad at x is unwell: No cluster leader")
        return word

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def say(self, text: str) -> None:
        self.said.append(text)

    def show(self, title: str, rows: Sequence[Row]) -> None:
        pass


def patience(server: Server) -> Patience:
    return Patience(server, lambda: server.now, server.sleep)


def test_an_election_is_sat_out_and_said_once() -> None:
    server = Server(back_at=20.0)
    assert patience(server).asked(server.ask, "there") == "there"
    assert server.said == ["Nomad at x is unwell: No cluster leader; it is asked again for 5 min"]


def test_who_is_away_for_long_is_an_error() -> None:
    server = Server(back_at=1e9)
    with pytest.raises(Unreachable, match="No cluster leader"):
        patience(server).asked(server.ask, "there")
    assert AWAY_S < server.now < AWAY_S + 10


def test_a_no_is_not_asked_for_again() -> None:
    def refused() -> None:
        raise Refused("Nomad: permission denied (HTTP 403)")

    server = Server()
    with pytest.raises(Refused):
        patience(server).asked(refused)
    assert server.now == 0.0

"""What a local stack remembers about itself: stack.json in its state folder.

Written before anything is started and again after every step, so that `status` and `down` know what there is after any interruption.
It holds no secret and nothing that can be asked of Nomad or Consul.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from fleet.errors import StackError
from fleet.local.agents import Agent
from fleet.local.processes import Process

FILE = "stack.json"


class Damaged(StackError):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """`owner` is the process that brings the stack up; `parts` are redis, router, autoscaler and models; `fleet` is in their jobs' ids."""

    phase: Literal["starting", "up"]
    owner: Process
    fleet: str = ""
    router: str = ""
    parts: tuple[str, ...] = ()
    agents: tuple[Agent, ...] = ()

    def agent(self, name: str) -> Agent | None:
        return next((agent for agent in self.agents if agent.name == name), None)

    def address(self, name: str) -> str:
        """Base URL of `nomad` or `consul`; empty where it was not started."""
        agent = self.agent(name)
        return agent.address if agent else ""


def begin(state: Path, record: Record) -> None:
    """Writes the first record, and so takes the folder, which is made if need be; of two that try at once one succeeds.

    Raises:
        StackError: the folder is taken, or not a stack's.
    """
    state.mkdir(parents=True, exist_ok=True)
    fresh = _fresh(state, record)
    try:
        read(state)
        (state / FILE).hardlink_to(fresh)
    except FileExistsError as error:
        raise StackError(f"{state} is in use: run `make down` first") from error
    finally:
        fresh.unlink()


def write(state: Path, record: Record) -> None:
    """Replaces the record in one step: a reader sees the old one or the new one."""
    _fresh(state, record).replace(state / FILE)


def read(state: Path) -> Record | None:
    """None where no stack was begun: there is no folder, or nothing in it.

    Raises:
        StackError: the folder is not a stack's, or its record is damaged.
    """
    try:
        return msgspec.json.decode((state / FILE).read_bytes(), type=Record, dec_hook=_decode)
    except FileNotFoundError:
        if state.is_dir() and any(not path.name.startswith(FILE) for path in state.iterdir()):
            raise StackError(f"{state} has no {FILE}, so it is not a state folder of warmfleet: name another one with --state") from None
        return None
    except msgspec.MsgspecError as error:
        raise Damaged(f"{state / FILE} is damaged ({error}): run `make down`") from error


def _fresh(state: Path, record: Record) -> Path:
    path = state / f"{FILE}.{os.getpid()}"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record, enc_hook=str), indent=2))
    return path


def _decode(kind: type[Any], value: Any) -> Any:
    return kind(value)

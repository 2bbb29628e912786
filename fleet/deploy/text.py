"""Proposals and jobs as text for people. Pure; colours are escapes that a pipe never sees (click takes them out)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import click

from fleet import names
from fleet.deploy import jobs
from fleet.deploy.diff import Kind, Line
from fleet.deploy.proposal import Proposal
from fleet.nomad import JobInfo
from fleet.owner import owner

_COLOURS: dict[Kind, str | None] = {"added": "green", "deleted": "red", "edited": "yellow", "none": None}


def described_plan(proposal: Proposal) -> str:
    """What would change, how, whether there is room, and the index to deploy it with."""
    return "\n".join(_plan_lines(proposal))


def why_no_room(proposal: Proposal) -> str:
    """A placement failure, and what can be done about it."""
    whys = "; ".join(f"{u.wanted} replica(s): {u.why}" if u.wanted > 1 else u.why for u in proposal.unplaced)
    if proposal.way == "beside":
        count = jobs.count(proposal.job)
        floor = f"at least {count - 1} of {count} stay warm" if count > 1 else "it is away for one cold start (say --floor 0 too)"
        return (
            f"{proposal.part}: no room for the new version beside the old one ({whys}). "
            f"Add nodes, or replace it one by one with --rolling: {floor}"
        )
    return f"{proposal.part}: no room ({whys}). Add nodes, or lower what it asks for"


def left_over(fleet: str, described: Collection[str], infos: Iterable[JobInfo]) -> Iterator[str]:
    """A line for each job of this fleet that runs and is not among the `described` job ids: of a model that was taken out, for example."""
    for info in infos:
        if owner(info.meta) == fleet and not info.stopped and info.job_id not in described:
            yield (
                f"{info.job_id} runs and is not in the description: it is scaled by nobody and keeps what it occupies; "
                f"`nomad job stop {info.job_id}` ends it"
            )


def jobs_table(fleet: str, infos: Iterable[JobInfo]) -> str:
    rows = [("job", "status", "version", "replicas", "runs", "deployed by")]
    for info in infos:
        whose = owner(info.meta)
        by = "this fleet" if whose == fleet else f"fleet {whose}" if whose else "something else"
        status = "stopped" if info.stopped else info.status
        counts = str(sum(info.counts.values()))
        rows.append((info.job_id, status, str(info.version), counts, info.meta.get(names.JOB_META_SOURCE, "?"), by))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _plan_lines(proposal: Proposal) -> Iterable[str]:
    if not proposal.changes:
        yield f"= {proposal.part}: nothing to change"
        if proposal.resumes:
            yield "    its deployment is still under way; `warmfleet deploy` sees it to its end"
        return
    yield click.style(_title(proposal), bold=True)
    yield from (_coloured(line) for line in _shown(proposal))
    yield from (f"    {note}" for note in proposal.notes)
    yield from (click.style(f"    Nomad warns: {said}", fg="yellow") for said in _warnings(proposal.plan.warnings))
    if proposal.unplaced:
        yield click.style(f"    {why_no_room(proposal)}", fg="red")
    yield f"    check index: {proposal.plan.check_index}"


def _warnings(text: str) -> Iterable[str]:
    """One by one. That a model's update takes all replicas at once is meant: all of the new ones are warm by then."""
    said = (line.strip().removeprefix("* ") for line in text.splitlines() if line.strip().startswith("* "))
    return (line for line in said if "has warnings:" not in line and "Update max parallel count" not in line)


def _title(proposal: Proposal) -> str:
    will = ", ".join(f"{word} {count}" for word, count in proposal.plan.updates.items() if word != "leave")
    hows = {
        "start": "+ {}: new",
        "beside": "~ {}: new version starts beside the old one, takes over when warm",
        "one by one": f"~ {{}}: replaced one by one, never fewer than {proposal.floor} warm",
        "in place": f"~ {{}}: {_in_place(proposal)}",
        "by its rules": "~ {}: replaced by its own update rules",
    }
    return hows[proposal.way].format(proposal.part) + (f" ({will})" if will else "")


def _in_place(proposal: Proposal) -> str:
    if proposal.live and sum(proposal.live.counts.values()) > jobs.count(proposal.job):
        return "changed in place, and what is beyond its count is stopped without being drained: scale it in first"
    if proposal.plan.updates.get("stop"):
        return "changed in place, and new replicas that nobody promoted are stopped"
    return "changed in place, no task is touched"


def _shown(proposal: Proposal) -> Iterable[Line]:
    """A new job is its name and size; its whole text is what `render` shows."""
    return () if proposal.way == "start" else proposal.lines


def _coloured(line: Line) -> str:
    return click.style(f"    {line}", fg=_COLOURS[line.kind]) if _COLOURS[line.kind] else f"    {line}"

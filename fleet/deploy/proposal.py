"""What delivery would do to each job, and how: worked out for all of them before the first is touched.

    nothing       the job is as it should be
    start         it does not run yet
    beside        warm first: as many new replicas as there are old ones, promoted when they are warm, then the old ones leave
    one by one    warm first where there is no room for both: a new replica is warm before the next old one stops
    by its rules  replaced as the job's own update block says (router, autoscaler, redis)
    in place      no task is touched

Reads Nomad and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from fleet.deploy import jobs
from fleet.deploy.diff import Line, changes
from fleet.deploy.nomad import Delivery, Deployment, Plan
from fleet.errors import Denied, Finding, Refused, SpecError
from fleet.nomad import Job, JobInfo, Unplaced
from fleet.owner import ADVICE, stranger

Way = Literal["nothing", "start", "beside", "one by one", "by its rules", "in place"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person asked for. `floor`: replicas that stay while others are replaced one by one; None: all but one."""

    fleet: str
    take_over: bool = False
    force_count: bool = False
    rolling: bool = False
    floor: int | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A job to propose. `text` is the source it was made from, `job` what Nomad's parser or history says it is."""

    part: str
    text: str
    job: Job


@dataclass(frozen=True, slots=True)
class Proposal:
    """A job as it would be registered. `floor` is set where it goes one by one; `resumes` where a deployment of it is under way."""

    draft: Draft
    job: Job
    live: JobInfo | None
    plan: Plan
    lines: tuple[Line, ...]
    way: Way
    floor: int = 0
    resumes: Deployment | None = None
    notes: tuple[str, ...] = ()

    @property
    def part(self) -> str:
        return self.draft.part

    @property
    def job_id(self) -> str:
        return str(self.job["ID"])

    @property
    def changes(self) -> bool:
        return self.way != "nothing"

    @property
    def unplaced(self) -> tuple[Unplaced, ...]:
        return self.plan.unplaced if self.changes else ()


def read(nomad: Delivery, texts: Mapping[str, str]) -> tuple[Draft, ...]:
    """Jobs from HCL by part, in the order of delivery; each is one that Nomad takes, and whose secrets are there.

    Raises:
        SpecError: with everything that Nomad objects to in any of them, and every secret that is missing.
        Denied: the token may not do this.
    """
    drafts: list[Draft] = []
    findings: list[Finding] = []
    for part in jobs.in_order(tuple(texts)):
        try:
            job = nomad.parse(texts[part])
            findings += [Finding(f"{part}.nomad.hcl", "", f"Nomad objects: {said}") for said in nomad.validate(job)]
            missing = {path: items for path, items in jobs.secrets(job).items() if not nomad.sees_variable(path)}
            findings += [_no_secret(part, job, path, items) for path, items in missing.items()]
            drafts.append(Draft(part, texts[part], job))
        except Denied:
            raise
        except Refused as error:
            findings.append(Finding(f"{part}.nomad.hcl", "", f"is not a job that Nomad can read: {error}"))
    if findings:
        raise SpecError(tuple(findings))
    return tuple(drafts)


def _no_secret(part: str, job: Job, path: str, items: tuple[str, ...]) -> Finding:
    put = " ".join((f"-namespace={job.get('Namespace') or 'default'}", path, *(f"{item}=..." for item in items)))
    said = f"reads the Nomad variable {path}, which is not there or not for NOMAD_TOKEN to list: its task would wait for it for ever"
    return Finding(f"{part}.nomad.hcl", "", f"{said}; put it there (`nomad var put {put}`), or let the token list it")


def propose(nomad: Delivery, drafts: Iterable[Draft], wish: Wish) -> tuple[Proposal, ...]:
    """Raises: SpecError: a job is not ours, or cannot be done as wished; with every finding."""
    drafts = tuple(drafts)
    lives = {draft.part: nomad.job(str(draft.job["ID"])) for draft in drafts}
    if strangers := [finding for draft in drafts if (finding := _stranger(lives[draft.part], wish))]:
        raise SpecError(tuple(strangers))
    return tuple(_proposal(nomad, draft, lives[draft.part], wish) for draft in drafts)


def refreshed(nomad: Delivery, proposal: Proposal, wish: Wish) -> Proposal:
    """The same change of a job that was only scaled since it was proposed; the proposal itself where there is anything else to it.

    Of many jobs the last one is delivered cold starts after it was looked at, and the autoscaler does not stand still meanwhile.
    """
    info = nomad.job(proposal.job_id)
    if proposal.live is None or info is None or info.modify_index == proposal.plan.check_index:
        return proposal
    (fresh,) = propose(nomad, (proposal.draft,), wish)
    return fresh if (fresh.lines, fresh.way) == (proposal.lines, proposal.way) else proposal


def _stranger(live: JobInfo | None, wish: Wish) -> Finding | None:
    if live is None or live.stopped or wish.take_over:
        return None
    if not (whose := stranger(live.meta, wish.fleet)):
        return None
    return Finding(live.job_id, "", f"runs already and {whose}: {ADVICE}")


def _proposal(nomad: Delivery, draft: Draft, live: JobInfo | None, wish: Wish) -> Proposal:
    if live is None or live.stopped:
        plan = nomad.plan(draft.job)
        return Proposal(draft, draft.job, live, plan, changes(plan.diff), "start")
    registered = nomad.definition(live.job_id, live.version)
    job = draft.job if wish.force_count else jobs.kept(draft.job, live.counts)
    same = jobs.with_canaries_of(job, registered)
    plan = nomad.plan(same)
    lines = changes(plan.diff)
    notes = _notes(draft.job, live, job)
    if not lines:
        latest = nomad.latest_deployment(live.job_id)
        resumes = latest if latest and latest.active and latest.job_version == live.version else None
        return Proposal(draft, same, live, plan, (), "nothing", resumes=resumes, notes=notes)
    if not plan.updates.keys() & {"canary", "replace"}:
        return Proposal(draft, same, live, plan, lines, "in place", notes=notes)
    if not jobs.is_warm_first(job):
        return Proposal(draft, job, live, plan, lines, "by its rules", notes=notes)
    return _warm_first(nomad, Proposal(draft, job, live, plan, lines, "beside", notes=notes), wish)


def _warm_first(nomad: Delivery, base: Proposal, wish: Wish) -> Proposal:
    if not wish.rolling:
        job = jobs.beside(base.job)
        return Proposal(base.draft, job, base.live, nomad.plan(job), base.lines, "beside", notes=base.notes)
    count = jobs.count(base.job)
    floor = max(1, count - 1) if wish.floor is None else wish.floor
    if floor >= count:
        raise SpecError((Finding(base.job_id, "", _no_room_to_roll(base.part, count, floor)),))
    job = jobs.one_by_one(base.job, floor)
    return Proposal(base.draft, job, base.live, nomad.plan(job), base.lines, "one by one", floor, notes=base.notes)


def _no_room_to_roll(part: str, count: int, floor: int) -> str:
    said = f"has {count} replica(s), and {floor} of them shall stay, so none can be replaced: "
    if count > 1:
        return said + f"say --floor {count - 1} or less"
    return said + f"deploy {part} without --rolling, or accept that it is away for one cold start with --floor 0"


def _notes(wanted: Job, live: JobInfo, job: Job) -> tuple[str, ...]:
    """What a person should know about counts."""
    described, running, kept = jobs.count(wanted), sum(live.counts.values()), jobs.count(job)
    if kept != running:
        return (f"count changes: {running} run, {kept} will",)
    return (f"keeps the {running} replica(s) that run (the description begins with {described})",) if running != described else ()

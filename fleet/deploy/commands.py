"""`warmfleet plan`, `deploy`, `rollback`, `scale` and `jobs`.

Everything that can be known beforehand is looked at for all jobs before the first one is touched: description, templates, Nomad's own
validation, whose jobs they are, and whether there is room. Exit codes are those of `nomad job plan` and `nomad job run`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from fleet.away import advised
from fleet.deploy import jobs as preparing
from fleet.deploy.display import display
from fleet.deploy.nomad import Version
from fleet.deploy.proposal import Draft, Proposal, Wish, propose, read, refreshed
from fleet.deploy.run import FAILED, OK, UNPLACED, Model, Outcome, Run
from fleet.deploy.scaling import Scaling, Wanted
from fleet.deploy.target import Target, targeted
from fleet.deploy.text import described_plan, jobs_table, left_over, why_no_room
from fleet.errors import Conflict, ControlPlaneError, Denied, Finding, SpecError, WarmfleetError
from fleet.published import withdrawn

UNCHANGED, CHANGED, ERROR = 0, 1, 255

Find = Callable[[], Target]

_take_over = click.option("--take-over", is_flag=True, help="Replace jobs of these names that this fleet did not deploy.")
_force_count = click.option("--force-count", is_flag=True, help="Set the counts of the description, not those that run.")
_rolling = click.option("--rolling", is_flag=True, help="Replace a model's replicas one by one, where both do not fit.")
_floor = click.option("--floor", type=click.IntRange(min=0), help="With --rolling: replicas that stay.  [default: all but one]")
_detach = click.option("--detach", is_flag=True, help="Register and return; nobody promotes a model's new replicas then.")
_no_prompt = click.option("--no-prompt", is_flag=True, help="Do not send new replicas a test prompt: what passes in Consul is warm.")


@click.command()
@targeted
@_take_over
@_force_count
@_rolling
@_floor
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
def plan(*, target: Find, take_over: bool, force_count: bool, rolling: bool, floor: int | None, jobs: tuple[str, ...]) -> None:
    """Show what `deploy` would change, and whether it fits.

    Changes nothing. Exit code 0: nothing to change, 1: changes, 255: an error.
    """
    try:
        with advised():
            found = target()
            wish = Wish(found.loaded.spec.fleet.name, take_over, force_count, rolling, floor)
            proposals = _proposed(found, jobs, wish)
            others = () if jobs else _left_over(found)
    except WarmfleetError as error:
        click.echo(f"warmfleet: {error}", err=True)
        raise SystemExit(ERROR) from error
    click.echo(f"on {found.where}")
    for proposal in proposals:
        click.echo(described_plan(proposal))
    for line in others:
        click.echo(line, err=True)
    raise SystemExit(CHANGED if any(p.changes for p in proposals) else UNCHANGED)


@click.command()
@targeted
@_take_over
@_force_count
@_rolling
@_floor
@_detach
@_no_prompt
@click.option("--dry-run", is_flag=True, help="Stop before the first job is touched.")
@click.option("--check-index", type=click.IntRange(min=0), help="Only if the job is still what `plan` saw; for a single JOB.")
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
def deploy(
    *,
    target: Find,
    take_over: bool,
    force_count: bool,
    rolling: bool,
    floor: int | None,
    detach: bool,
    no_prompt: bool,
    dry_run: bool,
    check_index: int | None,
    jobs: tuple[str, ...],
) -> None:
    """Bring jobs to what the description says, warm before traffic.

    JOB is router, autoscaler, redis, datadog-agent or a model's name; without any: all, in the order in which they need each other.
    A new version of a model starts beside the old one, and takes over when it is warm. Exit code 0: done, 2: no room, 1: anything else.
    """
    if check_index is not None and len(jobs) != 1:
        raise click.UsageError("--check-index is about one job: name it")
    if detach and rolling:
        raise click.UsageError("--rolling needs somebody who watches: leave --detach out")
    with advised():
        found = target()
        wish = Wish(found.loaded.spec.fleet.name, take_over, force_count, rolling, floor)
        proposals = _proposed(found, jobs, wish)
        _still(proposals, check_index)
        for line in () if jobs else _left_over(found):
            click.echo(line, err=True)
        _delivered(found, proposals, wish if check_index is None else None, detach=detach, prompts=not no_prompt, dry_run=dry_run)


@click.command()
@targeted
@_rolling
@_floor
@_detach
@_no_prompt
@click.argument("job")
@click.argument("version", required=False, default="")
def rollback(*, target: Find, rolling: bool, floor: int | None, detach: bool, no_prompt: bool, job: str, version: str) -> None:
    """Go back to an earlier version of a job, warm before traffic.

    VERSION is a number or a tag; without: the last stable version that ran something else. Counts stay as they are. Exit codes as deploy.
    """
    with advised():
        found = target()
        job_id = found.names.job(_known(found, (job,))[0])
        earlier = version_to_go_back_to(found.nomad.versions(job_id) if found.nomad.job(job_id) else (), job, version)
        click.echo(f"{job}: going back to version {earlier.number} ({earlier.source or 'unknown source'})")
        definition = preparing.usual(found.nomad.definition(job_id, earlier.number))
        draft = Draft(job, found.nomad.source(job_id, earlier.number), definition)
        wish = Wish(found.loaded.spec.fleet.name, rolling=rolling, floor=floor)
        _delivered(found, propose(found.nomad, (draft,), wish), wish, detach=detach, prompts=not no_prompt, dry_run=False)


@click.command()
@targeted
@click.option("--detach", is_flag=True, help="Order and return; do not wait for warm replicas.")
@_no_prompt
@click.option("--message", default="set by hand", show_default=True, help="Stands in Nomad's scaling events.")
@click.argument("model")
@click.argument("count", type=click.IntRange(min=0))
def scale(*, target: Find, detach: bool, no_prompt: bool, message: str, model: str, count: int) -> None:
    """Set a model's replicas by hand, and wait until they are warm.

    The autoscaler keeps deciding: what it does not want, it takes back after its cooldown, unless the fleet is paused.
    Exit code 0: so many serve, 2: no room for all of them, 1: anything else.
    """
    with advised():
        found = target()
        models = found.models(prompts=not no_prompt)
        if model not in models:
            raise SpecError((Finding("MODEL", "", f"no model {model} in the description; there are: {', '.join(models)}"),))
        outcome = _scaled(found, models[model], Wanted(found.names.fleet, model, found.names.job(model), count, message), detach=detach)
    click.echo(outcome.text, err=outcome.code != OK)
    raise SystemExit(outcome.code)


@click.command()
@targeted
def jobs(*, target: Find) -> None:
    """List the fleet's jobs as Nomad has them."""
    with advised():
        found = target()
        click.echo(f"on {found.where}")
        infos = found.nomad.jobs(found.names.job(""))
        click.echo(jobs_table(found.loaded.spec.fleet.name, infos))


def _scaled(target: Target, model: Model, wanted: Wanted, *, detach: bool) -> Outcome:
    try:
        with display() as shown:
            return Scaling(target.nomad, model, shown).to(wanted, detach=detach)
    except KeyboardInterrupt:
        return Outcome(130, "no longer watching; what was ordered stands")


def _proposed(target: Target, chosen: tuple[str, ...], wish: Wish) -> tuple[Proposal, ...]:
    texts = target.texts()
    parts = _known(target, chosen) or tuple(texts)
    return propose(target.nomad, read(target.nomad, {part: texts[part] for part in parts}), wish)


def _left_over(target: Target) -> tuple[str, ...]:
    described = {target.names.job(part) for part in target.parts}
    return tuple(left_over(target.names.fleet, described, target.nomad.jobs(target.names.job(""))))


def _known(target: Target, chosen: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [job for job in chosen if job not in target.parts]
    if unknown:
        raise SpecError((Finding("JOB", "", f"no job {', '.join(unknown)} in the description; there are: {', '.join(target.parts)}"),))
    return chosen


def _still(proposals: Sequence[Proposal], check_index: int | None) -> None:
    for proposal in proposals if check_index is not None else ():
        if proposal.plan.check_index != check_index:
            found = proposal.plan.check_index
            raise Conflict(f"{proposal.part} was changed since it was planned (index {check_index} then, {found} now): plan again")


def _delivered(target: Target, proposals: Sequence[Proposal], wish: Wish | None, *, detach: bool, prompts: bool, dry_run: bool) -> None:
    """Ends the program with the exit code of the first delivery that fails; those after it are not begun.

    `wish`: what to propose by again where a job is scaled meanwhile; None: then it is not delivered.
    """
    click.echo(f"on {target.where}")
    if dry_run:
        for proposal in proposals:
            click.echo(described_plan(proposal))
    if without_room := [p for p in proposals if p.unplaced]:
        for proposal in without_room:
            click.echo(why_no_room(proposal), err=True)
        click.echo("nothing was changed", err=True)
        raise SystemExit(UNPLACED)
    outcome = Outcome(OK, "nothing was changed") if dry_run else _run(target, proposals, wish, detach=detach, prompts=prompts)
    if outcome.code == OK and not dry_run and any(p.part == "router" for p in proposals):
        outcome = _alone(target, outcome)
    click.echo(outcome.text, err=outcome.code != OK)
    raise SystemExit(outcome.code)


def _run(target: Target, proposals: Sequence[Proposal], wish: Wish | None, *, detach: bool, prompts: bool) -> Outcome:
    busy = [p for p in proposals if p.changes or p.resumes]
    models = target.models(prompts=prompts)
    for model in [models[p.part] for p in busy if p.part in models and not detach]:
        model.warmth.reach()  # now, while nothing is begun
    try:
        with display() as shown:
            run = Run(target.nomad, models, shown)
            for proposal in busy:
                outcome = _one(run, proposal, wish, detach=detach)
                if outcome.code != OK:
                    rest = [p.part for p in busy[busy.index(proposal) + 1 :]]
                    return Outcome(outcome.code, outcome.text + (f"\nnot begun: {', '.join(rest)}" if rest else ""))
                shown.say(outcome.text)
    except KeyboardInterrupt:
        said = "no longer watching; what was begun goes on in Nomad, and a model whose new replicas wait is not scaled meanwhile"
        return Outcome(130, f"{said}. Deploy again to see it to its end, or roll back")
    return Outcome(OK, f"{len(busy)} job(s) deployed" if busy else "nothing to change")


def _one(run: Run, proposal: Proposal, wish: Wish | None, *, detach: bool) -> Outcome:
    """A job of several: what goes wrong with it must not hide what was not begun."""
    try:
        now = proposal if wish is None else refreshed(run.nomad, proposal, wish)
        return Outcome(UNPLACED, why_no_room(now)) if now.unplaced else run.deliver(now, detach=detach)
    except Conflict as error:
        return Outcome(FAILED, str(error))
    except Denied:
        raise
    except ControlPlaneError as error:
        stands = f"what was begun stands as it is in Nomad: deploy {proposal.part} again to see it to its end"
        return Outcome(FAILED, f"{proposal.part}: {error}; {stands}")


def _alone(target: Target, outcome: Outcome) -> Outcome:
    """What was deployed holds alone: what `warmfleet reload` published before would win over it."""
    try:
        was_there = withdrawn(target.consul, target.names)
    except ControlPlaneError as error:
        why = f"{error}: what `warmfleet reload` may have published wins over it until `warmfleet reload --withdraw`"
        return Outcome(FAILED, f"{outcome.text}\n{why}")
    if was_there:
        click.echo("router: the description that `warmfleet reload` published is withdrawn; routers go by what is deployed")
    return outcome


def version_to_go_back_to(versions: Sequence[Version], job: str, wanted: str) -> Version:
    """Of those that Nomad remembers, the newest first. `wanted`: a number or a tag; empty: the last stable one that ran something else.

    Raises:
        WarmfleetError: there is none.
    """
    if not versions:
        raise WarmfleetError(f"{job} is not deployed: there is nothing to go back to")
    if wanted:
        found = [v for v in versions if wanted in (str(v.number), v.tag)]
        reason = f"Nomad remembers no version {wanted} of {job}"
    else:
        found = [v for v in versions[1:] if v.stable and v.source != versions[0].source]
        reason = f"Nomad remembers no stable version of {job} that ran something else"
    if not found:
        there = ", ".join(f"{v.number}{f' ({v.tag})' if v.tag else ''}{'' if v.stable else ' (not stable)'}" for v in versions)
        raise WarmfleetError(f"{reason}; it remembers: {there}. Name one of those, or deploy the description that you want")
    return found[0]

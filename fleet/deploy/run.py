"""One job into Nomad, watched to its end; and back to what ran before where the new version does not become warm.

Law: old replicas leave only when the new ones are warm (fleet.deploy.step decides, this does). A version that is given up before that
leaves the job as it was: its canaries are stopped, and the version before is registered again with the counts of now, because Nomad
would start canaries of a failed version anew at the next scaling. Nothing is registered but with the index that was planned on, and what
somebody else has registered meanwhile is left as it is. A Nomad or Consul that is away while a delivery is watched is asked again for
some minutes: an election of theirs must not leave new replicas behind that nobody promotes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ParamSpec, TypeVar

from fleet.deploy import inspector, jobs
from fleet.deploy.display import Display
from fleet.deploy.nomad import WAIT_S, Delivery, Deployment, Evaluation, Story
from fleet.deploy.patience import Patience
from fleet.deploy.proposal import Proposal, Way
from fleet.deploy.rows import ALIVE, rows
from fleet.deploy.step import Fresh, Step, View, next_step
from fleet.deploy.warmth import Replica, Warmth
from fleet.errors import Conflict, ControlPlaneError, Refused, Unreachable
from fleet.names import JOB_META_SOURCE
from fleet.nomad import Job, JobInfo

OK, FAILED, UNPLACED = 0, 1, 2
KEPT_TAGS = 8
_TRIES = 3

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a delivery ended: `code` is the exit code, as `nomad job run` has it; `text` a sentence."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Model:
    """What is known about a model that is delivered. `patience_s`: how long it may stand still before it is given up."""

    warmth: Warmth
    patience_s: float


@dataclass(slots=True)
class _Watch:
    """What is remembered from one look to the next."""

    way: Way
    version: int
    replicas: int
    index: int = 0
    moved_at: float = 0.0
    last: object = None
    called: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Run:
    """Delivers proposals one after the other; `models` by part. Blocks; `clock` counts seconds from anywhere."""

    nomad: Delivery
    models: Mapping[str, Model]
    shown: Display
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def deliver(self, proposal: Proposal, *, detach: bool = False) -> Outcome:
        """Raises: Conflict: the job is no longer what was planned on; nothing was changed. Unreachable, Refused."""
        if not proposal.changes:
            return self._resumed(proposal) if proposal.resumes else Outcome(OK, f"{proposal.part}: nothing to change")
        eval_id = self._registered(proposal)
        if detach:
            return Outcome(OK, _detached(proposal))
        outcome, deployment = self._followed(proposal, eval_id)
        return self._ended(proposal, outcome, deployment)

    def _resumed(self, proposal: Proposal) -> Outcome:
        assert proposal.resumes is not None  # noqa: S101  the caller looked
        self.shown.say(f"{proposal.part}: its deployment is still under way; watching it")
        way: Way = "beside" if proposal.resumes.waits_for_promotion else "in place"
        watched = replace(proposal, way=way)
        outcome, deployment = self._deployed(watched, proposal.resumes.deployment_id)
        return self._ended(watched, outcome, deployment)

    def _ended(self, proposal: Proposal, outcome: Outcome, deployment: Deployment | None) -> Outcome:
        if outcome.code == OK:
            self._settled(proposal)
            return outcome
        if deployment and deployment.auto_revert:
            return self._reverted(proposal, outcome, deployment)
        if meanwhile := self._overtaken(proposal):
            return Outcome(outcome.code, f"{outcome.text}; {meanwhile}")
        if proposal.way in ("beside", "one by one") and not (deployment and deployment.desired_canaries and deployment.promoted):
            return self._restored(proposal, outcome, deployment)
        return outcome

    def _overtaken(self, proposal: Proposal) -> str:
        """What is in Nomad now where somebody else has registered another version, or empty. Scalings are versions of the same source."""
        info = self._asked(self.nomad.job, proposal.job_id)
        if info is None or info.stopped:
            return "somebody else has stopped the job, and it is left so"
        return "" if _is_same(info, proposal.job) else f"somebody else has registered version {info.version}, which is left as it is"

    def _asked(self, ask: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        return Patience(self.shown, self.clock, self.sleep).asked(ask, *args, **options)

    def _registered(self, proposal: Proposal) -> str:
        self.shown.say(f"{proposal.part}: {_intent(proposal)}")
        return self._register(proposal.part, proposal.job, proposal.draft.text, proposal.plan.check_index)

    def _register(self, part: str, job: Job, text: str, check_index: int) -> str:
        try:
            return self.nomad.register(job, source=text, check_index=check_index, keep_counts=False).eval_id
        except Conflict as error:
            raise Conflict(f"{part} was changed by somebody else since it was planned (index {check_index}): plan again") from error

    def _followed(self, proposal: Proposal, eval_id: str) -> tuple[Outcome, Deployment | None]:
        evaluation = self._evaluated(eval_id)
        if evaluation.status != "complete":
            return Outcome(FAILED, f"{proposal.part}: Nomad's evaluation {eval_id[:8]} is {evaluation.status}: {evaluation.why}"), None
        if evaluation.unplaced and proposal.way != "one by one":  # there room is made by stopping the old ones
            deployment = self._deployment(evaluation.deployment_id)
            why = "; ".join(unplaced.why for unplaced in evaluation.unplaced)
            waits = "; it is registered, and placed when there is room" if proposal.way == "start" else ""
            return Outcome(UNPLACED, f"{proposal.part} has no place: {why}{waits}"), deployment
        return self._deployed(proposal, evaluation.deployment_id)

    def _evaluated(self, eval_id: str) -> Evaluation:
        seen = self._asked(self.nomad.evaluation, eval_id)
        while not seen.ended:
            seen = self._asked(self.nomad.evaluation, eval_id, index=seen.index)
        return seen

    def _deployed(self, proposal: Proposal, deployment_id: str) -> tuple[Outcome, Deployment | None]:
        deployment = self._deployment(deployment_id)
        version = deployment.job_version if deployment else self._asked(self._version, proposal)
        judged = proposal.part in self.models and proposal.way != "in place"
        watch = _Watch(proposal.way, version, jobs.count(proposal.job) if judged else 0, moved_at=self.clock())
        while True:
            step = self._asked(self._looked, proposal, watch, deployment)
            if step.kind == "done":
                return Outcome(OK, f"{proposal.part}: version {version} {'is warm and serves' if judged else 'runs'}"), deployment
            if step.kind in ("give up", "failed"):
                self._asked(self._explain, proposal, version)
                return Outcome(FAILED, f"{proposal.part}: version {version} failed: {step.why}"), deployment
            with contextlib.suppress(Unreachable):  # the next look says whether it was done
                self._do(step, proposal, watch, deployment_id)
            deployment = self._deployment(deployment_id, watch.index)
            watch.index = deployment.index if deployment else 0

    def _do(self, step: Step, proposal: Proposal, watch: _Watch, deployment_id: str) -> None:
        if step.kind == "promote":
            self.nomad.promote(deployment_id)
            self.shown.say(f"{proposal.part}: the new replicas are warm and take over; the old ones finish and leave")
        elif step.kind == "call healthy":
            self.nomad.call_healthy(deployment_id, step.alloc_ids)
            watch.called |= set(step.alloc_ids)
            self.shown.say(f"{proposal.part}: {', '.join(a[:8] for a in step.alloc_ids)} is warm, the next old one may go")

    def _looked(self, proposal: Proposal, watch: _Watch, deployment: Deployment | None) -> Step:
        stories = self.nomad.stories(proposal.job_id)
        seen = self._warmth(proposal.part, watch)
        view = _view(watch, deployment, stories, seen, self.models.get(proposal.part))
        marks = (deployment and (deployment.index, deployment.status), view.fresh, tuple(s.client_status for s in stories))
        if marks != watch.last:
            watch.last, watch.moved_at = marks, self.clock()
        step = next_step(replace(view, still_s=self.clock() - watch.moved_at))
        self.shown.show(f"{proposal.part}: {step.why}" if step.why else proposal.part, rows(stories, seen, judged=watch.replicas > 0))
        return step

    def _warmth(self, part: str, watch: _Watch) -> Mapping[str, Replica]:
        return self.models[part].warmth.look() if watch.replicas and part in self.models else {}

    def _deployment(self, deployment_id: str, index: int = 0) -> Deployment | None:
        """Blocks until it changes after `index`, or for WAIT_S."""
        if deployment_id:
            return self._asked(self.nomad.deployment, deployment_id, index=index)
        self.sleep(WAIT_S)
        return None

    def _version(self, proposal: Proposal) -> int:
        info = self.nomad.job(proposal.job_id)
        return info.version if info else 0

    def _explain(self, proposal: Proposal, version: int) -> None:
        for story in inspector.broken_of(self.nomad.stories(proposal.job_id), version):
            for line in inspector.told(story, self._logs(story)):
                self.shown.say(line)

    def _logs(self, story: Story) -> dict[tuple[str, str], str]:
        logs: dict[tuple[str, str], str] = {}
        for task in story.tasks:
            for kind in ("stdout", "stderr"):
                with contextlib.suppress(ControlPlaneError):  # there may be none; the events are what matters
                    logs[task, kind] = self.nomad.logs(story.alloc_id, task, kind)
        return logs

    def _reverted(self, proposal: Proposal, outcome: Outcome, failed: Deployment) -> Outcome:
        """Follows what Nomad itself goes back to."""
        info = self._asked(self.nomad.job, proposal.job_id)
        latest = self._asked(self.nomad.latest_deployment, proposal.job_id)
        if info is None or latest is None or latest.job_version <= failed.job_version:
            return Outcome(outcome.code, f"{outcome.text}; there is no stable version to go back to: mend it and deploy again")
        self.shown.say(f"{proposal.part}: Nomad goes back to the version before (as version {latest.job_version})")
        back, _ = self._deployed(replace(proposal, way="by its rules"), latest.deployment_id)
        said = "what ran before runs again" if back.code == OK else f"and going back failed too: {back.text}"
        return Outcome(outcome.code, f"{outcome.text}; {said}")

    def _restored(self, proposal: Proposal, outcome: Outcome, deployment: Deployment | None) -> Outcome:
        """Registers what ran before again. The old replicas never left, so this touches no task, except where they went one by one."""
        if deployment and deployment.active:
            with contextlib.suppress(Refused):  # it has ended by itself just now
                self._asked(self.nomad.fail, deployment.deployment_id)
        number = self._asked(self._before, proposal)
        info = self._asked(self.nomad.job, proposal.job_id)
        if number is None or info is None:
            return Outcome(outcome.code, f"{outcome.text}; no version from before is remembered: mend it and deploy again")
        job = jobs.counted(jobs.usual(self._asked(self.nomad.definition, proposal.job_id, number)), info.counts)
        rolls = proposal.way == "one by one"
        text = self._asked(self.nomad.source, proposal.job_id, number)
        self.shown.say(f"{proposal.part}: going back to version {number}")
        back = replace(proposal, job=jobs.one_by_one(job, proposal.floor) if rolls else job, way=proposal.way if rolls else "in place")
        done, _ = self._followed(back, self._register(proposal.part, back.job, text, info.modify_index))
        if done.code == OK and rolls:
            self._as_usual(back, job, text)
        said = "what ran before serves" if done.code == OK else f"and going back failed too: {done.text}"
        return Outcome(outcome.code, f"{outcome.text}; {said}")

    def _before(self, proposal: Proposal) -> int | None:
        """The version that ran before; for a deployment that was found under way, the last stable one that runs something else.

        A version that was never stable, because its own deployment was not seen to its end, did not run: the last stable one before it did.
        """
        versions = self.nomad.versions(proposal.job_id)
        if proposal.live is not None and proposal.resumes is None:
            last = proposal.live.version
            return next((v.number for v in versions if v.stable and v.number <= last), last)
        return next((v.number for v in versions if v.stable and v.source != versions[0].source), None)

    def _settled(self, proposal: Proposal) -> None:
        if proposal.way == "one by one":
            self._as_usual(proposal, proposal.draft.job, proposal.draft.text)
        if proposal.part in self.models:
            try:
                self._asked(self._remember, proposal)
            except ControlPlaneError as error:
                self.shown.say(f"{proposal.part}: the version before may be forgotten by Nomad, it was not tagged: {error}")

    def _as_usual(self, proposal: Proposal, job: Job, text: str) -> None:
        """Takes back what only the one-by-one deployment needed, so that scaling waits for nobody."""
        for tries_left in reversed(range(_TRIES)):
            info = self._asked(self.nomad.job, proposal.job_id)
            if info is None or not _is_same(info, job):
                return  # somebody else's by now
            job = jobs.counted(job, info.counts)
            try:
                eval_id = self._register(proposal.part, job, text, info.modify_index)
            except Conflict:  # a scaling came between
                if not tries_left:
                    raise
                continue
            self._followed(replace(proposal, job=job, way="in place"), eval_id)
            return

    def _remember(self, proposal: Proposal) -> None:
        """Tags the version that was replaced, so that scaling, which makes versions too, does not push it out of Nomad's memory.

        Not the one that runs: scaling would hand its tag on to every version it makes, and none of them would ever be forgotten.
        """
        number = self._before(proposal)
        versions = self.nomad.versions(proposal.job_id)
        before = next((v for v in versions if v.number == number), None)
        if before is None or not before.source or before.source == versions[0].source:
            return
        tagged = [v for v in versions if v.tag]
        for old in [v for v in tagged if v.tag == before.source or v in tagged[KEPT_TAGS:]]:
            self.nomad.untag(proposal.job_id, old.tag)
        self.nomad.tag(proposal.job_id, before.number, before.source, "deployed by warmfleet")


def _view(
    watch: _Watch, deployment: Deployment | None, stories: tuple[Story, ...], seen: Mapping[str, Replica], model: Model | None
) -> View:
    judged = watch.replicas > 0 and model is not None
    broken = inspector.broken_of(stories, watch.version) if judged else ()
    fresh = tuple(_fresh(s.alloc_id, seen.get(s.alloc_id), watch) for s in stories if _is_fresh(s, watch)) if judged else ()
    patience_s = model.patience_s if judged and model else float("inf")
    why = inspector.summary(broken[-1]) if broken else ""
    return View(watch.way, deployment, watch.replicas, fresh, why, patience_s=patience_s)


def _is_same(info: JobInfo, job: Job) -> bool:
    """It runs the same thing, whatever its count."""
    source: str = (job["Meta"] or {}).get(JOB_META_SOURCE, "")
    return info.meta.get(JOB_META_SOURCE, "") == source


def _is_fresh(story: Story, watch: _Watch) -> bool:
    return story.wanted and story.job_version >= watch.version and story.client_status in ALIVE


def _fresh(alloc_id: str, replica: Replica | None, watch: _Watch) -> Fresh:
    called = alloc_id in watch.called
    if replica is None:
        return Fresh(alloc_id, warm=False, serves=False, called_healthy=called)
    return Fresh(alloc_id, replica.warm, replica.serves, called, "" if replica.warm else replica.trouble)


def _intent(proposal: Proposal) -> str:
    count = jobs.count(proposal.job)
    return {
        "start": f"starting {count}",
        "beside": f"starting {count} new beside those that serve",
        "one by one": f"replacing {count} one by one; never fewer than {proposal.floor} stay warm",
        "in place": "changing it in place" if proposal.plan.updates.get("stop") else "changing it without touching its tasks",
    }.get(proposal.way, f"replacing {count} by its own rules")


def _detached(proposal: Proposal) -> str:
    if proposal.way in ("beside", "one by one"):
        return f"{proposal.part}: registered; the old replicas serve until `warmfleet deploy {proposal.part}` sees the new ones warm"
    return f"{proposal.part}: registered"

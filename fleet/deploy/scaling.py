"""A model brought to a count by hand, and watched until so many replicas are warm.

    ordered ──(Nomad has no place for all of them)──> no place: they stay ordered, and are placed when there is room
    ordered ──(so many serve, and no others are there)──> done
    ordered ──(a new one breaks, or nothing moves for too long)──> failed: the order stands
    ordered ──(somebody else sets another count)──> failed: theirs holds

Changes nothing but the count: what breaks is not taken back, because the count was a person's wish.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fleet.deploy import inspector
from fleet.deploy.display import Display
from fleet.deploy.nomad import WAIT_S, Delivery, Story
from fleet.deploy.patience import Patience
from fleet.deploy.rows import ALIVE, rows
from fleet.deploy.run import FAILED, OK, UNPLACED, Model, Outcome
from fleet.deploy.warmth import Replica
from fleet.errors import Blocked, Refused, WarmfleetError
from fleet.names import GROUP
from fleet.nomad import JobInfo, Unplaced
from fleet.owner import ADVICE, stranger
from fleet.units import format_duration


@dataclass(frozen=True, slots=True)
class Wanted:
    """So many replicas of a model of a fleet. `message` stands in Nomad's scaling events."""

    fleet: str
    part: str
    job_id: str
    count: int
    message: str


@dataclass(slots=True)
class Scaling:
    """Blocks; `clock` counts seconds from anywhere."""

    nomad: Delivery
    model: Model
    shown: Display
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def to(self, wanted: Wanted, *, detach: bool = False) -> Outcome:
        """Raises: WarmfleetError: the model is not deployed, is being deployed, or is not this fleet's. Conflict, Unreachable, Refused."""
        info = self._found(wanted)
        if not detach:
            self.model.warmth.reach()  # now, while nothing is ordered
        before, eval_id = self._ordered(wanted, info)
        changed = f"{before} -> {wanted.count}" if before != wanted.count else f"{wanted.count} already"
        if detach:
            return Outcome(OK, f"{wanted.part}: {changed}; new replicas serve when they are warm")
        self.shown.say(f"{wanted.part}: {changed}")
        if homeless := self._homeless(wanted, eval_id):
            return Outcome(UNPLACED, _no_place(wanted, homeless))
        return self._watched(wanted)

    def _found(self, wanted: Wanted) -> JobInfo:
        info = self.nomad.job(wanted.job_id)
        if info is None or info.stopped:
            raise WarmfleetError(f"{wanted.part} is not deployed: run `warmfleet deploy {wanted.part}`")
        if whose := stranger(info.meta, wanted.fleet):
            raise WarmfleetError(f"job {wanted.job_id} {whose}, and is scaled by whoever deployed it: {ADVICE}")
        return info

    def _ordered(self, wanted: Wanted, info: JobInfo) -> tuple[int, str]:
        """(the count before, the evaluation of the order or empty)"""
        before, meta = sum(info.counts.values()), {"by": "warmfleet scale"}
        if before == wanted.count:
            return before, ""
        try:
            index, message = info.modify_index, wanted.message
            return before, self.nomad.scale(wanted.job_id, GROUP, wanted.count, modify_index=index, message=message, meta=meta)
        except Blocked as error:
            raise WarmfleetError(
                f"{wanted.part} is being deployed, and Nomad scales nothing meanwhile: try again when that ends"
            ) from error
        except Refused as error:
            if "scaling policy" not in str(error):
                raise
            raise WarmfleetError(
                f"{wanted.part} stays at {before}: {wanted.count} is outside of what its job was deployed with. Set replicas.min and "
                f"replicas.max in the description and run `warmfleet deploy {wanted.part}`, which restarts nothing for that ({error})"
            ) from error

    def _homeless(self, wanted: Wanted, eval_id: str) -> tuple[Unplaced, ...]:
        if not eval_id:
            return self.nomad.unplaced(wanted.job_id)
        seen = self.nomad.evaluation(eval_id)
        while not seen.ended:
            seen = self.nomad.evaluation(eval_id, index=seen.index)
        return seen.unplaced

    def _watched(self, wanted: Wanted) -> Outcome:
        last, moved_at, patience = None, self.clock(), Patience(self.shown, self.clock, self.sleep)
        while True:
            stories, seen = patience.asked(self._looked, wanted)
            there = [story for story in stories if story.client_status in ALIVE]
            serving = sum(r.warm and r.serves for s in there if s.wanted and (r := seen.get(s.alloc_id)) is not None)
            self.shown.show(f"{wanted.part}: {serving} of {wanted.count} replicas are warm", rows(stories, seen, judged=True))
            if serving >= wanted.count and len(there) == wanted.count:
                return Outcome(OK, f"{wanted.part}: {wanted.count} replica(s) serve")
            marks = tuple((s.alloc_id, s.client_status, seen.get(s.alloc_id)) for s in stories)
            if marks != last:
                last, moved_at = marks, self.clock()
            if why := patience.asked(self._trouble, wanted, stories, self.clock() - moved_at):
                return Outcome(FAILED, f"{wanted.part}: {serving} of {wanted.count} replicas are warm: {why}")
            self.sleep(WAIT_S)

    def _looked(self, wanted: Wanted) -> tuple[tuple[Story, ...], Mapping[str, Replica]]:
        return self.nomad.stories(wanted.job_id), self.model.warmth.look()

    def _trouble(self, wanted: Wanted, stories: tuple[Story, ...], still_s: float) -> str:
        info = self.nomad.job(wanted.job_id)
        count = 0 if info is None else sum(info.counts.values())
        if count != wanted.count:
            return f"somebody else has set the count to {count}; `warmfleet pause` keeps the autoscaler from it"
        if broken := [story for story in stories if story.wanted and inspector.is_broken(story)]:
            return inspector.summary(broken[-1])
        return f"nothing has moved for {format_duration(float(round(still_s)))}" if still_s > self.model.patience_s else ""


def _no_place(wanted: Wanted, homeless: tuple[Unplaced, ...]) -> str:
    missing, why = sum(unplaced.wanted for unplaced in homeless), "; ".join(unplaced.why for unplaced in homeless)
    return f"{wanted.part}: {missing} of {wanted.count} replica(s) have no place: {why}; they are ordered, and placed when there is room"

"""One pass over all models: read, decide, act, publish; again after `interval_s`, and at once when a term begins.

Laws: what goes wrong with one model holds that model only. Where Nomad or Consul does not answer, the model is held and its
sentence says so; the pass ends all the same, because a wait for either is bounded, however many models there are (line.py for Nomad).
Where its time is not enough for all models, the next one begins with those that it was not enough for. An order is made on the job as it
was read in the same pass. What a decision leaves to the next one is kept only once Nomad and Consul have it, so that a pass that failed
half-way is decided afresh.
Hands off: who does not lead, and shadow mode, read and decide, and neither order nor publish; paused, it publishes all the same.
Knows no HTTP, no environment and no log format.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from autoscaler import gauges, pause
from autoscaler.act import Actor
from autoscaler.board import Board, Status
from autoscaler.capacity import Capacity
from autoscaler.decide import Case, Decision, decide_all
from autoscaler.jobs import Jobs
from autoscaler.lease import Lease
from autoscaler.level import level
from autoscaler.log_rules import LogRules
from autoscaler.look import Carried, Forecasts, Look, Observer
from autoscaler.memories import Memories
from autoscaler.pause import Pauses
from autoscaler.scrape import Metrics
from autoscaler.signals import Unknown
from autoscaler.states import States
from autoscaler.world import Catalogue, Reader, Source, World
from fleet.errors import ControlPlaneError
from fleet.metrics import LEADS, LOG_THRESHOLD, LOOP_SECONDS, PAUSED
from fleet.model import Model, Spec
from fleet.names import Names
from fleet.recorder import Recorder
from fleet.state import Level


@dataclass(frozen=True, slots=True)
class Ports:
    """The world outside. `clock`: seconds since the epoch. `say` gets every status of every pass."""

    catalogue: Catalogue
    metrics: Metrics
    jobs: Jobs
    states: States
    lease: Lease
    pauses: Pauses
    memories: Memories
    forecasts: Forecasts
    clock: Callable[[], float]
    say: Callable[[Status], None]
    sources: Sequence[Source] = ()


class Loop:
    """Passes over one fleet. `wake` begins the next one at once. Not for two tasks at once."""

    def __init__(self, spec: Spec, ports: Ports, recorder: Recorder) -> None:
        self.spec = spec
        self.ports = ports
        self.recorder = recorder
        self.board = Board()
        self.wake = asyncio.Event()
        names = Names(spec.fleet.name)
        self._reader = Reader(spec, ports.catalogue, ports.metrics, ports.sources, ports.clock)
        self._observer = Observer(names, self._reader, ports.jobs, ports.states, ports.forecasts, recorder)
        self._actor = Actor(names, ports.jobs, ports.states, ports.lease)
        self._rules = LogRules(spec, ports.memories)
        self._term = -1
        self._first = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Passes until `stop` is set; a pass that has begun is finished."""
        while not stop.is_set():
            self.wake.clear()
            started = self.ports.clock()
            await self.one_pass()
            took_s = max(0.0, self.ports.clock() - started)
            self.recorder.observe(LOOP_SECONDS, seconds=took_s)
            await _either(stop, self.wake, max(0.0, self.spec.autoscaler.interval_s - took_s))

    async def one_pass(self) -> None:
        try:
            hands_off, leads = await self._hands()
            world = await self._reader.read()
        except ControlPlaneError as error:
            for model in self.spec.models:
                self._tell(self._held(model, error))
        else:
            for status in await self._passed(world, hands_off, publishes=leads and not self.spec.autoscaler.shadow):
                self._tell(status)
            self.ports.forecasts.keep(leads=leads)
        self.board.passed_at = self.ports.clock()

    async def leave(self) -> None:
        """What drains serves again, before the lead is given away: nobody may come who goes on with it. Raises nothing."""
        if self.ports.lease.standing().leads:
            await asyncio.gather(*(self._given_back(carried) for carried in self._observer.carried.values()))

    async def _given_back(self, carried: Carried) -> None:
        told = carried.published
        if told is None or not told.draining or carried.memory.drain.phase == "stopping":
            return
        try:
            await self.ports.states.publish(replace(told, draining=(), updated_at=self.ports.clock()))
        except ControlPlaneError:
            return  # who leads next tells the routers so

    async def _hands(self) -> tuple[str, bool]:
        """Why nothing may be ordered, or empty; and whether this one leads."""
        standing = self.ports.lease.standing()
        self.recorder.gauge(LEADS, value=int(standing.leads))
        if standing.term != self._term:  # go on from what the last leader left, not from what this one believed meanwhile
            await self._rules.restore()
            self._observer.forget()
            self._term = standing.term
        paused = await self.ports.pauses.read()
        self.recorder.gauge(PAUSED, value=int(paused is not None))
        self.board.leads, self.board.paused = standing.leads, pause.told(paused) if paused else ""
        return standing.hands_off or self.board.paused, standing.leads

    async def _passed(self, world: World, hands_off: str, *, publishes: bool) -> Sequence[Status]:
        seen = await self._seen(world, hands_off)
        looks = [look for look in seen if isinstance(look, Look)]
        held = [status for status in seen if isinstance(status, Status)]
        made = decide_all(self._cases(looks), self.spec.autoscaler, gpus_elsewhere=self._gpus_of(held))
        done = await asyncio.gather(*(self._done(*both, publishes=publishes) for both in zip(looks, made, strict=True)))
        if publishes:
            await self._keep_rules()
        statuses = {status.model: status for status in (*held, *done)}
        return [statuses[model.name] for model in self.spec.models]

    async def _seen(self, world: World, hands_off: str) -> Sequence[Look | Status]:
        """Of every model, in the order of the description; asked for from `_first` on, which moves behind the ones that were seen.

        Moves by one where none was seen, so that the first few, if it is for them that Nomad takes so long, do not stay the first.
        """
        models, first = self.spec.models, self._first
        turn = (*models[first:], *models[:first])
        seen = await asyncio.gather(*(self._looked(model, world, hands_off) for model in turn))
        known = sum(isinstance(each, Look) for each in seen)
        self._first = (first + max(1, known)) % max(1, len(models))
        return [*seen[len(seen) - first :], *seen[: len(seen) - first]]

    async def _looked(self, model: Model, world: World, hands_off: str) -> Look | Status:
        try:
            return await self._observer.look(model, world, hands_off)
        except ControlPlaneError as error:
            return self._held(model, error)

    def _cases(self, looks: Sequence[Look]) -> list[Case]:
        rules = self._rules.votes({look.model.name: look.snapshot for look in looks})
        for large, threshold_bytes in self._rules.thresholds():
            self.recorder.gauge(LOG_THRESHOLD, large, value=threshold_bytes)
        return [Case(k.model, replace(k.snapshot, rules=rules.get(k.model.name, ())), k.carried.memory) for k in looks]

    def _gpus_of(self, held: Sequence[Status]) -> int:
        """Of models that are not known in this pass: what they were last seen with, or all that they may have."""
        carried, models = self._observer.carried, [self.spec.model(status.model) for status in held]
        return sum(model.gpus * (carried[model.name].stands if model.name in carried else model.replicas.max) for model in models)

    async def _done(self, look: Look, decision: Decision, *, publishes: bool) -> Status:
        status = _status(look, decision)
        status, memory = await self._actor.act(look, decision, status)
        stands = max(decision.order, look.snapshot.capacity.desired, look.snapshot.capacity.placed)
        carried = self._observer.carried[look.model.name] = replace(look.carried, level=status.level, stands=stands)
        if not publishes:
            self._observer.carried[look.model.name] = replace(carried, memory=memory)
            return status
        try:
            self._observer.carried[look.model.name] = await self._actor.publish(carried, status, memory)
        except ControlPlaneError as error:
            return self._untold(look.model, status, error)
        return status

    async def _keep_rules(self) -> None:
        try:
            await self._rules.keep()
        except ControlPlaneError:
            return  # it differs from what Consul has until it is written, so the next pass tries again

    def _untold(self, model: Model, status: Status, error: ControlPlaneError) -> Status:
        """Consul did not take the state. What Nomad took all the same is done, and is said."""
        held = replace(self._held(model, error), started_s=status.started_s, failed=status.failed)
        if not status.done:
            return held
        sentence = f"{status.sentence}; the routers were not told: {error}"
        return replace(held, sentence=sentence, desired=status.desired, direction=status.direction, done=status.done, votes=status.votes)

    def _held(self, model: Model, error: ControlPlaneError) -> Status:
        """The last count stands; what was known of capacity and signals is no longer."""
        before = self.board.statuses.get(model.name)
        return Status(
            model=model.name,
            at=self.ports.clock(),
            sentence=f"{model.name} is held: {error}",
            desired=before.desired if before else 0,
            level=before.level if before else "low",
            news=("held", str(error)),
        )

    def _tell(self, status: Status) -> None:
        self.board.tell(status)
        gauges.tell(self.recorder, status, self.spec.model(status.model), leads=self.board.leads)
        self.ports.say(status)


def _status(look: Look, decision: Decision) -> Status:
    snapshot, model = look.snapshot, look.model
    seen: Capacity = snapshot.capacity.with_draining(decision.memory.drain.victims)
    return Status(
        model=model.name,
        at=snapshot.at,
        sentence=decision.sentence,
        desired=decision.desired,
        direction=decision.direction,
        capacity=seen,
        signals=snapshot.signals,
        level=_level(look, decision.desired, seen.ready),
        clamps=decision.clamps,
        votes=decision.votes,
        forecast=snapshot.forecast,
        news=(*decision.key, snapshot.obstacle, snapshot.hands_off, seen.missing_why),
        reason=decision.reason,
        load=_load(look),
        started_s=look.started_s,
        failed=look.failed,
        is_blocked=bool(snapshot.obstacle or look.view.placing),
    )


def _load(look: Look) -> Mapping[str, float | None]:
    """Each demand in replicas that it would fill."""
    signals, carries = look.snapshot.signals, look.snapshot.carries(look.model)
    seen = {name: signals.get(name, Unknown("was not read")) for name in carries}
    return {name: None if isinstance(signal, Unknown) else signal.value / carries[name] for name, signal in seen.items()}


def _level(look: Look, desired: int, ready: int) -> Level:
    return level(look.model, look.snapshot.carries(look.model), desired, ready, look.snapshot.signals, last=look.carried.level)


async def _either(one: asyncio.Event, other: asyncio.Event, timeout_s: float) -> None:
    """Until one of them is set, or the time is over."""
    waits = [asyncio.ensure_future(event.wait()) for event in (one, other)]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()

"""One pass over all models: read, decide, act, publish; again after `interval_s`.

Laws: what goes wrong with one model holds that model only. Where Nomad or Consul does not answer, the model is held and its
sentence says so. An order is made on the job as it was read in the same pass. What a decision leaves to the next one is kept only
once Nomad and Consul have it, so that a pass that failed half-way is decided afresh.
Shadow mode reads and decides, and neither orders nor publishes: another autoscaler may be the one that acts.
Knows no HTTP, no environment and no log format.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from autoscaler.board import Board, Status, counts, inputs, model_state
from autoscaler.capacity import Capacity, capacity, of_model
from autoscaler.coldstart import ColdStarts, measure
from autoscaler.decide import Decision, Memory, Settings, Snapshot, decide
from autoscaler.demand import demand, load_now
from autoscaler.drain import ordered
from autoscaler.history import History, extend
from autoscaler.jobs import Jobs, JobView, Order
from autoscaler.level import level
from autoscaler.scrape import Metrics, Target
from autoscaler.signals import Unknown
from autoscaler.states import States
from autoscaler.text import engine_values, router_values
from autoscaler.window import Window
from fleet.consul import Instance, Seen
from fleet.errors import Blocked, Conflict, ControlPlaneError
from fleet.metrics import COLD_START, DECISIONS, LOOP_SECONDS, REPLICAS
from fleet.model import Model, Spec
from fleet.names import META_ALLOC_ID, Names
from fleet.recorder import Recorder
from fleet.state import Level, ModelState

_PUBLISH_EVERY_S = 10.0
_KEEP_WINDOWS = 1.5


class Catalogue(Protocol):
    """`fleet.consul.Consul` is one."""

    async def instances(self, service: str) -> Seen[tuple[Instance, ...]]:
        """Raises: ControlPlaneError."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The world outside. `clock`: seconds since the epoch. `say` gets every status of every pass."""

    catalogue: Catalogue
    metrics: Metrics
    jobs: Jobs
    states: States
    clock: Callable[[], float]
    say: Callable[[Status], None]


@dataclass(frozen=True, slots=True)
class _Carried:
    """What one pass leaves to the next, per model."""

    cold: ColdStarts
    memory: Memory = Memory()
    level: Level = "low"
    published: ModelState | None = None


@dataclass(frozen=True, slots=True)
class _World:
    """What one pass read for all models. Targets are named by their service's address."""

    now: float
    routers: tuple[Instance, ...]
    replicas: tuple[Instance, ...]
    history: History


@dataclass(slots=True)
class Loop:
    spec: Spec
    ports: Ports
    recorder: Recorder
    board: Board = field(default_factory=Board)
    _history: History = History()
    _carried: dict[str, _Carried] = field(default_factory=dict)

    async def run(self, stop: asyncio.Event) -> None:
        """Passes until `stop` is set; a pass that has begun is finished."""
        while not stop.is_set():
            started = self.ports.clock()
            await self.one_pass()
            took_s = max(0.0, self.ports.clock() - started)
            self.recorder.observe(LOOP_SECONDS, seconds=took_s)
            try:
                async with asyncio.timeout(max(0.0, self.spec.autoscaler.interval_s - took_s)):
                    await stop.wait()
            except TimeoutError:
                continue

    async def one_pass(self) -> None:
        try:
            world = await self._read_world()
        except ControlPlaneError as error:
            for model in self.spec.models:
                self._tell(self._held(model, error))
        else:
            for status in await asyncio.gather(*(self._pass(model, world) for model in self.spec.models)):
                self._tell(status)
        self.board.passed_at = self.ports.clock()

    async def _read_world(self) -> _World:
        names = Names(self.spec.fleet.name)
        routers = (await self.ports.catalogue.instances(names.router_service)).value
        replicas = (await self.ports.catalogue.instances(names.model_service)).value
        targets = [*map(_router_target, routers), *(t for model in self.spec.models for t in _engine_targets(model, replicas))]
        answers = await self.ports.metrics.scrape(targets)
        now = self.ports.clock()
        keep_s = _KEEP_WINDOWS * self.spec.autoscaler.window_s + self.spec.autoscaler.max_age_s
        self._history = extend(self._history, [t.name for t in targets], answers, now=now, keep_s=keep_s)
        return _World(now, routers, replicas, self._history)

    async def _pass(self, model: Model, world: _World) -> Status:
        try:
            return await self._pass_or_raise(model, world)
        except ControlPlaneError as error:
            return self._held(model, error)

    async def _pass_or_raise(self, model: Model, world: _World) -> Status:
        carried = self._carried.get(model.name) or await self._restored(model)
        view = await self.ports.jobs.read(Names(self.spec.fleet.name).job(model.name))
        snapshot = self._snapshot(model, view, world, carried)
        carried = self._measured(model, snapshot, carried)
        decision = decide(snapshot, Settings(model, self.spec.autoscaler), carried.memory)
        status = _status(model, snapshot, decision, carried.level)
        self._carried[model.name] = replace(carried, level=status.level)
        self.recorder.count(DECISIONS, model.name, decision.direction)
        status, memory = await self._act(view, decision, status)
        await self._publish(model.name, status, memory)
        return status

    async def _restored(self, model: Model) -> _Carried:
        """Goes on with the cold starts that the autoscaler before this one measured.

        Its drain is dropped, and the routers are told so: until this one has seen a whole window it may not scale in.
        """
        state = await self.ports.states.read(model.name)
        if state is None:
            return _Carried(ColdStarts(model.cold_start_s))
        return _Carried(ColdStarts(model.cold_start_s, state.cold_starts_s), level=state.level)

    def _snapshot(self, model: Model, view: JobView, world: _World, carried: _Carried) -> Snapshot:
        settings = self.spec.autoscaler
        window = Window(world.now, settings.window_s, settings.max_age_s)
        mine = of_model(world.replicas, model.name)
        engines = {i.meta.get(META_ALLOC_ID, ""): _name("replica", i) for i in mine if i.passing}
        loads = {alloc: load_now(world.history, model.name, name, window) for alloc, name in engines.items()}
        seen = capacity(view.count, view.allocations, view.unplaced, mine, draining=carried.memory.drain.victims, requests=loads)
        return Snapshot(
            at=world.now,
            capacity=seen,
            signals=demand(world.history, model.name, [_name("router", r) for r in world.routers], list(engines.values()), window),
            last_scaled_at=view.last_scaled_at,
            obstacle=view.obstacle,
        )

    def _measured(self, model: Model, snapshot: Snapshot, carried: _Carried) -> _Carried:
        cold, ended = measure(carried.cold, snapshot.capacity.replicas, snapshot.at)
        for seconds in ended:
            self.recorder.observe(COLD_START, model.name, seconds=seconds)
        return replace(carried, cold=cold)

    async def _act(self, view: JobView, decision: Decision, status: Status) -> tuple[Status, Memory]:
        """Asks Nomad for the count. A refusal is no error of the pass: it is said, and decided again in the next one."""
        if not decision.scales:
            return status, decision.memory
        job_id = Names(self.spec.fleet.name).job(decision.model)
        try:
            await self.ports.jobs.order(Order(job_id, decision.order, view.modify_index, decision.sentence, inputs(status)))
        except Blocked:
            return _not_done(status, "waits: a deployment has begun, and Nomad scales nothing meanwhile"), decision.memory
        except Conflict:
            return _not_done(status, "not done: somebody else changed the job, decided again in the next pass"), decision.memory
        except ControlPlaneError as error:
            return _not_done(status, f"not done: {error}"), decision.memory
        return replace(status, done=f"{decision.current} -> {decision.order}"), Memory(ordered(decision.memory.drain))

    async def _publish(self, model: str, status: Status, memory: Memory) -> None:
        """The memory is kept only when the routers can know it too: victims that they have not been told of are not draining."""
        carried = self._carried[model]
        if self.spec.autoscaler.shadow or isinstance(status.capacity, Unknown):
            self._carried[model] = replace(carried, memory=memory)
            return
        state = model_state(status, status.capacity, carried.cold, memory.drain.victims)
        if _is_news(carried.published, state):
            await self.ports.states.publish(state)
            carried = replace(carried, published=state)
        self._carried[model] = replace(carried, memory=memory)

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
        self.board.statuses[status.model] = status
        if isinstance(status.capacity, Unknown):  # the last numbers are no longer true, and a gauge has no age
            for state in counts(Capacity(0)):
                self.recorder.gauges.pop((REPLICAS, (status.model, state)), None)
        else:
            for state, count in counts(status.capacity).items():
                self.recorder.gauge(REPLICAS, status.model, state, value=count)
        self.ports.say(status)


def _status(model: Model, snapshot: Snapshot, decision: Decision, last_level: Level) -> Status:
    seen: Capacity = snapshot.capacity.with_draining(decision.memory.drain.victims)
    return Status(
        model=model.name,
        at=snapshot.at,
        sentence=decision.sentence,
        desired=decision.desired,
        direction=decision.direction,
        capacity=seen,
        signals=snapshot.signals,
        level=level(model, decision.desired, seen.ready, snapshot.signals, last_level),
        clamps=decision.clamps,
        news=(*decision.key, snapshot.obstacle, seen.missing_why),
    )


def _not_done(status: Status, why: str) -> Status:
    return replace(status, sentence=f"{status.sentence}; {why}", news=(*status.news, why))


def _is_news(published: ModelState | None, state: ModelState) -> bool:
    if published is None or state.updated_at - published.updated_at >= _PUBLISH_EVERY_S:
        return True
    return replace(published, reason="", updated_at=0.0) != replace(state, reason="", updated_at=0.0)


def _name(kind: str, instance: Instance) -> str:
    return f"{kind} {instance.host}:{instance.port}"


def _url(instance: Instance) -> str:
    return f"http://{instance.host}:{instance.port}/metrics"


def _router_target(instance: Instance) -> Target:
    return Target(_name("router", instance), _url(instance), router_values)


def _engine_targets(model: Model, replicas: Sequence[Instance]) -> list[Target]:
    passing = [i for i in of_model(replicas, model.name) if i.passing]
    return [Target(_name("replica", i), _url(i), lambda text: engine_values(text, model.engine, model.name)) for i in passing]

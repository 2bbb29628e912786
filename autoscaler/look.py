"""One model as a pass finds it: its job, its replicas by state, its signals, what is remembered and forecast of it.

What a pass leaves to the next one about a model is `Carried`; a new term starts from what the last leader published. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from autoscaler import coldstart
from autoscaler.capacity import capacity, of_model
from autoscaler.carried import Carrying, Evidence, learn, restored
from autoscaler.coldstart import ColdStarts, measure
from autoscaler.decide import Memory, Snapshot
from autoscaler.forecast.question import Forecast
from autoscaler.jobs import Jobs, JobView
from autoscaler.signals import Signal, Unknown
from autoscaler.states import States
from autoscaler.world import Reader, World
from fleet.metrics import CAPACITY_FACTOR
from fleet.model import Model
from fleet.names import Names
from fleet.recorder import Recorder
from fleet.state import Level, ModelState


class Forecasts(Protocol):
    async def restore(self, model: Model) -> None:
        """Takes up what is remembered of the model, once. Raises: ControlPlaneError."""

    def ask(self, model: Model, seen: Snapshot) -> Forecast | Unknown:
        """What is needed when a replica ordered at `seen.at` is warm; takes in the demand of the minute that has ended."""

    def keep(self, *, leads: bool) -> None:
        """Begins what is due, beside the loop: refits, and writing down what is remembered. Raises nothing."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What one pass leaves to the next, per model."""

    cold: ColdStarts
    carrying: Carrying
    memory: Memory = Memory()
    level: Level = "low"
    published: ModelState | None = None
    stands: int = 0
    """Replicas that it may have until it is seen again: those that were ordered, and those that have a place."""


@dataclass(frozen=True, slots=True)
class Look:
    """One model as it was read in this pass. `carried` is what this pass goes on from.

    `started_s`: cold starts that ended in it, in seconds; `failed`: starts that failed in it, in Nomad's words.
    """

    model: Model
    view: JobView
    snapshot: Snapshot
    carried: Carried
    started_s: tuple[float, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(slots=True)
class Observer:
    """Of one fleet. `carried` is written by who acts on a look, and emptied by `forget`."""

    names: Names
    reader: Reader
    jobs: Jobs
    states: States
    forecasts: Forecasts
    recorder: Recorder
    carried: dict[str, Carried] = field(default_factory=dict)

    def forget(self) -> None:
        self.carried.clear()

    async def look(self, model: Model, world: World, hands_off: str) -> Look:
        """Raises: ControlPlaneError."""
        carried = self.carried.get(model.name) or await self._restored(model)
        view = await self.jobs.read(self.names.job(model.name))
        model, apart = as_deployed(model, view)
        scraped = self.reader.scraped(model, world)
        snapshot = replace(self._snapshot(model, view, world, carried, hands_off), signals=self.reader.confirmed(model, scraped, world))
        cold, started_s = measure(carried.cold, snapshot.capacity.replicas, snapshot.at, snapshot.capacity.failures)
        carried = self.carried[model.name] = self._learned(model, snapshot, replace(carried, cold=cold), scraped)
        placing = "Nomad looks for room, and takes fewer replicas meanwhile but not more" if view.placing else ""
        said = (apart, placing, carried.carrying.sentence, carried.cold.trouble)
        remarks = (*filter(None, said), *self.reader.remarks(world))
        snapshot = replace(snapshot, lead_s=carried.cold.p90_s, one=carried.carrying.one, remarks=remarks)
        failed = tuple(start.why for start in cold.failed if start.at == snapshot.at)
        return Look(model, view, replace(snapshot, forecast=self._forecast(model, snapshot)), carried, started_s, failed)

    def _learned(self, model: Model, snapshot: Snapshot, carried: Carried, scraped: Mapping[str, Signal]) -> Carried:
        """What this pass teaches of what a replica carries. Other sources are late, and so of another fleet."""
        evidence = Evidence(snapshot.at, snapshot.capacity, scraped, self.reader.spec.autoscaler.window_s, model.slo.ttft_s)
        carrying = learn(carried.carrying, evidence)
        for demand, factor in carrying.factors.items():
            self.recorder.gauge(CAPACITY_FACTOR, model.name, demand, value=factor)
        return replace(carried, carrying=carrying)

    def _forecast(self, model: Model, snapshot: Snapshot) -> Forecast | Unknown:
        if any(policy.kind == "forecast" for policy in model.policy):
            return self.forecasts.ask(model, snapshot)
        return Unknown("no policy of this model forecasts")

    async def _restored(self, model: Model) -> Carried:
        """Goes on with what the autoscaler before this one measured and learned.

        Its drain is dropped, and the routers are told so: until this one has seen a whole window it may not scale in.
        """
        await self.forecasts.restore(model)
        state = await self.states.read(model.name)
        if state is None:
            return Carried(ColdStarts(model.cold_start_s), restored(model, None))
        return Carried(coldstart.restored(model.cold_start_s, state.cold_starts_s), restored(model, state.carries), level=state.level)

    def _snapshot(self, model: Model, view: JobView, world: World, carried: Carried, hands_off: str) -> Snapshot:
        mine, loads = of_model(world.replicas, model.name), self.reader.loads(model, world)
        seen = capacity(view.count, view.allocations, view.unplaced, mine, draining=carried.memory.drain.victims, requests=loads)
        return Snapshot(
            at=world.now,
            capacity=seen,
            scaled_at=view.scaled_at,
            obstacle=view.obstacle,
            hands_off=hands_off,
            gave_up=view.gave_up,
        )


def as_deployed(model: Model, view: JobView) -> tuple[Model, str]:
    """The model within the bounds of its job, and what is to be done where the job's are narrower than fleet.toml's, or empty.

    A description that was changed and not deployed yet must not lead to orders that Nomad refuses again and again.
    """
    (low, high), wanted = view.bounds, model.replicas
    least = min(max(wanted.min, low), high)
    most = max(least, min(wanted.max, high))
    if (least, most) == (wanted.min, wanted.max):
        return model, ""
    said = f"its job in Nomad allows {low} to {high} replicas and fleet.toml {wanted.min} to {wanted.max}: deploy {model.name}"
    return replace(model, replicas=replace(wanted, min=least, max=most)), said

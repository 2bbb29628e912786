"""What one pass reads for all models: routers and replicas as Consul lists them, and what they say of themselves.

Signals of a model come from these scrapes, and from further sources that know them by name (Datadog, a log folder); a source is
asked for what it has, never waited for. Remembers the scrapes of the last windows, and since when a router is gone; decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from autoscaler.absent import Since, absent, left_out
from autoscaler.capacity import of_model
from autoscaler.demand import demand, load_now
from autoscaler.history import Failed, History, extend
from autoscaler.scrape import Metrics, Target
from autoscaler.signals import Signal, combined
from autoscaler.text import engine_values, router_values
from autoscaler.window import Window
from fleet.consul import Instance, Seen
from fleet.model import Model, Spec
from fleet.names import META_ALLOC_ID, Names

_KEEP_WINDOWS = 1.5


class Catalogue(Protocol):
    """`fleet.consul.Consul` is one."""

    async def instances(self, service: str) -> Seen[tuple[Instance, ...]]:
        """Raises: ControlPlaneError."""


class Source(Protocol):
    def signals(self, model: str, now: float, /) -> Mapping[str, Signal]:
        """What it knows now, by name; names that it never knows are left out. Raises nothing."""

    def remark(self, now: float, /) -> str:
        """What the reader of a decision should know of it besides its signals, or empty."""


@dataclass(frozen=True, slots=True)
class World:
    """`routers` and `replicas` of all models; targets are named by their service's address. `now`: seconds since the epoch.

    `gone`: why a router that Consul still lists is left out, by target.
    """

    now: float
    routers: tuple[Instance, ...]
    replicas: tuple[Instance, ...]
    history: History
    gone: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Reader:
    """One fleet's world, read again for each pass."""

    spec: Spec
    catalogue: Catalogue
    metrics: Metrics
    sources: Sequence[Source]
    clock: Callable[[], float]
    _history: History = field(default_factory=History)
    _absent: Since = field(default_factory=dict)

    async def read(self) -> World:
        """Raises: ControlPlaneError: Consul does not answer."""
        names, settings = Names(self.spec.fleet.name), self.spec.autoscaler
        routers = (await self.catalogue.instances(names.router_service)).value
        replicas = (await self.catalogue.instances(names.model_service)).value
        targets = [*map(_router_target, routers), *(t for model in self.spec.models for t in _engine_targets(model, replicas))]
        answers = await self.metrics.scrape(targets)
        now, keep_s = self.clock(), _KEEP_WINDOWS * settings.window_s + settings.max_age_s
        self._history = extend(self._history, [t.name for t in targets], answers, now=now, keep_s=keep_s)
        silent = {answer.target for answer in answers if isinstance(answer, Failed)}
        self._absent = absent(self._absent, [name for r in routers if not r.passing and (name := _name("router", r)) in silent], now)
        return World(now, routers, replicas, self._history, left_out(self._absent, now))

    def scraped(self, model: Model, world: World) -> Mapping[str, Signal]:
        """By name, as routers and engines say it themselves."""
        engines = [_name("replica", i) for i in of_model(world.replicas, model.name) if i.passing]
        routers = [name for router in world.routers if (name := _name("router", router)) not in world.gone]
        return demand(world.history, model.name, routers, engines, self._window(world))

    def confirmed(self, model: Model, scraped: Mapping[str, Signal], world: World) -> Mapping[str, Signal]:
        """The same with what the further sources know."""
        return combined(scraped, [source.signals(model.name, world.now) for source in self.sources])

    def remarks(self, world: World) -> tuple[str, ...]:
        """Of the further sources, and of routers that are gone."""
        return (*world.gone.values(), *(said for source in self.sources if (said := source.remark(world.now))))

    def loads(self, model: Model, world: World) -> Mapping[str, Signal]:
        """Requests of each passing replica's engine, by allocation id."""
        passing = [i for i in of_model(world.replicas, model.name) if i.passing]
        window = self._window(world)
        return {i.meta.get(META_ALLOC_ID, ""): load_now(world.history, model.name, _name("replica", i), window) for i in passing}

    def _window(self, world: World) -> Window:
        return Window(world.now, self.spec.autoscaler.window_s, self.spec.autoscaler.max_age_s)


def _name(kind: str, instance: Instance) -> str:
    return f"{kind} {instance.host}:{instance.port}"


def _url(instance: Instance) -> str:
    return f"http://{instance.host}:{instance.port}/metrics"


def _router_target(instance: Instance) -> Target:
    return Target(_name("router", instance), _url(instance), router_values)


def _engine_targets(model: Model, replicas: Sequence[Instance]) -> list[Target]:
    passing = [i for i in of_model(replicas, model.name) if i.passing]
    return [Target(_name("replica", i), _url(i), lambda text: engine_values(text, model.engine, model.name)) for i in passing]

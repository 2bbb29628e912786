"""The loop with the world in memory: what it orders, publishes and says, and what it does when a part of the world is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO

import pytest

from autoscaler.board import Status, inputs
from autoscaler.decide import Snapshot
from autoscaler.forecast.question import Forecast
from autoscaler.history import Failed, Scrape
from autoscaler.jobs import ANY, JobView, Order
from autoscaler.journal import Journal
from autoscaler.lease import Standing
from autoscaler.loop import Loop, Ports
from autoscaler.scrape import Target
from autoscaler.signals import KV_USE, LOG_BYTES_PER_MIN, Known, Signal, Unknown
from autoscaler.text import ENGINE_LOAD, FLYING
from fleet.consul import Instance, Seen
from fleet.errors import Blocked, Conflict, ControlPlaneError, Refused, Unreachable
from fleet.model import Model, Spec
from fleet.nomad import Allocation
from fleet.policy import LogVolume, Policy
from fleet.recorder import Recorder, prometheus_text
from fleet.state import ModelState, Pause
from tests.autoscaler.build import NOW, allocation, instance, settings

ROUTER = Instance("r", "127.0.0.1", 8000, (), {}, passing=True)


@dataclass
class LeaseInHand:
    """What the lease says now, and what Consul says when it is asked once more."""

    now: Standing = Standing(term=1, hands_off="")
    agrees: bool = True

    def standing(self) -> Standing:
        return self.now

    async def confirm(self) -> bool:
        return self.agrees


@dataclass
class Pauses:
    pause: Pause | None = None

    async def read(self) -> Pause | None:
        return self.pause


@dataclass
class Memories:
    parts: dict[str, bytes] = field(default_factory=dict)

    async def read(self, part: str) -> bytes | None:
        return self.parts.get(part)

    async def write(self, part: str, value: bytes) -> None:
        self.parts[part] = value


@dataclass
class Source:
    """Signals of all models, beside those of the scrapes."""

    told: Mapping[str, Signal] = field(default_factory=dict)
    said: str = ""

    def signals(self, model: str, now: float, /) -> Mapping[str, Signal]:
        return self.told

    def remark(self, now: float, /) -> str:
        return self.said


@dataclass
class Prophet:
    """Forecasts that are told to it."""

    said: Forecast | Unknown = Unknown("nothing")

    async def restore(self, model: Model) -> None:
        pass

    def ask(self, model: Model, seen: Snapshot) -> Forecast | Unknown:
        return self.said

    def keep(self, *, leads: bool) -> None:
        pass


@dataclass
class World:
    """Nomad, Consul, routers and engines, as simple as the ports let them be. What is set to an error is raised."""

    count: int = 1
    flying: float = 0.0
    engine_load: float = 0.0
    now: float = NOW
    obstacle: str = ""
    scaled_at: tuple[float, ...] = ()
    bounds: tuple[int, int] = ANY
    placing: str = ""
    stored: dict[str, ModelState] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    published: list[ModelState] = field(default_factory=list)
    said: list[Status] = field(default_factory=list)
    consul_error: ControlPlaneError | None = None
    nomad_errors: dict[str, ControlPlaneError] = field(default_factory=dict)
    order_error: ControlPlaneError | None = None
    publish_error: ControlPlaneError | None = None
    routers_answer: bool = True
    lingering: int = 0
    dead_routers: tuple[Instance, ...] = ()
    lease: LeaseInHand = field(default_factory=LeaseInHand)
    pauses: Pauses = field(default_factory=Pauses)
    memories: Memories = field(default_factory=Memories)
    prophet: Prophet = field(default_factory=Prophet)
    source: Source = field(default_factory=Source)

    def placed(self) -> tuple[Allocation, ...]:
        return tuple(allocation(i) for i in range(self.count + self.lingering))

    async def instances(self, service: str) -> Seen[tuple[Instance, ...]]:
        if self.consul_error:
            raise self.consul_error
        return Seen((ROUTER, *self.dead_routers) if service.endswith("router") else tuple(instance(i) for i in range(self.count)), 1)

    async def scrape(self, targets: Sequence[Target]) -> tuple[Scrape | Failed, ...]:
        return tuple(map(self._answer, targets))

    def _answer(self, target: Target) -> Scrape | Failed:
        if target.name.startswith("replica"):
            return Scrape(target.name, self.now, {(ENGINE_LOAD, "small-model"): self.engine_load})
        if not self.routers_answer or target.name.endswith(":1"):
            return Failed(target.name, "did not answer within 2 s")
        return Scrape(target.name, self.now, {(FLYING, "small-model"): self.flying})

    async def read(self, name: str) -> JobView:
        if name in self.nomad_errors:
            raise self.nomad_errors[name]
        told = {"scaled_at": self.scaled_at, "obstacle": self.obstacle, "bounds": self.bounds, "placing": self.placing}
        return JobView(self.count, 7, self.placed(), **told)  # type: ignore[arg-type]

    async def order(self, order: Order) -> None:
        if self.order_error:
            raise self.order_error
        self.orders.append(order)
        self.count, self.scaled_at = order.count, (*self.scaled_at, self.now)

    async def publish(self, state: ModelState) -> None:
        if self.publish_error:
            raise self.publish_error
        self.published.append(state)
        self.stored[state.model] = state


@dataclass
class States:
    world: World

    async def read(self, model: str) -> ModelState | None:
        return self.world.stored.get(model)

    async def publish(self, state: ModelState) -> None:
        await self.world.publish(state)


def spec(*names: str, **autoscaler: object) -> Spec:
    rules = settings(**autoscaler)  # type: ignore[arg-type]
    models = tuple(replace(rules.model, name=name) for name in names or ("small-model",))
    return Spec(models=models, autoscaler=rules.autoscaler)


def loop_in(world: World, fleet: Spec | None = None, say: Callable[[Status], None] | None = None) -> Loop:
    ports = Ports(
        catalogue=world,
        metrics=world,
        jobs=world,
        states=States(world),
        lease=world.lease,
        pauses=world.pauses,
        memories=world.memories,
        forecasts=world.prophet,
        clock=lambda: world.now,
        say=say or world.said.append,
        sources=(world.source,),
    )
    return Loop(fleet or spec(), ports, Recorder())


async def passes(loop: Loop, world: World, number: int) -> Status:
    for _ in range(number):
        world.now += 10
        await loop.one_pass()
    return world.said[-1]


async def test_scales_up_with_the_sentence_and_the_numbers_in_nomads_event() -> None:
    world = World(flying=2.8)
    status = await passes(loop_in(world), world, 1)
    order = world.orders[0]
    assert (order.job_id, order.count, order.modify_index) == ("warmfleet-small-model", 2, 7)
    assert order.sentence == status.sentence == world.published[0].reason
    assert order.inputs["signals"]["concurrency"]["value"] == 2.8  # type: ignore[index]
    json.dumps(order.inputs)
    assert status.done == "1 -> 2"


async def test_orders_once_and_not_again_while_the_new_replicas_load() -> None:
    world = World(flying=2.8)
    await passes(loop_in(world), world, 8)
    assert [order.count for order in world.orders] == [2]


async def test_scale_in_tells_the_routers_before_nomad_and_cleans_up_after() -> None:
    world = World(count=2, flying=0.0)
    loop = loop_in(world)
    await passes(loop, world, 6)  # the window fills
    assert next(state.draining for state in world.published if state.draining) == ("alloc-1",)
    assert world.orders == []
    await passes(loop, world, 2)
    assert [order.count for order in world.orders] == [1]
    await passes(loop, world, 1)
    assert world.published[-1].draining == ()


async def test_a_victim_gets_nothing_new_until_nomad_has_stopped_it() -> None:
    world = World(count=2, flying=0.0)
    loop = loop_in(world)
    await passes(loop, world, 8)
    assert world.count == 1
    world.lingering = 1
    await passes(loop, world, 2)
    assert world.published[-1].draining == ("alloc-1",)
    world.lingering = 0
    await passes(loop, world, 1)
    assert world.published[-1].draining == ()


async def test_a_busy_victim_is_waited_for() -> None:
    world = World(count=2, flying=0.0)
    loop = loop_in(world)
    await passes(loop, world, 6)
    world.engine_load = 0.9
    status = await passes(loop, world, 4)
    assert world.orders == []
    assert "requests left" in status.sentence


EMPTY = Policy(kind="threshold", signal=KV_USE, upper=0.9, lower=0.3)


async def test_a_threshold_scales_in_although_its_victims_no_longer_serve() -> None:
    world = World(count=3, source=Source({KV_USE: Known(0.1, 1.0)}))
    await passes(loop_in(world, spec(policy=(EMPTY,))), world, 4)
    assert [order.count for order in world.orders] == [2]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Blocked("job scaling blocked due to active deployment"), "waits: a deployment has begun"),
        (Conflict("job modify index"), "somebody else changed the job"),
        (Refused("Nomad: permission denied (HTTP 403)"), "permission denied"),
    ],
)
async def test_what_nomad_refuses_is_said_and_ordered_in_the_next_pass(error: ControlPlaneError, says: str) -> None:
    world = World(flying=2.8, order_error=error)
    loop = loop_in(world)
    assert says in (await passes(loop, world, 1)).sentence
    world.order_error = None
    await passes(loop, world, 1)
    assert [order.count for order in world.orders] == [2]


async def test_without_consul_every_model_is_held_and_says_so() -> None:
    world = World(flying=9, consul_error=Unreachable("Consul does not answer: refused"))
    status = await passes(loop_in(world), world, 1)
    assert status.sentence == "small-model is held: Consul does not answer: refused"
    assert (world.orders, world.published) == ([], [])


async def test_gauges_of_what_is_no_longer_known_are_withdrawn() -> None:
    world = World(flying=0.5)
    loop = loop_in(world)
    await passes(loop, world, 1)
    assert "warmfleet_autoscaler_replicas{" in prometheus_text(loop.recorder)
    world.consul_error = Unreachable("Consul does not answer: refused")
    await passes(loop, world, 1)
    assert "warmfleet_autoscaler_replicas{" not in prometheus_text(loop.recorder)


async def test_trouble_with_one_model_leaves_the_others_alone() -> None:
    world = World(nomad_errors={"warmfleet-large-model": Unreachable("Nomad at x does not answer: ReadTimeout")}, flying=2.8)
    await passes(loop_in(world, spec("large-model", "small-model")), world, 1)
    assert [order.job_id for order in world.orders] == ["warmfleet-small-model"]
    assert world.said[0].sentence == "large-model is held: Nomad at x does not answer: ReadTimeout"


async def test_a_job_that_is_missing_is_held_with_what_to_do() -> None:
    world = World(count=0, obstacle="job warmfleet-small-model is not registered in Nomad: deploy the fleet")
    status = await passes(loop_in(world), world, 1)
    assert world.orders == []
    assert world.published[-1].level == "failure"
    assert "waits: job warmfleet-small-model is not registered in Nomad: deploy the fleet" in status.sentence
    assert status.is_blocked


async def test_while_nomad_looks_for_room_only_fewer_are_ordered() -> None:
    world = World(count=3, lingering=-1, flying=4.2, placing="its id")
    loop = loop_in(world)
    status = await passes(loop, world, 1)
    assert status.sentence.endswith("; Nomad looks for room, and takes fewer replicas meanwhile but not more")
    world.flying = 5.6
    status = await passes(loop, world, 8)
    assert status.sentence.endswith("; waits: Nomad looks for room for what was ordered before, and takes no more meanwhile")
    assert (world.orders, status.is_blocked) == ([], True)
    world.flying = 2.0
    await passes(loop, world, 8)
    assert [(order.count, order.gives_up) for order in world.orders] == [(2, "its id")]


@pytest.mark.parametrize(
    ("bounds", "flying", "count", "clamp"),
    [((1, 2), 9.0, 2, "limited to the maximum 2"), ((2, 3), 0.0, 2, "raised to the minimum 2")],
    ids=["most", "least"],
)
async def test_bounds_of_a_job_that_was_not_deployed_again_are_kept(bounds: tuple[int, int], flying: float, count: int, clamp: str) -> None:
    world = World(flying=flying, bounds=bounds)
    await passes(loop_in(world), world, 6)
    assert [order.count for order in world.orders] == [count]
    assert clamp in world.orders[0].sentence
    low, high = bounds
    assert f"its job in Nomad allows {low} to {high} replicas and fleet.toml 1 to 10: deploy small-model" in world.orders[0].sentence


async def test_silent_routers_hold_the_count() -> None:
    world = World(count=3, routers_answer=False)
    status = await passes(loop_in(world), world, 20)
    assert world.orders == []
    assert "router 127.0.0.1:8000 did not answer within 2 s" in status.sentence


@pytest.mark.parametrize(("passes_in_consul", "orders"), [(False, [2]), (True, [])], ids=["critical", "passing"])
async def test_a_router_of_a_node_that_died_holds_the_count_for_a_while_only(passes_in_consul: bool, orders: list[int]) -> None:
    dead = Instance("dead", "127.0.0.1", 1, (), {}, passing=passes_in_consul)
    world = World(count=3, flying=2.8, dead_routers=(dead,))
    loop = loop_in(world)
    status = await passes(loop, world, 85)
    assert "router 127.0.0.1:1 did not answer" in status.sentence
    assert world.orders == []
    status = await passes(loop, world, 12)
    assert [order.count for order in world.orders] == orders
    left_out = "router 127.0.0.1:1 is left out: for 16 min it has neither passed in Consul nor answered"
    assert (left_out in status.sentence) != passes_in_consul


async def test_victims_that_could_not_be_published_are_not_draining() -> None:
    world = World(count=2)
    loop = loop_in(world)
    await passes(loop, world, 4)
    world.publish_error = Unreachable("Consul does not answer")
    await passes(loop, world, 8)
    world.publish_error = None
    await passes(loop, world, 1)
    assert world.published[-1].draining == ("alloc-1",)
    assert world.orders == []


async def test_an_order_is_told_and_logged_although_consul_did_not_take_the_state() -> None:
    out = StringIO()
    world = World(flying=2.8, publish_error=Refused("Consul refused the request: Permission denied"))
    journal = Journal(out)

    def say(status: Status) -> None:
        world.said.append(status)
        journal.say(status)

    status = await passes(loop_in(world, say=say), world, 1)
    assert (status.done, status.desired, [order.count for order in world.orders]) == ("1 -> 2", 2, [2])
    assert status.sentence.endswith("; the routers were not told: Consul refused the request: Permission denied")
    assert json.loads(out.getvalue())["done"] == "1 -> 2"
    assert (await passes(loop_in(world), world, 1)).sentence == "small-model is held: Consul refused the request: Permission denied"


async def test_shadow_mode_orders_nothing_and_publishes_nothing() -> None:
    world = World(flying=9)
    status = await passes(loop_in(world, spec(shadow=True)), world, 3)
    assert (world.orders, world.published) == ([], [])
    assert "1 -> 7" in status.sentence


async def test_a_successor_goes_on_with_the_cold_starts_and_drops_the_drain() -> None:
    world = World(count=2)
    await passes(loop_in(world), world, 6)
    world.stored["small-model"] = replace(world.stored["small-model"], cold_starts_s=(33.0,))
    successor = loop_in(world)
    await passes(successor, world, 1)
    assert world.published[-1].cold_start_p50_s == 33.0
    assert (world.published[-2].draining, world.published[-1].draining) == (("alloc-1",), ())


async def test_an_unchanged_state_is_published_every_ten_seconds_only() -> None:
    world = World()
    loop = loop_in(world)
    await passes(loop, world, 6)
    before = len(world.published)
    for _ in range(20):
        world.now += 1
        await loop.one_pass()
    assert len(world.published) - before == 2


async def test_metrics_count_decisions_and_show_capacity() -> None:
    world = World(flying=2.8)
    loop = loop_in(world)
    await passes(loop, world, 1)
    text = prometheus_text(loop.recorder)
    assert 'warmfleet_autoscaler_decisions_total{model="small-model",direction="up",reason="target"} 1' in text
    assert 'warmfleet_autoscaler_replicas{model="small-model",state="ready"} 1' in text


async def test_the_log_has_a_line_for_news_and_one_now_and_then() -> None:
    world, out = World(flying=0.5), StringIO()
    loop = loop_in(world, say=Journal(out, every=5).say)
    for _ in range(11):
        world.now += 10
        await loop.one_pass()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(lines) == 3
    assert lines[0]["sentence"].startswith("small-model stays at 1: concurrency 0.5")
    assert lines[0]["capacity"]["ready"] == 1


async def test_a_stop_ends_the_loop_after_the_pass() -> None:
    world, stop = World(), asyncio.Event()

    def say(status: Status) -> None:
        stop.set()
        world.said.append(status)

    async with asyncio.timeout(10):
        await loop_in(world, say=say).run(stop)
    assert len(world.said) == 1


# Who leads, who pauses, and what rules remember.


async def test_who_stands_by_watches_and_changes_nothing() -> None:
    world = World(flying=9, lease=LeaseInHand(Standing(0, "stands by: one leads")))
    loop = loop_in(world)
    status = await passes(loop, world, 3)
    assert (world.orders, world.published, loop.board.leads) == ([], [], False)
    assert "1 -> 7" in status.sentence
    assert status.sentence.endswith("stands by: one leads")


async def test_who_comes_to_lead_goes_on_from_what_the_last_leader_left() -> None:
    world = World(lease=LeaseInHand(Standing(0, "stands by: one leads")))
    loop = loop_in(world)
    await passes(loop, world, 6)
    world.stored["small-model"] = left(cold_starts_s=(33.0,))
    world.lease.now = Standing(1, "")
    await passes(loop, world, 1)
    assert world.published[-1].cold_start_p50_s == 33.0


async def test_a_leader_that_consul_no_longer_knows_orders_nothing() -> None:
    world = World(flying=2.8, lease=LeaseInHand(agrees=False))
    status = await passes(loop_in(world), world, 2)
    assert world.orders == []
    assert status.sentence.endswith("not done: another autoscaler leads now")


async def test_a_pause_stops_orders_and_nothing_else() -> None:
    world = World(flying=2.8, pauses=Pauses(Pause(by="ann", reason="moving GPUs", since=NOW)))
    loop = loop_in(world)
    status = await passes(loop, world, 2)
    assert world.orders == []
    assert status.sentence.endswith("; paused by ann: moving GPUs; `warmfleet resume` ends it")
    assert world.published[-1].ready == 1
    assert "warmfleet_autoscaler_paused 1" in prometheus_text(loop.recorder)
    world.pauses.pause = None
    await passes(loop, world, 1)
    assert [order.count for order in world.orders] == [2]


async def test_a_pause_ends_a_drain() -> None:
    world = World(count=2)
    loop = loop_in(world)
    await passes(loop, world, 6)
    assert world.published[-1].draining == ("alloc-1",)
    world.pauses.pause = Pause(by="ann", reason="moving GPUs", since=NOW)
    await passes(loop, world, 1)
    assert world.published[-1].draining == ()


async def test_what_drains_serves_again_when_the_leader_leaves() -> None:
    world = World(count=2)
    loop = loop_in(world)
    await passes(loop, world, 6)
    assert world.published[-1].draining == ("alloc-1",)
    await loop.leave()
    assert (world.published[-1].draining, world.published[-1].updated_at) == ((), world.now)


async def test_a_victim_that_nomad_was_told_to_stop_stays_one_when_the_leader_leaves() -> None:
    world = World(count=2, lingering=0)
    loop = loop_in(world)
    await passes(loop, world, 8)
    assert (world.count, world.published[-1].draining) == (1, ("alloc-1",))
    await loop.leave()
    assert world.published[-1].draining == ("alloc-1",)


async def test_who_leaves_without_the_lead_or_without_consul_says_nothing() -> None:
    world = World(count=2)
    loop = loop_in(world)
    await passes(loop, world, 6)
    before = len(world.published)
    world.publish_error = Unreachable("Consul does not answer")
    await loop.leave()
    world.publish_error, world.lease.now = None, Standing(1, "stands by: one leads")
    await loop.leave()
    assert len(world.published) == before


async def test_a_forecast_is_asked_for_where_a_rule_wants_one_and_shown() -> None:
    world = World(prophet=Prophet(Forecast(3, 2, 5, 0, "load 2.0 replicas")))
    loop = loop_in(world, spec(policy=(Policy(kind="forecast"),)))
    status = await passes(loop, world, 1)
    assert [order.count for order in world.orders] == [3]
    assert "forecast 2 to 5 in 10 min: load 2.0 replicas" in status.sentence
    assert inputs(status)["forecast"] == {"desired": 3, "low": 2, "high": 5, "age_min": 0, "reason": "load 2.0 replicas"}


async def test_the_log_rule_asks_for_both_models_and_a_successor_remembers() -> None:
    log = LogVolume(large="large-model", small="small-model")
    fleet, world = spec("large-model", "small-model", log_volume=(log,)), World(source=Source({LOG_BYTES_PER_MIN: Known(2e6, 1.0)}))
    loop = loop_in(world, fleet)
    await passes(loop, world, 1)
    assert "large-model 1 -> 2: the log grew faster than 1 MB a minute, next step at 1 MB" in world.said[0].sentence
    await passes(loop, world, 1)
    assert "small-model: 1" in [f"{s.model}: {v.wanted}" for s in world.said[-2:] for v in s.votes if "the log grew" in v.why]
    world.source.told = {}
    successor = loop_in(world, fleet)
    await passes(successor, world, 1)
    assert [vote.wanted for vote in successor.board.statuses["large-model"].votes if "the log grew" in vote.why] == [2]


async def test_what_a_source_remarks_stands_in_every_decision() -> None:
    world = World(source=Source(said="Datadog is left out, 20 min after it began to refuse"))
    status = await passes(loop_in(world), world, 2)
    assert "; Datadog is left out, 20 min after it began to refuse" in status.sentence


async def test_who_stands_by_writes_no_memory() -> None:
    log = LogVolume(large="large-model", small="small-model")
    lease = LeaseInHand(Standing(0, "stands by: one leads"))
    world = World(source=Source({LOG_BYTES_PER_MIN: Known(2e6, 1.0)}), lease=lease)
    await passes(loop_in(world, spec("large-model", "small-model", log_volume=(log,))), world, 3)
    assert world.memories.parts == {}


async def test_gpus_of_a_model_that_is_held_are_not_given_to_another() -> None:
    world = World(flying=7.0, nomad_errors={"warmfleet-large-model": Unreachable("Nomad at x does not answer")})
    rules = spec("large-model", "small-model", gpu_budget=12)
    models = tuple(replace(model, engine="vllm") for model in rules.models)
    await passes(loop_in(world, replace(rules, models=models)), world, 1)
    assert [order.count for order in world.orders] == [2]  # the held one may have all its ten


async def test_gpus_that_a_held_model_has_not_given_up_yet_are_not_given_to_another() -> None:
    world, rules = World(count=2, flying=1.8), spec("large-model", "small-model", gpu_budget=4)
    models = tuple(replace(model, engine="vllm") for model in rules.models)
    loop = loop_in(world, replace(rules, models=models))
    await passes(loop, world, 6)
    assert "large-model 2 -> 1: " in world.said[-2].sentence  # it drains, and still has two
    world.nomad_errors, world.flying = {"warmfleet-large-model": Unreachable("Nomad at x does not answer")}, 5.6
    status = await passes(loop, world, 12)
    assert world.orders == []
    assert "limited to 2 by the budget of 4 GPUs" in status.sentence


def left(**change: object) -> ModelState:
    state = ModelState(model="small-model", desired=1, placed=1, ready=1, cold_start_p50_s=1.0, cold_start_p90_s=1.0, updated_at=NOW)
    return replace(state, **change)  # type: ignore[arg-type]

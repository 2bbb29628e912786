"""The chooser: what it knows of models and providers, what it learns from answers, and when it decides anew."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import pytest

from fleet.model import Route, Spec
from fleet.provider import Provider
from fleet.recorder import Recorder
from fleet.serving import Price, Slo
from router.answered import Answered, Outcome
from router.choice.wish import NO_WISH, parse
from router.errors import NoModelFits
from router.models.catalogue import Catalogue
from router.models.chooser import Chooser
from router.tally import Tally
from tests.router.conftest import SPEC, model

ABROAD = Provider(name="abroad", model="m", base_url="https://example.org/v1", cost=Price(output=0.01), quality=0.9, latency_ms=300.0)
OWN = replace(model("own"), quality=0.3, latency_ms=800.0)
ROUTE = Route(selector=0, name="any", chain=("own", "abroad"), strategy="quality")
FLEET = replace(SPEC, models=(OWN,), providers=(ABROAD,), routes=(ROUTE,))
BODY = json.dumps({"messages": [{"role": "user", "content": "What is the capital of France?"}]}).encode()


@dataclass
class Warm:
    concurrency: int


@dataclass
class World:
    """A chooser with a clock of its own."""

    spec: Spec = FLEET
    now: float = 0.0
    warm: dict[str, list[Warm]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.catalogue = Catalogue(self.spec)
        self.tally = Tally(Recorder(), self.catalogue.models)
        self.chooser = Chooser(self.catalogue, self.tally, lambda: self.warm, lambda: self.now)

    def order(self, wish: str = "", body: bytes = BODY) -> tuple[str, ...]:
        plan = self.catalogue.plan("any", None)
        return self.chooser.order(plan, body, parse(wish) if wish else NO_WISH).chain

    def answered(self, name: str, latency_s: float = 0.1, *, outcome: Outcome = "answered", failed: tuple[str, ...] = ()) -> None:
        self.chooser.noted(
            Answered(0.0, "r", "", "", "any", name, 200, outcome, 1 + len(failed), failed, 10, 5, True, 2_000_000, latency_s, None)
        )


def test_models_and_providers_are_chosen_between_alike() -> None:
    world = World()
    assert world.order() == ("abroad", "own")
    assert world.order("cost") == ("own", "abroad")
    assert world.order("latency") == ("abroad", "own")
    with pytest.raises(NoModelFits, match=r"own has quality 0\.3; abroad has quality 0\.9") as caught:
        world.order("required_quality=0.95")
    assert caught.value.param == "required_quality"


def test_a_prior_gives_way_to_what_is_measured() -> None:
    world = World()
    for _ in range(50):
        world.answered("own", 0.01)
        world.answered("abroad", 3.0)
    assert world.order("latency") == ("own", "abroad")
    fast, slow = world.chooser.candidates(("own", "abroad"))
    assert fast.latency_ms < 200
    assert slow.latency_ms > 2000
    assert world.chooser.windows["own"].mean_cost == pytest.approx(0.002)


def test_without_a_prior_the_slo_s_first_token_is_one() -> None:
    world = World(replace(FLEET, models=(replace(OWN, latency_ms=0.0, slo=Slo(ttft_s=1.5)),)))
    assert world.chooser.candidates(("own",))[0].latency_ms == 1500.0


def test_who_fails_is_chosen_less_and_its_quick_failures_make_nobody_fast() -> None:
    world = World()
    for _ in range(100):
        world.answered("own", 0.001, failed=("abroad",))
    assert world.chooser.windows["abroad"].success_rate < 0.1
    assert world.chooser.windows["own"].total == 0
    assert world.order("quality") == ("own", "abroad")


@pytest.mark.parametrize("outcome", ["refused", "failed", "left"])
def test_only_answers_are_learned_from(outcome: Outcome) -> None:
    world = World()
    world.answered("own", outcome=outcome)
    world.answered("-")
    assert all(window.total == 0 for window in world.chooser.windows.values())


def test_load_is_measured_by_what_the_warm_replicas_carry() -> None:
    world = World(warm={"own": [Warm(4), Warm(4)]})
    world.tally.of("own").in_flight = 4
    assert world.chooser.candidates(("own",))[0].load == 0.5
    assert world.order("least_loaded") == ("abroad", "own")
    world.tally.of("abroad").in_flight = 31
    assert world.order("least_loaded") == ("own", "abroad")
    capped = World(replace(FLEET, models=(replace(OWN, max_concurrent=2),)), warm={"own": [Warm(4)]})
    assert capped.chooser.candidates(("own",))[0].limit == 2


def kept(world: World) -> tuple[int, int]:
    """(decisions taken from the cache, made)"""
    return world.chooser.cache.hits, world.chooser.cache.misses


def test_the_same_question_is_decided_once_in_five_minutes() -> None:
    world = World()
    for world.now in (0.0, 10.0, 299.0, 301.0):
        world.order()
    assert kept(world) == (2, 2)


def test_another_question_wish_or_capacity_is_decided_anew() -> None:
    world = World()
    world.order()
    world.order(body=BODY.replace(b"France", b"Poland"))
    world.order("cost")
    world.order("quality")
    assert kept(world) == (0, 4)
    world.order(body=BODY.replace(b"capital of", b"CAPITAL  of")[:-1] + b" }")
    assert kept(world)[0] in (0, 1)  # alike, if its length in tokens is


def test_a_decision_falls_with_what_it_rests_on() -> None:
    world = World()
    world.order()
    world.tally.of("own").in_flight = 3
    world.order()
    for _ in range(20):
        world.answered("own", failed=("abroad",))
    world.order()
    world.chooser.configure(world.catalogue)
    world.order()
    assert kept(world) == (0, 4)
    assert world.chooser.windows["abroad"].total == 20


def test_what_is_live_is_decided_each_time() -> None:
    world = World()
    firsts = [world.order("round_robin")[0] for _ in range(4)]
    assert firsts == ["own", "abroad", "own", "abroad"]
    assert kept(world) == (0, 0)


def test_models_that_nobody_describes_are_chosen_last_of_equals_and_break_nothing() -> None:
    plan = replace(World().catalogue.plan("any", None), chain=("ghost", "own"), wanted="ghost")
    assert set(World().chooser.order(plan, BODY).chain) == {"ghost", "own"}

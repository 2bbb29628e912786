"""What a person reads who asks `warmfleet explain` in each situation: from a pass of the loop over /explain to the text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from autoscaler.forecast.question import Forecast
from autoscaler.lease import Standing
from autoscaler.loop import Loop
from fleet.errors import Refused, Unreachable
from fleet.explained import explained
from fleet.policy import Policy
from fleet.state import Pause
from tests.autoscaler.build import NOW
from tests.autoscaler.test_loop import LeaseInHand, Pauses, Prophet, World, loop_in, passes, spec
from tests.autoscaler.test_pages import get

ELSEWHERE = LeaseInHand(Standing(0, "stands by: node7/4711 leads"))
PAUSED = Pauses(Pause(by="ann", reason="moving GPUs", since=NOW))
SILENT = Unreachable("Nomad at http://127.0.0.1:4646 does not answer: ReadTimeout")
FULL = "a deployment is under way, and Nomad scales nothing meanwhile"


@dataclass(frozen=True)
class Case:
    """`passes` of a loop over `world`, in the end. `settings`: of the autoscaler."""

    name: str
    world: Mapping[str, Any]
    says: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    passes: int = 8
    head: str = "which leads"


CASES = (
    Case("steady", {"flying": 0.8}, ("small-model stays at 1: concurrency 0.8 over 60 s is 40% of one replica's 2 at target 70%",)),
    Case("scaled", {"flying": 2.8}, ("small-model 1 -> 2: concurrency 2.8 over 60 s", "done 1 -> 2"), passes=1),
    Case(
        "known in part",
        {"count": 3, "routers_answer": False},
        (
            "stays at 3: concurrency 0 over 60 s is 0% of 3 replicas' 6 at target 70%, known in part",
            "signals concurrency 0, in part (router 127.0.0.1:8000 did not answer within 2 s)",
        ),
    ),
    Case(
        "unknown",
        {"count": 3, "routers_answer": False},
        (
            "stays at 3: requests_per_min is unknown (router 127.0.0.1:8000 did not answer within 2 s)",
            "requests_per_min unknown (router 127.0.0.1:8000 did not answer within 2 s)",
        ),
        {"policy": (Policy(signal="requests_per_min"),)},
    ),
    Case("Nomad away", {"nomad_errors": {"warmfleet-small-model": SILENT}}, (f"small-model is held: {SILENT}",)),
    Case("Consul away", {"consul_error": Unreachable("Consul does not answer: refused")}, ("small-model is held: Consul does not answer",)),
    Case("refused", {"flying": 2.8, "order_error": Refused("Nomad: no")}, ("small-model 1 -> 2: ", "; not done: Nomad: no")),
    Case("deployment", {"flying": 2.8, "obstacle": FULL}, ("small-model 1 -> 2: ", f"; waits: {FULL}")),
    Case(
        "no room",
        {"count": 3, "lingering": -1, "flying": 5.6, "placing": "its id"},
        ("1 of 3 not placed", "missing 1", "waits: Nomad looks for room for what was ordered before, and takes no more meanwhile"),
    ),
    Case("most", {"count": 10, "flying": 40.0}, ("29 limited to the maximum 10", "clamps max")),
    Case(
        "budget",
        {"count": 2, "flying": 9.0},
        ("7 limited to 2 by the budget of 2 GPUs", "clamps gpus"),
        {"gpu_budget": 2},
    ),
    Case(
        "cooldown",
        {"count": 3, "flying": 0.8, "scaled_at": (NOW,)},
        ("stays at 3: ", "wants 1, cooldown for 220 s more", "clamps cooldown"),
        {"cooldown_down_s": 300.0},
    ),
    Case("draining", {"count": 2, "engine_load": 0.3}, ("small-model 2 -> 1: ", "draining [1] first, 0.3 requests left, ", "draining 1")),
    Case("stands by", {"flying": 2.8, "lease": ELSEWHERE}, ("small-model 1 -> 2: ", "; stands by: node7/4711 leads"), head="stands by"),
    Case(
        "paused",
        {"flying": 2.8, "pauses": PAUSED},
        ("paused by ann: moving GPUs; `warmfleet resume` ends it", "small-model 1 -> 2: "),
    ),
    Case("shadow", {"flying": 2.8}, ("small-model 1 -> 2: ", "; shadow mode, nothing is changed"), {"shadow": True}),
    Case(
        "forecast",
        {"prophet": Prophet(Forecast(3, 2, 5, 0, "load 2.0 replicas"))},
        ("small-model 1 -> 3: forecast 2 to 5 in 10 min: load 2.0 replicas", "forecast 2 to 5, asks for 3: load 2.0 replicas"),
        {"policy": (Policy(kind="forecast"),)},
        passes=1,
    ),
)


async def told(loop: Loop, model: str = "small-model") -> str:
    """As the command prints it, in one line, so that breaks do not matter."""
    status, body = await get(loop.board, f"/explain/{model}")
    assert status == 200, body
    return " ".join(explained(json.loads(body), asked="http://127.0.0.1:9", last=3).split())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_it_says_what_is_and_why(case: Case) -> None:
    world, fleet = World(**case.world), spec(**case.settings)
    models = tuple(replace(model, engine="vllm") if case.name == "budget" else model for model in fleet.models)
    loop = loop_in(world, replace(fleet, models=models))
    await passes(loop, world, case.passes)
    text = await told(loop)
    assert text.startswith("small-model, as decided by the autoscaler at http://127.0.0.1:9, which")
    assert case.head in text
    assert [part for part in case.says if part not in text] == [], text


async def test_every_number_behind_a_decision_stands_below_it() -> None:
    world = World(flying=2.8)
    loop = loop_in(world)
    await passes(loop, world, 1)
    text = await told(loop)
    for part in ("capacity desired 1, placed 1", "signals concurrency 2.8", "votes 2: concurrency 2.8", "level high"):
        assert part in text


async def test_after_a_restart_it_says_at_once_why_there_are_as_many_as_there_are() -> None:
    world = World(flying=2.8)
    await passes(loop_in(world), world, 2)
    successor = loop_in(world)
    await passes(successor, world, 1)
    assert "small-model stays at 2: concurrency 2.8 over 60 s is 70% of 2 replicas' 4 at target 70%" in await told(successor)


async def test_a_model_that_was_added_is_scaled_and_one_that_was_taken_out_is_left_alone() -> None:
    """A changed description comes with a new process, which finds what the one before left."""
    world = World(flying=2.8)
    await passes(loop_in(world, spec("old-model")), world, 8)
    assert (set(world.stored), world.orders) == ({"old-model"}, [])
    left = world.stored["old-model"]
    successor = loop_in(world, spec("small-model"))
    await passes(successor, world, 8)
    assert [order.job_id for order in world.orders] == ["warmfleet-small-model"]
    assert "small-model 1 -> 2: " in await told(successor)
    assert (world.stored["old-model"], set(successor.board.statuses)) == (left, {"small-model"})

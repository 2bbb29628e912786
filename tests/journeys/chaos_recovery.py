"""How long each part is away after it was killed: until it does its work again, as somebody beside Consul would see it.

Consul learns of a dead part a few seconds late, so that each one is asked itself too. A part that is killed again before it is back
counts from its last kill on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests

from fleet.errors import ControlPlaneError
from fleet.local import agents
from fleet.local.processes import is_alive
from tests.journeys.durable import Durable
from tests.journeys.fleet import Fleet

READY = {"small-model": 2, "large-model": 1}
_LOOK_S = 0.5


@dataclass
class Recoveries:
    """`slowest` and `seen`: seconds of the slowest one, and how many there were, by part."""

    is_back: Callable[[str], bool]
    slowest: dict[str, float] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    _away: dict[str, float] = field(default_factory=dict)

    def killed(self, part: str, now: float) -> None:
        self._away[part] = now

    def look(self, part: str, now: float) -> None:
        """Notes that a part is back, if it was killed and is."""
        since = self._away.get(part)
        if since is None or not self.is_back(part) or self._away[part] != since:
            return
        del self._away[part]
        self.seen[part] = self.seen.get(part, 0) + 1
        self.slowest[part] = max(self.slowest.get(part, 0.0), now - since)

    async def watch_forever(self) -> None:
        while True:
            for part in tuple(self._away):
                await asyncio.to_thread(self.look, part, time.monotonic())
            await asyncio.sleep(_LOOK_S)


def is_back(fleet: Fleet, own: Durable, part: str) -> bool:
    """Whether a part works. False too where whoever must be asked is away."""
    looks: dict[str, Callable[[], bool]] = {
        "engines": lambda: _ready(fleet) and all(map(_is_healthy, fleet.engines())),
        "router": lambda: fleet.router_answers() and fleet.passing("router") == 1,
        "redis": lambda: any(map(_answers_redis, fleet.addresses("redis"))),
        "consul": lambda: is_alive(own.agents["consul"].process) and bool(agents._get(own.agents["consul"].address, "/v1/status/leader")),
        "nomad": lambda: _agents_live(own) and fleet.nomad.ready_nodes() == 1,
    }
    try:
        return looks[part]()
    except (requests.RequestException, ControlPlaneError):
        return False


def is_well(fleet: Fleet, own: Durable) -> bool:
    """Every part works, and the autoscaler passes."""
    try:
        return (
            all(is_back(fleet, own, part) for part in ("consul", "nomad", "redis", "router", "engines"))
            and fleet.passing("autoscaler") == 1
        )
    except requests.RequestException:
        return False


def _ready(fleet: Fleet) -> bool:
    return all(fleet.ready(model) == count for model, count in READY.items())


def _is_healthy(url: str) -> bool:
    return requests.get(f"{url}/health", timeout=5).status_code == 200


def _answers_redis(url: str) -> bool:
    return agents._answers(urlsplit(url).port or 0)


def _agents_live(own: Durable) -> bool:
    return all(is_alive(own.agents[name].process) for name in ("nomad-server", "nomad-client")) and bool(
        agents._get(own.agents["nomad-client"].address, "/v1/agent/self")
    )

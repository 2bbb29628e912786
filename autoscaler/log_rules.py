"""The rules over two models, with what they remember between passes and terms.

A rule is stepped only in a pass that has seen both of its models; else it stands as it is. What it remembers is written to Consul
when it changes, so that a successor neither starts another large replica for the same flood nor forgets the one it should stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from autoscaler.decide import Snapshot
from autoscaler.memories import Memories
from autoscaler.policies.log_volume import Sight, State, first, step, votes
from autoscaler.policies.vote import Vote
from autoscaler.signals import LOG_BYTES_PER_MIN, Signal, Unknown, total
from fleet.model import Spec
from fleet.policy import DEMANDS, LogVolume

_UNREAD = Unknown("was not read")


@dataclass(slots=True)
class LogRules:
    """Of one fleet. `memories` is asked once per term (`restore`) and told when something changes (`keep`)."""

    spec: Spec
    memories: Memories
    _states: dict[LogVolume, State] = field(default_factory=dict)
    _kept: dict[LogVolume, State] = field(default_factory=dict)

    async def restore(self) -> None:
        """Raises: ControlPlaneError."""
        for rule in self.spec.autoscaler.log_volume:
            self._states[rule] = self._kept[rule] = _read(await self.memories.read(_part(rule)), rule)

    def votes(self, seen: Mapping[str, Snapshot]) -> Mapping[str, tuple[Vote, ...]]:
        """By model, after a step of every rule whose models are both in `seen`."""
        asked: dict[str, tuple[Vote, ...]] = {}
        for rule in self.spec.autoscaler.log_volume:
            state = self._states.get(rule, first(rule))
            if rule.large in seen and rule.small in seen:
                state = self._states[rule] = step(state, rule, self._sight(rule, seen))
            for model, vote in votes(state, rule, least=self.spec.model(rule.large).replicas.min).items():
                asked[model] = (*asked.get(model, ()), vote)
        return asked

    def thresholds(self) -> Iterator[tuple[str, int]]:
        """(large model, bytes a minute above which it is started next), of every rule."""
        for rule in self.spec.autoscaler.log_volume:
            yield rule.large, self._states.get(rule, first(rule)).threshold_bytes

    async def keep(self) -> None:
        """Raises: ControlPlaneError."""
        for rule, state in self._states.items():
            if _lasting(state) != _lasting(self._kept.get(rule, first(rule))):
                await self.memories.write(_part(rule), msgspec.json.encode(state))
                self._kept[rule] = state

    def _sight(self, rule: LogVolume, seen: Mapping[str, Snapshot]) -> Sight:
        large, small = seen[rule.large], seen[rule.small]
        volumes = [snapshot.signals.get(LOG_BYTES_PER_MIN, _UNREAD) for snapshot in (large, small)]
        bounds = self.spec.model(rule.large).replicas
        return Sight(
            at=large.at,
            volume=self._volume(volumes),
            uses=[small.signals.get(name, _UNREAD) for name in DEMANDS],
            ready=large.capacity.ready,
            least=bounds.min,
            most=bounds.max,
        )

    def _volume(self, volumes: Sequence[Signal]) -> Signal:
        """A log folder belongs to all models, and each tells the whole of it; routers tell each model's part."""
        return volumes[0] if self.spec.autoscaler.log_folder else total(volumes, nobody="no log volume")


def _part(rule: LogVolume) -> str:
    return f"log-volume/{rule.large}/{rule.small}"


def _lasting(state: State) -> tuple[object, ...]:
    return (state.threshold_bytes, state.larges, state.small, state.phase)


def _read(document: bytes | None, rule: LogVolume) -> State:
    try:
        state = msgspec.json.decode(document, type=State) if document else first(rule)
    except msgspec.MsgspecError:
        return first(rule)
    return state if state.threshold_bytes >= rule.threshold_bytes else first(rule)

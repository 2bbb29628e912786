"""Rule `log_volume`: a large and a small model by how fast the log grows.

    phase    event   next    does
    rest     over    large   one more of the large model
    large    any     both    and then the small one, which is warm long before it
    both     warm    rest    the large one has started: the threshold doubles
    any      quiet   rest    below the first threshold and the small model is not used: both back, first threshold

`over` and `quiet` are looked at every `check`; where the large model is at its maximum, `over` starts the small one alone.
A volume or a use that is not known is neither over nor quiet. The votes are floors: other rules may want more. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from autoscaler.policies.vote import Vote
from autoscaler.signals import Known, Signal, Unknown
from fleet.policy import LogVolume

Phase = Literal["rest", "large", "both"]
Event = Literal["over", "warm", "quiet", "none"]

TABLE: Mapping[tuple[Phase, Event], Phase] = {
    ("rest", "over"): "large",
    ("rest", "warm"): "rest",
    ("rest", "quiet"): "rest",
    ("rest", "none"): "rest",
    ("large", "over"): "both",
    ("large", "warm"): "both",
    ("large", "quiet"): "rest",
    ("large", "none"): "both",
    ("both", "over"): "both",
    ("both", "warm"): "rest",
    ("both", "quiet"): "rest",
    ("both", "none"): "both",
}


@dataclass(frozen=True, slots=True)
class State:
    """`larges`: replicas of the large model beyond its minimum that the rule has asked for. `checked_at`: seconds since the epoch."""

    threshold_bytes: int
    larges: int = 0
    small: bool = False
    phase: Phase = "rest"
    checked_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Sight:
    """`volume` in bytes a minute; `uses`: all signals of the small model's use. `ready`, `least` and `most` are of the large model."""

    at: float
    volume: Signal
    uses: Sequence[Signal]
    ready: int
    least: int
    most: int


def first(rule: LogVolume) -> State:
    return State(rule.threshold_bytes)


def step(state: State, rule: LogVolume, seen: Sight) -> State:
    """The next state; the same one where nothing is to be done."""
    event = _event(state, rule, seen)
    if event in ("over", "quiet"):
        state = replace(state, checked_at=seen.at)
    if event == "quiet":
        return replace(first(rule), checked_at=seen.at)
    if event == "over" and state.phase == "rest":
        if seen.least + state.larges >= seen.most:
            return replace(state, small=True)
        return replace(state, larges=state.larges + 1, phase="large")
    phase = TABLE[state.phase, event]
    threshold = state.threshold_bytes * 2 if (state.phase, phase) == ("both", "rest") else state.threshold_bytes
    return replace(state, phase=phase, small=state.small or phase == "both", threshold_bytes=threshold)


def votes(state: State, rule: LogVolume, *, least: int) -> Mapping[str, Vote]:
    """By model; none where the rule asks for nothing. `least`: replicas.min of the large model."""
    why = f"the log grew faster than {format_bytes(rule.threshold_bytes)} a minute, next step at {format_bytes(state.threshold_bytes)}"
    asked = {rule.large: least + state.larges if state.larges else 0, rule.small: int(state.small)}
    return {model: Vote(count, may_go_down=True, why=why, rule="log_volume") for model, count in asked.items() if count}


def _event(state: State, rule: LogVolume, seen: Sight) -> Event:
    if state.phase == "both" and seen.ready >= seen.least + state.larges:
        return "warm"
    if 0 <= seen.at - state.checked_at < rule.check_s or isinstance(seen.volume, Unknown):
        return "none"
    if seen.volume.value > state.threshold_bytes:
        return "over"
    unused = all(isinstance(use, Known) and not use.value for use in seen.uses)
    is_low = isinstance(seen.volume, Known) and seen.volume.value < rule.threshold_bytes
    return "quiet" if unused and is_low and state != replace(first(rule), checked_at=state.checked_at) else "none"


def format_bytes(size: float) -> str:
    return f"{size / 1e6:g} MB" if size >= 1e6 else f"{size / 1e3:g} kB"

"""What a policy sees and what it answers.

The law of votes: the safest, which is the largest, wins; one that may not go down asks for at least what there is. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from autoscaler.forecast.question import Forecast
from autoscaler.signals import Known, Signal, Unknown


@dataclass(frozen=True, slots=True)
class View:
    """One model at one moment.

    at: seconds since the epoch. current: the count that the job asks for now, loading ones included; ready: those that serve.
    loading: those that have a node and are still expected to become warm.
    one: what one replica carries, by the name of the demand. lead_s: order to warm, nine times of ten.
    """

    at: float
    current: int
    ready: int
    signals: Mapping[str, Signal]
    one: Mapping[str, float]
    window_s: float
    lead_s: float
    forecast: Forecast | Unknown = field(default=Unknown("nobody forecasts this model"))
    loading: int = 0

    def signal(self, name: str) -> Signal:
        return self.signals.get(name, Unknown("was not read"))


@dataclass(frozen=True, slots=True)
class Vote:
    """`why` is a clause of the sentence. `may_go_down` is False where what it rests on is not fully known.

    `at_once`: no cooldown is waited for, because somebody waits. `rule`: the kind of the policy, for counting.
    """

    wanted: int
    may_go_down: bool
    why: str
    at_once: bool = False
    rule: str = field(default="", compare=False)


def hold(view: View, name: str, unknown: Unknown) -> Vote:
    return Vote(view.current, may_go_down=False, why=f"{name} is unknown ({unknown.why})")


def unless_partial(vote: Vote, signal: Signal, current: int) -> Vote:
    """The vote where the signal is wholly known; where it is known in part, what it says is a lower bound."""
    if isinstance(signal, Known | Unknown):
        return vote
    return replace(vote, wanted=max(current, vote.wanted), may_go_down=False, why=f"{vote.why}, known in part ({signal.why})")


def safest(votes: Sequence[Vote]) -> Vote:
    """The largest; of equal ones the one that forbids to go down, then the first. It is at once if any as large is."""
    chosen = max(votes, key=lambda vote: (vote.wanted, not vote.may_go_down))
    at_once = any(vote.at_once and vote.wanted >= chosen.wanted for vote in votes)
    return chosen if at_once == chosen.at_once else replace(chosen, at_once=at_once)

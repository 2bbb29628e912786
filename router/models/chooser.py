"""The choice between the models of a plan, with what this process knows: prices and quality as described, speed and success as seen.

    plan, wish, body ─► Need ─► candidates now ─► router.choice.decide ─► the same plan with its chain in that order

Law: only the plan's own chain is chosen from, so a choice never goes where a route does not. Decisions of the same question are kept
for 300 s, as long as nothing about the candidates has moved (router.choice.cache). What was answered is learned from `noted`.
It opens nothing and waits for nothing; the clock is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from fleet.model import Model
from fleet.provider import Provider
from fleet.serving import Strategy
from router.answered import Answered
from router.choice.cache import DecisionCache, alike, fingerprint
from router.choice.candidate import Candidate, Need
from router.choice.classify import Classification, classify, ends
from router.choice.decide import Decision, NoneFits, decide
from router.choice.question import Question, question
from router.choice.strategies import LIVE
from router.choice.window import Sample, Window
from router.choice.wish import NO_WISH, Wish
from router.errors import NoModelFits
from router.models.catalogue import Catalogue, Plan
from router.tally import Tally

_NANO: Final = 1e9
_UNKNOWN: Final = Classification("general", 0.0, 0.0)
_CARRIED_ABROAD: Final = 32  # requests at once, of a provider: what its load is measured by


class Placed(Protocol):
    @property
    def concurrency(self) -> int: ...


Warm = Callable[[], Mapping[str, Sequence[Placed]]]


@dataclass(frozen=True, slots=True)
class Explained:
    """A decision and what came before it. `guessed`: from the words of the prompt, where the caller named no capability."""

    plan: Plan
    strategy: Strategy
    asked: Question
    guessed: Classification
    need: Need
    candidates: tuple[Candidate, ...]
    decision: Decision


class Chooser:
    """One per process. `warm`: replicas by model; `clock`: monotonic seconds."""

    def __init__(self, catalogue: Catalogue, tally: Tally, warm: Warm, clock: Callable[[], float]) -> None:
        self._tally = tally
        self._warm = warm
        self._clock = clock
        self._turns = 0
        self._epoch = 0
        self.windows: dict[str, Window] = {}
        self.cache: DecisionCache[Plan] = DecisionCache()
        self.configure(catalogue)

    def configure(self, catalogue: Catalogue) -> None:
        """Takes over another description: what was decided by the old one is forgotten, what was seen of the models is not."""
        self._rows: dict[str, Model | Provider] = {**catalogue.models, **catalogue.providers}
        self.windows = {name: self.windows.get(name) or Window() for name in self._rows}
        self._epoch += 1

    def noted(self, facts: Answered) -> None:
        """A request is over (router.records.usage)."""
        for name in facts.failed:
            if name in self.windows:
                self.windows[name].add(Sample(ok=False))
        window = self.windows.get(facts.model)
        if window is not None and facts.outcome == "answered" and not facts.failed:
            tokens = facts.input_tokens + facts.output_tokens
            window.add(Sample(True, facts.latency_s * 1000, facts.cost_nano / _NANO, tokens))

    def order(self, plan: Plan, body: bytes, wish: Wish = NO_WISH) -> Plan:
        """The plan with the best candidate first. Raises: NoModelFits"""
        strategy = _strategy(plan, wish)
        asked = question(body)
        candidates = self.candidates(plan.chain)
        if strategy in LIVE:
            ordered = self._decided(plan, strategy, asked, wish, candidates).plan
            self._turns += strategy == "round_robin"
            return ordered
        key = (plan, strategy, wish, asked.input_tokens, asked.max_tokens, alike(ends(asked.text)))
        version = (self._epoch, *map(fingerprint, candidates))
        now = self._clock()
        known = self.cache.get(key, version, now)
        if known is None:
            known = self._decided(plan, strategy, asked, wish, candidates).plan
            self.cache.put(key, version, known, now)
        return known

    def explain(self, plan: Plan, body: bytes, wish: Wish = NO_WISH) -> Explained:
        """The decision that `order` would make anew, with its steps. Raises: NoModelFits"""
        return self._decided(plan, _strategy(plan, wish), question(body), wish, self.candidates(plan.chain))

    def _decided(self, plan: Plan, strategy: Strategy, asked: Question, wish: Wish, candidates: tuple[Candidate, ...]) -> Explained:
        guesses = wish.capability is None and any(candidate.capabilities for candidate in candidates)
        guessed = classify(asked.text) if guesses else _UNKNOWN
        need = _need(asked, wish, guessed, self._turns)
        try:
            decision = decide(candidates, need, strategy)
        except NoneFits as error:
            raise NoModelFits(_sentence(plan, error), param=error.field) from error
        chosen = f"{strategy}:{need.capability}"
        ordered = replace(plan, chain=decision.order, wanted=decision.order[0], swaps=False, chosen=chosen)
        return Explained(ordered, strategy, asked, guessed, need, candidates, decision)

    def candidates(self, chain: Sequence[str]) -> tuple[Candidate, ...]:
        """As they are now."""
        warm = self._warm()
        return tuple(self._candidate(name, warm) for name in chain)

    def _candidate(self, name: str, warm: Mapping[str, Sequence[Placed]]) -> Candidate:
        row = self._rows.get(name)
        if row is None:
            return Candidate(name=name)
        window = self.windows[name]
        return Candidate(
            name=name,
            price=row.cost,
            quality=row.quality,
            latency_ms=window.latency_ms(row.latency_ms or row.slo.ttft_s * 1000),
            success_rate=window.success_rate,
            in_flight=self._tally.of(name).in_flight,
            limit=_carries(row, warm.get(name, ())),
            context=row.context,
            capabilities=frozenset(row.capabilities),
        )


def _carries(row: Model | Provider, replicas: Sequence[Placed]) -> int:
    """Requests at once."""
    if isinstance(row, Provider):
        return row.max_concurrent or _CARRIED_ABROAD
    carried = sum(replica.concurrency for replica in replicas) or row.capacity.concurrency
    return min(carried, row.max_concurrent or carried)


def _strategy(plan: Plan, wish: Wish) -> Strategy:
    """The caller's, else the route's, else the chain as it stands, specialists first."""
    return wish.strategy or plan.strategy or "specialty"


def _need(asked: Question, wish: Wish, guessed: Classification, turn: int) -> Need:
    bounds = wish.bounds
    if bounds.max_tokens is None and asked.max_tokens is not None:
        bounds = replace(bounds, max_tokens=asked.max_tokens)
    capability = wish.capability or guessed.capability
    return Need(capability=capability, is_said=wish.capability is not None, input_tokens=asked.input_tokens, bounds=bounds, turn=turn)


def _sentence(plan: Plan, error: NoneFits) -> str:
    return f"No model of {plan.route!r} meets what is demanded: {error}. Loosen {error.field}, or leave it out."

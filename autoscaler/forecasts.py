"""The forecasters of all models, beside the loop: told each minute's demand, refitted in a thread, kept in Consul.

    restore   when the process begins, and never again: who stands by watches too, so it has seen what the leader saw
    ask       in a pass, without waiting: a minute is taken in when it has ended, and the answer of a minute is made once
    keep      after a pass, who leads: begins a refit where one is due, or writes down what is remembered; one thing at a time

Weeks of demand and the models are up to 1 MB, written every hour and after each refit; what a crash loses is a gap of at most an
hour. A minute counts as seen when its demand was wholly known as it ended. A refit that fails leaves the models there are. Without
numpy nothing is learned: reactive.py answers.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from autoscaler.decide import Snapshot
from autoscaler.forecast.question import Forecast, Question
from autoscaler.memories import Memories
from autoscaler.reactive import Reactive
from autoscaler.signals import REQUESTS_PER_MIN, Known, Unknown
from fleet.errors import ControlPlaneError
from fleet.model import Model
from fleet.policy import Policy

if TYPE_CHECKING:  # numpy may be missing
    from autoscaler.forecast.forecaster import Forecaster
    from autoscaler.forecast.learner import Learner

_SAVE_EVERY_MIN = 60


@dataclass(slots=True)
class _Book:
    """One model's forecaster, what it answered last, and for which minute. `saved_minute`: when its memory was written last."""

    asked: Forecaster | Reactive
    minute: int = -1
    saved_minute: int = -1
    answer: Forecast | Unknown = Unknown("no minute has ended yet")


@dataclass(slots=True)
class Forecasts:
    """`tell` hears, as sentences, of refits and of what could not be read, fitted or written. `learner` is None where none is installed.

    `patience_s`: how long `close` waits for a refit; Nomad gives the whole process 15 s.
    """

    memories: Memories
    learner: Learner | None
    tell: Callable[[str], None]
    patience_s: float = 5.0
    _books: dict[str, _Book] = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        """A refit or a write is under way."""
        return self._task is not None and not self._task.done()

    async def restore(self, model: Model) -> None:
        """Raises: ControlPlaneError."""
        if model.name in self._books or not _policy(model):
            return
        saved = await self.memories.read(_part(model.name))
        question = _question(model, model.cold_start_s, model.capacity.requests_per_min)
        asked, trouble = await asyncio.to_thread(_forecaster, question, saved, self.learner)
        self._books[model.name] = _Book(asked)
        if trouble:
            self.tell(f"{model.name}: {trouble}")

    def ask(self, model: Model, seen: Snapshot) -> Forecast | Unknown:
        book = self._books.get(model.name)
        if book is None:
            return Unknown("its forecaster was not restored yet")
        minute = int(seen.at // 60)
        if minute < book.minute:
            return Unknown(f"the clock was put back, the forecaster goes on in {book.minute - minute} min")
        if minute > book.minute:
            _take_in(book, model, seen, minute)
        return book.answer

    def keep(self, *, leads: bool) -> None:
        if self.is_busy:
            return
        self._task = None
        if leads and (work := self._work()) is not None:
            self._task = asyncio.create_task(work)

    async def close(self, *, leads: bool) -> None:
        """Waits for what is under way, but not for a long refit, because the lead is given away after this; who leads writes all down."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=self.patience_s)
        if leads:
            await asyncio.gather(*(self._save(name, book) for name, book in self._books.items()))

    def _work(self) -> Coroutine[None, None, None] | None:
        """The next thing to do."""
        for name, book in self._books.items():
            if self.learner and not isinstance(book.asked, Reactive) and book.asked.is_refit_due(book.minute):
                return self._refit(name, book, book.asked, self.learner)
        for name, book in self._books.items():
            if book.minute - book.saved_minute >= _SAVE_EVERY_MIN:
                return self._save(name, book)
        return None

    async def _refit(self, name: str, book: _Book, forecaster: Forecaster, learner: Learner) -> None:
        from autoscaler.forecast.training import refit  # noqa: PLC0415 (numpy may be missing; here it is not)

        (outcome,) = await asyncio.gather(
            asyncio.to_thread(refit, forecaster.window(), forecaster.question, learner), return_exceptions=True
        )
        if isinstance(outcome, BaseException):
            self.tell(f"{name}: the refit failed, the models there are go on: {outcome!r}")
            outcome = None
        else:
            self.tell(f"{name}: refitted" if outcome else f"{name}: too little history to fit a model")
        forecaster.adopt(outcome)
        await self._save(name, book)

    async def _save(self, name: str, book: _Book) -> None:
        book.saved_minute = book.minute
        if isinstance(book.asked, Reactive):
            return
        from autoscaler.forecast.saved import save  # noqa: PLC0415 (as above)

        value = await asyncio.to_thread(save, book.asked.memory())
        try:
            await self.memories.write(_part(name), value)
        except ControlPlaneError as error:
            self.tell(f"{name}: what its forecaster remembers was not written: {error}")


def _take_in(book: _Book, model: Model, seen: Snapshot, minute: int) -> None:
    signal = seen.signals.get(REQUESTS_PER_MIN, Unknown("was not read"))
    if book.minute >= 0:  # the minute before the first pass was not watched to its end
        book.asked.observe(minute - 1, signal.value if isinstance(signal, Known) else None)
    else:
        book.saved_minute = minute
    book.minute = minute
    book.asked.question = _question(model, seen.lead_s, seen.carries(model)[REQUESTS_PER_MIN])
    book.answer = book.asked.desired(minute)


def _question(model: Model, lead_s: float, one: float) -> Question:
    policy = _policy(model)[0]
    bounds = model.replicas
    return Question(one, max(1, math.ceil(lead_s / 60)), policy.hold_s, bounds.min, bounds.max, policy.price)


def _policy(model: Model) -> list[Policy]:
    return [policy for policy in model.policy if policy.kind == "forecast"]


def _forecaster(question: Question, saved: bytes | None, learner: Learner | None) -> tuple[Forecaster | Reactive, str]:
    """A forecaster with its memory, and what is wrong with either, or empty."""
    try:
        from autoscaler.forecast.errors import UnreadableMemory  # noqa: PLC0415
        from autoscaler.forecast.forecaster import Forecaster  # noqa: PLC0415 (numpy may be missing)
        from autoscaler.forecast.saved import load  # noqa: PLC0415
    except ImportError as error:
        return Reactive(question, f"no forecast ({error}; install the extra `forecast`; in a checkout, `make setup` does)"), str(error)
    try:
        return Forecaster(question, load(saved, learner) if saved else None), "" if learner else "no learner: LightGBM is not installed"
    except UnreadableMemory as error:
        return Forecaster(question), str(error)


def _part(model: str) -> str:
    return f"forecast/{model}"

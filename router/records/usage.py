"""What each request used and what that cost: made once, when it is over, for all who want to know.

    relay.finish ─► Usage.tell ─► Answered ─► its visit settles; every listener is told

Law: the engine's own count where it gives one. Where it does not, an answer that was given whole costs what was set aside for it; one that
broke off, or whose caller left, costs its prompt (four bytes a token) and the events that were sent. What was never sent costs nothing.
A listener must not wait: it is called beside the requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from router.answered import Answered, Outcome
from router.errors import CALLER_LEFT
from router.models.prices import Prices
from router.records.facts import Facts
from router.tally import UNKNOWN

_BYTES_PER_TOKEN: Final = 4
_LONGEST_ID: Final = 128


class Listener(Protocol):
    def noted(self, facts: Answered, /) -> None:
        """A request is over."""


class Tokens(NamedTuple):
    input: int
    output: int
    counted: bool


_NONE: Final = Tokens(0, 0, counted=True)


class Usage:
    """`listeners` may be added to at any time. `wall`: seconds since the epoch."""

    __slots__ = ("_prices", "_wall", "listeners")

    def __init__(self, prices: Prices, wall: Callable[[], float], listeners: list[Listener]) -> None:
        self._prices = prices
        self._wall = wall
        self.listeners = listeners

    def tell(self, relay: Facts, tags: tuple[str, str], status: int, took_s: float) -> None:
        """The request is over; `tags` are its model and route."""
        model, route = tags if relay.attempts else (UNKNOWN, tags[1])
        tokens, visit = tokens_of(relay, status), relay.visit
        facts = Answered(
            self._wall(),
            relay.request_id[:_LONGEST_ID].decode("latin-1"),
            visit.name if visit is not None else "",
            relay.session_id or "",
            route,
            model,
            status,
            _outcome(status),
            relay.attempts,
            tuple([replica.model for replica in relay.tried]) if relay.tried else (),
            tokens.input,
            tokens.output,
            tokens.counted,
            self._prices.of(model).cost(tokens.input, tokens.output),
            took_s,
            relay.ttft_s,
        )
        if visit is not None:
            visit.settle(facts)
        for listener in self.listeners:
            listener.noted(facts)


def _outcome(status: int) -> Outcome:
    if status < 400:
        return "answered"
    if status == CALLER_LEFT:
        return "left"
    return "failed" if status >= 500 else "refused"


def tokens_of(relay: Facts, status: int) -> Tokens:
    """What a request has used."""
    usage = relay.counted()
    if usage is not None:
        return Tokens(usage.prompt_tokens, usage.completion_tokens, counted=True)
    prompt = len(relay.body) // _BYTES_PER_TOKEN
    sent = relay.generated()
    if sent is not None:
        return Tokens(prompt, sent, counted=False)
    if status == 200 and relay.attempts:
        return _whole(relay, prompt)
    return Tokens(prompt, 0, counted=False) if status == CALLER_LEFT and relay.attempts else _NONE


def _whole(relay: Facts, prompt: int) -> Tokens:
    """Of an answer that is whole and says no usage: the engine generated nothing, or nobody knows how much."""
    bound = relay.visit.bound if relay.visit is not None else None
    if bound is not None and not bound.generates:
        return _NONE
    return Tokens(prompt, bound.output_tokens if bound is not None else 0, counted=False)

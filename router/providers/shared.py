"""A provider's rate limits as all routers and workers keep them together: the same books, slices and slots as tenants' (router.tenants).

Law: a request begins when the books grant it, at once out of this worker's slice or after one question to Redis; the last minute of all
routers together never holds more than the limits. Where nobody knows, the worker's share holds (router.providers.limits). A guess at its
tokens is never more than the limit itself, or it would never begin. Pure: who keeps the books is an argument.
"""

from __future__ import annotations

from router.lending.rows import UNLIMITED, Ask, Books, Settle, Told, Verdict

_PERIOD = "minute"  # there is no budget; the books tell slices apart by it


class Shared:
    """`key`: of the provider, in all routers the same and no tenant's."""

    __slots__ = ("_books", "_key", "_requests", "_tokens")

    def __init__(self, books: Books, key: str, requests_per_min: int, tokens_per_min: int) -> None:
        self._books = books
        self._key = key
        self._requests = requests_per_min
        self._tokens = tokens_per_min

    def begin(self, tokens: int, told: Told) -> None:
        """Tells whether a request of about so many tokens may begin; None: nobody knows."""
        self._books.ask(Ask(self._key, _PERIOD, self._requests, self._tokens, self._held(tokens), UNLIMITED, 0), told)

    def settle(self, verdict: Verdict, guessed: int, tokens: int) -> None:
        """The request is over, and this is what it came to."""
        held, counted = (self._held(guessed), tokens) if self._tokens else (0, 0)
        self._books.settle(Settle(self._key, _PERIOD, verdict.slot, held, counted, 0, 0))

    def _held(self, tokens: int) -> int:
        return min(tokens, self._tokens) if self._tokens else 0


def shared(books: Books | None, fleet: str, name: str, requests_per_min: int, tokens_per_min: int) -> Shared | None:
    """None: there is nothing to share."""
    if books is None or not (requests_per_min or tokens_per_min):
        return None
    return Shared(books, f"{fleet}:provider/{name}", requests_per_min, tokens_per_min)

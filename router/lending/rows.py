"""What routers and Redis tell each other about tenants' limits.

    ask       may this request be served? If so, so many tokens and so much money are set aside for it
    sync      what a worker's slice of the limits has come to, and how much it would like to be lent more
    settle    a request is over: what it used, of what was set aside for it (it stays in the worker: router.lending.lease)

Law: a sync says whole amounts, not changes, so that Redis and a worker agree after every batch, also where Redis has forgotten all.
What each row does is said in router.lending.script. Money is in nanodollars. No I/O.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple, Protocol

import msgspec

UNLIMITED: Final = -1
SLOT_MS: Final = 5_000
SLOTS: Final = 13
"""A slot counts until all of it is a minute old."""
RESET_MS: Final = SLOT_MS * SLOTS


class Ask(NamedTuple):
    """`requests`, `tokens_limit`: a minute, 0: no limit. `budget`: nanodollars or UNLIMITED. `tokens`, `cost`: to be set aside."""

    tenant: str
    period: str
    requests: int
    tokens_limit: int
    tokens: int
    budget: int
    cost: int


class Settle(NamedTuple):
    """`slot`: as the verdict named it; negative: nothing was set aside. `held_*`: what was set aside."""

    tenant: str
    period: str
    slot: int
    held_tokens: int
    tokens: int
    held_cost: int
    cost: int


class Sync(NamedTuple):
    """`back_*`: given back of what was lent in `slot`, `kept_*`: still there. `corrections`: tokens counted too few, by slot.

    `holding`: all that is set aside for the worker now, `kept_money` included; `spent`: since the last one. `more_*`: wanted.
    `usual_*`: what one of its requests sets aside.
    """

    tenant: str
    period: str
    requests: int
    tokens_limit: int
    budget: int
    slot: int
    back_requests: int
    back_tokens: int
    corrections: list[tuple[int, int]]
    kept_requests: int
    kept_tokens: int
    kept_money: int
    holding: int
    spent: int
    more_requests: int
    more_tokens: int
    more_money: int
    usual_tokens: int
    usual_money: int


class Answer(IntEnum):
    GRANTED = 0
    REQUESTS = 1
    TOKENS = 2
    BUDGET = 3
    BROKEN = 4
    """What Redis has of this tenant cannot be read."""
    LENT = 5
    """It would fit, but for what is lent to other workers; they are giving it back."""


class Verdict(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`answer`: an Answer. What is left after it; `wait_ms`: until it may be granted, or until the next one may.

    `reset_ms`: until the minute is all free again.
    """

    answer: int
    slot: int
    requests_left: int
    tokens_left: int
    money_left: int
    wait_ms: int
    reset_ms: int


class Lent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The answer to a sync. `valid_ms`: how long requests and tokens may be granted. `is_kept`: those of before still count.

    `is_tight`: nothing is lent, and what is lent should come back.
    """

    slot: int
    valid_ms: int
    is_kept: bool
    requests: int
    tokens: int
    money: int
    requests_left: int
    tokens_left: int
    money_left: int
    is_tight: bool


class Batch(msgspec.Struct, array_like=True):
    """`number`: the next of its router's."""

    number: int
    syncs: list[Sync]
    asks: list[Ask]


class Answers(msgspec.Struct, array_like=True):
    number: int
    verdicts: list[Verdict]
    lents: list[Lent]


class Told(Protocol):
    def __call__(self, verdict: Verdict | None, /) -> bool:
        """None: nobody knows. False: nobody waits for it any more, so what was granted is given back."""


class Books(Protocol):
    """Where limits are kept for all routers: `books.RedisBooks`."""

    def ask(self, ask: Ask, told: Told, /) -> None:
        """Tells the verdict, now or soon."""

    def settle(self, row: Settle, /) -> None:
        """Never waits."""


answers = msgspec.msgpack.Decoder(Answers).decode
"""Raises: msgspec.MsgspecError: no answer of the script."""
pack = msgspec.msgpack.Encoder().encode

"""What is known of a request when it is over, as values: what it used, what that cost, and how it ended.

Made by router.records.usage. Pure.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Outcome = Literal["answered", "refused", "failed", "left"]


class Answered(msgspec.Struct, frozen=True, gc=False):
    """`time`: seconds since the epoch, at the end. `model`: the model or provider that answered, "-" if none did.

    `failed`: the models and providers whose attempts failed, in order. `counted`: the engine counted the tokens. `tenant` and `session` are
    empty where there is none. Money in nanodollars.
    """

    time: float
    request_id: str
    tenant: str
    session: str
    route: str
    model: str
    status: int
    outcome: Outcome
    attempts: int
    failed: tuple[str, ...]
    input_tokens: int
    output_tokens: int
    counted: bool
    cost_nano: int
    latency_s: float
    ttft_s: float | None

"""Numbers that the design promises: who changes one changes this table, and knows it."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from fleet.model import Tenant
from fleet.presets import PRESETS
from fleet.serving import Capability, Strategy
from router.choice import cache, window
from router.records import rotated
from router.replicas import breaker

NUMBERS: list[tuple[str, Any, Any]] = [
    ("a decision is kept for 300 s", cache.TTL_S, 300.0),
    ("a thousand decisions are kept", cache.SIZE, 1000),
    ("a window holds a thousand samples", window.SIZE, 1000),
    ("three failures open a breaker", breaker.FAILURES, 3),
    ("a breaker stays open for a minute", breaker.OPEN_S, 60.0),
    ("a usage log is put aside at 10 MB", rotated.MOST_BYTES, 10 * 1024**2),
    ("a usage log is kept for 7 days", rotated.OLDEST_S, 7 * 86400),
    ("a tenant has a dollar", Tenant(name="t", key_sha256=("0" * 64,)).budget_usd, 1.0),
]
CAPABILITIES = {
    "simple_qa",
    "complex_reasoning",
    "code_generation",
    "creative_writing",
    "summarization",
    "translation",
    "analysis",
    "general",
}
STRATEGIES = {"cost", "latency", "quality", "balanced", "round_robin", "least_loaded", "ensemble"}


@pytest.mark.parametrize(("promise", "is_", "should_be"), NUMBERS, ids=[row[0] for row in NUMBERS])
def test_a_promised_number_is_kept(promise: str, is_: float, should_be: float) -> None:
    assert is_ == should_be, promise


def test_there_are_the_eight_capabilities_the_seven_strategies_and_the_four_ready_rows() -> None:
    assert set(get_args(Capability)) == CAPABILITIES
    assert set(get_args(Strategy)) >= STRATEGIES
    assert set(PRESETS) >= {"groq", "together", "openai", "google"}

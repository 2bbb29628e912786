"""The filter: which candidates a request may go to, and why the others may not.

    field              a candidate is refused when
    capability         the caller named one, and it names others only
    max_tokens         prompt and answer do not fit into its context
    max_cost           the expected cost of the answer is higher
    max_latency_ms     its latency, measured or described, is higher
    required_quality   its quality is lower

A candidate has one refusal, the first of this order. What no candidate meets is the caller's to change, so it is said with the field.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from router.choice.candidate import Candidate, Need, expected_cost, is_fit

Field = Literal["capability", "max_tokens", "max_cost", "max_latency_ms", "required_quality"]


class Refusal(NamedTuple):
    """Why a candidate is none. `why` is the end of a sentence that begins with its name."""

    name: str
    field: Field
    why: str


def refusal(candidate: Candidate, need: Need) -> Refusal | None:
    """None: the request may go there."""
    found = next(_refusals(candidate, need), None)
    return Refusal(candidate.name, *found) if found is not None else None


def _refusals(candidate: Candidate, need: Need) -> Iterator[tuple[Field, str]]:
    bounds = need.bounds
    if need.is_said and not is_fit(candidate, need.capability):
        yield "capability", f"is not described as good at {need.capability}"
    tokens = need.input_tokens + (bounds.max_tokens or 0)
    if tokens > candidate.context:
        yield "max_tokens", f"has room for {candidate.context} tokens, and this takes about {tokens}"
    if bounds.max_cost is not None and (cost := expected_cost(candidate, need)) > bounds.max_cost:
        yield "max_cost", f"would cost about {cost:.6g} dollars"
    if bounds.max_latency_ms is not None and candidate.latency_ms > bounds.max_latency_ms:
        yield "max_latency_ms", f"takes about {candidate.latency_ms:.0f} ms"
    if bounds.required_quality is not None and candidate.quality < bounds.required_quality:
        yield "required_quality", f"has quality {candidate.quality:g}"


def admitted(candidates: Sequence[Candidate], need: Need) -> tuple[list[Candidate], list[Refusal]]:
    """Those that remain, in their order, and why the others do not."""
    fit: list[Candidate] = []
    refused: list[Refusal] = []
    for candidate in candidates:
        found = refusal(candidate, need)
        if found is None:
            fit.append(candidate)
        else:
            refused.append(found)
    return fit, refused


def blamed(refused: Sequence[Refusal]) -> Field:
    """The field that refuses the most candidates, and of several the first that did."""
    return Counter(each.field for each in refused).most_common(1)[0][0]

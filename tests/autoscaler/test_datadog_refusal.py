"""When a refusal of Datadog's stops being an outage."""

from __future__ import annotations

import pytest

from autoscaler.datadog.errors import DatadogError, Limited, MalformedAnswer, NoAnswer, NotAllowed
from autoscaler.datadog.refusal import ANSWERED, PATIENCE_S

NO = NotAllowed("Datadog refuses the keys (HTTP 403)")
AWAY = NoAnswer("Datadog does not answer")


@pytest.mark.parametrize(
    ("errors", "lasts"),
    [
        ([(0, NO)], False),
        ([(0, NO), (PATIENCE_S - 1, NO)], False),
        ([(0, NO), (PATIENCE_S, NO)], True),
        ([(0, NO), (PATIENCE_S, AWAY)], False),
        ([(0, NO), (300, AWAY), (PATIENCE_S, NO)], True),
        ([(0, AWAY), (PATIENCE_S, AWAY)], False),
        ([(0, AWAY), (PATIENCE_S, NO)], False),
        ([(0, Limited("HTTP 429", 1.0)), (PATIENCE_S, MalformedAnswer("no JSON"))], False),
    ],
    ids=["first", "not yet", "long", "an outage now", "an outage between", "an outage", "refused at last", "neither"],
)
def test_only_what_is_refused_for_long_is_left_out(errors: list[tuple[float, DatadogError]], *, lasts: bool) -> None:
    refusal, at = ANSWERED, 0.0
    for at, error in errors:
        refusal = refusal.after(error, at)
    assert (refusal.lasts(at), bool(refusal.told(at))) == (lasts, lasts)

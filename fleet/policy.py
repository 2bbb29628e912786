"""Scaling rules as data: the rows [[model.policy]] and [[autoscaler.log_volume]], and what each kind of row takes.

One flat row for all kinds, because that is how it stands in the file; `TAKES` and `NEEDS` say which keys belong to which kind, and
fleet/rules.py refuses the others. What the rules do is the autoscaler's business (autoscaler/policies).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from fleet.units import Seconds, SizeBytes

_STRICT = ConfigDict(extra="forbid", strict=True)

Kind = Literal["target", "threshold", "schedule", "spare", "arrivals", "forecast"]
SignalName = Literal[
    "concurrency",
    "requests_per_min",
    "session_starts_per_min",
    "input_tokens_per_s",
    "output_tokens_per_s",
    "held",
    "answers_per_min",
    "ttft_s",
    "running",
    "queued",
    "queue_time_s",
    "kv_cache_use",
    "gpu_use",
    "log_bytes_per_min",
    "log_lines_per_min",
]
DEMANDS: tuple[SignalName, ...] = ("concurrency", "requests_per_min")
LONGEST_SCHEDULE_S = 7 * 86400.0
PRICE = 0.006
"""What a replica-minute costs in units of a late replica-minute of requests, unless a row says so. Measured in bench/forecast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """[[model.policy]]: one rule that says how many replicas are wanted; of several the largest answer wins"""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    kind: Annotated[
        Kind,
        Field(
            description="target: demand / (capacity of a replica x target). threshold: a step up above `upper`, down below `lower`. "
            "schedule: a floor at certain times. spare: so many idle replicas. arrivals: new sessions a minute. forecast: demand ahead"
        ),
    ] = "target"
    signal: Annotated[SignalName, Field(description="target, spare: concurrency or requests_per_min. threshold: any of them")] = (
        "concurrency"
    )
    target: Annotated[float, Field(gt=0, le=1, description="target, arrivals: wanted use of a replica's capacity")] = 0.7
    tolerance: Annotated[
        float, Field(ge=0, lt=1, description="target, arrivals: hysteresis, a smaller relative change of use is ignored")
    ] = 0.1
    upper: Annotated[float, Field(ge=0, description="threshold: more replicas above it")] = 0.0
    lower: Annotated[float, Field(ge=0, description="threshold: fewer below it; 0: never fewer")] = 0.0
    step: Annotated[int, Field(ge=1, description="threshold: replicas at once")] = 1
    cron: Annotated[str, Field(description="schedule: when it begins, minute hour day month weekday")] = ""
    duration_s: Annotated[Seconds, Field(alias="duration", description="schedule: how long it lasts")] = 0.0
    timezone: Annotated[str, Field(description="schedule: time zone of `cron`, such as Europe/Berlin")] = "UTC"
    replicas: Annotated[int, Field(ge=0, description="schedule: the floor, warm when it begins. spare: idle replicas")] = 0
    share: Annotated[float, Field(ge=0, lt=1, description="spare: idle share of all replicas")] = 0.0
    sessions_per_min: Annotated[float, Field(ge=0, description="arrivals: new sessions a minute that one replica carries")] = 0.0
    price: Annotated[
        float, Field(gt=0, lt=1, description="forecast: a replica is wanted while the part of it that will be needed is above this")
    ] = PRICE
    hold_s: Annotated[Seconds, Field(alias="hold", description="forecast: how long a request may wait for its turn")] = 30.0


TAKES: Mapping[str, frozenset[str]] = {
    "target": frozenset({"signal", "target", "tolerance"}),
    "threshold": frozenset({"signal", "upper", "lower", "step"}),
    "schedule": frozenset({"cron", "duration_s", "timezone", "replicas"}),
    "spare": frozenset({"signal", "replicas", "share"}),
    "arrivals": frozenset({"sessions_per_min", "target", "tolerance"}),
    "forecast": frozenset({"price", "hold_s"}),
}
NEEDS: Mapping[str, tuple[str, ...]] = {
    "threshold": ("upper",),
    "schedule": ("cron", "duration_s", "replicas"),
    "arrivals": ("sessions_per_min",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogVolume:
    """[[autoscaler.log_volume]]: one more large replica and a small one while the log grows fast"""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    large: Annotated[str, Field(description="model that gets one more replica, again each time the doubled threshold is passed")]
    small: Annotated[str, Field(description="model that is started beside it, to answer until the large one is warm")]
    threshold_bytes: Annotated[
        SizeBytes, Field(alias="threshold", ge=1, description="bytes a minute above which it acts; doubled by each start of `large`")
    ] = 1000**2
    check_s: Annotated[Seconds, Field(alias="check", gt=0, description="time between two looks at the log volume")] = 10.0

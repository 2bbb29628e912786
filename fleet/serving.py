"""What a model of ours and somebody else's have in common: names, clocks, price, and what they are good at. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from fleet.units import Seconds

STRICT = ConfigDict(extra="forbid", strict=True)
LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"

Label = Annotated[str, Field(pattern=LABEL)]
Capability = Literal[
    "simple_qa", "complex_reasoning", "code_generation", "creative_writing", "summarization", "translation", "analysis", "general"
]
"""What a request may need and a model be good at."""
Strategy = Literal["cost", "latency", "quality", "balanced", "round_robin", "least_loaded", "ensemble", "specialty"]
"""A way to put the models of a chain in order for one request (router/choice)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """model.slo"""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    ttft_s: Annotated[Seconds, Field(alias="ttft", gt=0, description="time to first token that callers are promised")] = 2.0
    first_token_s: Annotated[Seconds, Field(alias="first_token_timeout", gt=0, description="clock 2: no content by then, move on")] = 30.0
    idle_s: Annotated[Seconds, Field(alias="idle_timeout", gt=0, description="clock 3: a stream silent this long is broken")] = 15.0
    hedge_s: Annotated[
        Seconds, Field(alias="hedge", description="a stream without content for this long is asked of a second replica too; 0: never")
    ] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """model.cost: dollars per 1,000 tokens"""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    input: Annotated[float, Field(ge=0, description="of a prompt")] = 0.0
    output: Annotated[float, Field(ge=0, description="of an answer")] = 0.0

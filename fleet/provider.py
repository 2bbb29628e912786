"""External providers, as fleet.toml describes them. What is known of well-known ones is in fleet/presets.py. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field

from fleet.serving import STRICT, Capability, Label, Price, Slo
from fleet.units import Seconds

PROVIDERS: Final = "providers"
"""In a chain: all providers that it does not name itself, by priority."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """[[provider]]: somebody else's endpoint with OpenAI's API, which may stand in a route's chain like a model"""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: Annotated[Label, Field(description="its name in chains, x-route and metrics")]
    model: Annotated[str, Field(min_length=1, description="the name of the model there")]
    preset: Annotated[
        Literal["", "openai", "groq", "together", "google"], Field(description="fills in what is empty below, for a well-known endpoint")
    ] = ""
    base_url: Annotated[
        str, Field(pattern=r"^(https?://[^\s?#@]+)?$", description="what stands before /chat/completions; https, unless it is on loopback")
    ] = ""
    key_env: Annotated[
        str,
        Field(pattern=r"^([A-Z_][A-Z0-9_]*)?$", description="the router's environment variable with the key; empty: it asks for none"),
    ] = ""
    ca_file: Annotated[str, Field(description="certificates (PEM) that are trusted in place of the system's")] = ""
    priority: Annotated[int, Field(description='order among providers where a chain says "providers": the lowest number first')] = 100
    cost: Annotated[Price, Field(description="dollars per 1,000 tokens")] = field(default_factory=Price)
    quality: Annotated[float, Field(ge=0, le=1, description="of its answers, as you judge them")] = 0.5
    capabilities: Annotated[tuple[Capability, ...], Field(description="what it is good at; empty: everything alike")] = ()
    latency_ms: Annotated[float, Field(ge=0, description="of a whole answer; a prior until measured. 0: unknown, as slo.ttft says")] = 0.0
    context: Annotated[int, Field(ge=128, description="context length in tokens, of one request")] = 131072
    requests_per_min: Annotated[
        int, Field(ge=0, description="in any 60 s, over all routers; without Redis each process keeps to its share. 0: no limit")
    ] = 0
    max_concurrent: Annotated[
        int, Field(ge=0, description="requests at once from one router process, the others wait or go elsewhere; 0: no limit")
    ] = 0
    tokens_per_min: Annotated[int, Field(ge=0, description="the same, for tokens of prompts and answers")] = 0
    drop: Annotated[tuple[str, ...], Field(description="fields of a request that it does not take: left out, as are the preset's")] = ()
    max_tokens_as: Annotated[
        Literal["", "max_tokens", "max_completion_tokens"], Field(description="the one name it takes for a chat's limit; empty: both")
    ] = ""
    continues: Annotated[
        bool, Field(description="it goes on with a last message of the assistant, so that it can be asked for the rest of a broken stream")
    ] = False
    connect_s: Annotated[Seconds, Field(alias="connect_timeout", gt=0, description="clock 1: TCP connect and TLS handshake")] = 5.0
    answer_s: Annotated[
        Seconds,
        Field(alias="answer_timeout", gt=0, description="an answer that is no stream and not there by then is asked of the next link"),
    ] = 120.0
    slo: Annotated[Slo, Field(description="the other clocks of a request")] = field(default_factory=Slo)

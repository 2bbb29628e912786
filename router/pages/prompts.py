"""One prompt, one answer, and who gave it: the APIs of gateways that route between providers.

    POST /chat/completions   OpenAI's body with `model` optional, or {prompt}   -> OpenAI's answer with provider, classification, cost, ...
    POST /api/generate       {prompt, model?, ...}                              -> {response, provider, model, activity_log}

Both take the fields of the choice (strategy, capability, max_cost, max_latency_ms, required_quality). Selection, failover and counts are
the relay's; nothing is decided here. For streams there is /v1/chat/completions.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fleet import names
from router.choice.classify import classify
from router.choice.question import question
from router.errors import BadRequest
from router.models.prices import NANO, rate
from router.pages.asked import as_it_is, deadline_of, passed_fields, text, told, while_connected
from router.pages.refusals import ASKING, may
from router.plane import DataPlane
from router.relay import choosing, collected
from router.relay.collected import Answer
from router.tenants.door import authorization_of
from router.wire import requests

_CHAT: Final = b"/v1/chat/completions"
_TOKENS: Final = 100_000_000
_PROMPT: Final[dict[str, Any]] = {"prompt": "Who wrote Faust?", "max_tokens": 50}
_MESSAGES: Final[dict[str, Any]] = {"messages": [{"role": "user", "content": "Who wrote Faust?"}], "strategy": "cost", "max_cost": 0.01}


class _Wishes(BaseModel):
    model: Annotated[str, Field(min_length=1, max_length=256, description="a model, provider or route; auto: the router chooses")] = (
        requests.AUTO
    )
    strategy: Annotated[str | None, Field(max_length=64, description="how to choose: cost, latency, quality, balanced, ...")] = None
    capability: Annotated[str | None, Field(max_length=64, description="what the model must be good at")] = None
    max_cost: Annotated[float | None, Field(ge=0, allow_inf_nan=False, description="dollars of one answer")] = None
    max_latency_ms: Annotated[float | None, Field(ge=0, allow_inf_nan=False, description="expected latency of one answer")] = None
    required_quality: Annotated[float | None, Field(ge=0, le=1, description="0 to 1")] = None

    def wish(self) -> bytes | None:
        """As the header x-route-strategy. Raises: BadRequest"""
        return choosing.said(self.model_dump(include=set(choosing.FIELDS)))


class Prompt(_Wishes):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_PROMPT]})

    prompt: Annotated[str, Field(min_length=1, description="what is asked")]
    max_tokens: Annotated[int | None, Field(ge=1, le=_TOKENS, description="of the answer")] = None
    session_id: Annotated[str | None, Field(description="the session that this is a turn of")] = None


class Generated(BaseModel):
    """`provider`: the name here of the model or provider that answered; `model`: what that one calls itself."""

    response: str
    provider: str
    model: str
    activity_log: list[str]


class Chat(_Wishes):
    """`prompt` stands for one message of the user. Other fields go to the engine as they are."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_MESSAGES, _PROMPT]})

    prompt: Annotated[str | None, Field(min_length=1, description="what is asked, in place of messages")] = None
    messages: Annotated[list[dict[str, Any]] | None, Field(description="the conversation, as OpenAI writes it")] = None
    stream: Annotated[bool | None, Field(description="must not be true: /v1/chat/completions streams")] = None
    session_id: Annotated[str | None, Field(description="the session that this is a turn of")] = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("send either messages or a prompt")
        return self

    def body(self) -> bytes:
        """Of the request to the relay."""
        mine = {*choosing.FIELDS, "prompt", "messages", "session_id", "stream"}
        messages = self.messages if self.messages is not None else _said(self.prompt or "")
        return msgspec.json.encode({**self.model_dump(exclude=mine, exclude_none=True), "messages": messages})


def routes(plane: DataPlane) -> APIRouter:
    api = APIRouter(tags=["prompts"])

    @api.post(
        "/api/generate", response_model=Generated, summary="The answer to one prompt, and who was asked for it.", responses=may(*ASKING)
    )
    async def generate(asked: Prompt, request: Request) -> Response:
        """A failure has the same log of who was asked beside OpenAI's error."""
        fields: dict[str, Any] = {"model": asked.model, "messages": _said(asked.prompt)}
        if asked.max_tokens is not None:
            fields["max_tokens"] = asked.max_tokens
        answer = await _ask(plane, msgspec.json.encode(fields), asked.session_id, asked.wish(), request)
        return _generated(plane, answer)

    @api.post("/chat/completions", summary="A chat completion with who gave it and what it cost.", responses=may(*ASKING))
    async def chat(asked: Chat, request: Request) -> Response:
        """OpenAI's, with provider, classification, cost in dollars, latency and attempts beside its own fields."""
        if asked.stream:
            raise BadRequest("This path does not stream; POST /v1/chat/completions does, with the same messages.", param="stream")
        body = asked.body()
        answer = await _ask(plane, body, asked.session_id, asked.wish(), request)
        return as_it_is(answer) if answer.status != 200 else _completed(plane, answer, body)

    return api


async def _ask(plane: DataPlane, body: bytes, session: str | None, wish: bytes | None, request: Request) -> Answer:
    """What a header says goes before what the body says."""
    own = told(request, names.HEADER_SESSION, session.encode() if session is not None else None)
    wish, key, deadline = told(request, names.HEADER_STRATEGY, wish), authorization_of(request), deadline_of(request)
    return await while_connected(collected.ask(plane, _CHAT, body, own, key, wish=wish, deadline=deadline), request)


def _said(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def _generated(plane: DataPlane, answer: Answer) -> Response:
    log = activity(plane, answer)
    if answer.status == 200:
        name = answer.model or ""
        made: dict[str, Any] = {"response": text(answer), "provider": name, "model": far_name(plane, name), "activity_log": log}
    else:
        made = {**msgspec.json.decode(answer.body, type=dict[str, msgspec.Raw]), "activity_log": log}
    return Response(msgspec.json.encode(made), status_code=answer.status, headers=passed_fields(answer))


def _completed(plane: DataPlane, answer: Answer, body: bytes) -> Response:
    about = classify(question(body).text)
    more = {
        "provider": answer.model,
        "classification": {"capability": about.capability, "score": about.score},
        "cost": _cost(plane, answer),
        "latency_ms": round(answer.took_s * 1000, 3),
        "attempts": len(answer.tried) + 1,
    }
    made = {**msgspec.json.decode(answer.body, type=dict[str, msgspec.Raw]), **more}
    return Response(msgspec.json.encode(made), headers=passed_fields(answer))


def _cost(plane: DataPlane, answer: Answer) -> float | None:
    """Dollars; None: the engine did not say what it used."""
    if answer.usage is None or answer.model is None:
        return None
    return rate(plane.catalogue.price(answer.model)).cost(answer.usage.prompt_tokens, answer.usage.completion_tokens) / NANO


def far_name(plane: DataPlane, name: str) -> str:
    """What a provider calls the model that it serves; a model of ours has one name."""
    provider = plane.catalogue.providers.get(name)
    return provider.model if provider is not None else name


def activity(plane: DataPlane, answer: Answer) -> list[str]:
    """Who was asked, in order, and what came of it."""
    log = [line for name, why in answer.tried for line in (f"Attempting {name} ...", f"{name} failed: {why}")]
    if answer.status == 200 and answer.model is not None:
        return [*log, f"Attempting {answer.model} ...", f"Using {answer.model} ({far_name(plane, answer.model)})"]
    return [*log, f"No answer: HTTP {answer.status}"]

"""How a request would be routed, without asking any model.

    POST /routing/explain    a request as for /v1/chat/completions, with strategy, capability, max_cost, max_latency_ms and
                             required_quality in its body or in x-route-strategy

It makes the decision anew, with the functions that serve requests, and counts nothing. Where there are tenants it asks for a key too.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response

from fleet import names
from router.choice.candidate import expected_cost
from router.choice.reasons import reasons
from router.choice.wish import NO_WISH, Wish
from router.errors import BadRequest
from router.models.catalogue import Plan
from router.models.chooser import Explained
from router.pages.asked import told
from router.pages.refusals import may
from router.plane import DataPlane
from router.relay import choosing
from router.tenants.door import visit_of
from router.wire import requests


class _Said(msgspec.Struct):
    """What a body may say beside what every request says."""

    strategy: str | None = None
    capability: str | None = None
    max_cost: float | None = None
    max_latency_ms: float | None = None
    required_quality: float | None = None


_FIELDS: Final[dict[str, Any]] = {
    "model": {"type": "string", "description": "a model, a route, or auto: the router chooses"},
    "messages": {"type": "array", "items": {"type": "object"}, "description": "the conversation, as OpenAI writes it"},
    "strategy": {"type": "string", "description": "how to choose: cost, latency, quality, balanced, ..."},
    "capability": {"type": "string", "description": "what the model must be good at"},
    "max_cost": {"type": "number", "description": "dollars of one answer"},
    "max_latency_ms": {"type": "number", "description": "expected latency of one answer"},
    "required_quality": {"type": "number", "description": "0 to 1"},
}
_EXAMPLE: Final = {
    "model": "auto",
    "messages": [{"role": "user", "content": "Write a function that sorts a list."}],
    "strategy": "balanced",
}
_SCHEMA: Final = {"type": "object", "required": ["model"], "additionalProperties": True, "properties": _FIELDS}
_BODY: Final = {"requestBody": {"required": True, "content": {"application/json": {"schema": _SCHEMA, "example": _EXAMPLE}}}}

_said = msgspec.json.Decoder(_Said).decode


def routes(plane: DataPlane) -> APIRouter:
    api = APIRouter(tags=["routing"])

    @api.post(
        "/routing/explain",
        summary="How a request would be routed, and why, without asking a model.",
        openapi_extra=_BODY,
        responses=may(403, 404),
    )
    async def explain(request: Request) -> Response:
        """The order in which models would be tried, with what each step did: classify, filter, rank, boost, fallback."""
        body = await request.body()
        plan = _plan(plane, request, body)
        asked = _wish(request, body)
        if plan.strategy is None and asked == NO_WISH:
            found: dict[str, Any] = _as_it_stands(plan)
        else:
            found = _shown(plane.chooser.explain(plan, body, asked))
        return Response(msgspec.json.encode(found), media_type="application/json")

    return api


def _plan(plane: DataPlane, request: Request, body: bytes) -> Plan:
    """Raises: NotAllowed, BadRequest, UnknownModel"""
    visit = visit_of(request)
    ask = requests.decode(body)
    plane.catalogue.check(ask.model)
    if visit is None:
        return plane.catalogue.plan(ask.model, None)
    return visit.cut(plane.catalogue.plan(visit.asked(ask.model), None))


def _wish(request: Request, body: bytes) -> Wish:
    """The header's, or else the body's. Raises: BadRequest"""
    header = told(request, names.HEADER_STRATEGY, None)
    if header is not None:
        return choosing.read(header)
    try:
        said = choosing.said(msgspec.structs.asdict(_said(body)))
    except msgspec.ValidationError as error:
        param = next((name for name in choosing.FIELDS if f"$.{name}" in str(error)), None)
        raise BadRequest(f"The request body is wrong: {error}.", param=param) from error
    return NO_WISH if said is None else choosing.read(said)


def _as_it_stands(plan: Plan) -> dict[str, Any]:
    log = [f"the chain of {plan.route!r} stands as it is described: nothing is chosen", f"fallback: {' -> '.join(plan.chain)}"]
    return {"route": plan.route, "strategy": "chain", "order": plan.chain, "activity_log": log}


def _shown(made: Explained) -> dict[str, Any]:
    need, scores = made.need, dict(made.decision.ranked)
    refused = {each.name: {"field": each.field, "why": each.why} for each in made.decision.refused}
    candidates = [
        {
            "name": one.name,
            "expected_cost": expected_cost(one, need),
            "quality": one.quality,
            "latency_ms": one.latency_ms,
            "success_rate": one.success_rate,
            "load": one.load,
            "capabilities": sorted(one.capabilities),
            "score": scores.get(one.name),
            "refused": refused.get(one.name),
        }
        for one in made.candidates
    ]
    return {
        "route": made.plan.route,
        "strategy": made.strategy,
        "capability": {"name": need.capability, "is_said": need.is_said, "score": made.guessed.score, "margin": made.guessed.margin},
        "input_tokens": need.input_tokens,
        "max_tokens": need.bounds.max_tokens,
        "candidates": candidates,
        "order": made.decision.order,
        "activity_log": reasons(made.decision, need),
    }

"""What endpoints may answer instead of what was asked for, as the OpenAPI document says it.

    responses=may(404, 503)      beside the endpoint that may answer so

What holds for all endpoints of a kind (400 for a wrong field, 401 and 403 at the door) is added by router.pages.openapi. Errors
themselves, and which status each one has, are in router.errors; nothing is raised here. Pure.
"""

from __future__ import annotations

from typing import Any, Final

SCHEMA: Final = "Refusal"
_MEANING: Final = {
    400: "The request is wrong; `param` names the field.",
    401: "No API key, or one that no tenant has.",
    403: "This key may not do this, or not use this model.",
    404: "No model, session or path has this name.",
    413: "The body is larger than `router.max_body`.",
    429: "A limit or the budget is used up; `retry-after` says for how long.",
    502: "Every replica that was tried broke.",
    503: "Nothing is warm, or a part that this needs is away; `retry-after` and `x-warm-eta` say when to come back.",
    504: "The engines stayed silent for longer than the model's clocks allow.",
}
_TEXT: Final = {"type": "string"}
_TEXT_OR_NULL: Final = {"anyOf": [{"type": "string"}, {"type": "null"}]}
_CODE: Final = {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}], "description": "a number where an engine gives one"}
REFUSAL: Final[dict[str, Any]] = {
    "title": SCHEMA,
    "type": "object",
    "description": "OpenAI's shape, whatever went wrong.",
    "properties": {
        "error": {
            "type": "object",
            "properties": {"message": _TEXT, "type": _TEXT, "param": _TEXT_OR_NULL, "code": _CODE},
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
    "examples": [
        {
            "error": {
                "message": "The model 'nobody' does not exist here; GET /v1/models lists what does.",
                "type": "invalid_request_error",
                "param": "model",
                "code": "model_not_found",
            }
        }
    ],
}
ASKING: Final = (403, 404, 413, 429, 502, 503, 504)  # of whatever asks a model in its caller's name


def may(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses` of an endpoint. Raises: KeyError: a status that nothing is said about."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{SCHEMA}"}}}
    return {status: {"description": _MEANING[status], "content": content} for status in statuses}

"""The relayed paths as the OpenAPI document shows them: a sentence and an example for each.

FastAPI never sees these requests, so it cannot describe them. Their fields are the engine's: what the router reads itself is `model` and
`stream`, and only those are in the schema. A test holds the table to router.wire.dialects. Pure.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from router.pages.refusals import ASKING, may


class Relayed(NamedTuple):
    """`fields`: of the example, beside the model."""

    meaning: str
    fields: dict[str, Any]


_ASKED: Final = [{"role": "user", "content": "What is the capital of France?"}]
_MODEL: Final = "small-model"
RELAYED: Final[dict[str, Relayed]] = {
    "/v1/chat/completions": Relayed("OpenAI's chat completions, whole or as a stream.", {"messages": _ASKED, "max_tokens": 50}),
    "/v1/completions": Relayed("OpenAI's completions of a text.", {"prompt": "The capital of France is", "max_tokens": 8}),
    "/v1/embeddings": Relayed("OpenAI's embeddings, where the engine has them.", {"input": "The capital of France"}),
    "/v1/messages": Relayed("Anthropic's messages, whole or as a stream.", {"messages": _ASKED, "max_tokens": 50}),
    "/v1/messages/count_tokens": Relayed("How many tokens Anthropic's messages come to.", {"messages": _ASKED}),
    "/v1/responses": Relayed("OpenAI's responses, whole or as a stream.", {"input": "What is the capital of France?"}),
    "/v1/rerank": Relayed(
        "Documents by how well they answer a query, where the engine can.",
        {"query": "capital of France", "documents": ["Paris is on the Seine.", "Rome is on the Tiber."]},
    ),
    "/v1/score": Relayed("How alike texts are, where the engine can say.", {"text_1": "Paris", "text_2": ["France", "Italy"]}),
    "/tokenize": Relayed("The tokens of a text, as vLLM gives them.", {"prompt": "The capital of France"}),
    "/detokenize": Relayed("The text of tokens, as vLLM gives it.", {"tokens": [785, 6722, 315, 9625]}),
}
_SESSION: Final = {"type": "string", "pattern": "^[A-Za-z0-9._:@/+=~-]{1,128}$"}
_HEADERS: Final = (
    ("x-session-id", _SESSION, "the session that this is a turn of"),
    ("x-route-strategy", {"type": "string"}, "how to choose for this request: `balanced; max_cost=0.01`"),
    ("x-deadline-s", {"type": "number", "minimum": 0, "maximum": 999_999}, "how long the caller waits at most, in seconds"),
)
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["model"],
    "additionalProperties": True,
    "properties": {
        "model": {"type": "string", "description": "a model, a route, or auto: the router chooses"},
        "stream": {"type": "boolean", "default": False, "description": "as server-sent events, where the path has them"},
    },
}


def operations() -> dict[str, dict[str, Any]]:
    """What stands under `paths` of an OpenAPI document."""
    return {path: {"post": _operation(path, relayed)} for path, relayed in RELAYED.items()}


def _operation(path: str, relayed: Relayed) -> dict[str, Any]:
    body = {"schema": _SCHEMA, "example": {"model": _MODEL, **relayed.fields}}
    return {
        "tags": ["relay"],
        "summary": relayed.meaning,
        "description": "Other fields go to the engine as they are. The answer's `x-route` says who gave it.",
        "operationId": "relay" + path.replace("/", "_"),
        "parameters": [_header(*header) for header in _HEADERS],
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {"200": {"description": "The engine's answer, byte for byte."}, **{str(s): r for s, r in may(*ASKING).items()}},
    }


def _header(name: str, schema: dict[str, Any], meaning: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": meaning}

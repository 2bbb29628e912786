"""The request body, as far as routing needs it: `model` and `stream`. Everything else passes as it came, byte for byte.

Only when another model than the one named serves, the body is written anew, with that one field changed. Pure.
"""

from __future__ import annotations

import msgspec

from router.errors import BadRequest

AUTO = "auto"  # the model name that leaves the choice to the route


class Ask(msgspec.Struct, frozen=True, gc=False):
    """What a body asks for."""

    model: str
    stream: bool | None = False


class _Message(msgspec.Struct):
    role: str = ""
    content: msgspec.Raw = msgspec.Raw()


class _Conversation(msgspec.Struct):
    messages: list[_Message] = []


_decode = msgspec.json.Decoder(Ask).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_conversation = msgspec.json.Decoder(_Conversation).decode
_encode = msgspec.json.encode


def decode(body: bytes) -> Ask:
    """Raises: BadRequest: not JSON, not an object, no `model`, or a field of the wrong type."""
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        raise BadRequest(_sentence(error), param=_param(str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The request body is not valid JSON: {error}. Send a JSON object.") from error
    except RecursionError as error:
        raise BadRequest("The request body is nested too deeply. Send a flatter JSON object.") from error


def _sentence(error: msgspec.ValidationError) -> str:
    if "missing required field" in str(error):
        return f'{error}: name a model, a route, or "{AUTO}". GET /v1/models lists the names.'
    return f"The request body is wrong: {error}."


def _param(message: str) -> str | None:
    return next((name for name in ("model", "stream") if f"`{name}`" in message or f"$.{name}`" in message), None)


def with_model(body: bytes, model: str) -> bytes:
    """The same body that names `model`.

    Raises:
        BadRequest: the body is not JSON in a part that `decode` skipped.
    """
    try:
        fields = _decode_fields(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"The request body is not valid JSON: {error}. Send a JSON object.") from error
    fields["model"] = msgspec.Raw(_encode(model))
    return _encode(fields)


def opens_turn(body: bytes) -> bool:
    """False: the last message is the result of a tool, so the turn that called it is still open."""
    try:
        messages = _decode_conversation(body).messages
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return True  # no chat; the engine will say what is wrong with it
    if not messages:
        return True
    last = messages[-1]
    return last.role not in ("tool", "function") and b'"tool_result"' not in bytes(last.content)

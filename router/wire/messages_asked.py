"""A request of Anthropic's messages as a chat completion, for those who speak only that.

    messages                                  chat completion
    system                                    a first message of role system
    text, image                               text and image_url parts
    tool_use of the assistant                 tool_calls
    tool_result of the user                   a message of role tool, before what else the user says
    thinking                                  left out: it is its engine's own
    tools, tool_choice, stop_sequences        tools, tool_choice and parallel_tool_calls, stop

Law: what cannot be said in a chat is refused with the field named, never left out silently, but for hints (top_k, cache_control, thinking).
What comes back is router.wire.messages_answered's. Pure.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from router.errors import BadRequest

Raw = msgspec.Raw
_LEFT_OUT: Final = Raw(b"null")


class _Source(msgspec.Struct):
    type: str
    media_type: str = ""
    data: str = ""
    url: str = ""


class _Block(msgspec.Struct):
    type: str
    text: str = ""
    source: _Source | None = None
    id: str = ""
    name: str = ""
    input: Raw = Raw(b"{}")
    tool_use_id: str = ""
    content: str | list[_Block] = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Block]


class _Tool(msgspec.Struct):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: Raw = _LEFT_OUT


class _ToolChoice(msgspec.Struct):
    type: str
    name: str = ""
    disable_parallel_tool_use: bool = False


class _Asked(msgspec.Struct):
    model: str
    messages: list[_Message]
    max_tokens: Raw = _LEFT_OUT
    system: str | list[_Block] | None = None
    stop_sequences: list[str] | None = None
    temperature: Raw = _LEFT_OUT
    top_p: Raw = _LEFT_OUT
    stream: bool = False
    tools: list[_Tool] | None = None
    tool_choice: _ToolChoice | None = None


_decode: Final = msgspec.json.Decoder(_Asked).decode
_encode: Final = msgspec.json.encode
_KEPT: Final = ("max_tokens", "temperature", "top_p")
_COUNTED: Final = ("model", "messages", "tools")
_HINTS: Final = frozenset(("thinking", "redacted_thinking"))
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}


def as_chat(body: bytes) -> bytes:
    """The body of the chat completion that asks for the same. Raises: BadRequest: it is no request of messages, or none of a chat."""
    return _encode(_chat(body))


def as_tokenize(body: bytes) -> bytes:
    """The body that asks vLLM's /tokenize for the tokens of that chat. Raises: BadRequest"""
    chat = _chat(body)
    return _encode({name: chat[name] for name in _COUNTED if name in chat})


def _chat(body: bytes) -> dict[str, Any]:
    try:
        asked = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"The request body is no request of messages: {error}.") from error
    chat: dict[str, Any] = {"model": asked.model, "messages": _system(asked.system)}
    for message in asked.messages:
        chat["messages"] += _of_assistant(message.content) if message.role == "assistant" else _of_user(message.content)
    chat |= {name: value for name in _KEPT if _is_said(value := getattr(asked, name))}
    if asked.stop_sequences:
        chat["stop"] = asked.stop_sequences
    if asked.stream:
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    if asked.tools:
        chat["tools"] = [_tool(tool) for tool in asked.tools]
    if asked.tool_choice is not None:
        chat |= _choice(asked.tool_choice)
    return chat


def _is_said(value: Raw) -> bool:
    return bytes(value) != b"null"


def _system(said: str | list[_Block] | None) -> list[dict[str, Any]]:
    return [{"role": "system", "content": _text(said, "system")}] if said else []


def _text(said: str | list[_Block], param: str) -> str:
    """Raises: BadRequest: there is something else than text."""
    if isinstance(said, str):
        return said
    if other := next((block.type for block in said if block.type != "text"), None):
        raise _not_in_a_chat(f"a block of type {other!r} in {param}", param)
    return "\n".join(block.text for block in said)


def _of_user(said: str | list[_Block]) -> list[dict[str, Any]]:
    if isinstance(said, str):
        return [{"role": "user", "content": said}]
    results = [block for block in said if block.type == "tool_result"]
    told: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": block.tool_use_id, "content": _text(block.content, "messages")} for block in results
    ]
    parts = [_part(block) for block in said if block.type != "tool_result"]
    if parts:
        told.append({"role": "user", "content": parts})
    return told


def _part(block: _Block) -> dict[str, Any]:
    if block.type == "text":
        return {"type": "text", "text": block.text}
    source = block.source
    if block.type == "image" and source is not None and source.type in ("base64", "url"):
        url = source.url if source.type == "url" else f"data:{source.media_type};base64,{source.data}"
        return {"type": "image_url", "image_url": {"url": url}}
    raise _not_in_a_chat(f"a block of type {block.type!r}", "messages")


def _of_assistant(said: str | list[_Block]) -> list[dict[str, Any]]:
    if isinstance(said, str):
        return [{"role": "assistant", "content": said}]
    blocks = [block for block in said if block.type not in _HINTS]
    calls = [_call(block) for block in blocks if block.type == "tool_use"]
    text = _text([block for block in blocks if block.type != "tool_use"], "messages")
    told: dict[str, Any] = {"role": "assistant", "content": text or None}
    return [told | {"tool_calls": calls} if calls else told]


def _call(block: _Block) -> dict[str, Any]:
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": bytes(block.input).decode()}}


def _tool(tool: _Tool) -> dict[str, Any]:
    if tool.type not in (None, "custom"):
        raise _not_in_a_chat(f"the tool {tool.name!r} of type {tool.type!r}", "tools")
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if _is_said(tool.input_schema):
        function["parameters"] = tool.input_schema
    return {"type": "function", "function": function}


def _choice(choice: _ToolChoice) -> dict[str, Any]:
    known: object = {"type": "function", "function": {"name": choice.name}} if choice.type == "tool" else _CHOICES.get(choice.type)
    if known is None:
        raise _not_in_a_chat(f"a choice of type {choice.type!r}", "tool_choice")
    told = {"tool_choice": known}
    return told | {"parallel_tool_calls": False} if choice.disable_parallel_tool_use else told


def _not_in_a_chat(what: str, param: str) -> BadRequest:
    message = f"Who would answer this speaks chat completions only, which do not know {what}; leave it out, or ask another model."
    return BadRequest(message, param=param)

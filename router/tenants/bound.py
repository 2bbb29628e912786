"""How much a request may cost at most, before anybody has counted its tokens; and the request as it must be for that to hold.

    input     no token is shorter than a byte, and no prompt longer than the context, so the smaller of the two bounds it
    output    what the request allows; where it names no limit, the tenant's own is written into it

Law: a bound for a budget is never too low, because a budget is not overspent by a single request. For a rate of tokens a guess will do
(four bytes a token): that is put right when the answer has been counted. A stream is asked to say its usage at the end. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from router.errors import BadRequest

_TEMPLATE_TOKENS: Final = 256  # what a chat template adds by itself, a default system prompt included
_BYTES_PER_TOKEN: Final = 4
_MOST: Final = 10_000_000  # tokens; what asks for more is as good as unlimited
_LIMIT: Final = {
    b"/v1/chat/completions": "max_tokens",
    b"/v1/completions": "max_tokens",
    b"/v1/messages": "max_tokens",
    b"/v1/responses": "max_output_tokens",
}
"""The paths that generate, and the field that limits it."""
_STREAM_OPTIONS: Final = frozenset((b"/v1/chat/completions", b"/v1/completions"))
# What stands for more tokens than it has bytes: media, and conversations that the engine keeps.
_ELSEWHERE: Final = re.compile(
    rb'"(?:image_url|input_image|image|input_audio|audio_url|video_url|file|input_file|document)"|"(?:previous_response_id|conversation)"\s*:'
).search


class _Options(msgspec.Struct):
    include_usage: bool | None = None


class _Asked(msgspec.Struct):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    stream: bool | None = None
    stream_options: _Options | None = None
    prompt: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(_Asked).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_prompts = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Bound:
    """`input_tokens`, `output_tokens`: never less than what will be counted. `likely_tokens`: a guess at both together.

    `body`: the request that keeps to them. `hides_usage`: its stream says a usage that the caller did not ask for. `generates`: it has an
    answer of tokens at all.
    """

    input_tokens: int
    output_tokens: int
    likely_tokens: int
    body: bytes
    hides_usage: bool
    generates: bool = True


def bound(path: bytes, body: bytes, *, context: int, most_tokens: int, limits: bool) -> Bound:
    """`context`: the longest one of those that may answer. `most_tokens`: of an answer to a request that names no limit.

    `limits`: that is written into it; else it is a guess.

    Raises:
        BadRequest: a limit is not a whole number, or negative.
    """
    path = path.partition(b"?")[0]
    name = _LIMIT.get(path)
    if name is None:
        return Bound(len(body) + _TEMPLATE_TOKENS, 0, len(body) // _BYTES_PER_TOKEN, body, hides_usage=False, generates=False)
    asked = _read(body)
    named = _named(asked, name)
    longest = min(most_tokens if named is None else named, context)
    answers = _answers(asked)
    prompts = context if _ELSEWHERE(body) else min(len(body) + _TEMPLATE_TOKENS, context * _prompt_count(asked))
    hides = bool(asked.stream) and path in _STREAM_OPTIONS and not (asked.stream_options and asked.stream_options.include_usage)
    changed = _changed(body, name if named is None and limits else None, longest, usage=hides)
    output = min(longest * answers, _MOST)
    return Bound(prompts, output, len(body) // _BYTES_PER_TOKEN + output, changed, hides)


def _read(body: bytes) -> _Asked:
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        raise BadRequest(f"The request body is wrong: {error}.", param=_param(str(error))) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"The request body is not valid JSON: {error}. Send a JSON object.") from error


def _param(message: str) -> str | None:
    found = re.search(r"\$\.([a-z_]+)", message)
    return found[1] if found else None


def _named(asked: _Asked, name: str) -> int | None:
    """The limit that the request names, or None."""
    fields = ("max_output_tokens",) if name == "max_output_tokens" else ("max_completion_tokens", "max_tokens")
    named = [(field, value) for field in fields if (value := getattr(asked, field)) is not None]
    for field, value in named:
        if value < 0:
            raise BadRequest(f"{field} is {value}; send a whole number from 1, or leave it out.", param=field)
    return max((value for _, value in named), default=None)


def _answers(asked: _Asked) -> int:
    each = max(1, min(asked.n or 1, _MOST), min(asked.best_of or 1, _MOST))
    return each * _prompt_count(asked)


def _prompt_count(asked: _Asked) -> int:
    """Of the older completions: a prompt is a text, numbers of tokens, or several of either."""
    raw = bytes(asked.prompt).lstrip()
    if not raw.startswith(b"["):
        return 1
    prompts = _prompts(raw)
    return max(1, sum(bytes(prompt)[:1] in (b'"', b"[") for prompt in prompts))


def _changed(body: bytes, limit: str | None, tokens: int, *, usage: bool) -> bytes:
    """The body with a limit, and with the wish for a usage. Where neither field is there they are put at the end: nothing is read anew."""
    if limit is None and not usage:
        return body
    new = ({limit: b"%d" % tokens} if limit else {}) | ({"stream_options": b'{"include_usage":true}'} if usage else {})
    if any(b'"%b"' % name.encode() in body for name in new):
        fields = _fields(body)
        options = _with_usage(fields.get("stream_options")) if usage else b""
        fields.update({name: msgspec.Raw(options if name == "stream_options" else value) for name, value in new.items()})
        return msgspec.json.encode(fields)
    end = body.rstrip()
    return end[:-1] + b"".join(b',"%b":%b' % (name.encode(), value) for name, value in new.items()) + b"}"


def _with_usage(options: msgspec.Raw | None) -> bytes:
    known = _fields(bytes(options)) if options is not None and bytes(options) != b"null" else {}
    return msgspec.json.encode(known | {"include_usage": msgspec.Raw(b"true")})

"""How much a request may cost at most, before anybody has counted its tokens; and the request as it must be for that to hold.

    input     no token is shorter than a byte, and no prompt longer than the context, so the smaller of the two bounds it
    output    what the request allows; where it names no limit, the tenant's own is written into it

Law: a bound for a budget is never too low, because a budget is not overspent by a single request. For a rate of tokens a guess will do
(four bytes a token): that is put right when the answer has been counted. A stream is asked to say its usage at the end. Pure.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

from router.errors import BadRequest

_TEMPLATE_TOKENS: Final = 256  # what a chat template adds by itself, a default system prompt included
_BYTES_PER_TOKEN: Final = 4
_MOST: Final = 10_000_000  # tokens; what asks for more is as good as unlimited
_OF_RESPONSES: Final = "max_output_tokens"
_LIMIT: Final = {
    b"/v1/chat/completions": "max_tokens",
    b"/v1/completions": "max_tokens",
    b"/v1/messages": "max_tokens",
    b"/v1/responses": _OF_RESPONSES,
}
"""The paths that generate, and the field that limits it."""
_STREAM_OPTIONS: Final = frozenset((b"/v1/chat/completions", b"/v1/completions"))
# What stands for more tokens than it has bytes: media, and conversations that the engine keeps.
_ELSEWHERE: Final = re.compile(
    rb'"(?:image_url|input_image|image|input_audio|audio_url|video_url|file|input_file|document)"|"(?:previous_response_id|conversation)"\s*:'
).search


_NOTHING: Final = msgspec.Raw(b"null")


class _Options(msgspec.Struct):
    include_usage: bool | None = None


class _Asked(msgspec.Struct, gc=False):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    stream: bool | None = None
    stream_options: _Options | None = None
    prompt: msgspec.Raw = _NOTHING

    @property
    def most(self) -> int | None:
        """The larger one of a chat's two limits, or the one that is wrong."""
        new, old = self.max_completion_tokens, self.max_tokens
        if new is None or old is None:
            return old if new is None else new
        return max(new, old) if min(new, old) >= 0 else min(new, old)

    @property
    def each(self) -> int:
        """Answers to each prompt."""
        return max(1, min(self.n or 1, _MOST), min(self.best_of or 1, _MOST))


_decode = msgspec.json.Decoder(_Asked).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_prompts = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Bound(NamedTuple):
    """`input_tokens`, `output_tokens`: never less than what will be counted. `likely_tokens`: a guess at both together.

    `body`: the request that keeps to them. `hides_usage`: its stream says a usage that the caller did not ask for. `generates`: it has an
    answer of tokens at all.
    """

    input_tokens: int
    output_tokens: int
    likely_tokens: int
    body: bytes
    hides_usage: bool = False
    generates: bool = True


def bound(path: bytes, body: bytes, *, context: int, most_tokens: int, limits: bool) -> Bound:
    """`context`: the longest one of those that may answer. `most_tokens`: of an answer to a request that names no limit.

    `limits`: that is written into it; else it is a guess.

    Raises:
        BadRequest: a limit is not a whole number, or negative.
    """
    name = _LIMIT.get(path) or _LIMIT.get(path := path.partition(b"?")[0])
    size = len(body)
    if name is None:
        return Bound(size + _TEMPLATE_TOKENS, 0, size // _BYTES_PER_TOKEN, body, generates=False)
    asked = _read(body)
    named = asked.max_output_tokens if name == _OF_RESPONSES else asked.most
    if named is not None and named < 0:
        raise BadRequest(f"A limit of {named} tokens; send a whole number from 1, or leave it out.", param=name)
    longest = min(most_tokens if named is None else named, context)
    prompts = 1 if asked.prompt is _NOTHING else _prompt_count(asked.prompt)
    answers = prompts if asked.n is None and asked.best_of is None else prompts * asked.each
    output = min(longest * answers, _MOST)
    read = context if _ELSEWHERE(body) else min(size + _TEMPLATE_TOKENS, context * prompts)
    hides = bool(asked.stream) and path in _STREAM_OPTIONS and not (asked.stream_options and asked.stream_options.include_usage)
    if hides or (limits and named is None):
        body = _changed(body, name if limits and named is None else None, longest, usage=hides)
    return Bound(read, output, size // _BYTES_PER_TOKEN + output, body, hides)


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


def _prompt_count(prompt: msgspec.Raw) -> int:
    """Of the older completions: a prompt is a text, numbers of tokens, or several of either."""
    raw = bytes(prompt).lstrip()
    if not raw.startswith(b"["):
        return 1
    return max(1, sum(bytes(one)[:1] in (b'"', b"[") for one in _prompts(raw)))


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

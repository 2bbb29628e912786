"""What is different at a provider's end, and the request that it is sent.

Law: it gets the caller's body with the model's name there, without the fields that it does not take, and nothing of the caller's head:
what callers say of themselves is none of its business. Its key is in one line of the head and in no other place; it has no `repr`.
Pure: values in, bytes out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from fleet.provider import Provider
from router.errors import BadRequest
from router.wire.dialects import CHAT_PATH

_METERED: Final = (CHAT_PATH, b"/v1/completions")  # their streams say a usage where stream_options asks for it
_LIMIT_NAMES: Final = ("max_tokens", "max_completion_tokens")
_BYTES_PER_TOKEN: Final = 4  # of English, about; for limits only, and where no usage is said
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_options = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Address:
    """`host` as it is dialled and as its certificate names it."""

    host: str
    port: int
    tls: bool


class Message(NamedTuple):
    """`hides_usage`: its stream will say a usage that the caller did not ask for."""

    head: bytes
    body: bytes
    hides_usage: bool


@dataclass(frozen=True, slots=True)
class Remote:
    """The far side of one provider. `key` is empty where it asks for none."""

    provider: Provider
    address: Address
    head: bytes
    """Host, credentials and the other fields that are the same for all requests, as lines."""
    prefix: bytes
    key: bytes = field(default=b"", repr=False)

    def __repr__(self) -> str:
        return f"Remote({self.provider.name!r})"

    def message(self, path: bytes, request_id: bytes, body: bytes) -> Message:
        """Raises: BadRequest: the body is not JSON in a part that nobody looked at yet."""
        told, hides_usage = self.told(_plain(path), body)
        line = b"POST %b%b HTTP/1.1\r\n%bx-request-id: %b\r\ncontent-length: %d\r\n\r\n"
        return Message(line % (self.prefix, _beyond_version(path), self.head, request_id, len(told)), told, hides_usage)

    def told(self, path: bytes, body: bytes) -> tuple[bytes, bool]:
        """The body with the model's name there and without what it does not take, and whether it asks for a usage beyond the caller."""
        try:
            fields = _decode_fields(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(f"The request body is not valid JSON: {error}. Send a JSON object.") from error
        for name in self.provider.drop:
            fields.pop(name, None)
        if self.provider.max_tokens_as and path == CHAT_PATH:
            _rename_limit(fields, self.provider.max_tokens_as)
        fields["model"] = msgspec.Raw(_encode(self.provider.model))
        hides_usage = path in _METERED and "stream_options" not in self.provider.drop and _ask_usage(fields)
        return _encode(fields), hides_usage


def remote(provider: Provider, key: str) -> Remote:
    """The far side of a row, with the key that the router has for it."""
    url = urlsplit(provider.base_url)
    address = Address(url.hostname or "", url.port or (443 if url.scheme == "https" else 80), url.scheme == "https")
    lines = [f"host: {url.netloc}", "content-type: application/json", "accept-encoding: identity", "user-agent: warmfleet"]
    if key:
        lines.append(f"authorization: Bearer {key}")
    head = "".join(f"{line}\r\n" for line in lines).encode("ascii")
    return Remote(provider, address, head, url.path.rstrip("/").encode(), key.encode())


def is_sendable(key: str) -> bool:
    """A header may hold it: printable ASCII without spaces."""
    return key.isascii() and key.isprintable() and " " not in key


def estimated_tokens(size_bytes: int) -> int:
    return size_bytes // _BYTES_PER_TOKEN + 1


def _rename_limit(fields: dict[str, msgspec.Raw], name: str) -> None:
    """Under the one name that it takes; where both are said, that one holds."""
    for other in _LIMIT_NAMES:
        if other != name and (value := fields.pop(other, None)) is not None:
            fields.setdefault(name, value)


def _ask_usage(fields: dict[str, msgspec.Raw]) -> bool:
    """Asks a stream for its usage, which is what it costs. False: it is no stream, or the caller has asked."""
    if bytes(fields.get("stream", b"")) != b"true":
        return False
    try:
        options = _decode_options(bytes(fields.get("stream_options", b"null"))) or {}
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False  # the provider will say what is wrong with them
    if bytes(options.get("include_usage", b"")) == b"true":
        return False
    fields["stream_options"] = msgspec.Raw(_encode(options | {"include_usage": msgspec.Raw(b"true")}))
    return True


def _plain(path: bytes) -> bytes:
    return path.partition(b"?")[0]


def _beyond_version(path: bytes) -> bytes:
    """`/v1/chat/completions?a=b` -> `/chat/completions`: base_url has a version of its own, and nobody's query is for it."""
    return _plain(path).removeprefix(b"/v1")

"""What is different at a provider's end, and the request that it is sent.

Law: it gets the caller's body with the model's name there, without the fields that it does not take, and nothing of the caller's head:
what callers say of themselves is none of its business. Its key is in one line of the head and in no other place; it has no `repr`.
Pure: values in, bytes out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import msgspec

from fleet.provider import Provider
from router.errors import BadRequest

CHAT_PATH: Final = b"/v1/chat/completions"
_LIMIT_NAMES: Final = ("max_tokens", "max_completion_tokens")
_BYTES_PER_TOKEN: Final = 4  # of English, about; for limits only, and where no usage is said
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Address:
    """`host` as it is dialled and as its certificate names it."""

    host: str
    port: int
    tls: bool


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

    def message(self, path: bytes, request_id: bytes, body: bytes) -> tuple[bytes, bytes]:
        """Head and body of a request. Raises: BadRequest: the body is not JSON in a part that nobody looked at yet."""
        told = self.told(path, body)
        line = b"POST %b%b HTTP/1.1\r\n%bx-request-id: %b\r\ncontent-length: %d\r\n\r\n"
        return line % (self.prefix, _beyond_version(path), self.head, request_id, len(told)), told

    def told(self, path: bytes, body: bytes) -> bytes:
        """The body with the model's name there and without what it does not take."""
        try:
            fields = _decode_fields(body)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise BadRequest(f"The request body is not valid JSON: {error}. Send a JSON object.") from error
        for name in self.provider.drop:
            fields.pop(name, None)
        if self.provider.max_tokens_as and _plain(path) == CHAT_PATH:
            _rename_limit(fields, self.provider.max_tokens_as)
        fields["model"] = msgspec.Raw(_encode(self.provider.model))
        return _encode(fields)


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


def _plain(path: bytes) -> bytes:
    return path.partition(b"?")[0]


def _beyond_version(path: bytes) -> bytes:
    """`/v1/chat/completions?a=b` -> `/chat/completions`: base_url has a version of its own, and nobody's query is for it."""
    return _plain(path).removeprefix(b"/v1")

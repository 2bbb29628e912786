"""A caller's key, from the header to the hash that fleet.toml knows it by.

Law: a key is never kept, logged or compared: only its SHA-256 is. Where a hash is looked up, what the time of the search tells is about a
hash that nobody can steer; the match itself is compared in constant time. Pure.
"""

from __future__ import annotations

import hashlib
from hmac import compare_digest
from typing import Final

_LONGEST: Final = 512
_SCHEME: Final = b"bearer "


def digest(authorization: bytes | None) -> str | None:
    """The hash of the key in an `Authorization: Bearer` or `x-api-key` value; None where there is none that could be a key."""
    if not authorization or len(authorization) > _LONGEST:
        return None
    key = authorization[len(_SCHEME) :] if authorization[: len(_SCHEME)].lower() == _SCHEME else authorization
    key = key.strip()
    return hashlib.sha256(key).hexdigest() if key else None


def same(one: str, other: str) -> bool:
    """Takes as long for hashes that differ as for those that do not."""
    return compare_digest(one, other)

"""Whose request it is, as far as nobody has been admitted by name: the API key's, or else the address's that it came from.

For fairness only (queues, the session table), never for permission. The key itself is not kept. Pure.
"""

from __future__ import annotations

from typing import TypeAlias

Tenant: TypeAlias = int | str


def tenant(authorization: bytes | None, peer: str) -> Tenant:
    """`authorization`: the header as it came. A key's number is this process's own: it means nothing elsewhere."""
    return hash(authorization) if authorization else peer

"""Who may give orders: whoever sends the router's admin key, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from fastapi import Request

from router.errors import NotAdmin


def only_admin(admin_key: str) -> Callable[[Request], None]:
    """A dependency of endpoints. `admin_key` must not be empty. What it makes raises: NotAdmin"""

    def check(request: Request) -> None:
        if not is_admin(request.headers.get("authorization", "").encode(), admin_key):
            raise NotAdmin("This needs the router's admin key as `Authorization: Bearer KEY`.")

    return check


def is_admin(authorization: bytes | None, admin_key: str) -> bool:
    """`admin_key`: empty: nobody has it."""
    sent = (authorization or b"").removeprefix(b"Bearer ")
    return bool(admin_key) and hmac.compare_digest(sent, admin_key.encode())

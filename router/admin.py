"""Who may give orders: whoever sends the router's admin key, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from fastapi import Request

from router.errors import NotAdmin


def only_admin(admin_key: str) -> Callable[[Request], None]:
    """A dependency of endpoints. `admin_key` must not be empty. What it makes raises: NotAdmin"""

    def check(request: Request) -> None:
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(sent.encode(), admin_key.encode()):
            raise NotAdmin("This needs the router's admin key as `Authorization: Bearer KEY`.")

    return check

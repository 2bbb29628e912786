"""The gate for what is not relayed: sessions, lists, analytics, and whatever else is asked of the ASGI app.

Law: without a key of a tenant nothing is answered but /health and /metrics (which hold no secrets and are read by Consul and scrapers), the
pages that say what the API is, what has a key of its own, and OPTIONS. Who asks is in `request.state.visit` afterwards. Pages that add up
what was used show a tenant its own; the admin key opens them too, without a visit, and then they show all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from router.admin import is_admin
from router.errors import NoKey
from router.tenant import Gate, Visit
from router.wire.responses import refused

_OPEN: Final = frozenset(("/health", "/metrics", "/docs", "/redoc", "/openapi.json"))
_OPEN_BELOW: Final = "/docs/"
_TOTALS: Final = frozenset(("/providers", "/routing/analytics"))
_OWN_KEY: Final = ("/simulate/", "/admin/")


class Door:
    """`gate`: the one that is in force; None: nobody is asked for a key. `admin_key`: empty: nobody has it."""

    def __init__(self, app: ASGIApp, gate: Callable[[], Gate | None], admin_key: str = "") -> None:
        self._app = app
        self._gate = gate
        self._admin_key = admin_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate = self._gate() if scope["type"] == "http" else None
        if gate is None or _is_open(scope) or (scope["path"] in _TOTALS and is_admin(_authorization(scope), self._admin_key)):
            await self._app(scope, receive, send)
            return
        try:
            visit = gate.enter(_authorization(scope))
        except NoKey as error:
            await refused(error)(scope, receive, send)
            return
        scope.setdefault("state", {})["visit"] = visit
        await self._app(scope, receive, send)


def asks_for(path: str) -> Literal["nobody", "tenant", "admin"]:
    """Whose key a path asks for."""
    if path in _OPEN or path.startswith(_OPEN_BELOW):
        return "nobody"
    return "admin" if path.startswith(_OWN_KEY) else "tenant"


def visit_of(request: Request) -> Visit | None:
    """Who asks; None: there are no tenants."""
    visit: Visit | None = getattr(request.state, "visit", None)
    return visit


def authorization_of(request: Request) -> bytes | None:
    """The key as it came, for a request that is made in the name of this one."""
    return _authorization(request.scope)


def _is_open(scope: Scope) -> bool:
    return asks_for(scope["path"]) != "tenant" or scope["method"] == "OPTIONS"


def _authorization(scope: Scope) -> bytes | None:
    found: dict[bytes, bytes] = {name: value for name, value in scope["headers"] if name in (b"authorization", b"x-api-key")}
    return found.get(b"authorization") or found.get(b"x-api-key")

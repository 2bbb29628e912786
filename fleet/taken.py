"""Which running routers go by a description that was just published: each says in GET /health which one is in force.

A router may refuse what the command found right, because it knows what the command does not: what it was started with. So who publishes is
told what came of it. Nothing is changed here, and a router that cannot be reached from this machine is no error.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from fleet.consul import Consul

_PATIENCE_S = 6.0
_POLL_S = 0.2
_ASK = aiohttp.ClientTimeout(total=2.0)


@dataclass(frozen=True, slots=True)
class Taken:
    """Passing routers by base URL, and the digest of the description that each goes by; None: it cannot be asked from here."""

    wanted: str
    routers: Mapping[str, str | None]

    @property
    def others(self) -> dict[str, str]:
        """Those that go by another one."""
        return {url: said for url, said in self.routers.items() if said is not None and said != self.wanted}

    @property
    def silent(self) -> int:
        return sum(said is None for said in self.routers.values())


async def taken(consul: Consul, service: str, digest: str) -> Taken:
    """As it is when all routers that can be asked go by the description, or else after 6 s. Raises: ControlPlaneError."""
    deadline = time.monotonic() + _PATIENCE_S
    async with aiohttp.ClientSession(timeout=_ASK) as session:
        while True:
            passing = [one for one in (await consul.instances(service)).value if one.passing]
            urls = [f"http://{one.host}:{one.port}" for one in passing]
            said = await asyncio.gather(*(_in_force(session, url) for url in urls))
            now = Taken(digest, dict(zip(urls, said, strict=True)))
            if not now.others or time.monotonic() > deadline:
                return now
            await asyncio.sleep(_POLL_S)


async def _in_force(session: aiohttp.ClientSession, url: str) -> str | None:
    try:
        async with session.get(f"{url}/health") as answer:
            document = await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
    return str(document["description"]) if isinstance(document, dict) and "description" in document else None

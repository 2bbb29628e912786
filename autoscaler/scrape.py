"""GET /metrics of routers and engines, all at once, each bounded in time and size.

A target that fails is a value (Failed) with its reason; it never delays or hides the others. Nothing is retried: the next pass
asks again. Where the targets come from and what the numbers mean is not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp

from autoscaler.errors import MalformedMetrics
from autoscaler.history import Failed, Key, Scrape

_MOST_BYTES = 4 * 1024**2


@dataclass(frozen=True, slots=True)
class Target:
    """`name` is how sentences call it, `router 10.0.0.7:8000`. `read` turns its text into values, or raises MalformedMetrics."""

    name: str
    url: str
    read: Callable[[str], Mapping[Key, float]]


class Metrics(Protocol):
    async def scrape(self, targets: Sequence[Target]) -> tuple[Scrape | Failed, ...]:
        """One answer per target, in order. Raises nothing."""


def open_session() -> aiohttp.ClientSession:
    """A session with as many connections as there are targets: silent ones must not keep the others waiting."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=False)


@dataclass(frozen=True, slots=True)
class Scraper:
    """One HTTP session of one event loop, which the caller closes. `timeout_s` bounds each target, and so all of them."""

    session: aiohttp.ClientSession
    timeout_s: float
    clock: Callable[[], float]
    most_bytes: int = field(default=_MOST_BYTES)

    async def scrape(self, targets: Sequence[Target]) -> tuple[Scrape | Failed, ...]:
        return tuple(await asyncio.gather(*map(self._one, targets)))

    async def _one(self, target: Target) -> Scrape | Failed:
        try:
            async with asyncio.timeout(self.timeout_s):
                return Scrape(target.name, self.clock(), target.read(await self._text(target.url)))
        except MalformedMetrics as error:
            return Failed(target.name, f"is not understood: {error}")
        except TimeoutError:
            return Failed(target.name, f"did not answer within {self.timeout_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Failed(target.name, f"does not answer: {error or type(error).__name__}")

    async def _text(self, url: str) -> str:
        async with self.session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise MalformedMetrics(f"GET {url} says {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > self.most_bytes:
                    raise MalformedMetrics(f"GET {url} is larger than {self.most_bytes} bytes")
            return body.decode()

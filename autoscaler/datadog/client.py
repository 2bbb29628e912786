"""One POST to Datadog's query API: the only user of its keys.

TLS certificates are verified; redirects are not followed, because the keys would follow them. Bounded in time and in size. Nothing
is retried here: the reader knows when to ask again. The address is `https://api.<site>`; WARMFLEET_DATADOG_URL replaces it for tests
and takes loopback addresses only.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

from autoscaler.datadog.errors import DatadogError, Limited, MalformedAnswer, NoAnswer, NotAllowed
from autoscaler.signals import Known, Signal, Unknown
from fleet.errors import WarmfleetError
from fleet.names import ENV_DATADOG_URL

_PATH = "/api/v2/query/timeseries"
_MOST_BYTES = 8 * 1024**2
_SITE = re.compile(r"[a-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class Access:
    """Where Datadog is, and who asks."""

    url: str
    api_key: str = field(repr=False)
    app_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer with status 200. `remaining`: questions left in the limit's period, which ends in `reset_s`."""

    text: bytes
    remaining: Signal
    reset_s: float


def access(environment: Mapping[str, str], site: str) -> Access | Unknown:
    """From DD_API_KEY, DD_APP_KEY, and DD_SITE where it is set; Unknown says which key is missing.

    Raises:
        WarmfleetError: DD_SITE is no host name, or the address for tests is not on loopback.
    """
    keys = environment.get("DD_API_KEY", ""), environment.get("DD_APP_KEY", "")
    if missing := [name for name, key in zip(("DD_API_KEY", "DD_APP_KEY"), keys, strict=True) if not key]:
        return Unknown(f"{' and '.join(missing)} not set")
    return Access(_url(environment, site), *keys)


def _url(environment: Mapping[str, str], site: str) -> str:
    site = environment.get("DD_SITE") or site
    if not _SITE.fullmatch(site):
        raise WarmfleetError(f"DD_SITE is {site!r}: set it to a Datadog site, such as datadoghq.eu")
    override = environment.get(ENV_DATADOG_URL, "")
    if override and not _is_loopback(urlsplit(override).hostname or ""):
        raise WarmfleetError(f"{ENV_DATADOG_URL} is {override!r}: it is for tests on loopback; set datadog.site or DD_SITE instead")
    return override.rstrip("/") or f"https://api.{site}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Client:
    """`session` is the caller's to close; `timeout_s` bounds one question as a whole."""

    session: aiohttp.ClientSession
    access: Access
    timeout_s: float
    most_bytes: int = _MOST_BYTES

    async def ask(self, question: bytes) -> Heard:
        """Raises: DatadogError."""
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._ask(question)
        except TimeoutError as error:
            raise NoAnswer(f"Datadog did not answer within {self.timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NoAnswer(f"Datadog does not answer: {error or type(error).__name__}") from error

    async def _ask(self, question: bytes) -> Heard:
        headers = {
            "content-type": "application/json",
            "accept": "application/json",
            "dd-api-key": self.access.api_key,
            "dd-application-key": self.access.app_key,
        }
        async with self.session.post(self.access.url + _PATH, data=question, headers=headers, allow_redirects=False) as response:
            text = await self._text(response)
            if response.status != 200:
                raise self._refusal(response.status, response.headers, text)
            left = _seconds(response.headers, "x-ratelimit-remaining")
            remaining = Unknown("Datadog sent no X-RateLimit-Remaining") if left is None else Known(left, 0.0)
            return Heard(text, remaining, _seconds(response.headers, "x-ratelimit-reset") or 0.0)

    async def _text(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > self.most_bytes:
                raise MalformedAnswer(f"Datadog's answer is larger than {self.most_bytes} bytes")
        return bytes(body)

    def _refusal(self, status: int, headers: Mapping[str, str], text: bytes) -> DatadogError:
        words = _words(text).replace(self.access.api_key, "***").replace(self.access.app_key, "***")
        if status == 429:
            return Limited(f"Datadog's rate limit is used up (HTTP 429{words})", _seconds(headers, "x-ratelimit-reset"))
        if status in (401, 403):
            return NotAllowed(f"Datadog refuses the keys (HTTP {status}{words}): DD_API_KEY and DD_APP_KEY must be of {self.access.url}")
        if status >= 500:
            return NoAnswer(f"Datadog has trouble of its own (HTTP {status}{words})")
        if 300 <= status < 400:
            return MalformedAnswer(f"{self.access.url} redirects (HTTP {status}): set datadog.site to the site of the organisation")
        return NotAllowed(f"Datadog refuses the question (HTTP {status}{words})")


def _seconds(headers: Mapping[str, str], name: str) -> float | None:
    """A header that is a number, None where it is missing or none."""
    value = headers.get(name, "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else None


def _words(text: bytes) -> str:
    """What the answer says of the error, as `: words`, or nothing."""
    try:
        errors = json.loads(text)["errors"]
        return ": " + "; ".join(str(error) for error in errors)[:200] if errors else ""
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""

"""Which HTTP proxy stands between this machine and a provider, as the usual environment variables say. Pure.

    HTTPS_PROXY or https_proxy     http://[user:password@]host:port, asked to CONNECT
    NO_PROXY or no_proxy           hosts and domains, parted by commas, that are reached directly; "*": all

ALL_PROXY holds where HTTPS_PROXY is not set. Proxies that are themselves spoken to in TLS, and SOCKS, are not supported: such a
variable is an error and not ignored, because whoever set it does not want direct connections.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed does not know it

from fleet.errors import Finding, SpecError


@dataclass(frozen=True, slots=True)
class Proxy:
    """`authorization`: the value of the header, or empty."""

    host: str
    port: int
    authorization: bytes = field(default=b"", repr=False)

    def connect(self, host: str, port: int) -> bytes:
        """The request for a tunnel."""
        there = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        credentials = b"proxy-authorization: %b\r\n" % self.authorization if self.authorization else b""
        return b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (there.encode(), there.encode(), credentials)


def proxy_for(host: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy on the way to a host. Raises: SpecError: the variable names one that cannot be used."""
    variable = next((name for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY") if environment.get(name)), None)
    if variable is None or _is_direct(host, environment):
        return None
    said = environment[variable]
    url = urlsplit(said if "://" in said else f"http://{said}")
    try:
        port = url.port or 80
    except ValueError:
        port = 0
    if url.scheme != "http" or not url.hostname or not port:
        raise SpecError((Finding(variable, "", "is no http:// proxy with a host and a port; others are not supported"),))
    return Proxy(url.hostname, port, _basic(url.username, url.password))


def _is_direct(host: str, environment: Mapping[str, str]) -> bool:
    no = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    return bool(proxy_bypass_environment(host, {"no": no}))


def _basic(user: str | None, password: str | None) -> bytes:
    if user is None:
        return b""
    return b"Basic " + base64.b64encode(f"{unquote(user)}:{unquote(password or '')}".encode())

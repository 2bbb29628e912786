"""Where nobody may send a request through a provider's row: addresses that speak for the machine they are asked from.

Clouds tell whoever asks from a machine that machine's credentials, at link-local addresses and a few others. A row that led there would
hand them to its author. Judged by the address that is dialled, whatever name led to it, and by the names that always do. What a proxy
dials is not known here: that is the proxy's to judge, and what is said here of a name that goes there is a help and no wall. Pure.
"""

from __future__ import annotations

import ipaddress
from typing import Final

_METADATA_NAMES: Final = frozenset(("metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"))
_METADATA: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "169.254.0.0/16",  # link-local: AWS, GCP, Azure, Oracle, DigitalOcean
            "fe80::/10",  # link-local
            "fd00:ec2::/32",  # AWS
            "fd20:ce::254/128",  # GCP
            "100.100.100.200/32",  # Alibaba
            "168.63.129.16/32",  # Azure
            "192.0.0.192/32",  # Oracle
        ),
    )
)
_CARRYING_4: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))  # NAT64, and the old compatible form

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_metadata(host: str) -> bool:
    """Whether a host name or an address in its usual form is one where a machine's secrets are told."""
    address = _address(host)
    if address is None:
        return host.lower().rstrip(".") in _METADATA_NAMES
    return any(each.version == network.version and each in network for each in (address, *_inside(address)) for network in _METADATA)


def is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _inside(address: _Address) -> tuple[_Address, ...]:
    """The IPv4 address that an IPv6 one stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    found = [address.ipv4_mapped, address.sixtofour]
    if any(address in network for network in _CARRYING_4):
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return tuple(each for each in found if each is not None)

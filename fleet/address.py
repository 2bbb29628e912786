"""What an address of Nomad's or Consul's HTTP API looks like, in fleet.toml and at a prompt.

Judged before anything is asked: a client would say of what is no address that nobody answers there, or break. Pure.
"""

from __future__ import annotations

import re

HTTP_API = r"^https?://(\[[0-9A-Fa-f:.]+\]|[^\s/:?#@\[\]]+)(:(\d{1,4}|[1-5]\d{4}|6[0-5]\d{3}))?(/\S*)?$"


def completed(typed: str) -> str | None:
    """The address with its scheme, which Consul's and Nomad's own tools do not ask for; None: it is none."""
    address = typed if "://" in typed else f"http://{typed}"
    return address if re.fullmatch(HTTP_API, address) else None

"""What to do where Nomad or Consul does not answer a command, or Nomad's token may not, in the words of whoever typed it.

An adapter's error says what the network or the server said; that helps in a log, not at a prompt. Other errors pass as they are. For
commands only: loops say what an adapter says, and try again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fleet.errors import Denied, Unreachable

_MARK = " does not answer"
_WAYS = {"Nomad": "--address, NOMAD_ADDR or fleet.nomad", "Consul": "--consul, CONSUL_HTTP_ADDR or fleet.consul"}


@contextmanager
def advised(consul: str = "") -> Iterator[None]:
    """`consul`: the address that is asked, because Consul's adapter does not say it.

    Raises:
        Unreachable, Denied: with what to do about it.
    """
    try:
        yield
    except Denied as error:
        raise Denied(f"{error}: NOMAD_TOKEN is missing, unknown, or may not do this") from error
    except Unreachable as error:
        who, found, _ = str(error).partition(_MARK)
        if not found:
            raise
        at = f" at {consul}" if consul and who == "Consul" else ""
        ways = _WAYS[who.partition(" ")[0]]
        raise Unreachable(f"{who}{at}{_MARK}; is the address right ({ways})? A local system: `make up`") from error

"""Ports of one local stack: a block of 100 that no other stack on the machine uses.

The lease of a block is its first port, bound and never listened on. Agents inherit that socket and hand it on to their tasks, so the
kernel keeps the block exactly as long as any process of the stack lives, however the processes end, and no lock file stays behind.
Blocks lie below the range from which the kernel takes ports for outgoing connections. The upper part of a block belongs to Nomad's
dynamic ports, so that two Nomads side by side never hand out the same one.
The well-known ports cannot be leased so, because people expect servers there that are not ours: of stacks that start at the same time
one alone may look at them (`turn`), until it listens there.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fleet.errors import StackError

HOST = "127.0.0.1"

_SIZE, _FIXED = 100, 20
BLOCKS = range(20000, 32000, _SIZE)
_TURN = BLOCKS.start - 1


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of a block, by use; `dynamic` are the bounds, both included, of what Nomad may hand out."""

    consul_http: int
    consul_grpc: int
    consul_server: int
    consul_serf_lan: int
    consul_serf_wan: int
    nomad_http: int
    nomad_rpc: int
    nomad_serf: int
    redis: int
    router: int
    dynamic: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Known:
    """Ports that people expect a server at."""

    consul_http: int = 8500
    nomad_http: int = 4646
    router: int = 8000


@dataclass(frozen=True, slots=True)
class Lease:
    """A block that is ours while `held` is open here or in a process that inherited it."""

    base: int
    held: socket.socket

    def close(self) -> None:
        """Gives up this process's part of the lease; processes that inherited it keep theirs."""
        self.held.close()


def lease(blocks: Sequence[int] = BLOCKS) -> Lease:
    """The first of the blocks that is free.

    Raises:
        StackError: every block is in use.
    """
    for base in blocks:
        held = _bound(base)
        if held is None:
            continue
        if all(is_free(port) for port in range(base + 1, base + _FIXED)):
            return Lease(base, held)
        held.close()
    raise StackError(
        f"this machine has no free block of {_SIZE} ports between {min(blocks)} and {max(blocks) + _SIZE}; stop what listens there"
    )


@contextmanager
def turn(port: int = _TURN) -> Iterator[bool]:
    """Whether it is this process's turn to take the well-known ports; it stays so to the end of the block, or of the process."""
    held = _bound(port)
    try:
        yield held is not None
    finally:
        if held is not None:
            held.close()


def block(base: int, known: Known | None = None) -> Ports:
    """Ports of a block. Where `known` ones are given and free, they stand in."""

    def pick(port: int, offset: int) -> int:
        return port if port and is_free(port) else base + offset

    return Ports(
        consul_http=pick(known.consul_http if known else 0, 1),
        consul_grpc=base + 2,
        consul_server=base + 3,
        consul_serf_lan=base + 4,
        consul_serf_wan=base + 5,
        nomad_http=pick(known.nomad_http if known else 0, 6),
        nomad_rpc=base + 7,
        nomad_serf=base + 8,
        redis=base + 9,
        router=pick(known.router if known else 0, 10),
        dynamic=(base + _FIXED, base + _SIZE - 1),
    )


def is_free(port: int) -> bool:
    """Nobody listens on the port. Connections of an earlier listener that linger in TIME_WAIT do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def _bound(port: int) -> socket.socket | None:
    holder = socket.socket()
    try:
        holder.bind((HOST, port))
    except OSError:
        holder.close()
        return None
    return holder

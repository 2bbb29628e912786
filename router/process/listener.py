"""The public socket of a node, which outlives the router that made it.

    first router      binds and listens, then gives the socket to whoever asks
    its successor     asks, listens on the very same socket beside it, and gives it in turn once the name is free
    the first one     is stopped, closes its copy; the queue of new connections stays open in the successor's

Law: between the two there is no moment without a listener, so a caller is never refused or reset. Nomad lets no two allocations of
a node have one static port, so the public port is not Nomad's. The place to ask is an abstract Unix socket: seen by every process
of the host's network, gone with its owner, nothing to clean up. Only processes of the same user are answered or believed.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable

from router.errors import NoSocket

_BACKLOG = 2048
_ASK_S = 2.0
_PAUSE_S = 0.1
_NAME_PAUSE_S = 0.5
_FD_BYTES = array.array("i").itemsize


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises: OSError"""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def obtain(host: str, port: int, patience_s: float, clock: Callable[[], float] = time.monotonic) -> socket.socket:
    """The node's public socket: the predecessor's, or a new one where there is none.

    Raises:
        NoSocket: another program listens there, or the address is not this machine's.
    """
    deadline = clock() + patience_s
    while True:
        if (shared := ask(host, port)) is not None:
            return shared
        try:
            return bind(host, port)
        except OSError as error:
            if clock() > deadline:
                raise NoSocket(
                    f"cannot listen on {host}:{port}: {error.strerror}; a router would have shared it, so look who else does"
                ) from error
        time.sleep(_PAUSE_S)


def ask(host: str, port: int) -> socket.socket | None:
    """The listening socket of the router that gives it, None where none does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(_ASK_S)
        try:
            line.connect(_name(host, port))
            if not _is_ours(line):
                return None
            _, control, _, _ = line.recvmsg(1, socket.CMSG_SPACE(_FD_BYTES))
        except OSError:
            return None
    return _received(control, port)


async def give_forever(host: str, public: socket.socket) -> None:
    """Gives the socket to every router that asks, as soon as the name is free. One ask is one connection, and carries nothing else."""
    loop = asyncio.get_running_loop()
    with await _named(host, public.getsockname()[1]) as door:
        while True:
            line, _ = await loop.sock_accept(door)
            with line:
                if _is_ours(line):
                    _give(line, public)


async def _named(host: str, port: int) -> socket.socket:
    """The predecessor has the name until it is stopped."""
    while True:
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            door.bind(_name(host, port))
        except OSError:
            door.close()
            await asyncio.sleep(_NAME_PAUSE_S)
            continue
        door.listen(8)
        door.setblocking(False)
        return door


def _give(line: socket.socket, public: socket.socket) -> None:
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [public.fileno()]))
    try:
        line.sendmsg([b"l"], [rights])
    except OSError:
        return  # it has left; it will ask again


def _received(control: list[tuple[int, int, bytes]], port: int) -> socket.socket | None:
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS and len(data) >= _FD_BYTES:
            sock = socket.socket(fileno=array.array("i", data[:_FD_BYTES])[0])
            if sock.getsockname()[1] == port:
                sock.setblocking(False)
                return sock
            sock.close()
    return None


def _is_ours(line: socket.socket) -> bool:
    """The peer runs as the same user; anybody on the machine may connect to an abstract name, or take it first."""
    credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return bool(uid == os.geteuid())


def _name(host: str, port: int) -> str:
    return f"\0warmfleet-router/{host}:{port}"

"""Blocks of ports: leases that exclude each other and end with the last process that holds them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.local import ports

BLOCKS = ports.BLOCKS[::-1]  # away from the ones that a test run beside this one takes
_HOLD = "import sys; sys.stdout.write('holding'); sys.stdout.flush(); sys.stdin.read()"


@pytest.fixture
def lease() -> Iterator[ports.Lease]:
    own = ports.lease(BLOCKS)
    yield own
    own.close()


def test_two_leases_differ(lease: ports.Lease) -> None:
    other = ports.lease(BLOCKS)
    other.close()
    assert other.base != lease.base


def test_a_closed_lease_can_be_had_again() -> None:
    first = ports.lease(BLOCKS)
    first.close()
    assert is_leasable(first.base)


def test_a_lease_lasts_until_the_process_that_inherited_it_is_killed() -> None:
    own = ports.lease(BLOCKS)
    fd = own.held.fileno()
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[fd], start_new_session=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.read(7) == b"holding"
        own.close()
        assert not is_leasable(own.base)
        os.kill(holder.pid, signal.SIGKILL)
    assert is_leasable(own.base)


def test_a_block_with_a_listener_in_it_is_passed_over() -> None:
    free = ports.lease(BLOCKS)
    free.close()
    with socket.create_server((ports.HOST, free.base + 5)):
        other = ports.lease(BLOCKS)
        other.close()
    assert other.base != free.base


def test_a_port_is_free_until_somebody_listens(lease: ports.Lease) -> None:
    port = lease.base + 1
    assert ports.is_free(port)
    with socket.create_server((ports.HOST, port)):
        assert not ports.is_free(port)
    assert ports.is_free(port)


def test_a_listener_on_all_addresses_counts_too(lease: ports.Lease) -> None:
    with socket.create_server(("", lease.base + 1)):
        assert not ports.is_free(lease.base + 1)


def test_of_those_that_start_at_once_one_may_take_the_well_known_ports(lease: ports.Lease) -> None:
    port = lease.base + 1
    with ports.turn(port) as first, ports.turn(port) as second:
        assert (first, second) == (True, False)
    with ports.turn(port) as later:
        assert later


bases = st.integers(200, 319).map(lambda n: n * 100)


@given(bases)
def test_no_port_of_a_block_is_used_twice_and_none_lies_outside(base: int) -> None:
    own = ports.block(base)
    fixed = [port for name in ports.Ports.__slots__ if name != "dynamic" and isinstance(port := getattr(own, name), int)]
    low, high = own.dynamic
    assert len(set(fixed)) == len(fixed)
    assert all(base < port < low for port in fixed)
    assert low < high == base + 99


def test_a_known_port_stands_in_only_where_it_is_free(lease: ports.Lease) -> None:
    known = ports.Known(router=lease.base + 90)
    assert ports.block(lease.base, known).router == lease.base + 90
    with socket.create_server((ports.HOST, lease.base + 90)):
        assert ports.block(lease.base, known).router == lease.base + 10


def is_leasable(base: int) -> bool:
    """Bound as a lease binds it; another test run may be quicker to lease a block, so `ports.lease` cannot be asked."""
    with socket.socket() as probe:
        try:
            probe.bind((ports.HOST, base))
        except OSError:
            return False
        return True

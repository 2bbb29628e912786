"""Addresses that speak for the machine they are asked from are told from all others, however they are written."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.reach import is_loopback, is_metadata

SECRET = (
    "169.254.169.254",
    "169.254.170.2",
    "fe80::1",
    "fe80::1%eth0",
    "[fe80::1]",
    "fd00:ec2::254",
    "fd20:ce::254",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "metadata.google.internal",
    "Metadata.Google.Internal.",
    "metadata",
    "instance-data",
)
PUBLIC = ("api.example.com", "metadata.example.com", "127.0.0.1", "localhost", "::1", "10.0.0.7", "2606:4700::1", "169.253.1.1", "", "x")


@pytest.mark.parametrize("host", SECRET)
def test_a_machine_s_own_secrets(host: str) -> None:
    assert is_metadata(host)


@pytest.mark.parametrize("host", PUBLIC)
def test_anybody_else(host: str) -> None:
    assert not is_metadata(host)


@given(st.ip_addresses(v=4))
def test_an_address_is_judged_alike_in_both_families(address: ipaddress.IPv4Address) -> None:
    assert is_metadata(f"::ffff:{address}") == is_metadata(str(address))
    assert is_metadata(str(address)) or not address.is_link_local


@pytest.mark.parametrize(
    ("host", "is_ours"), [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("a.b", False)]
)
def test_loopback(host: str, *, is_ours: bool) -> None:
    assert is_loopback(host) is is_ours

"""Addresses of Nomad and Consul: what is one, and what a command says of what is none."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from fleet.address import completed
from fleet.cli import main


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("http://127.0.0.1:4646", "http://127.0.0.1:4646"),
        ("https://nomad.example.org", "https://nomad.example.org"),
        ("https://proxy/nomad", "https://proxy/nomad"),
        ("http://[::1]:8500/", "http://[::1]:8500/"),
        ("127.0.0.1:8500", "http://127.0.0.1:8500"),
        ("localhost", "http://localhost"),
        ("", None),
        ("http://", None),
        ("http://host:port", None),
        ("nonsense:x", None),
        ("host:70000", None),
        ("two hosts:8500", None),
        ("ftp://host", None),
        ("unix:///var/run/consul.sock", None),
        ("http://user:secret@host:8500", None),
        ("http://user@host:8500", None),
    ],
)
def test_an_address_is_completed_or_refused(typed: str, address: str | None) -> None:
    assert completed(typed) == address


@pytest.mark.parametrize(
    ("words", "option", "variable"),
    [
        (["jobs"], "--address", "NOMAD_ADDR"),
        (["validate"], "--address", "NOMAD_ADDR"),
        (["deploy"], "--consul", "CONSUL_HTTP_ADDR"),
        (["explain", "small-model"], "--consul", "CONSUL_HTTP_ADDR"),
        (["pause", "a reason"], "--consul", "CONSUL_HTTP_ADDR"),
        (["reload"], "--consul", "CONSUL_HTTP_ADDR"),
    ],
)
def test_what_is_no_address_is_a_mistake_in_the_call(words: list[str], option: str, variable: str) -> None:
    given = CliRunner().invoke(main, [*words, option, "nonsense:x"])
    in_environment = CliRunner().invoke(main, words, env={variable: "nonsense:x"})
    for said in (given, in_environment):
        assert said.exit_code == 2
        assert option in said.stderr and "'nonsense:x' is no address: write http://HOST:PORT" in said.stderr

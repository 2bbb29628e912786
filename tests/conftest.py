"""Fixtures for all tests: real servers, started once in a test run and only if a test asks for them.

Properties are about what is decided, not about how fast a busy machine does it: hypothesis has no deadline.
"""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest

from tests import servers

hypothesis.settings.register_profile("no-deadline", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("no-deadline")


@pytest.fixture(scope="session")
def consul_server() -> Iterator[servers.ConsulServer]:
    """A Consul dev agent of this test run: `.address`. Shared, so use keys and service names of your own."""
    with servers.consul() as server:
        yield server


@pytest.fixture(scope="session")
def nomad_server(consul_server: servers.ConsulServer) -> Iterator[servers.NomadServer]:
    """A Nomad dev agent that runs raw_exec tasks and registers services with `consul_server`: `.address`, `.consul`.

    Shared: use job ids of your own, and purge them.
    """
    with servers.nomad(consul_server.address) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[servers.RedisServer]:
    """A Redis server of this test run: `.url`, and `.stop()` / `.start()`. A test that stops it starts it again."""
    with servers.redis() as server:
        yield server

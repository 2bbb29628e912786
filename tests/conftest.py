"""What holds for all tests: their order, and real servers, started once by each worker and only if a test asks for them.

Files go to workers whole and in the order that is made here: journeys first, because each takes a minute or more, of which it waits for
half; then what needs real servers or installs something; and then the rest, which fills the gaps and keeps all cores busy to the end.
Properties are about what is decided, not about how fast a busy machine does it: hypothesis has no deadline.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Generator, Iterator

import hypothesis
import pytest

from tests import servers

hypothesis.settings.register_profile("no-deadline", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("no-deadline")

_LONGEST_FIRST = ("journey", "contract", "long")  # markers; what has none comes last


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes more seconds than it has tests, without real servers; so not to be begun at the end")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is loaded now stays: to look for garbage in it would be a quarter of the work of loading, and more with every test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file stay together and in their order. Of two files of a kind the one with more tests is first."""
    tests = Counter(item.path for item in items)
    ranks = {path: len(_LONGEST_FIRST) for path in tests}
    for item in items:
        ranks[item.path] = min(ranks[item.path], _rank(item))
    items.sort(key=lambda item: (ranks[item.path], -tests[item.path], item.path))


def _rank(item: pytest.Item) -> int:
    return next((rank for rank, name in enumerate(_LONGEST_FIRST) if item.get_closest_marker(name)), len(_LONGEST_FIRST))


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

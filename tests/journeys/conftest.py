"""One running fleet for the journeys of a file: own ports, own folder, gone afterwards whatever happened.

Not for the whole run: a fleet that nobody asks anything goes on looking after itself, and other tests need the processor.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from fleet.local import stack
from tests import servers
from tests.journeys.fleet import Fleet
from tests.journeys.load import CLOSING_S

# Room for two replicas on two cores, and a calm after which the test need not wait long.
VARIABLES = ("model.small-model.replicas.max=2", "autoscaler.cooldown_down=5s")


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """The whole system as `make up` starts it, on ports of its own."""
    with servers.state_folder() as state:  # the stack's own folder, so that a killed run is swept by its name
        yield Fleet(state, stack.up(state, usual_ports=False, variables=VARIABLES))
        stack.down(state)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
        yield session
    await asyncio.sleep(CLOSING_S)

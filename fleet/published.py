"""The description that routers go by in place of the one they were deployed with: one document in Consul, which every router watches.

`warmfleet reload` publishes it. It is withdrawn by that command and by a deployment of the routers, or what was published before would
win over what is deployed.
"""

from __future__ import annotations

import asyncio

from fleet.consul import Consul, opened
from fleet.errors import Conflict
from fleet.names import Names
from fleet.spec import Loaded, resolved_json


async def publish(consul: Consul, loaded: Loaded) -> None:
    """Raises: Conflict: somebody else published at the same moment; ControlPlaneError."""
    key = Names(loaded.spec.fleet.name).spec
    _, index = await consul.document(key)
    if not await consul.put(key, resolved_json(loaded).encode(), index=index):
        raise Conflict(f"somebody else has just published a description at {key}; look whose is right, then reload again")


def withdrawn(address: str, names: Names) -> bool:
    """Removes it; False: there was none. Raises: ControlPlaneError."""
    return asyncio.run(_withdrawn(address, names.spec))


async def _withdrawn(address: str, key: str) -> bool:
    async with opened(address) as consul:
        document, _ = await consul.document(key)
        if document is not None:
            await consul.delete(key)
        return document is not None

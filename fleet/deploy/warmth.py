"""Which replicas of a model are warm: Consul says passing, and the replica itself answers a test prompt.

Law: nothing is called warm that has not answered. A replica is asked again until it has, and then no more.
"""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet import names
from fleet.consul import Consul, Instance

_PROMPT_TIMEOUT_S = 60.0
_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Replica:
    """One registered replica. `serves`: callers may be sent to it, it is no canary. `trouble`: why it is not warm although it passes."""

    alloc_id: str
    version: str
    passing: bool
    serves: bool
    warm: bool
    trouble: str = ""


@dataclass(slots=True)
class Warmth:
    """Looks at the replicas of one model.

    Args:
        prompts: ask each passing replica; without, passing is warm. The replicas must be reachable from here.
    """

    consul: str
    token: str | None
    service: str
    model: str
    prompts: bool = True
    _answered: set[str] = field(default_factory=set)

    def look(self) -> Mapping[str, Replica]:
        """Replicas by allocation id. Raises: Unreachable, Refused: from Consul."""
        mine = [i for i in asyncio.run(self._instances()) if self.model in (i.meta.get(names.META_MODEL), i.meta.get(names.META_CANARY))]
        return {replica.alloc_id: replica for replica in map(self._replica, mine)}

    def reach(self) -> None:
        """Asks Consul without looking at anything. Raises: Unreachable, Refused: nobody could say later whether a replica is warm."""
        asyncio.run(self._instances())

    async def _instances(self) -> tuple[Instance, ...]:
        consul = Consul(self.consul, self.token)
        try:
            return (await consul.instances(self.service)).value
        finally:
            await consul.close()

    def _replica(self, instance: Instance) -> Replica:
        alloc_id = instance.meta.get(names.META_ALLOC_ID, "")
        trouble = self._trouble(alloc_id, instance) if instance.passing else "does not pass yet"
        serves = names.META_MODEL in instance.meta
        return Replica(alloc_id, instance.meta.get(names.META_VERSION, ""), instance.passing, serves, not trouble, trouble)

    def _trouble(self, alloc_id: str, instance: Instance) -> str:
        if not self.prompts or alloc_id in self._answered:
            return ""
        trouble = ask(instance.host, instance.port, self.model)
        if not trouble:
            self._answered.add(alloc_id)
        return trouble


def ask(host: str, port: int, model: str) -> str:
    """Empty where a short chat is answered, else what came instead."""
    body = json.dumps({"model": model, "max_tokens": _TOKENS, "messages": [{"role": "user", "content": "Say hello."}]})
    connection = http.client.HTTPConnection(host, port, timeout=_PROMPT_TIMEOUT_S)
    try:
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"the test prompt to {host}:{port} got no answer: {type(error).__name__}: {error}"
    finally:
        connection.close()
    return "" if answer.status == 200 and _is_completion(text) else f"the test prompt was answered with {answer.status}: {text[:200]}"


def _is_completion(text: str) -> bool:
    try:
        return bool(json.loads(text)["choices"])
    except (ValueError, KeyError, TypeError):
        return False

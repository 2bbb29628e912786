"""A decision made true: the order to Nomad, and the state that the routers are told.

An order goes out only if Consul, asked once more, agrees that this one leads; and only on the job as it was read. A refusal is no
error of the pass: it is said, and decided again in the next one. What a decision leaves to the next is kept once the routers can
know it too: victims that they have not been told of are not draining. While Nomad looks for room for what was ordered before, only
fewer replicas are ordered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from autoscaler.board import Status, inputs, model_state
from autoscaler.decide import Decision, Memory
from autoscaler.drain import ordered
from autoscaler.jobs import Jobs, Order
from autoscaler.look import Carried, Look
from autoscaler.signals import Unknown
from autoscaler.states import States
from fleet.errors import Blocked, Conflict, ControlPlaneError
from fleet.names import Names
from fleet.state import ModelState

_PUBLISH_EVERY_S = 10.0


class Confirms(Protocol):
    async def confirm(self) -> bool:
        """Whether this one still leads. Raises: ControlPlaneError."""


@dataclass(frozen=True, slots=True)
class Actor:
    names: Names
    jobs: Jobs
    states: States
    lease: Confirms

    async def act(self, look: Look, decision: Decision, status: Status) -> tuple[Status, Memory]:
        if not decision.scales:
            return status, decision.memory
        try:
            refused = await self._ordered(look, decision, status)
        except ControlPlaneError as error:
            refused = f"not done: {error}"
        if refused:
            news = (*status.news, refused)
            return replace(status, sentence=f"{status.sentence}; {refused}", news=news), decision.memory
        done = f"{decision.current} again" if decision.again else f"{decision.current} -> {decision.order}"
        return replace(status, done=done), replace(decision.memory, drain=ordered(decision.memory.drain))

    async def _ordered(self, look: Look, decision: Decision, status: Status) -> str:
        """Why it was not done, or empty."""
        view = look.view
        if view.placing and decision.order >= decision.current:
            return "waits: Nomad looks for room for what was ordered before, and takes no more meanwhile"
        if not await self.lease.confirm():
            return "not done: another autoscaler leads now"
        job_id = self.names.job(decision.model)
        try:
            await self.jobs.order(
                Order(job_id, decision.order, view.modify_index, decision.sentence, inputs(status), gives_up=view.placing)
            )
        except Blocked:
            return "waits: a deployment has begun, and Nomad scales nothing meanwhile"
        except Conflict:
            return "not done: somebody else changed the job, decided again in the next pass"
        return ""

    async def publish(self, carried: Carried, status: Status, memory: Memory) -> Carried:
        """What is carried on. Raises: ControlPlaneError: Consul did not take the state."""
        if isinstance(status.capacity, Unknown):
            return replace(carried, memory=memory)
        state = model_state(status, status.capacity, carried.cold, carried.carrying.carries, memory.drain.victims)
        if _is_news(carried.published, state):
            await self.states.publish(state)
            carried = replace(carried, published=state)
        return replace(carried, memory=memory)


def _is_news(published: ModelState | None, state: ModelState) -> bool:
    if published is None or abs(state.updated_at - published.updated_at) >= _PUBLISH_EVERY_S:
        return True
    return _bare(published) != _bare(state)


def _bare(state: ModelState) -> ModelState:
    """Without what changes a little in every pass."""
    return replace(state, reason="", updated_at=0.0, carries=None)

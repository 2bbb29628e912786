"""Replicas as rows for people: what Nomad says of an allocation and Consul of the replica in it, in one word. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fleet.deploy.display import Row
from fleet.deploy.nomad import Story
from fleet.deploy.warmth import Replica

ALIVE = ("pending", "running")


def rows(stories: Iterable[Story], seen: Mapping[str, Replica], *, judged: bool) -> list[Row]:
    """Of allocations that have not ended. `judged`: Consul is asked about them, so what it does not know is loading."""
    return [_row(story, seen.get(story.alloc_id), judged=judged) for story in stories if story.client_status in ALIVE]


def _row(story: Story, replica: Replica | None, *, judged: bool) -> Row:
    state, colour = story.client_status, "yellow"
    if not story.wanted:
        state, colour = "leaving", "dim"
    elif replica and replica.warm:
        state, colour = ("serves", "green") if replica.serves else ("warm", "cyan")
    elif judged and story.client_status == "running":
        state = f"passes, but {replica.trouble}" if replica and replica.passing else "loading"
    return Row(story.alloc_id[:8], story.node, story.job_version, state, colour)

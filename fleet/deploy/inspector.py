"""Why allocations failed, in lines for people: task events in order, then the end of each task's output.

Pure; who asks Nomad for logs passes them in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fleet.deploy.nomad import Story

EVENTS, LOG_LINES = 12, 12
_BREAKS = 2


def is_broken(story: Story) -> bool:
    """It failed for good, or its task ends again and again."""
    return story.client_status in ("failed", "lost") or (story.wanted and story.restarts >= _BREAKS)


def broken_of(stories: Sequence[Story], job_version: int) -> tuple[Story, ...]:
    return tuple(story for story in stories if story.job_version == job_version and is_broken(story))


def summary(story: Story) -> str:
    """One sentence: which one, where, and the last thing that happened to it."""
    last = next((text for _, text in reversed(story.events) if not text.startswith("Task restarting")), "no event")
    return f"allocation {story.alloc_id[:8]} on {story.node} is {_state(story)}: {last}"


def told(story: Story, logs: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """`logs` by task and kind ("stdout", "stderr")."""
    yield f"allocation {story.alloc_id[:8]} on {story.node}, {_state(story)}"
    yield from (f"    {task}: {text}" for task, text in story.events[-EVENTS:])
    for (task, kind), text in logs.items():
        lines = text.splitlines()[-LOG_LINES:]
        if lines:
            yield f"  the end of {task}'s {kind}:"
            yield from (f"    {line}" for line in lines)


def _state(story: Story) -> str:
    return f"{story.client_status} after {story.restarts} restart(s)" if story.restarts else story.client_status

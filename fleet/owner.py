"""Whose a job is: a fleet changes nothing that it has not deployed itself, unless a person says so.

Each rendered job says its fleet in its meta. Ids of jobs can meet: model `b-c` of fleet `a` and model `c` of fleet `a-b` want the same
one, and what was there before Warmfleet has names of its own. Pure; does not judge a job that is stopped, whose name is free.
"""

from __future__ import annotations

from collections.abc import Mapping

from fleet.names import JOB_META_FLEET

ADVICE = "give the fleet another name (fleet.name), or say `warmfleet deploy --take-over` to replace it"


def owner(meta: Mapping[str, str]) -> str:
    """The fleet that deployed a job with this meta, or empty."""
    return meta.get(JOB_META_FLEET, "")


def stranger(meta: Mapping[str, str], fleet: str) -> str:
    """Whose the job is, for a sentence, where it is not this fleet's; empty where it is."""
    if owner(meta) == fleet:
        return ""
    return f"belongs to fleet {owner(meta)!r}" if owner(meta) else "was deployed by something else"

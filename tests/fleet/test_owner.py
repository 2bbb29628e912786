"""Whose a job is."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fleet.names import JOB_META_FLEET
from fleet.owner import owner, stranger


@pytest.mark.parametrize(
    ("meta", "whose", "said"),
    [
        ({JOB_META_FLEET: "a"}, "a", ""),
        ({JOB_META_FLEET: "a-b"}, "a-b", "belongs to fleet 'a-b'"),
        ({JOB_META_FLEET: ""}, "", "was deployed by something else"),
        ({"owner": "a"}, "", "was deployed by something else"),
        ({}, "", "was deployed by something else"),
    ],
)
def test_a_job_is_of_the_fleet_that_its_meta_names(meta: Mapping[str, str], whose: str, said: str) -> None:
    assert (owner(meta), stranger(meta, "a")) == (whose, said)

"""A Nomad that says something else than Nomad would."""

from __future__ import annotations

import pytest

from autoscaler.jobs import NomadJobs
from fleet.errors import Refused
from fleet.nomad import Nomad
from tests.fleet.test_nomad_refusals import Server, server

__all__ = ["server"]


@pytest.mark.parametrize(
    "text", ['{"message": "down for maintenance"}', "[]", '"x"', '{"ID": "x", "Status": "running", "TaskGroups": [{}]}']
)
async def test_an_answer_that_is_no_job_is_a_refusal_of_this_job_and_not_the_end_of_the_loop(server: Server, text: str) -> None:
    server.answer = 200, text
    with pytest.raises(Refused, match="what Nomad says of job x is not understood"):
        await NomadJobs(Nomad(f"http://127.0.0.1:{server.server_port}"), "wf").read("x")

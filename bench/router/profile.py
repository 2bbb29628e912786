"""`python -m bench.router.profile [json|stream]`: which of our functions a request's Python time goes to.

The same plays as the gate (bench/router/micro.py) under cProfile. It adds its own cost to every call, so small functions look larger
than they are: shares are a hint where to look, and only the gate says whether a change helped.
"""

from __future__ import annotations

import cProfile
import pstats
import sys

import click
import uvloop

from bench.router import micro
from router import app

_ROWS = 30


@click.command(help="Which functions a request's Python time goes to.")
@click.argument("what", type=click.Choice(["json", "stream"]), default="json")
@click.option("--by", type=click.Choice(["tottime", "cumtime"]), default="tottime", help="own time, or with what is called")
def main(what: str, by: str) -> None:
    uvloop.run(_profile(micro.gates(micro.PYTHON)[what == "stream"], by))


async def _profile(gate: micro.Gate, by: str) -> None:
    play = micro.through_router(micro.Bench(app.wire(micro.spec())), gate.traffic, gate.requests)
    play()
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(10):
        play()
    profile.disable()
    sys.stdout.write(f"{gate.name}, {10 * gate.requests} times\n")
    pstats.Stats(profile, stream=sys.stdout).strip_dirs().sort_stats(by).print_stats(_ROWS)


if __name__ == "__main__":
    main()

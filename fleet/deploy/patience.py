"""A question that is asked again while Nomad or Consul is away, for some minutes.

Only for what may be asked twice: reads, and steps that the next look would take again. Who is away for longer, or says no, is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from fleet.deploy.display import Display
from fleet.deploy.nomad import WAIT_S
from fleet.errors import Unreachable

P = ParamSpec("P")
T = TypeVar("T")

AWAY_S = 300.0


@dataclass(frozen=True, slots=True)
class Patience:
    """`clock` counts seconds from anywhere."""

    shown: Display
    clock: Callable[[], float]
    sleep: Callable[[float], None]

    def asked(self, ask: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """The answer, late if need be. Raises: Unreachable: nobody answered for AWAY_S; whatever else `ask` raises."""
        began, said = self.clock(), False
        while True:
            try:
                return ask(*args, **options)
            except Unreachable as error:
                if self.clock() - began > AWAY_S:
                    raise
                if not said:
                    self.shown.say(f"{error}; it is asked again for {AWAY_S / 60:.0f} min")
                said = True
                self.sleep(WAIT_S)

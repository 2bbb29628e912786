"""Months of recorded traffic in seconds, through a policy and a fleet that starts slowly.

    trace -> replay (policy, one decision a minute) -> fleet (billed, warm) -> score, against the offline optimum

Pure but for reading the trace and writing the results; no control plane, no clock. Needs numpy (extra `forecast`). Imported
only with the command.
"""

from fleet.lazy import Lazy

COMMAND = Lazy("autoscaler.simulate.commands:main", "Replay recorded traffic, and score what scaling would have done.")

"""`python -m autoscaler.simulate`; see commands.py."""

from __future__ import annotations

import sys
from importlib.util import find_spec

if __name__ == "__main__":
    if find_spec("numpy") is None:
        sys.exit("warmfleet: the simulator needs numpy: install warmfleet[forecast], or run `make setup`")
    from autoscaler.simulate.commands import main

    main()

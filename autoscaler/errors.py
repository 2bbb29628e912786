"""Errors of the autoscaler, by whose fault they are.

    WarmfleetError
    ├── ControlPlaneError      fleet.errors: Nomad or Consul does not answer, or says no; the model is held
    └── MalformedMetrics       the scraped target's: its answer is not what a router or engine says

A failed scrape is a value (`scrape.Failed`), not an error: one target that does not answer is an ordinary thing.
"""

from __future__ import annotations

from fleet.errors import WarmfleetError


class MalformedMetrics(WarmfleetError):
    pass

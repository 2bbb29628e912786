"""Policy `schedule`: a floor of `replicas` from each start of `cron` for `duration`, warm when it begins.

The order goes out a cold start ahead of the start, as measured. Outside of its time it wants nothing and hinders nothing.
`duration` is elapsed time: on a day on which the clocks change, a night shift is as long as on any other.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache

from autoscaler.policies.vote import View, Vote
from fleet.cron import latest_start, parse_cron, parse_zone
from fleet.policy import Policy

_parsed = lru_cache(maxsize=1024)(parse_cron)
_zone = lru_cache(maxsize=256)(parse_zone)


def vote(policy: Policy, view: View) -> Vote:
    zone = _zone(policy.timezone)
    start = latest_start(_parsed(policy.cron), zone, after=view.at - policy.duration_s, until=view.at + view.lead_s)
    if start == -math.inf:
        return Vote(0, may_go_down=True, why=f"schedule {policy.cron!r} asks for nothing now")
    clock = datetime.fromtimestamp(start, UTC).astimezone(zone)
    when = f"from {clock:%a %H:%M} on" if start <= view.at else f"to be warm at {clock:%a %H:%M}"
    return Vote(policy.replicas, may_go_down=True, why=f"schedule {policy.cron!r} keeps {policy.replicas} {when} ({policy.timezone})")

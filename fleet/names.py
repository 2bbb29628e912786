"""Every name that two parts of the system must agree on, and nothing else.

Service names, key-value paths, Redis keys, headers and job ids have their only home here. Names that belong to one fleet are
derived from the fleet's name, so that two fleets can share one Nomad and one Consul.
"""

from __future__ import annotations

from dataclasses import dataclass

# Service meta: what a replica says about itself in Consul.
META_MODEL = "model"
META_ENGINE = "engine"
META_ALLOC_ID = "alloc_id"
META_ALLOC_INDEX = "alloc_index"
META_VERSION = "version"
META_CANARY = "canary"  # in place of META_MODEL, until a replica of a new version is promoted: the model that it will serve

# Job meta: where a rendered job came from.
JOB_META_FLEET = "warmfleet.fleet"
JOB_META_VERSION = "warmfleet.version"
JOB_META_SOURCE = "warmfleet.source"

# Nomad task group and task of every job we render; a job has one group.
GROUP = "main"
PORT_LABEL = "http"

# HTTP headers, as they stand on the wire (lower case).
HEADER_SESSION = "x-session-id"
HEADER_REQUEST = "x-request-id"
HEADER_ROUTE = "x-route"
HEADER_WARM_ETA = "x-warm-eta"
HEADER_STRATEGY = "x-route-strategy"  # from a caller: how the chain is put in order for this request, and within which bounds
HEADER_DEADLINE = "x-deadline-s"  # from a caller: how long it waits at most

# Environment of our own tasks.
ENV_SPEC = "WARMFLEET_SPEC"  # path of the resolved fleet description (JSON)
ENV_HOST = "WARMFLEET_HOST"
ENV_PORT = "WARMFLEET_PORT"
ENV_PUBLIC_PORT = "WARMFLEET_PUBLIC"  # of a router: shared with its predecessor and successor on the same node
ENV_ANALYTICS_PASSWORD = "WARMFLEET_ANALYTICS_PASSWORD"  # noqa: S105 - its name; of a router, for the database of router.analytics
ENV_KEY = "WARMFLEET_KEY"  # of whoever types commands: a tenant's key
ENV_ADMIN_KEY = "WARMFLEET_ADMIN_KEY"  # of a router: who has it may order failures, and models on and off
PROVIDER_KEYS_FILE = "provider_keys"  # below a router's secrets folder: what its Nomad variable holds of NAME_API_KEY, as it is now
ENV_DATADOG_URL = "WARMFLEET_DATADOG_URL"  # for tests: a stand-in for https://api.<site> on loopback

REDIS_SESSION_PREFIX = "wf:session:"
REDIS_LIMITS_PREFIX = "wf:limits:"  # of a fleet's tenant: requests and tokens of the last minute
REDIS_BUDGET_PREFIX = "wf:budget:"  # of a fleet's tenant and a period: what is spent and what is set aside, in nanodollars
REDIS_ROUTER_PREFIX = "wf:router:"  # of a router process: its last batch and what was answered to it; it lives while this key does
REDIS_ROSTER_PREFIX = "wf:roster:"  # of a fleet: which models are on, off or added while routers run
REDIS_SESSION_MOVES = "wf:moves"  # channel on which routers tell each other that a session has moved or ended


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one fleet. `fleet` is a DNS label; `Names("warmfleet").model_service == "warmfleet-model"`."""

    fleet: str

    @property
    def model_service(self) -> str:
        """One Consul service for all replicas of all models; the tag is the model's name."""
        return f"{self.fleet}-model"

    @property
    def router_service(self) -> str:
        return f"{self.fleet}-router"

    @property
    def api_service(self) -> str:
        """The public address of every node with a router: what callers and load balancers look up. The router's own is not public."""
        return f"{self.fleet}-api"

    @property
    def autoscaler_service(self) -> str:
        return f"{self.fleet}-autoscaler"

    @property
    def redis_service(self) -> str:
        return f"{self.fleet}-redis"

    @property
    def model_state_prefix(self) -> str:
        """Consul KV folder with one `fleet.state.ModelState` document per model."""
        return f"warmfleet/{self.fleet}/models/"

    def model_state(self, model: str) -> str:
        return self.model_state_prefix + model

    @property
    def leader(self) -> str:
        """Consul lock of the autoscaler that acts; its value is a `fleet.state.Leader`."""
        return f"warmfleet/{self.fleet}/leader"

    @property
    def pause(self) -> str:
        """While this Consul key is there, nothing is scaled; its value is a `fleet.state.Pause`, or any text."""
        return f"warmfleet/{self.fleet}/pause"

    @property
    def spec(self) -> str:
        """Consul key of the description that routers take over without a restart (JSON, as `fleet.spec.resolved_json` gives it)."""
        return f"warmfleet/{self.fleet}/spec"

    def memory(self, part: str) -> str:
        """Consul key of what one leading autoscaler leaves to the next."""
        return f"warmfleet/{self.fleet}/memory/{part}"

    def job(self, part: str) -> str:
        """Nomad job id of a part: `router`, `autoscaler`, `redis`, `datadog-agent`, or a model's name."""
        return f"{self.fleet}-{part}"


def session_key(session_id: str) -> str:
    return REDIS_SESSION_PREFIX + session_id

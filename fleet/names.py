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

# Environment of our own tasks.
ENV_SPEC = "WARMFLEET_SPEC"  # path of the resolved fleet description (JSON)
ENV_HOST = "WARMFLEET_HOST"
ENV_PORT = "WARMFLEET_PORT"
ENV_DATADOG_URL = "WARMFLEET_DATADOG_URL"  # for tests: a stand-in for https://api.<site> on loopback

REDIS_SESSION_PREFIX = "wf:session:"


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

    def job(self, part: str) -> str:
        """Nomad job id of a part: `router`, `autoscaler`, `redis`, `datadog-agent`, or a model's name."""
        return f"{self.fleet}-{part}"


def session_key(session_id: str) -> str:
    return REDIS_SESSION_PREFIX + session_id

"""What a fleet is: the typed form of fleet.toml.

One description of every setting: its key, type, bounds, default and meaning stand here and nowhere else; the loader
(fleet/spec.py), the settings table in docs/operations.md and the templates read them from here. Values only, no I/O.
Validated in pydantic's strict JSON mode, which keeps types honest and still takes an array for a tuple and a table for a dataclass.
Where the key in the file has no unit, the field's name carries it: `cold_start = "15m"` is `cold_start_s == 900.0`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from fleet.address import HTTP_API
from fleet.policy import LogVolume, Policy
from fleet.provider import Provider
from fleet.serving import STRICT, Capability, Label, Price, Slo, Strategy
from fleet.units import Seconds, SizeBytes

_SHA256 = r"^[0-9a-f]{64}$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """[fleet]: names and addresses."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: Annotated[Label, Field(description="prefix of every job and service; a DNS label")] = "warmfleet"
    region: Annotated[str, Field(description="Nomad region")] = "global"
    namespace: Annotated[str, Field(description="Nomad namespace")] = "default"
    datacenters: Annotated[tuple[str, ...], Field(min_length=1, description="Nomad datacenters")] = ("dc1",)
    consul: Annotated[str, Field(pattern=HTTP_API, description="Consul HTTP API as the tasks reach it")] = "http://127.0.0.1:8500"
    nomad: Annotated[str, Field(pattern=HTTP_API, description="Nomad HTTP API as the tasks reach it")] = "http://127.0.0.1:4646"
    redis: Annotated[str, Field(pattern=r"^(rediss?://.*)?$", description="Redis URL; empty: found through Consul")] = ""
    shutdown_delay_s: Annotated[
        Seconds, Field(alias="shutdown_delay", description="pause between leaving Consul and the stop signal, in which routers learn of it")
    ] = 2.0
    max_kill_s: Annotated[
        Seconds, Field(alias="max_kill_timeout", gt=0, description="what the Nomad clients allow a task; they shorten what is longer")
    ] = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """[check]: how Consul asks every service whether it is well."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    interval_s: Annotated[Seconds, Field(alias="interval", ge=1, description="time between two questions; warmth is seen this late")] = 2.0
    timeout_s: Annotated[Seconds, Field(alias="timeout", ge=1, description="longest wait for an answer")] = 5.0
    failures: Annotated[int, Field(ge=1, description="failures in a row before a replica that was warm is taken out")] = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Datadog:
    """[datadog]: the agent on every node, what our tasks tell it, and what the autoscaler reads back."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    enabled: Annotated[bool, Field(description="run the agent on every node and send it metrics, logs and traces")] = True
    site: Annotated[str, Field(pattern=r"^[a-z0-9.-]+$", description="Datadog site; DD_SITE overrides it for reading")] = "datadoghq.com"
    env: Annotated[str, Field(min_length=1, description="value of the tag env")] = "production"
    image: Annotated[str, Field(min_length=1, description="container image of the agent")] = "datadog/agent:7.72.4"
    cpu: Annotated[int, Field(ge=1, description="MHz")] = 200
    memory: Annotated[SizeBytes, Field(description="task memory")] = 512 * 1024**2
    read: Annotated[bool, Field(description="the autoscaler asks Datadog for signals too, where it has DD_API_KEY and DD_APP_KEY")] = True
    read_interval_s: Annotated[Seconds, Field(alias="read_interval", ge=30, description="time between two questions")] = 30.0
    read_timeout_s: Annotated[Seconds, Field(alias="read_timeout", gt=0, description="longest wait for an answer")] = 10.0
    rollup_s: Annotated[Seconds, Field(alias="rollup", ge=10, multiple_of=10, description="width of the buckets that are asked for")] = 30.0
    offset_s: Annotated[Seconds, Field(alias="offset", description="newest time that is left out, because its points still come in")] = 45.0
    max_age_s: Annotated[Seconds, Field(alias="max_age", description="what Datadog said is unknown when older than this")] = 180.0
    trace_rate: Annotated[
        float, Field(ge=0, le=1, description="share of the routers' requests that are traced, by ddtrace-run; 0: it is not started")
    ] = 0.01
    traces_per_s: Annotated[int, Field(ge=1, description="most of them in one router process, about; the share is less then")] = 50
    needed_to_scale_in: Annotated[bool, Field(description="no fewer replicas while Datadog is read and does not answer")] = True
    gpu_tag: Annotated[
        str, Field(pattern=r"^[a-z0-9_.-]*$", description="tag of dcgm.gpu_utilization that names the model; empty: not read")
    ] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """[runtime]: how Nomad starts our own programs (router, autoscaler)."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    driver: Annotated[Literal["docker", "raw_exec"], Field(description="Nomad task driver")] = "docker"
    image: Annotated[str, Field(description="container image with this distribution installed (docker)")] = ""
    python: Annotated[str, Field(description="Python interpreter with this distribution installed")] = "python3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Redis:
    """[redis]: the session store that we deploy."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    driver: Annotated[Literal["docker", "raw_exec"], Field(description="Nomad task driver")] = "docker"
    image: Annotated[str, Field(description="container image (docker)")] = "valkey/valkey:8.1.4"
    command: Annotated[str, Field(description="server binary (raw_exec)")] = "redis-server"
    cpu: Annotated[int, Field(ge=1, description="MHz")] = 500
    memory: Annotated[SizeBytes, Field(description="task memory; Redis itself may use three quarters of it")] = 512 * 1024**2
    volume: Annotated[str, Field(description="host volume for persistence; empty: memory only")] = ""
    folder: Annotated[str, Field(description="where that volume is on its node (raw_exec, which mounts nothing)")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """[router]: the data plane."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    port: Annotated[int, Field(ge=0, le=65535, description="public port; 0: one that Nomad picks")] = 8000
    host: Annotated[str, Field(description="address to bind; empty: the one Nomad gives the allocation")] = ""
    count: Annotated[int, Field(ge=1, description="router allocations, at most one per node")] = 1
    cpu: Annotated[int, Field(ge=1, description="MHz")] = 1000
    memory: Annotated[SizeBytes, Field(description="task memory")] = 512 * 1024**2
    max_body_bytes: Annotated[SizeBytes, Field(alias="max_body", ge=1024, description="largest request body")] = 16 * 1024**2
    connect_s: Annotated[Seconds, Field(alias="connect_timeout", gt=0, description="clock 1: TCP connect to a replica")] = 2.0
    total_s: Annotated[Seconds, Field(alias="total_timeout", gt=0, description="clock 4: a whole request")] = 1800.0
    session_ttl_s: Annotated[Seconds, Field(alias="session_ttl", ge=60, description="sliding life of an idle session")] = 6 * 3600.0
    max_sessions: Annotated[int, Field(ge=1, description="sessions in the local cache")] = 65536
    return_after_s: Annotated[
        Seconds,
        Field(
            alias="return_after", description="a session that was swapped goes back to its route's first model when it was warm this long"
        ),
    ] = 120.0
    affinity: Annotated[
        bool, Field(description="requests without a session that begin alike go to the same replica, for its prefix cache")
    ] = True
    max_held: Annotated[int, Field(ge=0, description="requests that may wait for a warm replica at the same time; 0: none waits")] = 4096
    max_held_bytes: Annotated[SizeBytes, Field(alias="max_held_size", description="the bodies of all waiting requests together")] = (
        64 * 1024**2
    )
    keep_alive_s: Annotated[
        Seconds,
        Field(alias="keep_alive", gt=0, description="a waiting stream gets its head and a comment after this time, and one each time"),
    ] = 10.0
    drain_s: Annotated[Seconds, Field(alias="drain", description="time for open streams when the router stops")] = 60.0
    workers: Annotated[int, Field(ge=1, le=64, description="processes of one allocation, behind one listening socket")] = 1
    access_log: Annotated[
        Literal["off", "sampled", "all"], Field(description="one JSON line per answered request; never what was said in it")
    ] = "off"
    access_log_rate: Annotated[float, Field(gt=0, le=1, description='share of the requests that access_log = "sampled" writes')] = 0.01
    allow_open: Annotated[
        bool, Field(description="listen beyond loopback although no tenant has a key, so that nobody is asked for one")
    ] = False
    allow_link_local: Annotated[
        bool, Field(description="a provider may be at a link-local address, which is where clouds tell a machine its own secrets")
    ] = False
    tenants_without_redis: Annotated[
        Literal["closed", "open"],
        Field(
            description="while Redis does not answer, requests of tenants with a limit or a budget are refused with 503 (closed), "
            "or served and charged later (open)"
        ),
    ] = "closed"
    analytics: Annotated[
        str,
        Field(
            pattern=r"^(|sqlite:///\S+|postgresql://([^:@/\s]+@)?[^@\s]+)$",
            description="where what was used and spent is kept by hour: sqlite:///PATH or postgresql://USER@HOST/NAME, whose password is "
            "in WARMFLEET_ANALYTICS_PASSWORD; empty: nowhere",
        ),
    ] = ""
    usage_log: Annotated[
        str, Field(description='one JSON line per request: "off", "stdout", or the path of a file that is rotated at 10 MB and kept 7 days')
    ] = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaler:
    """[autoscaler]: the control plane."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    count: Annotated[int, Field(ge=1, description="allocations; one leads, the others stand by and take over when it is gone")] = 1
    port: Annotated[int, Field(ge=0, le=65535, description="status port; 0: one that Nomad picks")] = 0
    cpu: Annotated[int, Field(ge=1, description="MHz")] = 500
    memory: Annotated[SizeBytes, Field(description="task memory")] = 512 * 1024**2
    interval_s: Annotated[Seconds, Field(alias="interval", ge=0.2, description="time between two decisions")] = 10.0
    window_s: Annotated[Seconds, Field(alias="window", gt=0, description="signals are averaged over this time")] = 60.0
    cooldown_up_s: Annotated[Seconds, Field(alias="cooldown_up", description="rest after any scaling before the next one up")] = 30.0
    cooldown_down_s: Annotated[Seconds, Field(alias="cooldown_down", description="rest after any scaling before the next one down")] = 300.0
    drain_s: Annotated[Seconds, Field(alias="drain", description="longest wait for a victim's requests before it is stopped")] = 120.0
    max_age_s: Annotated[Seconds, Field(alias="max_age", description="a signal older than this is unknown")] = 45.0
    shadow: Annotated[bool, Field(description="decide and say so, but change nothing")] = False
    scalings_per_hour: Annotated[
        int,
        Field(ge=1, description="of one model, then a scale-in takes its share of an hour: each is a job version, and Nomad keeps 6"),
    ] = 6
    gpu_budget: Annotated[int, Field(ge=0, description="GPUs of all models together, shared by model.priority; 0: no limit")] = 0
    log_volume: Annotated[tuple[LogVolume, ...], Field(description="rules that start a large and a small model by log volume")] = ()
    log_folder: Annotated[str, Field(description="local folder whose growth is the log volume of every model; empty: none")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """model.gpu"""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    device: Annotated[str, Field(description="Nomad device name: vendor/type, or vendor/type/model for that model only")] = "nvidia/gpu"
    count: Annotated[
        int,
        Field(
            ge=0,
            description="devices per replica; also vLLM's tensor parallelism. 0: as few as the engine can do with: 1 (vllm), 0 (llamacpp)",
        ),
    ] = 0
    memory: Annotated[
        str, Field(description='least memory of one device, such as "40 GiB"; needed unless `device` names the very model')
    ] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """model.replicas"""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    min: Annotated[int, Field(ge=0, description="never fewer")] = 1
    max: Annotated[int, Field(ge=1, description="never more")] = 1
    idle_s: Annotated[
        Seconds,
        Field(alias="idle", gt=0, description="min = 0: with no request for this long the last one is stopped; the next one wakes it"),
    ] = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """model.capacity: what one warm replica carries at its SLO (a prior)"""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    concurrency: Annotated[int, Field(ge=1, description="requests at the same time")]
    requests_per_min: Annotated[float, Field(gt=0, description="requests a minute")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """[[model]]: one model that we serve"""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: Annotated[Label, Field(description="name that callers use; job, tag and label too")]
    engine: Annotated[Literal["vllm", "llamacpp"], Field(description="inference engine")]
    weights: Annotated[str, Field(min_length=1, description="path of the weights: below the volume (vllm), or on the machine (llamacpp)")]
    replicas: Annotated[Replicas, Field(description="bounds")] = field(default_factory=Replicas)
    capacity: Annotated[Capacity, Field(description="of one replica")]
    cold_start_s: Annotated[Seconds, Field(alias="cold_start", gt=0, description="submit to passing; a prior until measured")]
    context: Annotated[int, Field(ge=128, description="context length in tokens, of one request")] = 8192
    args: Annotated[tuple[str, ...], Field(description="further arguments of the engine")] = ()
    image: Annotated[str, Field(description="engine's container image (vllm)")] = ""
    volume: Annotated[str, Field(description="Nomad host volume with the weights (vllm)")] = ""
    gpu: Annotated[Gpu, Field(description="devices of one replica")] = field(default_factory=Gpu)
    cpu: Annotated[int, Field(ge=1, description="MHz of one replica")] = 1000
    memory: Annotated[SizeBytes, Field(description="memory of one replica")] = 1024**3
    node_pool: Annotated[str, Field(description="Nomad node pool")] = "default"
    load_delay_s: Annotated[
        Seconds,
        Field(
            alias="load_delay",
            description="the engine listens only after this time, to show cold starts on one machine (llamacpp)",
        ),
    ] = 0.0
    shm_bytes: Annotated[SizeBytes, Field(alias="shm", description="shared memory of the container, for several GPUs (vllm)")] = 2 * 1024**3
    lost_after_s: Annotated[
        Seconds, Field(alias="lost_after", gt=0, description="a replica on a node that Nomad cannot reach is kept this long, not doubled")
    ] = 3600.0
    kill_s: Annotated[Seconds, Field(alias="kill_timeout", description="time for open streams after the stop signal")] = 30.0
    priority: Annotated[int, Field(description="where autoscaler.gpu_budget is short, the model with the higher one is served first")] = 0
    slo: Annotated[Slo, Field(description="clocks of a request")] = field(default_factory=Slo)
    cost: Annotated[Price, Field(description="dollars per 1,000 tokens")] = field(default_factory=Price)
    quality: Annotated[float, Field(ge=0, le=1, description="of its answers, as you judge them")] = 0.5
    capabilities: Annotated[tuple[Capability, ...], Field(description="what it is good at; empty: everything alike")] = ()
    latency_ms: Annotated[float, Field(ge=0, description="of a whole answer; a prior until measured. 0: unknown, as slo.ttft says")] = 0.0
    max_concurrent: Annotated[
        int, Field(ge=0, description="requests at once from one router process, the others wait as while it is cold; 0: no limit")
    ] = 0
    policy: Annotated[tuple[Policy, ...], Field(description="scaling rules; none: replicas.min is kept")] = ()

    @property
    def gpus(self) -> int:
        """Of one replica."""
        return max(self.gpu.count, 1 if self.engine == "vllm" else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """[[route]]: one of the 16 rows that a session's 4-bit selector names"""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    selector: Annotated[int, Field(ge=0, le=15, description="4 bits: 0 to 15")]
    name: Annotated[Label, Field(description="shown in x-route and metrics")]
    chain: Annotated[tuple[str, ...], Field(min_length=1, description='models and providers in order; "providers": all of those')]
    on_cold: Annotated[
        Literal["downgrade", "hold", "shed"],
        Field(
            description="while the first model has no room: downgrade: the next warm model answers, and where none is, the request waits. "
            "hold: it waits for the first model, if that is warm in time. shed: 503 at once"
        ),
    ] = "downgrade"
    hold_s: Annotated[Seconds, Field(alias="hold", description="how long a request may wait for a warm replica; 0s: not at all")] = 20.0
    strategy: Annotated[
        Literal["chain", Strategy],
        Field(
            description='how the chain is put in order for a request that names the route or "auto"; chain: as it stands, but for "auto" '
            "who is good at what is asked goes first, where models say their capabilities"
        ),
    ] = "chain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """[[tenant]]: who may ask, for what, and how much; without any, nobody is asked for a key"""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: Annotated[Label, Field(description="stands in logs, metrics and the usage log")]
    key_sha256: Annotated[
        tuple[Annotated[str, Field(pattern=_SHA256)], ...],
        Field(min_length=1, description="hashes of its keys, as `warmfleet key` prints them; two while one is being replaced"),
    ]
    allow: Annotated[tuple[str, ...], Field(description="models, routes and providers that it may use; empty: all")] = ()
    requests_per_min: Annotated[int, Field(ge=0, description="in any 60 s, over all routers; 0: no limit")] = 0
    tokens_per_min: Annotated[int, Field(ge=0, description="prompts and answers in any 60 s, over all routers; 0: no limit")] = 0
    budget_usd: Annotated[
        float, Field(ge=0, le=1_000_000, description="dollars that it may spend; what costs nothing is always served")
    ] = 1.0
    budget_per: Annotated[
        Literal["life", "month", "day", "none"],
        Field(description="what the budget is for: all time, a calendar month or day (UTC); none: it is not limited"),
    ] = "life"
    max_tokens: Annotated[
        int, Field(ge=1, description="with a budget: the longest answer to a request that names no limit; that much is set aside for it")
    ] = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A whole fleet.toml, checked."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    fleet: Fleet = field(default_factory=Fleet)
    runtime: Runtime = field(default_factory=Runtime)
    check: Check = field(default_factory=Check)
    datadog: Datadog = field(default_factory=Datadog)
    redis: Redis = field(default_factory=Redis)
    router: Router = field(default_factory=Router)
    autoscaler: Autoscaler = field(default_factory=Autoscaler)
    models: Annotated[tuple[Model, ...], Field(alias="model")] = ()
    routes: Annotated[tuple[Route, ...], Field(alias="route")] = ()
    providers: Annotated[tuple[Provider, ...], Field(alias="provider")] = ()
    tenants: Annotated[tuple[Tenant, ...], Field(alias="tenant")] = ()

    def model(self, name: str) -> Model:
        """Raises: KeyError: no such model."""
        return {m.name: m for m in self.models}[name]

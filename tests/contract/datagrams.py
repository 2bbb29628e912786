"""A socket where the Datadog agent would listen, and a strict judge of what comes there.

The judge knows the grammar of DogStatsD (metrics and events) and what we have declared; anything else is a finding.
"""

from __future__ import annotations

import re
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fleet import metrics

MOST_UDP_BYTES = 1432
_TYPES = {"count": "c", "gauge": "g", "distribution": "d"}
_DECLARED = {metric.name: metric for metric in metrics.ALL}
_METRIC = re.compile(
    r"(?P<name>[a-z][a-z0-9_.]*):(?P<value>-?\d+(?:\.\d+)?(?:e-?\d+)?)\|(?P<type>[cgd])(?:\|@(?P<rate>\d+(?:\.\d+)?(?:e-?\d+)?))?"
    r"(?:\|#(?P<tags>[^|\n]+))?(?:\|c:[a-z]{2}-[\w-]+)?"
)
_EVENT = re.compile(r"_e\{(?P<title_size>\d+),(?P<text_size>\d+)\}:(?P<rest>.*)", re.DOTALL)
_TAG = re.compile(r"[a-z][a-z0-9_]*:[A-Za-z0-9_./-]+")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}|[0-9a-f]{16}|alloc")


@dataclass(frozen=True)
class Sample:
    """`weight`: how many values it stands for."""

    name: str
    tags: dict[str, str]
    value: float
    weight: float


@dataclass(frozen=True)
class Event:
    title: str
    text: str
    kind: str
    tags: frozenset[str]
    source: str


@dataclass
class Agent:
    """`common`: tags that everything must carry. What does not pass the judge is in `findings`."""

    environment: dict[str, str]
    common: frozenset[str]
    most_bytes: int
    samples: list[Sample] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    def total(self, metric: metrics.Metric, **tags: str) -> float:
        """Of a count: all increments; of a distribution: how many values."""
        is_count = metric.kind == "count"
        return sum(
            s.value if is_count else s.weight for s in tuple(self.samples) if s.name == metric.name and tags.items() <= s.tags.items()
        )

    def last(self, metric: metrics.Metric, **tags: str) -> float | None:
        found = [s.value for s in tuple(self.samples) if s.name == metric.name and tags.items() <= s.tags.items()]
        return found[-1] if found else None

    def names(self) -> set[str]:
        return {sample.name for sample in tuple(self.samples)}

    def take(self, datagram: bytes) -> None:
        if len(datagram) > self.most_bytes:
            self.findings.append(f"a datagram of {len(datagram)} bytes")
        text = datagram.decode()
        if text.startswith("_e{"):
            self._event(text)
            return
        for line in filter(None, text.split("\n")):
            self._metric(line)

    def _metric(self, line: str) -> None:
        match = _METRIC.fullmatch(line)
        declared = _DECLARED.get(match["name"]) if match else None
        if match is None or declared is None:
            self.findings.append(f"not a metric of ours: {line}")
            return
        tags = (match["tags"] or "").split(",")
        keys = [tag.partition(":")[0] for tag in tags if tag not in self.common]
        rate = float(match["rate"] or 1)
        if match["type"] != _TYPES[declared.kind]:
            self.findings.append(f"a {declared.kind} that is sent as {match['type']}: {line}")
        if tuple(keys) != declared.tags or not self.common <= set(tags):
            self.findings.append(f"other tags than {declared.tags} and {sorted(self.common)}: {line}")
        if not all(map(_TAG.fullmatch, tags)) or any(_ID.search(tag) for tag in tags if tag not in self.common):
            self.findings.append(f"a tag that is none, or has too many values: {line}")
        if not 0 < rate <= 1 or (rate < 1 and declared.kind != "distribution"):
            self.findings.append(f"a rate that is none: {line}")
        if declared.kind != "gauge" and float(match["value"]) < 0:
            self.findings.append(f"less than nothing: {line}")
        pairs = dict(tag.split(":", 1) for tag in tags)
        self.samples.append(Sample(match["name"], pairs, float(match["value"]), 1 / rate))

    def _event(self, text: str) -> None:
        match = _EVENT.fullmatch(text.rstrip("\n"))
        if match is None:
            self.findings.append(f"not an event: {text}")
            return
        title_size, text_size, rest = int(match["title_size"]), int(match["text_size"]), match["rest"].encode()
        title, said = rest[:title_size].decode(), rest[title_size + 1 : title_size + 1 + text_size].decode()
        parts = rest[title_size + text_size + 1 :].decode().split("|")[1:]
        fields = {part.partition(":")[0]: part.partition(":")[2] for part in parts if not part.startswith("#")}
        tags = frozenset(next((part[1:] for part in parts if part.startswith("#")), "").split(","))
        event = Event(title, said, fields.get("t", ""), tags, fields.get("s", ""))
        if not (title and said) or event.kind not in ("info", "success", "warning", "error") or not self.common <= tags:
            self.findings.append(f"an event that Datadog would not show as meant: {text}")
        self.events.append(event)


@contextmanager
def udp_agent(service: str) -> Iterator[Agent]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        host, port = sock.getsockname()
        with _listening(sock, {"DD_AGENT_HOST": host, "DD_DOGSTATSD_PORT": str(port)}, service, MOST_UDP_BYTES) as agent:
            yield agent


@contextmanager
def unix_agent(service: str) -> Iterator[Agent]:
    with tempfile.TemporaryDirectory(prefix="dsd-") as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        path = str(Path(folder) / "dsd.socket")
        sock.bind(path)
        with _listening(sock, {"DD_DOGSTATSD_URL": f"unix://{path}"}, service, 8192) as agent:
            yield agent


@contextmanager
def _listening(sock: socket.socket, address: dict[str, str], service: str, most_bytes: int) -> Iterator[Agent]:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024**2)
    sock.settimeout(0.1)
    environment = {**address, "DD_SERVICE": service, "DD_ENV": "test", "DD_VERSION": "1.2.3"}
    agent = Agent(environment, frozenset((f"service:{service}", "env:test", "version:1.2.3")), most_bytes)
    stop = threading.Event()
    thread = threading.Thread(target=_take_all, args=(sock, agent, stop))
    thread.start()
    try:
        yield agent
    finally:
        stop.set()
        thread.join()


def _take_all(sock: socket.socket, agent: Agent, stop: threading.Event) -> None:
    """Until it is stopped and nothing is left."""
    while True:
        try:
            agent.take(sock.recv(65536))
        except TimeoutError:
            if stop.is_set():
                return

"""Replicas put into a real Consul and taken out again, as external services of its catalogue.

An external node has no agent that would check or sync it away, so the health is what was registered: a benchmark wants it steady, and
a soak wants replicas that Consul calls passing although they are broken.
"""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

from bench.router import wire
from bench.router.errors import BenchError
from fleet import names

_NODE = {"Node": "bench", "Address": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Registered:
    """A replica: `alloc_id` names it everywhere, `port` is on loopback."""

    alloc_id: str
    port: int


def register(consul: str, service: str, replica: Registered) -> None:
    """Raises: BenchError: Consul does not take it."""
    meta = {names.META_MODEL: wire.MODEL, names.META_ENGINE: "vllm", names.META_ALLOC_ID: replica.alloc_id, names.META_VERSION: "1"}
    described = {
        "ID": replica.alloc_id,
        "Service": service,
        "Tags": [wire.MODEL],
        "Address": "127.0.0.1",
        "Port": replica.port,
        "Meta": meta,
    }
    check = {"CheckID": f"check-{replica.alloc_id}", "Name": "warm", "ServiceID": replica.alloc_id, "Status": "passing"}
    _put(f"{consul}/v1/catalog/register", {**_NODE, "SkipNodeUpdate": True, "Service": described, "Check": check})


def deregister(consul: str, alloc_id: str) -> None:
    """Errors as in `register`."""
    _put(f"{consul}/v1/catalog/deregister", {"Node": _NODE["Node"], "ServiceID": alloc_id})


def _put(url: str, document: dict[str, Any]) -> None:
    request = urllib.request.Request(url, json.dumps(document).encode(), method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()
    except OSError as error:
        raise BenchError(f"Consul at {url} refused: {error}") from error

"""The providers of a description as replicas of the data plane, with the keys that this process has for them.

Law: a row that did not change, and whose key did not, keeps its replica, and with it breaker, connections and windows, when a description
is taken over. One whose key is missing, or whose certificates or proxy cannot be used, is left out and says so; the others serve. It reads
no environment itself, and a key is in nothing that it says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fleet.errors import SpecError
from fleet.model import Spec
from fleet.presets import filled
from fleet.provider import Provider
from router.lending.rows import Books
from router.providers.limits import Limits
from router.providers.link import Link
from router.providers.pool import RemotePool, tls_context
from router.providers.proxies import proxy_for
from router.providers.remote import is_sendable, remote
from router.providers.shared import shared
from router.replicas.replica import Replica
from router.replicas.snapshot import Endpoint
from router.tally import Tally

log = logging.getLogger(__name__)

ALLOC_ID: Final = "external"
_AT_ONCE: Final = 1_000_000  # requests: a provider has no capacity of ours; its limits say what it takes


@dataclass(slots=True)
class Abroad:
    """`replicas` by provider, in the order of their rows; `missing`: why the others are not among them.

    `environment`: keys and proxies. `clock`: monotonic seconds. `books`: where limits are kept for all routers; None: nowhere.
    """

    environment: Mapping[str, str]
    tally: Tally
    clock: Callable[[], float]
    books: Books | None = None
    replicas: dict[str, Replica] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    _fleet: str = ""
    _rows: dict[str, tuple[Provider, int, bool, str]] = field(default_factory=dict, repr=False)

    def take(self, spec: Spec) -> None:
        """Takes over the rows of a description."""
        self._fleet = spec.fleet.name
        processes = spec.router.count * spec.router.workers
        full, may = map(filled, spec.providers), spec.router.allow_link_local
        rows = {row.name: (row, processes, may, self.environment.get(row.key_env, "")) for row in full}
        before, self.replicas, self.missing = self.replicas, {}, {}
        for name, (row, _, may_be_link_local, _) in rows.items():
            if self._rows.get(name) == rows[name] and name in before:
                self.replicas[name] = before.pop(name)
            else:
                self._make(row, processes, may_be_link_local=may_be_link_local)
        for replica in before.values():
            replica.pool.close()
        self._rows = rows

    def close(self) -> None:
        for replica in self.replicas.values():
            replica.pool.close()

    def _make(self, row: Provider, processes: int, *, may_be_link_local: bool) -> None:
        try:
            self.replicas[row.name] = self._replica(row, processes, may_be_link_local=may_be_link_local)
        except (SpecError, OSError, _NoKey) as error:
            self.missing[row.name] = str(error)
        if why := self.missing.get(row.name):
            log.error("provider %s is left out: %s", row.name, why, extra={"event": "provider_missing", "model": row.name})

    def _replica(self, row: Provider, processes: int, *, may_be_link_local: bool) -> Replica:
        far = remote(row, self._key(row))
        context = tls_context(row.ca_file) if far.address.tls else None
        proxy = proxy_for(far.address.host, self.environment) if far.address.tls else None
        endpoint = Endpoint(f"provider/{row.name}", ALLOC_ID, row.name, far.address.host, far.address.port)
        limits = row.requests_per_min, row.tokens_per_min
        link = Link(far, Limits(*limits, processes), shared(self.books, self._fleet, row.name, *limits))
        pool = RemotePool(far.address, context, proxy, self.clock, may_be_link_local=may_be_link_local)
        counts = self.tally.of(row.name)
        return Replica(endpoint, row.slo, counts, self.clock, concurrency=_AT_ONCE, fresh=False, remote=link, pool=pool)

    def _key(self, row: Provider) -> str:
        if not row.key_env:
            return ""
        key = self.environment.get(row.key_env, "").strip()
        if not key:
            raise _NoKey(f"{row.key_env} is not set; it must hold the key")
        if not is_sendable(key):
            raise _NoKey(f"{row.key_env} holds characters that no key has")
        return key


class _NoKey(Exception):
    pass

"""The published description, taken over by a running router.

    published and right      routes, models, SLOs and limits are those of it from the next request on
    published and wrong      refused, once, with every finding; the last good one stays
    withdrawn                back to the description that the router was started with
    Consul came back empty   nothing: a wiped register is no news

What only a restart can change is said and left. Requests under way go on by what they began with.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

from fleet.consul import Consul, Lost, Seen, watch
from fleet.errors import SpecError
from fleet.model import Router, Spec
from fleet.names import Names
from fleet.spec import parse

log = logging.getLogger(__name__)

_LIVE = frozenset(
    (
        "max_body_bytes",
        "connect_s",
        "total_s",
        "return_after_s",
        "affinity",
        "keep_alive_s",
        "access_log",
        "access_log_rate",
        "tenants_without_redis",
        "allow_link_local",
    )
)

Apply = Callable[[Spec, str], None]


class Descriptions:
    """Which description is in force. `apply(spec, digest)` puts one into force."""

    def __init__(self, boot: Spec, digest: str, where: str, apply: Apply) -> None:
        self._boot = boot
        self._boot_digest = digest
        self._where = where
        self._apply = apply
        self._in_force = digest
        self._document: bytes | None = None
        self._index = 0
        self._was_lost = False

    def lost(self) -> None:
        """Consul did not answer."""
        self._was_lost = True

    def seen(self, document: bytes | None, index: int) -> None:
        """What stands in Consul, at its index."""
        is_wiped = document is None and (index < self._index or self._was_lost)
        self._index, self._was_lost = index, False
        if document == self._document or is_wiped:
            return
        self._document = document
        if document is None:
            self._take(self._boot, self._boot_digest)
        else:
            self._read(document)

    def _read(self, document: bytes) -> None:
        try:
            loaded = parse(document, self._where)
        except SpecError as error:
            self._refuse(str(error))
            return
        if loaded.spec.fleet.name != self._boot.fleet.name:
            self._refuse(f"it is that of another fleet, {loaded.spec.fleet.name}")
            return
        if self._boot.tenants and not loaded.spec.tenants and not loaded.spec.router.allow_open:
            self._refuse("it has no tenants any more, so nobody would be asked for a key; router.allow_open = true says that it is meant")
            return
        for setting in needs_restart(self._boot, loaded.spec):
            log.warning("%s changes with the next deployment, not by a reload", setting, extra={"event": "description_partly_taken"})
        self._take(loaded.spec, loaded.source_hash)

    def _refuse(self, why: str) -> None:
        extra = {"event": "description_refused"}
        log.error("the published description is refused, %s stays in force: %s", self._in_force, why, extra=extra)

    def _take(self, spec: Spec, digest: str) -> None:
        self._in_force = digest
        self._apply(spec, digest)
        log.info("description %s is in force", digest, extra={"event": "description_taken"})


def needs_restart(boot: Spec, now: Spec) -> tuple[str, ...]:
    """Settings of the router that differ and cannot change while it runs."""
    fixed = [field.name for field in dataclasses.fields(Router) if field.name not in _LIVE]
    changed = [f"router.{name}" for name in fixed if getattr(boot.router, name) != getattr(now.router, name)]
    return (*changed, *(("fleet",) if boot.fleet != now.fleet else ()))


def live_limits(boot: Router, now: Router) -> Router:
    """The router's limits, with what may change while it runs taken from `now`."""
    return dataclasses.replace(boot, **{name: getattr(now, name) for name in _LIVE})


async def follow(consul: Consul, names: Names, descriptions: Descriptions) -> None:
    """For ever."""
    async for seen in watch(lambda index: consul.documents(names.spec, index=index)):
        match seen:
            case Lost():
                descriptions.lost()
            case Seen(documents, index):
                descriptions.seen(documents.get(names.spec), index)

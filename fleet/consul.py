"""Consul, as router, autoscaler and command line use it: services with their health, key-value documents, and watching both.

The only user of py-consul. What the library leaves to its callers is done here: an explicit wait on every blocking query
(its HTTP client gives up after 300 s, Consul waits longer by default), a timeout on every other one, the rules for the index
(https://developer.hashicorp.com/consul/api-docs/features/blocking), and errors translated.
An explicit token wins; the library alone would let CONSUL_HTTP_TOKEN override it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import aiohttp
import consul.aio
from consul import exceptions
from consul.callback import CB

from fleet.errors import Refused, Unreachable

WAIT_S = 55.0
_TIMEOUT_S = 10.0
_LEAST_PAUSE_S = 0.1  # a service that changes without pause must not turn the watch into a busy loop
_BACKOFF_S = (0.25, 5.0)
_DENIED = "Permission denied"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Instance:
    """One registered instance of a service. `passing` is the worst of its checks."""

    service_id: str
    host: str
    port: int
    tags: tuple[str, ...]
    meta: Mapping[str, str]
    passing: bool


@dataclass(frozen=True, slots=True)
class Seen(Generic[T]):
    """A blocking query answered: the value now, at Consul's index."""

    value: T
    index: int


@dataclass(frozen=True, slots=True)
class Fence:
    """A lock that must still be held by a session, so that a writer who has lost it without noticing writes nothing."""

    key: str
    session: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A blocking query failed; what was seen before is the last good copy. The watch goes on."""

    error: Exception


class Consul:
    """One HTTP client on one event loop; close it on that loop.

    Args:
        address: base URL, `http://127.0.0.1:8500`. TLS certificates are verified.
        token: ACL token, or none.
        environment: CONSUL_CACERT, a file with the CA of the server's certificate; CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY, our own.
    """

    def __init__(self, address: str, token: str | None = None, environment: Mapping[str, str] = os.environ) -> None:
        parts = urlsplit(address)
        self.address = address
        self._client: Any = consul.aio.Consul(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or (443 if parts.scheme == "https" else 8500),
            scheme=parts.scheme or "http",
            token=token,
            verify=parts.scheme == "https" and (environment.get("CONSUL_CACERT") or True),  # to load all CAs takes longer than to connect
            cert=_own_certificate(environment),
        )
        if token is not None:
            self._client.token = token

    async def instances(self, service: str, *, index: int = 0, wait_s: float = WAIT_S) -> Seen[tuple[Instance, ...]]:
        """All instances of a service, passing or not, in order of their ids. With an index: waits for a change up to `wait_s`.

        Raises:
            Unreachable: no answer, or Consul has no leader.
            Refused: the token may not read it.
        """
        seen, nodes = await self._ask(self._client.health.service, service, index=index, wait_s=wait_s)
        return Seen(tuple(sorted(map(_instance, nodes or ()), key=lambda i: i.service_id)), seen)

    async def documents(self, prefix: str, *, index: int = 0, wait_s: float = WAIT_S) -> Seen[Mapping[str, bytes]]:
        """Key-value pairs below a prefix, by their full key. Errors as in `instances`."""
        seen, rows = await self._ask(self._client.kv.get, prefix, recurse=True, index=index, wait_s=wait_s)
        return Seen({row["Key"]: row["Value"] or b"" for row in rows or ()}, seen)

    async def document(self, key: str) -> tuple[bytes | None, int]:
        """A value and its modify index for `put`; (None, 0) where there is none. Errors as in `instances`."""
        _, row = await self._ask(self._client.kv.get, key, index=0, wait_s=0)
        return (None, 0) if row is None else (row["Value"] or b"", int(row["ModifyIndex"]))

    async def put(self, key: str, value: bytes, *, index: int, fence: Fence | None = None) -> bool:
        """Check-and-set: writes if the key's modify index is still `index` (0: the key does not exist yet); False if it is not.

        With a fence also False, in the same transaction, if its session no longer holds its lock.
        """
        if fence is None:
            return bool(await _translated(self._client.kv.put(key, value, cas=index)))
        held = {"Verb": "check-session", "Key": fence.key, "Session": fence.session}
        write = {"Verb": "cas", "Key": key, "Value": base64.b64encode(value).decode(), "Index": index}
        return await self._transaction([{"KV": held}, {"KV": write}])

    async def open_session(self, name: str, *, ttl_s: int, lock_delay_s: int) -> str:
        """A session that Consul ends, and its locks with it, when it was not renewed for `ttl_s` (at latest after twice that)."""
        return str(await _translated(self._client.session.create(name, ttl=ttl_s, lock_delay=lock_delay_s)))

    async def renew_session(self, session: str) -> bool:
        """False: Consul has ended it."""
        try:
            await _translated(self._client.session.renew(session))
        except Refused as error:
            if isinstance(error.__cause__, exceptions.NotFound):
                return False
            raise
        return True

    async def close_session(self, session: str) -> None:
        await _translated(self._client.session.destroy(session))

    async def acquire(self, key: str, value: bytes, session: str) -> bool:
        """False: another session holds the lock, or lost it less than its lock delay ago."""
        return bool(await _translated(self._client.kv.put(key, value, acquire=session)))

    async def release(self, key: str, value: bytes, session: str) -> bool:
        return bool(await _translated(self._client.kv.put(key, value, release=session)))

    async def holder(self, key: str) -> tuple[str, bytes]:
        """The session that holds a lock, or "", and the key's value; as the Consul servers agree now, not as one of them remembers."""
        _, row = await _translated(self._client.kv.get(key, consistency="consistent"))
        return ("", b"") if row is None else (row.get("Session", ""), row["Value"] or b"")

    async def delete(self, key: str) -> None:
        """One key, or everything below it where it ends in a slash, for which a token needs the right to write the whole folder."""
        await _translated(self._client.kv.delete(key, recurse=key.endswith("/")))

    async def close(self) -> None:
        await self._client.close()

    async def _transaction(self, operations: list[dict[str, Any]]) -> bool:
        """False: one of them does not hold, and none is done. The library's own call forgets the token.

        Consul says with the same status that one of them is not allowed, and then it never will hold.
        """
        headers = self._client.prepare_headers(None)
        try:
            await _translated(self._client.http.put(CB.json(), "/v1/txn", data=json.dumps(operations), headers=headers))
        except Refused as error:
            said = str(error.__cause__)
            if _DENIED in said:
                raise Refused(f"Consul refused the request: {_denied(said)}") from error
            if said.startswith("409"):
                return False
            raise
        return True

    async def _ask(self, call: Callable[..., Awaitable[Any]], *args: Any, index: int, wait_s: float, **options: Any) -> tuple[int, Any]:
        if index:
            options |= {"index": str(index), "wait": f"{int(wait_s)}s"}
        budget = _TIMEOUT_S + (wait_s * 1.1 if index else 0)  # Consul adds up to a sixteenth of the wait
        seen, value = await _translated(call(*args, **options), budget)
        return int(seen), value


async def watch(
    fetch: Callable[[int], Awaitable[Seen[T]]],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    jitter: Callable[[], float] = random.random,
) -> AsyncIterator[Seen[T] | Lost]:
    """Every value of a blocking query, for ever; `Lost` for each failure, then it tries again with a growing, jittered pause.

    `fetch(index)` waits for a change after `index`. The same value may come twice: a wait that ends without a change is an answer too.
    """
    index, pause = 0, _BACKOFF_S[0]
    while True:
        try:
            seen = await fetch(index)
        except (Unreachable, Refused) as error:
            yield Lost(error)
            await sleep(pause * (0.5 + jitter()))
            index, pause = 0, min(pause * 2, _BACKOFF_S[1])
            continue
        yield seen
        index, pause = next_index(index, seen.index), _BACKOFF_S[0]
        await sleep(_LEAST_PAUSE_S)


def next_index(asked: int, answered: int) -> int:
    """The index of the next blocking query: 0 (ask afresh) if it went backwards or is not positive."""
    return answered if answered >= max(asked, 1) else 0


@asynccontextmanager
async def opened(address: str, environment: Mapping[str, str] = os.environ) -> AsyncIterator[Consul]:
    """For one command: CONSUL_HTTP_TOKEN is used where it is set."""
    consul = Consul(address, environment.get("CONSUL_HTTP_TOKEN"), environment)
    try:
        yield consul
    finally:
        await consul.close()


def _denied(said: str) -> str:
    """The sentence in Consul's answer that says which right is missing."""
    return said[said.index(_DENIED) :].partition("\n")[0].replace('\\"', "'").rstrip('"')


def _own_certificate(environment: Mapping[str, str]) -> tuple[str, str] | None:
    files = environment.get("CONSUL_CLIENT_CERT", ""), environment.get("CONSUL_CLIENT_KEY", "")
    return files if all(files) else None


def _instance(row: Mapping[str, Any]) -> Instance:
    service = row["Service"]
    return Instance(
        service_id=service["ID"],
        host=service["Address"] or row["Node"]["Address"],
        port=service["Port"],
        tags=tuple(service["Tags"] or ()),
        meta=dict(service["Meta"] or {}),
        passing=all(check["Status"] == "passing" for check in row["Checks"]),
    )


async def _translated(call: Awaitable[T], timeout_s: float = _TIMEOUT_S) -> T:
    try:
        async with asyncio.timeout(timeout_s):
            return await call
    except (
        exceptions.ACLDisabled,
        exceptions.ACLPermissionDenied,
        exceptions.ClientError,
        exceptions.BadRequest,
        exceptions.NotFound,
    ) as error:
        raise Refused(f"Consul refused the request: {error}") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise Unreachable("Consul shows a certificate that is not trusted: name the file of its CA in CONSUL_CACERT") from error
    except (exceptions.ConsulException, aiohttp.ClientError, OSError) as error:
        raise Unreachable(f"Consul does not answer: {error or type(error).__name__}") from error

"""One try of a request at a provider: as at a replica of ours, with what is different on the far side.

    what                    how
    the request             written anew for the provider (remote)
    its HTTP status         read by a table of its own (verdict); its no to our key is never the caller's
    Retry-After             obeyed however long it is, and a 429 without one rests it for 5 s
    its own rate limits     asked of all routers before a try begins, put right when it ends; a full minute rests it like a Retry-After
    what it says            requests, outcomes, latency of successes and costs are counted

Only requests that go to a provider come here.
"""

from __future__ import annotations

import asyncio
import logging
from email.utils import parsedate_to_datetime
from typing import Final

from fleet import metrics
from router.errors import Busy, RouterError, UpstreamFailed, UpstreamSilent
from router.lending.rows import Answer
from router.lending.rows import Verdict as Granted
from router.providers import said
from router.providers.limits import Charge
from router.providers.link import Link
from router.providers.remote import estimated_tokens
from router.providers.verdict import Verdict, is_key_error, is_strike, refuses_key, verdict
from router.relay.attempt import Attempt, Trying
from router.relay.stream import EventStream
from router.replicas.breaker import Event
from router.replicas.replica import Replica
from router.wire import headers
from router.wire.dialects import CHAT_PATH, is_messages
from router.wire.upstream import Connection

log = logging.getLogger(__name__)

_USUAL_REST_S: Final = 5.0
_LONGEST_REST_S: Final = 24 * 3600.0
_NO_SUCH_PATH: Final = frozenset((404, 405, 501))  # whatever its body says: there, no answer is passed on
_OUTCOMES: Final = {"busy": "busy", "refused": "refused"}


class RemoteAttempt(Attempt):
    """`outcome`: ok, rejected (the caller's mistake), busy, refused (our row's), failed, or left."""

    __slots__ = ("_charge", "_granted", "_guessed", "_link", "_timer", "outcome")

    def __init__(self, relay: Trying, replica: Replica, now: float, link: Link) -> None:
        super().__init__(relay, replica, now)
        self._link = link
        self.outcome = "left"
        self._charge: Charge | None = None
        self._granted: Granted | None = None
        self._guessed = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        shared = self._link.shared
        if self._charge is not None:  # it begins again where a kept connection had died
            super().begin()
            return
        self._guessed = estimated_tokens(len(self._relay.body))
        if shared is None:
            self._charged()
        else:
            shared.begin(self._guessed, self._told)

    def _charged(self) -> None:
        """Begins, and counts for this process's share."""
        self._charge = self._link.limits.begin(self.at, self._guessed)
        if self._granted is None:
            self._rest_while_full(self.at)
        super().begin()

    def _told(self, verdict: Granted | None) -> bool:
        """Whether all routers together have room for it; None: nobody knows, so this process's share holds."""
        if self.over:
            return False
        if verdict is not None and verdict.answer == Answer.BROKEN:
            verdict = None
        if verdict is not None and verdict.wait_ms:
            self.replica.rest(self._relay.plane.clock() + verdict.wait_ms / 1000)
        if verdict is not None and verdict.answer != Answer.GRANTED:
            error = Busy(f"The provider {self.replica.model!r} is at the limit that its row sets; try again shortly.")
            self._failed(error, "busy", Event.SUCCESS)
        else:
            self._granted = verdict
            self._charged()
        return True

    @property
    def _connect_s(self) -> float:
        return self._link.remote.provider.connect_s

    def _unreachable(self, error: OSError) -> str:
        return f"The provider {self.replica.model!r} cannot be reached: {_cause(error)}."

    def _send(self, connection: Connection) -> None:
        self.connection = connection
        relay = self._relay
        try:
            connection.translation = relay.translation(self.replica)
            path, body = relay.asked(self.replica)
            message = self._link.remote.message(path, relay.request_id, body)
        except RouterError as error:
            relay.fail(error)
            return
        relay.hides_usage = relay.hides_usage or message.hides_usage
        if not (relay.ask and relay.ask.stream):
            self._timer = asyncio.get_running_loop().call_later(self._link.remote.provider.answer_s, self._too_slow)
        connection.send(self, message.head, message.body)

    def _was_asked_by_chat(self, connection: Connection) -> bool:
        return connection.translation is not None or self._relay.path.startswith(CHAT_PATH)

    def _too_slow(self) -> None:
        """An answer that is no stream, and has not begun to reach the caller."""
        if not self.over and self._relay.begun is None:
            limit_s = self._link.remote.provider.answer_s
            self._failed(UpstreamSilent(f"The provider {self.replica.model!r} had no answer after {limit_s:g} s."), "answer")

    # what it answers

    def _accepts(self, connection: Connection) -> bool:
        status, name = connection.status, self.replica.model
        if status in _NO_SUCH_PATH and is_messages(self._relay.path) and connection.translation is None:
            self._ask_otherwise(connection)
            return False
        match verdict(status):
            case Verdict.PASS:
                return self._passes(connection, status)
            case Verdict.BUSY:
                self._busy(connection, status)
            case Verdict.REFUSED:
                self._refused(status, is_our_fault=is_strike(status, of_chat=self._was_asked_by_chat(connection)))
            case Verdict.LATER:
                self._failed(UpstreamFailed(f"The provider {name!r} did not take the request (HTTP {status})."), "status", Event.SUCCESS)
            case Verdict.BROKEN:
                self._failed(UpstreamFailed(f"The provider {name!r} failed with HTTP {status}."), "status")
        return False

    def _passes(self, connection: Connection, status: int) -> bool:
        kind = headers.value_of(connection.fields, b"content-type")
        if status == 200 and not kind.startswith((b"text/event-stream", b"application/json")):
            self._failed(UpstreamFailed(f"The provider {self.replica.model!r} answered with something else than JSON."), "malformed")
            return False
        self.status = status
        self.streams = status == 200 and kind.startswith(b"text/event-stream")
        return True

    def _busy(self, connection: Connection, status: int) -> None:
        name, plane = self.replica.model, self._relay.plane
        wait_s = retry_after_s(connection.fields, plane.wall())
        if status == 429 or wait_s:
            self.replica.rest(plane.clock() + (wait_s or _USUAL_REST_S))
        error = Busy(f"The provider {name!r} is at its limit (HTTP {status}); try again shortly.", retry_after_s=int(wait_s) or None)
        self._failed(error, "busy", Event.SUCCESS)

    def _refused(self, status: int, *, is_our_fault: bool) -> None:
        provider = self._link.remote.provider
        if self._link.may_say(self._relay.plane.clock()):
            what = f"the key in {provider.key_env or 'key_env'}" if status in (400, 401, 402, 403) else "its base_url and model"
            extra = {"event": "provider_refused", "model": provider.name}
            log.error("provider %s refuses us with HTTP %d: look at %s of its row", provider.name, status, what, extra=extra)
        error = UpstreamFailed(f"The provider {provider.name!r} refuses this router (HTTP {status}); its operator knows.")
        self._failed(error, "refused", Event.FAILURE if is_our_fault else Event.SUCCESS)

    def _whole(self, connection: Connection) -> None:
        if self.status >= 400:
            body = b"".join(connection.parts)
            if refuses_key(self.status, body):
                self._refused(self.status, is_our_fault=True)
                return
            connection.parts[:] = [said.refusal(self.replica.model, self.status, body, self._link.remote.key)]
            connection.fields[:] = [(b"content-type", b"application/json")]
        super()._whole(connection)

    def _hold_events(self, connection: Connection) -> None:
        if is_key_error(b"".join((self.rest, *connection.parts))):
            self._refused(401, is_our_fault=True)
        else:
            super()._hold_events(connection)

    def _failed(self, error: RouterError, why: str, event: Event = Event.FAILURE) -> None:
        self.outcome = _OUTCOMES.get(why, "failed")
        super()._failed(error, why, event)

    # ends

    def leave(self, event: Event | None) -> None:
        if not self.over:
            self._settle(event)
        if self._timer is not None:
            self._timer.cancel()
        super().leave(event)

    def _settle(self, event: Event | None) -> None:
        """Counts how it went. Once."""
        relay, recorder, name = self._relay, self._relay.plane.recorder, self.replica.model
        now = relay.plane.clock()
        if event is Event.FAILURE:
            self.outcome = "refused" if self.outcome == "refused" else "failed"
        elif relay.done and event is Event.SUCCESS and self.status:
            self.outcome = "ok" if self.status < 400 else "rejected"
        recorder.count(metrics.PROVIDER_REQUESTS, name, self.outcome)
        if self.outcome == "ok":
            recorder.observe(metrics.PROVIDER_LATENCY, name, seconds=now - self.at)
        tokens_in, tokens_out = self._tokens()
        price = self._link.remote.provider.cost
        recorder.count(metrics.PROVIDER_COST, name, by=(tokens_in * price.input + tokens_out * price.output) / 1000)
        if self._charge is not None:
            self._link.limits.settle(self._charge, tokens_in + tokens_out)
            if self._granted is not None and self._link.shared is not None:
                self._link.shared.settle(self._granted, self._guessed, tokens_in + tokens_out)
            else:
                self._rest_while_full(now)

    def _tokens(self) -> tuple[int, int]:
        """Of prompt and answer, as far as it did anything for us: as it says, else estimated."""
        relay = self._relay
        if self.outcome not in ("ok", "failed", "left") or not self.status:
            return 0, 0
        if relay.usage is not None and relay.done:
            return relay.usage.prompt_tokens, relay.usage.completion_tokens
        stream = relay.begun
        answered = stream.said().tokens if isinstance(stream, EventStream) else 0
        return estimated_tokens(len(relay.body)), answered

    def _rest_while_full(self, now: float) -> None:
        until = self._link.limits.free_at(now)
        if until > now:
            self.replica.rest(until)


def retry_after_s(fields: headers.Fields, wall: float) -> float:
    """Seconds, a day at most, from `retry-after-ms` or a Retry-After in seconds or as a date; 0: it says nothing that can be read."""
    milliseconds, value = headers.value_of(fields, b"retry-after-ms"), headers.value_of(fields, b"retry-after")
    try:
        if milliseconds:
            wait_s = float(milliseconds) / 1000
        elif value[:1].isdigit():
            wait_s = float(value)
        else:
            wait_s = parsedate_to_datetime(value.decode()).timestamp() - wall
    except (ValueError, OverflowError):
        return 0.0
    return min(max(0.0, wait_s), _LONGEST_REST_S)


def _cause(error: OSError) -> str:
    return str(error) or "no answer in time"

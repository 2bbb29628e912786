"""Errors of the router, by whose fault they are, and the one table that turns them into HTTP.

    RouterError
    ├── CallerError
    │   ├── BadRequest          the body is not what the API takes
    │   ├── NoKey               401: no API key, or one that no tenant has
    │   ├── NotAdmin            403: the router's admin key is wanted
    │   ├── NotAllowed          403: the tenant may not use this model or route
    │   ├── RateLimited         429: TooManyRequests, TooManyTokens: the tenant's minute is full
    │   ├── BudgetSpent         429: what the request may cost is more than the tenant has left
    │   ├── NoModelFits         no model of the chain meets what the caller demands of it
    │   ├── BadSession          the session id or selector is malformed
    │   ├── UnknownModel        not in the catalogue; a model that is only cold is never this
    │   ├── UnknownSession      the seed API wants a session that was started
    │   ├── BodyTooLarge
    │   ├── CodingNotTaken      415: the body is compressed in another way than gzip
    │   ├── HeadTooLarge
    │   └── TooSlow             the request did not arrive in time
    ├── UpstreamError
    │   ├── UpstreamFailed      every replica that was tried broke
    │   ├── UpstreamSilent      a clock ran out
    │   └── StreamTruncated     broke after content: an error event, never a status
    ├── CapacityError
    │   ├── NotWarm             known, but no replica is warm
    │   ├── TooManyHeld         so many requests wait for warmth that no more may
    │   ├── ModelDisabled       an operator's order: the model, and all that could stand in for it, gets no requests
    │   ├── Busy                every replica that was tried is at its limit
    │   └── LimitsAway          Redis does not answer, and the tenant's limits may not be passed by
    ├── Stopping                ours: this router is being stopped
    ├── AnalyticsAway           the database of the analytics does not answer
    └── StoreAway               the session store's; no caller ever sees it
    SimulatedFailure            an operator's: a connection is refused because that was ordered
    NoSocket                    the machine's: another program has the public port; the router does not start
    NoAnswer                    ours: the process beside this one does not answer

Every answer has OpenAI's shape, so that callers' SDKs raise their own exceptions. No I/O.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from fleet.errors import WarmfleetError

CALLER_LEFT = 499  # a status for our own books: nobody was there to read it
_RETRY_S = 5
_LONGEST_RETRY_S = 120  # openai-python gives up at once on a longer retry-after


class RouterError(Exception):
    """`str()` is the message to the caller; `param` names the field of the request that is wrong."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class CallerError(RouterError):
    pass


class BadRequest(CallerError):
    pass


class NoKey(CallerError):
    def __init__(self) -> None:
        super().__init__("No valid API key: send one of yours as `Authorization: Bearer KEY`, or ask who runs this for one.")


class NotAdmin(CallerError):
    pass


class NotAllowed(CallerError):
    def __init__(self, name: str) -> None:
        super().__init__(f"Your API key may not use {name[:100]!r}; GET /v1/models lists what it may.", param="model")


class RateLimited(CallerError):
    """`wait_s`: until there is room again."""

    def __init__(self, limit: int, wait_s: int) -> None:
        self.wait_s = wait_s
        super().__init__(f"Your limit of {limit} {self.of} a minute is reached; try again in {wait_s} s.")

    of = ""


class TooManyRequests(RateLimited):
    of = "requests"


class TooManyTokens(RateLimited):
    of = "tokens"


class BudgetSpent(CallerError):
    pass


class NoModelFits(CallerError):
    pass


class BadSession(CallerError):
    pass


class UnknownModel(CallerError):
    def __init__(self, model: str) -> None:
        super().__init__(f"The model {model[:100]!r} does not exist here; GET /v1/models lists what does.", param="model")


class UnknownSession(CallerError):
    pass


class BodyTooLarge(CallerError):
    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The request body is larger than {limit_bytes} bytes; send less, or raise router.max_body.")


class CodingNotTaken(CallerError):
    def __init__(self, coding: str) -> None:
        super().__init__(f"The request body's Content-Encoding {coding[:50]!r} is not taken here; send gzip, or no Content-Encoding.")


class HeadTooLarge(CallerError):
    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The head of the request is larger than {limit_bytes} bytes; send fewer or shorter header fields.")


class TooSlow(CallerError):
    pass


class UpstreamError(RouterError):
    pass


class UpstreamFailed(UpstreamError):
    pass


class UpstreamSilent(UpstreamError):
    pass


class StreamTruncated(UpstreamError):
    pass


class CapacityError(RouterError):
    """`retry_after_s` is at most 120; `warm_in_s` is None where nothing says when the model will be warm."""

    def __init__(self, message: str, *, warm_in_s: float | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.warm_in_s = warm_in_s
        wanted = retry_after_s if warm_in_s is None else math.ceil(warm_in_s)
        self.retry_after_s = _RETRY_S if wanted is None else min(max(wanted, 1), _LONGEST_RETRY_S)


class NotWarm(CapacityError):
    pass


class TooManyHeld(CapacityError):
    pass


class ModelDisabled(CapacityError):
    pass


class Busy(CapacityError):
    pass


class LimitsAway(CapacityError):
    pass


class Stopping(RouterError):
    pass


class SimulatedFailure(ConnectionRefusedError):
    """The only one that is also an OSError: a pool raises it where a real connection would be refused."""


class NoSocket(WarmfleetError):
    pass


class NoAnswer(WarmfleetError):
    pass


class AnalyticsAway(RouterError):
    pass


class StoreAway(RouterError):
    pass


class HttpError(NamedTuple):
    """`type` and `code` as they stand in the body."""

    status: int
    type: str
    code: str


_HTTP: dict[type[RouterError], HttpError] = {
    BadRequest: HttpError(400, "invalid_request_error", "invalid_request"),
    NoKey: HttpError(401, "invalid_request_error", "invalid_api_key"),
    NotAdmin: HttpError(403, "permission_error", "not_admin"),
    NotAllowed: HttpError(403, "invalid_request_error", "not_allowed"),
    TooManyRequests: HttpError(429, "requests", "rate_limit_exceeded"),
    TooManyTokens: HttpError(429, "tokens", "rate_limit_exceeded"),
    BudgetSpent: HttpError(429, "insufficient_quota", "insufficient_quota"),
    NoModelFits: HttpError(400, "invalid_request_error", "no_model_fits"),
    BadSession: HttpError(400, "invalid_request_error", "invalid_session"),
    UnknownModel: HttpError(404, "invalid_request_error", "model_not_found"),
    UnknownSession: HttpError(404, "invalid_request_error", "session_not_found"),
    BodyTooLarge: HttpError(413, "invalid_request_error", "request_too_large"),
    CodingNotTaken: HttpError(415, "invalid_request_error", "unsupported_content_encoding"),
    HeadTooLarge: HttpError(431, "invalid_request_error", "headers_too_large"),
    TooSlow: HttpError(408, "invalid_request_error", "request_timeout"),
    UpstreamFailed: HttpError(502, "upstream_error", "upstream_failed"),
    UpstreamSilent: HttpError(504, "upstream_error", "upstream_timeout"),
    StreamTruncated: HttpError(502, "upstream_error", "stream_truncated"),
    NotWarm: HttpError(503, "server_error", "model_not_warm"),
    TooManyHeld: HttpError(503, "server_error", "too_many_held"),
    ModelDisabled: HttpError(503, "server_error", "model_disabled"),
    Busy: HttpError(503, "server_error", "replicas_busy"),
    LimitsAway: HttpError(503, "server_error", "limits_away"),
    Stopping: HttpError(503, "server_error", "router_stopping"),
    StoreAway: HttpError(503, "server_error", "session_store_away"),
    AnalyticsAway: HttpError(503, "server_error", "analytics_away"),
}


_HINTS: dict[type[RouterError], tuple[tuple[bytes, bytes], ...]] = {
    NoKey: ((b"www-authenticate", b"Bearer"),),
    CodingNotTaken: ((b"accept-encoding", b"gzip"),),
    BudgetSpent: ((b"x-should-retry", b"false"),),
}


def to_http(error: RouterError) -> HttpError:
    return _HTTP[type(error)]


def encode(error: RouterError) -> bytes:
    """The JSON body of an error."""
    http = to_http(error)
    return body(str(error), http.type, http.code, error.param)


def body(message: str, kind: str, code: str, param: str | None = None) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}`"""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def extra_headers(error: RouterError) -> tuple[tuple[bytes, bytes], ...]:
    """What an answer says beyond its body: when to come back, and that coming back is worth it."""
    if isinstance(error, Stopping):
        return ((b"retry-after", b"1"), (b"x-should-retry", b"true"))
    if isinstance(error, RateLimited):
        return ((b"retry-after", b"%d" % error.wait_s), (b"x-should-retry", b"true"))
    if not isinstance(error, CapacityError):
        return _HINTS.get(type(error), ())
    hints = ((b"retry-after", b"%d" % error.retry_after_s), (b"x-should-retry", b"true"))
    if error.warm_in_s is None:
        return hints
    return (*hints, (b"x-warm-eta", b"%d" % max(0, math.ceil(error.warm_in_s))))

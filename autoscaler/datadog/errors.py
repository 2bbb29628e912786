"""Why Datadog did not answer, by whose fault it is. None of these stops the autoscaler; each becomes the reason of an Unknown.

    WarmfleetError
    └── DatadogError
        ├── NoAnswer           the network's or Datadog's: no connection, no answer in time, HTTP 5xx
        ├── NotAllowed         ours: keys or query are refused (HTTP 4xx)
        ├── Limited            the organisation's rate limit (HTTP 429); `wait_s` as Datadog says
        └── MalformedAnswer    Datadog's or a proxy's: an answer that is not what the API promises

No message carries a key.
"""

from __future__ import annotations

from fleet.errors import WarmfleetError


class DatadogError(WarmfleetError):
    pass


class NoAnswer(DatadogError):
    pass


class NotAllowed(DatadogError):
    pass


class Limited(DatadogError):
    def __init__(self, message: str, wait_s: float | None) -> None:
        """`wait_s`: until the limit's period ends; None where the answer does not say."""
        super().__init__(message)
        self.wait_s = wait_s


class MalformedAnswer(DatadogError):
    pass

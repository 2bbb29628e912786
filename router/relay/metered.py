"""A stream of a request that the router has asked for a usage, because its tenant pays for tokens, and the caller has not.

Law: the event that says nothing but the usage is read and not sent on; everything else is as in EventStream. It may come alone, so that
here every read is searched for it once more.
"""

from __future__ import annotations

from typing import Final

from router.relay.stream import EventStream
from router.wire.upstream import Connection

_MARK: Final = b'"usage"'


class MeteredStream(EventStream):
    __slots__ = ()

    def received(self, connection: Connection) -> None:
        parts = connection.parts
        if parts and parts[-1].rfind(_MARK) >= 0:
            self._received(connection)
        else:
            super().received(connection)

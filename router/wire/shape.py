"""The shape of a caller's head: what a client sends again differs from the time before in the values of a few fields.

    parser reads a head ─► Shape ─► next head: the same bytes but for its holes ─► read without the parser
                             └──◄── anything else: the parser reads it, and the shape learns what differs

Law: nothing passes here that the parser would read otherwise. A shape is made only of a head that the parser has taken and whose bytes
are exactly its fields written out, so each line goes on to mean what it meant. No field that frames a message or concerns its connection
is a hole, but for content-length, which is digits alone. A message must be whole in its read, to the byte. Keys and cookies are holes
from the start: no shape keeps any. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from router.wire import headers
from router.wire.head import RequestHead
from router.wire.holes import MARK, Fields, Holes, Lines, is_length, marks, taken_out, written_out

_MOST_SHAPES: Final = 8
_MOST_HOLES: Final = 12
_MOST_BYTES: Final = 8192
_LENGTH: Final = b"content-length"
_FIXED: Final = frozenset((b"host", b"connection"))
_UNFIT: Final = frozenset(
    (b"transfer-encoding", b"upgrade", b"expect", b"proxy-connection", b"keep-alive", b"te", b"trailer", b"content-encoding")
)
Whole = tuple[RequestHead, bytes]
_ALWAYS: Final = headers.CREDENTIALS | headers.PER_REQUEST | {_LENGTH}


class Shape(Holes):
    """`url`: of its request line."""

    __slots__ = ("_flags", "_forward", "_kept", "_length_at", "_taken", "url")

    def __init__(self, url: bytes, fields: Fields, holes: frozenset[int]) -> None:
        super().__init__(_start(url), fields, holes)
        self.url = url
        self._learn_meaning(sorted(holes))

    def _learn_meaning(self, holes: Sequence[int]) -> None:
        """What becomes of each hole: the one reader of heads says it, with a mark in each of them."""
        signs = [MARK % n for n in range(len(holes))]
        head = headers.read_request(self.marked())
        self._length_at = next(n for n, at in enumerate(holes) if self.fields[at][0].lower() == _LENGTH)
        self._forward = Lines(head.forward)
        self._kept = kept = (head.session, head.request_id, head.authorization, head.wish)
        self._taken = itemgetter(*(signs.index(value) if value in signs else n - len(kept) for n, value in enumerate(kept)))
        self._flags = head.has_connection, head.has_trace, head.has_deadline

    def read(self, data: bytes) -> Whole | None:
        """Head and body of a message that is whole in `data`; None: its head has another shape, or it is not whole."""
        found = self.values(data)
        if found is None:
            return None
        values, body = found[0], data[found[1] :]
        if not is_length(values[self._length_at], body):
            return None
        forward = self._forward.filled(values)
        session, request, authorization, wish = self._taken((*values, *self._kept))
        if request is not None:
            request = headers.sane_id(request)
        connection, trace, deadline = self._flags
        return RequestHead(forward, len(body), session, request, False, connection, authorization, wish, None, trace, deadline), body


class Shapes:
    """Those of one process, the latest first. What is not recognised time and again is learned from ever more seldom."""

    __slots__ = ("_missed", "_shapes")

    def __init__(self) -> None:
        self._shapes: list[Shape] = []
        self._missed = 0

    def of(self, data: bytes) -> tuple[Shape, Whole] | None:
        """The one that the head of a whole message has, and what it reads there."""
        for shape in self._shapes:
            whole = shape.read(data)
            if whole is not None:
                self._missed = 0
                return shape, whole
        return None

    def learn(self, data: bytes, url: bytes, fields: Fields) -> None:
        """From a head that the parser has read; `data`: the read that began with it."""
        self._missed += 1
        if self._missed & (self._missed - 1) or not _is_plain(data, url, fields):
            return
        start = _start(url)
        holes = taken_out(self._shapes, start, fields, _ALWAYS, _FIXED)
        if len(holes) <= _MOST_HOLES:
            self._shapes.insert(0, Shape(url, fields, holes))
            del self._shapes[_MOST_SHAPES:]


def _start(url: bytes) -> bytes:
    return b"POST %b HTTP/1.1\r\n" % url


def _is_plain(data: bytes, url: bytes, fields: Fields) -> bool:
    """These bytes and no others say these fields, and none of them is of a kind that the parser must see each time."""
    head = written_out(_start(url), fields)
    if len(head) > _MOST_BYTES or marks.search(head) or not data.startswith(head):
        return False
    names = [name.lower() for name, _ in fields]
    if len(set(names)) < len(names):
        return False  # what is said twice may mean something else than each by itself
    stays_open = all(value.lower() == b"keep-alive" for name, value in fields if name.lower() == b"connection")
    return stays_open and names.count(_LENGTH) == names.count(b"host") == 1 and _UNFIT.isdisjoint(names)

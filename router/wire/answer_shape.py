"""The shape of an engine's head: an answer of JSON that comes whole in one read differs from another in a few values.

Law: as for a caller's head (router.wire.shape): what is recognised is the bytes of a head that the parser has taken, but for its holes,
and the body is exactly as long as it says. Only answers with status 200 and a type of JSON have a shape: streams, refusals and whatever
else an engine may say are the parser's. Pure.
"""

from __future__ import annotations

import re
from typing import Final

from router.wire import headers
from router.wire.holes import Fields, Holes, Lines, is_length, marks, taken_out, written_out

_MOST_SHAPES: Final = 8
_MOST_HOLES: Final = 8
_TURN: Final = 1024
_MOST_BYTES: Final = 4096
_LENGTH: Final = b"content-length"
_ALWAYS: Final = frozenset((_LENGTH, b"date"))
_FIXED: Final = frozenset((b"content-type", b"connection", b"keep-alive"))
_UNFIT: Final = frozenset((b"transfer-encoding", b"upgrade", b"trailer", b"content-encoding", b"proxy-connection"))
_starts: Final = re.compile(rb"HTTP/1\.1 200 [ -~]{0,64}\r\n").match
Read = tuple[list[tuple[bytes, bytes]], bytes, bytes]


class AnswerShape(Holes):
    __slots__ = ("_down", "_length_at", "_lower", "_order")

    def __init__(self, start: bytes, fields: Fields, holes: frozenset[int]) -> None:
        super().__init__(start, fields, holes)
        self._lower = [(name.lower(), value) for name, value in self.fields]
        self._order = sorted(holes)
        self._length_at = [self._lower[at][0] for at in self._order].index(_LENGTH)
        self._down = Lines(headers.down_lines([(name.lower(), value) for name, value in self.marked()]))

    def read(self, data: bytes) -> Read | None:
        """Fields with names in lower case, the lines of them that a caller may see, and the body; None: it is no whole answer like it."""
        found = self.values(data)
        if found is None:
            return None
        values, body = found[0], data[found[1] :]
        if not is_length(values[self._length_at], body):
            return None
        fields = self._lower.copy()
        for at, value in zip(self._order, values, strict=True):
            fields[at] = (fields[at][0], value)
        return fields, self._down.filled(values), body


class AnswerShapes:
    """Those of the engines of one process, the latest first: engines of a kind answer alike, and what all share stays in the cache.

    What keeps changing is learned from ever more seldom, but never quite given up: engines are replaced by newer ones.
    """

    __slots__ = ("_missed", "_shapes")

    def __init__(self) -> None:
        self._shapes: list[AnswerShape] = []
        self._missed = 0

    def read(self, data: bytes) -> Read | None:
        """As `AnswerShape.read`, for a whole answer of any of them."""
        for shape in self._shapes:
            read = shape.read(data)
            if read is not None:
                return read
        return None

    def learn(self, data: bytes, fields: Fields) -> None:
        """From an answer that the parser has read whole in `data`; `fields`: with names in lower case."""
        self._missed += 1
        is_turn = not self._missed & (self._missed - 1) or not self._missed % _TURN
        if not is_turn or (start := _starts(data)) is None:
            return
        fields = _as_written(data, start.end(), fields)
        if not _is_plain(data, start[0], fields):
            return
        holes = taken_out(self._shapes, start[0], fields, _ALWAYS, _FIXED)
        if len(holes) <= _MOST_HOLES:
            self._shapes.insert(0, AnswerShape(start[0], fields, holes))
            del self._shapes[_MOST_SHAPES:]


def _as_written(data: bytes, at: int, fields: Fields) -> Fields:
    """The fields with their names as they stand in the bytes, if these are the fields written out."""
    written = []
    for name, value in fields:
        written.append((data[at : at + len(name)], value))
        at += len(name) + len(value) + 4
    return written


def _is_plain(data: bytes, start: bytes, fields: Fields) -> bool:
    """These bytes and no others say these fields, and none of them is of a kind that the parser must see each time."""
    head = written_out(start, fields)
    if len(head) > _MOST_BYTES or marks.search(head) or not data.startswith(head):
        return False
    lower = [(name.lower(), value) for name, value in fields]
    names = [name for name, _ in lower]
    stays_open = all(value.lower() == b"keep-alive" for name, value in lower if name == b"connection")
    is_json = [value for name, value in lower if name == b"content-type" and value.startswith(b"application/json")]
    return stays_open and len(is_json) == names.count(b"content-type") == names.count(_LENGTH) == 1 and _UNFIT.isdisjoint(names)

"""Bytes that are always the same but for a few values: the head of a message, recognised without a parser.

    first piece │ value │ piece │ value │ ... │ last piece

Law: what is recognised is the same bytes as a head that a parser has taken, but for the values of known fields, and each of those is
visible characters with single spaces in between: no line can end, begin or go missing in one. Whoever makes `Holes` answers for which
fields they are. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final

Fields = Sequence[tuple[bytes, bytes]]

_are_plain: Final = re.compile(rb"[!-~]+(?: [!-~]+)*").fullmatch
_MOST_BYTES: Final = 1024
_MOST_DIGITS: Final = 9
MARK: Final = b"-:hole:%d:-"
marks: Final = re.compile(rb"-:hole:(\d+):-")


class Holes:
    """Of heads with one start line (which ends in CRLF) and the same names in the same order. `holes`: places of the fields that differ."""

    __slots__ = ("_begin", "_first", "_pieces", "fields", "holes", "start")

    def __init__(self, start: bytes, fields: Fields, holes: frozenset[int]) -> None:
        self.start = start
        self.holes = holes
        self.fields = tuple((name, b"" if at in holes else value) for at, (name, value) in enumerate(fields))
        first, *pieces = _pieces(start, self.fields, holes)
        self._first, self._begin = first, len(first)
        self._pieces = tuple((piece, len(piece)) for piece in pieces)

    def values(self, data: bytes) -> tuple[list[bytes], int] | None:
        """What is in the holes, in their order, and where the body begins; None: this begins otherwise."""
        if not data.startswith(self._first):
            return None
        at, values = self._begin, []
        for piece, size in self._pieces:
            end = data.find(b"\r\n", at, at + _MOST_BYTES)
            if end < 0 or not data.startswith(piece, end):
                return None
            values.append(data[at:end])
            at = end + size
        return (values, at) if _are_plain(b" ".join(values)) else None

    def marked(self) -> list[tuple[bytes, bytes]]:
        """The fields with a mark in each hole, for whoever says what becomes of a field."""
        marked = list(self.fields)
        for n, at in enumerate(sorted(self.holes)):
            marked[at] = (marked[at][0], MARK % n)
        return marked

    def is_of(self, start: bytes, fields: Fields, fixed: frozenset[bytes]) -> bool:
        """A head of this kind: nothing differs that may not. `fixed`: names in lower case."""
        if start != self.start or len(fields) != len(self.fields):
            return False
        pairs = zip(self.fields, fields, strict=True)
        return all(a[0] == b[0] and (a[1] == b[1] or a[0].lower() not in fixed) for a, b in pairs)

    def with_what_differs(self, fields: Fields) -> frozenset[int]:
        pairs = zip(self.fields, fields, strict=True)
        return self.holes | {at for at, (before, now) in enumerate(pairs) if before != now}


def taken_out(shapes: list[Any], start: bytes, fields: Fields, always: frozenset[bytes], fixed: frozenset[bytes]) -> frozenset[int]:
    """The holes of a shape for this head: those of the one of its kind, which leaves the list, and what differs from it.

    `always`, `fixed`: names in lower case of fields that are holes from the start, and that may not be one.
    """
    holes = frozenset(at for at, (name, _) in enumerate(fields) if name.lower() in always)
    before = next((shape for shape in shapes if shape.is_of(start, fields, fixed)), None)
    if before is None:
        return holes
    shapes.remove(before)
    return frozenset(holes | before.with_what_differs(fields))


class Lines:
    """Lines of a head in which some holes are found again. `marked`: with a mark for each of them."""

    __slots__ = ("_form", "_taken")

    def __init__(self, marked: bytes) -> None:
        form, *rest = (part.replace(b"%", b"%%") for part in marks.split(marked))
        self._form = b"%b".join((form, *rest[1::2]))
        self._taken: Callable[[Any], Any] = itemgetter(*map(int, rest[::2])) if rest else _nothing

    def filled(self, values: Sequence[bytes]) -> bytes:
        lines: bytes = self._form % self._taken(values)
        return lines


def _nothing(_: object) -> tuple[()]:
    return ()


def is_length(value: bytes, body: bytes) -> bool:
    """The value of a content-length is this body's, to the byte, and plain digits."""
    return value.isdigit() and len(value) <= _MOST_DIGITS and int(value) == len(body)


def written_out(start: bytes, fields: Fields) -> bytes:
    """A whole head of these fields, as everybody writes it."""
    (head,) = _pieces(start, fields, frozenset())
    return head


def _pieces(start: bytes, fields: Fields, holes: frozenset[int]) -> Iterator[bytes]:
    """The bytes before, between and after the holes."""
    piece = start
    for at, (name, value) in enumerate(fields):
        piece += name + b": "
        if at in holes:
            yield piece
            piece = b"\r\n"
        else:
            piece += value + b"\r\n"
    yield piece + b"\r\n"

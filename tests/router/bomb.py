"""A small gzip body that is large once it is inflated, made in no time.

Every worker of a test run loads every file of tests, so what a file compresses when it is loaded is compressed four times.
Its checksum is not that of its content: who reads as far as that has read too much, and says another thing than "too large".
"""

from __future__ import annotations

import zlib

_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_LAST = b"\x03\0"  # an empty block that ends the stream
_MIB = 1024**2


def bomb(size_bytes: int) -> bytes:
    """At least so many spaces."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    one = packer.compress(b" " * _MIB) + packer.flush(zlib.Z_FULL_FLUSH)  # refers to nothing before it, so it can be repeated
    return _HEAD + one * (size_bytes // _MIB + 1) + _LAST + bytes(8)

"""A request body that the caller has compressed, as it was before.

Law: gzip only, one stream of it, and never more bytes than a body may have: a small body that would become a huge one is refused as
soon as it is larger than that, so it costs no more memory and time than the largest body that may be sent. Engines get every body
uncompressed, because the router must read it and may have to change it. Pure.
"""

from __future__ import annotations

import zlib
from typing import Final

from router.errors import BadRequest, BodyTooLarge, CodingNotTaken

_GZIP: Final = 16 + zlib.MAX_WBITS
_CODINGS: Final = (b"gzip", b"x-gzip")
_PLAIN: Final = (b"identity", b"")


def inflated(body: bytes, coding: bytes, most_bytes: int) -> bytes:
    """The body without its Content-Encoding.

    Raises:
        CodingNotTaken: another coding than gzip, or several.
        BadRequest: it is not what it says, or ends too early.
        BodyTooLarge: it would be larger than `most_bytes`.
    """
    coding = coding.strip().lower()
    if coding in _PLAIN:
        return body
    if coding not in _CODINGS:
        raise CodingNotTaken(coding.decode("latin-1"))
    inflater = zlib.decompressobj(_GZIP)
    try:
        plain = inflater.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise BadRequest("The request body is not valid gzip, which its Content-Encoding says it is.") from error
    if len(plain) > most_bytes:
        raise BodyTooLarge(most_bytes)
    if not inflater.eof or inflater.unused_data:
        raise BadRequest("The request body's gzip has too little or too much at its end; send one whole gzip stream.")
    return plain

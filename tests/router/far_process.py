"""A provider in a process of its own: `python -m tests.router.far_process FAULT` serves one scripted answer and prints its port."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Final

from tests.router.upstream import (
    CHAT,
    DONE,
    ROLE,
    SSE_HEAD,
    Script,
    Upstream,
    answer,
    chunked,
    delta,
    plays,
    plays_and_cuts,
    says_hello,
    silent,
)

BEGUN: Final = chunked([ROLE, delta("Hel")], end=False)
FAULTS: Final[Mapping[str, Script]] = {
    "429": plays(answer(b"{}", 429)),
    "429 with Retry-After": plays(answer(b"{}", 429, extra="retry-after: 7\r\n")),
    "500": plays(answer(b"{}", 500)),
    "cut": plays_and_cuts(answer(CHAT)[:-10]),
    "malformed chunk": plays(SSE_HEAD + b"zz\r\n"),
    "wrong model": plays(answer(b"{}", 404)),
    "slow first token": silent,
    "stall": plays(SSE_HEAD + BEGUN),
    "none": says_hello,
    "stream": plays(SSE_HEAD + chunked([ROLE, delta("Hello"), delta("", "stop"), DONE])),
}


async def serve(fault: str) -> None:
    upstream = Upstream(FAULTS[fault])
    await upstream.start()
    sys.stdout.write(f"{upstream.port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))

"""What an engine is asked that says that it does not have a path of Anthropic's, and how its answer is told.

    the path that it lacks         what it is asked                        what its answer becomes
    /v1/messages                   the same of /v1/chat/completions        a message, or its events
    /v1/messages/count_tokens      that chat's tokens, of vLLM's /tokenize their number

Law: it is a table; who lacks what is kept by each replica, and found out by asking it once. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from router.wire import messages_answered
from router.wire.dialects import CHAT_PATH, COUNT_PATH, MESSAGES_PATH, TOKENIZE_PATH
from router.wire.messages_answered import Translation
from router.wire.messages_asked import as_chat, as_tokenize


@dataclass(frozen=True, slots=True)
class Instead:
    """`asked` takes the caller's body, and raises BadRequest where it cannot be asked. `translation`: one for each answer."""

    path: bytes
    asked: Callable[[bytes], bytes]
    translation: Callable[[], Translation]


INSTEAD: Final = {
    MESSAGES_PATH: Instead(CHAT_PATH, as_chat, Translation),
    COUNT_PATH: Instead(TOKENIZE_PATH, as_tokenize, partial(Translation, told=messages_answered.count)),
}


def instead_of(path: bytes) -> Instead | None:
    """For a relayed path, with its query or without. None: nothing else means the same."""
    return INSTEAD.get(path.partition(b"?")[0])

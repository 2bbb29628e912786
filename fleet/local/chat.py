"""Two questions to a router over plain HTTP: is it well, and one chat."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from fleet.errors import StackError
from fleet.local.processes import wait_until

QUESTION = "Say hello in one short sentence."
_TIMEOUT_S = 60.0
_PATIENCE_S = 30.0


class KeyWanted(StackError):
    """The fleet has tenants, and the key is none of theirs."""


def ask(router: str, model: str, key: str = "") -> str:
    """The answer to QUESTION. A router that is up but does not know its replicas yet (503) is asked again for up to 30 s.

    Raises:
        KeyWanted: the router answers whoever has a key.
        StackError: no answer, or one that is not a chat completion.
    """
    body = {"model": model, "max_tokens": 32, "temperature": 0, "messages": [{"role": "user", "content": QUESTION}]}
    answers: list[tuple[int, str]] = []

    def asked() -> bool:
        answers.append(_call(router, "POST", "/v1/chat/completions", body, key))
        return answers[-1][0] not in (0, 503)

    if not wait_until(lambda: _call(router, "GET", "/health")[0] == 200, _PATIENCE_S):
        raise StackError(f"the router at {router} is not well: GET /health does not answer 200")
    wait_until(asked, _PATIENCE_S)
    status, text = answers[-1]
    if status in (401, 403):
        raise KeyWanted(f"{model} was not asked, because the router wants a tenant's key: {text[:500]}")
    try:
        return str(json.loads(text)["choices"][0]["message"]["content"]).strip()
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise StackError(f"{model} gave no chat completion through {router}: {status} {text[:500]}") from error


def _call(base: str, method: str, path: str, body: dict[str, Any] | None = None, key: str = "") -> tuple[int, str]:
    """Status and text; status 0 and what went wrong where there is no answer."""
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=_TIMEOUT_S)
    try:
        head = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        connection.request(method, path, json.dumps(body) if body else None, head)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, f"{type(error).__name__}: {error}"
    finally:
        connection.close()

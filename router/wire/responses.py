"""An error of ours as an answer of the ASGI app: status, OpenAI's shape and the fields of the head that belong to it."""

from __future__ import annotations

from starlette.responses import Response

from router import errors
from router.errors import RouterError


def refused(error: RouterError) -> Response:
    fields = {name.decode(): value.decode() for name, value in errors.extra_headers(error)}
    return Response(errors.encode(error), errors.to_http(error).status, fields, "application/json")

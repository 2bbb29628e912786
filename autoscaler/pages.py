"""The autoscaler's own HTTP: is it alive, what did it decide and why, and its metrics.

    GET /health            200 while passes end in time, else 503; whether it leads, and whether the fleet is paused
    GET /status            the last decision of every model: its sentence, capacity by state, signals, votes, forecast
    GET /explain/{model}   the last decisions of a model that said something new, oldest first, with all that they rest on; then that of now
    GET /metrics           Prometheus text
Reads the board and the recorder; changes nothing: a pause is a key in Consul.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from autoscaler.board import Board, Status, inputs
from autoscaler.signals import Unknown
from fleet.recorder import Recorder, prometheus_text


def create_app(board: Board, recorder: Recorder, *, clock: Callable[[], float], late_after_s: float) -> FastAPI:
    """`clock`: seconds since the epoch. A pass is late when none has ended for `late_after_s`."""
    app = FastAPI(title="warmfleet autoscaler")

    @app.get("/health")
    async def health() -> Response:
        age_s = clock() - board.passed_at if board.passed_at else None
        late = age_s is not None and age_s > late_after_s
        told = {"status": "late" if late else "ok" if age_s is not None else "starting", "last_pass_age_s": age_s}
        return JSONResponse(told | _role(board), status_code=503 if late or age_s is None else 200)

    @app.get("/status")
    async def status() -> Response:
        models = [_told(status) for _, status in sorted(board.statuses.items())]
        return JSONResponse({"passed_at": board.passed_at, **_role(board), "models": models})

    @app.get("/explain/{model}")
    async def explain(model: str) -> Response:
        if model not in board.recent:
            message = f"no model {model!r} was decided about; there are: {', '.join(sorted(board.recent)) or 'none yet'}"
            error = {"message": message, "type": "not_found", "param": "model", "code": "model_not_found"}
            return JSONResponse({"error": error}, status_code=404)
        return JSONResponse({"model": model, **_role(board), "decisions": [_told(status) for status in board.story(model)]})

    @app.get("/metrics")
    async def metrics() -> Response:
        return PlainTextResponse(prometheus_text(recorder), media_type="text/plain; version=0.0.4")

    return app


def _role(board: Board) -> dict[str, object]:
    return {"leads": board.leads, "paused": board.paused}


def _told(status: Status) -> dict[str, object]:
    missing_why = "" if isinstance(status.capacity, Unknown) else status.capacity.missing_why
    return {**inputs(status), "at": status.at, "sentence": status.sentence, "missing_why": missing_why}

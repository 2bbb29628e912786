"""The status pages, over HTTP."""

from __future__ import annotations

import json

from autoscaler.board import Board, Status
from autoscaler.pages import create_app
from autoscaler.policies.vote import Vote
from autoscaler.signals import Known, Unknown
from fleet.metrics import DECISIONS
from fleet.recorder import Recorder
from tests.autoscaler.build import NOW, fleet


async def get(board: Board, path: str, *, now: float = NOW) -> tuple[int, str]:
    """One GET by the ASGI protocol itself: no client library and no socket is needed."""
    recorder = Recorder()
    recorder.count(DECISIONS, "small-model", "none", "target")
    app = create_app(board, recorder, clock=lambda: now, late_after_s=60)
    sent: list[dict] = []  # type: ignore[type-arg]

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:  # type: ignore[type-arg]
        sent.append(message)

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "path": path, "raw_path": path.encode()}
    await app({**scope, "query_string": b"", "headers": [], "scheme": "http"}, receive, send)  # type: ignore[arg-type]
    return sent[0]["status"], b"".join(m.get("body", b"") for m in sent[1:]).decode()


async def test_health_follows_the_passes() -> None:
    assert (await get(Board(), "/health"))[0] == 503
    assert (await get(Board(passed_at=NOW - 30), "/health"))[0] == 200
    status, body = await get(Board(passed_at=NOW - 61), "/health")
    assert (status, '"late"' in body) == (503, True)


async def test_status_shows_the_sentence_the_capacity_and_the_signals() -> None:
    signals = {"concurrency": Known(2.8, 1.0), "requests_per_min": Unknown("no router is registered in Consul")}
    board = Board({"small-model": Status("small-model", NOW, "small-model 1 -> 2: because", 2, "up", "1 -> 2", fleet(1), signals)}, NOW)
    status, body = await get(board, "/status")
    assert status == 200
    for part in ("small-model 1 -> 2: because", '"ready":1', '"value":2.8', '"unknown":"no router is registered in Consul"'):
        assert part in body


async def test_metrics_are_prometheus_text() -> None:
    line = 'warmfleet_autoscaler_decisions_total{model="small-model",direction="none",reason="target"} 1'
    assert line in (await get(Board(), "/metrics"))[1]


async def test_explain_shows_what_was_new_with_all_that_it_rests_on() -> None:
    board = Board(passed_at=NOW, leads=True, paused="paused by ann: moving GPUs")
    for number, news in enumerate(("a", "a", "b")):
        votes = (Vote(number, may_go_down=True, why=f"vote {number}"),)
        board.tell(Status("small-model", NOW + number, f"decision {number}", 2, capacity=fleet(1), votes=votes, news=(news,)))
    status, body = await get(board, "/explain/small-model")
    told = json.loads(body)
    assert (status, told["leads"], told["paused"]) == (200, True, "paused by ann: moving GPUs")
    assert [(row["sentence"], row["votes"][0]["why"]) for row in told["decisions"]] == [("decision 0", "vote 0"), ("decision 2", "vote 2")]


async def test_explain_ends_with_what_is_decided_now_although_it_is_no_news() -> None:
    board = Board(passed_at=NOW)
    for number, news in enumerate(("a", "b", "b", "b")):
        board.tell(Status("small-model", NOW + number, f"decision {number}", 2, news=(news,)))
    _, body = await get(board, "/explain/small-model")
    assert [row["sentence"] for row in json.loads(body)["decisions"]] == ["decision 0", "decision 1", "decision 3"]


async def test_explain_of_a_model_nobody_decided_about_says_which_there_are() -> None:
    board = Board()
    board.tell(Status("small-model", NOW, "s", 1))
    status, body = await get(board, "/explain/giant")
    assert (status, "there are: small-model" in json.loads(body)["error"]["message"]) == (404, True)


async def test_health_says_who_leads_and_that_it_is_paused() -> None:
    _, body = await get(Board(passed_at=NOW, leads=False, paused="paused by ann: x"), "/health")
    assert (json.loads(body)["leads"], json.loads(body)["paused"]) == (False, "paused by ann: x")


def test_a_model_is_remembered_for_fifty_news() -> None:
    board = Board()
    for number in range(80):
        board.tell(Status("small-model", NOW + number, str(number), 1, news=(number,)))
    assert [status.sentence for status in board.recent["small-model"]] == [str(number) for number in range(30, 80)]

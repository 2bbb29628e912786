"""Small laws: events, sessions, selectors, errors, heads, verdicts, clocks, snapshots."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.consul import Instance
from fleet.state import ModelState
from router import clocks, errors
from router.clocks import Clock
from router.errors import BadRequest, BadSession, BodyTooLarge, Busy, NotWarm, RouterError, Stopping, UnknownModel
from router.models.catalogue import Catalogue
from router.replicas.snapshot import Endpoint, Published, snapshot
from router.replicas.verdict import Verdict, verdict
from router.sessions import selector
from router.sessions.table import Session, SessionTable, from_fields, next_turn, to_fields
from router.wire import answers, events, headers, requests
from router.wire.events import Content
from tests.router.conftest import SPEC
from tests.router.upstream import DONE, ROLE, delta, recording

# events


@given(
    st.lists(st.binary(min_size=1, max_size=30).filter(lambda b: b"\n" not in b and b"\r" not in b), min_size=1),
    st.lists(st.integers(0, 400)),
    st.sampled_from([b"\n\n", b"\r\n\r\n"]),
)
def test_events_come_whole_whatever_the_cuts(lines: list[bytes], cuts: list[int], empty_line: bytes) -> None:
    stream = b"".join(b"data: " + line + empty_line for line in lines)
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    rest, out = b"", b""
    for start, stop in itertools.pairwise(edges):
        whole, rest = events.split(rest, stream[start:stop])
        assert whole == b"" or whole.endswith(empty_line)
        out += whole
    assert (out, rest) == (stream, b"")


CONTENTS = [
    (b"", Content.NONE),
    (ROLE, Content.NONE),
    (b": keep-alive\n\n", Content.NONE),
    (delta(""), Content.NONE),
    (delta("x"), Content.SOME),
    (ROLE + delta("x"), Content.SOME),
    (delta("", "stop"), Content.SOME),
    (DONE, Content.SOME),
    (b'data:{"choices":[{"delta":{"content":"x"}}]}\n\n', Content.SOME),
    (b'data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}\n\n', Content.SOME),
    (b'data: {"choices":[{"delta":{"reasoning":"hm"}}]}\n\n', Content.SOME),
    (b'data: {"choices":[{"text":"x"}]}\n\n', Content.SOME),
    (b'data: {"choices":[{"text":""}]}\n\n', Content.NONE),
    (b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n', Content.SOME),
    (b"data: what is this\n\n", Content.FAILED),
    (b'data: {"error":"Unauthorized"}\n\n', Content.FAILED),
    (b'data: {"error":{"code":500}}\n\n', Content.FAILED),
    (b'data: {"error":{"code":429}}\n\n', Content.FAILED),
    (b'event: error\ndata: {"error":{"code":400}}\n\n', Content.SOME),
]


@pytest.mark.parametrize(("run", "found"), CONTENTS)
def test_what_is_content(run: bytes, found: Content) -> None:
    assert events.content(run) is found


def test_text_cannot_imitate_an_end() -> None:
    assert not events.finished(delta('"finish_reason":"stop"'))
    assert not events.finished(delta("data: [DONE]\n\n") + delta("more " * 20))
    assert events.finished(delta("", "length"))
    assert not events.finished(delta("x"))


@pytest.mark.parametrize(("name", "tokens"), [("chat-stream", (31, 5)), ("chat-stream-usage", (31, 3)), ("completions-stream", None)])
def test_usage_is_found_in_recorded_streams(name: str, tokens: tuple[int, int] | None) -> None:
    found = events.usage(recording(name)[1])
    assert (found and (found.prompt_tokens, found.completion_tokens)) == tokens


def test_usage_is_found_in_the_end_of_a_json_answer() -> None:
    found = events.tail_usage(recording("completions")[1][-300:])
    assert found is None or found.completion_tokens == 5
    nested = b'..."usage":{"prompt_tokens":3,"completion_tokens":2}}'
    assert events.tail_usage(nested) == events.Usage(3, 2)


def test_a_failure_ends_a_stream_for_every_sdk() -> None:
    parts = events.failure(errors.encode(Stopping("x"))).split(b"\n\n")
    assert json.loads(parts[0][6:])["error"]["code"] == "router_stopping"
    assert parts[1:] == [b"data: [DONE]", b""]


# requests


@given(
    st.dictionaries(
        st.text().filter(lambda key: key != "model"), st.none() | st.integers(-(2**53), 2**53) | st.text() | st.lists(st.booleans())
    )
)
def test_only_the_model_changes(more: dict[str, object]) -> None:
    body = json.dumps({"model": "a", **more}).encode()
    assert json.loads(requests.with_model(body, "b")) == {**more, "model": "b"}


def test_numbers_keep_their_digits_when_the_model_changes() -> None:
    assert (
        requests.with_model(b'{"model":"a","seed":12345678901234567890123,"t":1.10}', "b")
        == b'{"model":"b","seed":12345678901234567890123,"t":1.10}'
    )


@given(st.binary(max_size=60))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        assert isinstance(requests.decode(body).model, str)
    except BadRequest as error:
        assert str(error)


# session ids


@given(st.integers(0, 15), st.integers(0, 2**130))
def test_an_id_of_ours_says_its_selector(number: int, bits: int) -> None:
    made = selector.new_id(number, bits)
    assert selector.selector_of(made) == number
    assert selector.parse(made.encode()) == made


@pytest.mark.parametrize("foreign", ["call-3", "wf-3", "WF-" + "0" * 32, "wf-" + "g" * 32, "wf-" + "0" * 33])
def test_a_callers_id_says_nothing(foreign: str) -> None:
    assert selector.selector_of(foreign) is None


@given(st.binary(max_size=140))
def test_an_id_is_taken_as_it_is_or_refused(raw: bytes) -> None:
    try:
        assert selector.parse(raw).encode() == raw
        assert 1 <= len(raw) <= 128
    except BadSession:
        pass


# sessions


@given(st.builds(Session, st.integers(0, 15), st.text(), st.text(), st.integers(0), st.integers(0)))
def test_a_session_survives_its_redis_form(session: Session) -> None:
    assert from_fields({k.encode(): str(v).encode() for k, v in to_fields(session).items()}) == session


def test_a_generation_counts_moves_and_not_turns() -> None:
    first = next_turn(Session(3), model="", home="a", wall=lambda: 9.0)
    assert (first.generation, first.turns) == (1, 1)
    assert next_turn(first, model="", home="a", wall=lambda: 9.0).generation == 1
    assert next_turn(first, model="small", home="b", wall=lambda: 9.0).generation == 2


def test_the_table_forgets_the_least_recently_used_and_the_idle() -> None:
    table = SessionTable(2, 10.0)
    for number, name in enumerate("abc"):
        table.put(name, Session(number), 0.0)
    assert (table.get("a", 0.0), len(table)) == (None, 2)
    table.put("b", Session(1), 5.0)
    table.expire(11.0)
    assert (len(table), table.get("b", 11.0), table.get("b", 15.5)) == (1, Session(1), None)


# errors


def leaves(kind: type[RouterError]) -> list[type[RouterError]]:
    below = kind.__subclasses__()
    return [kind] if not below else [leaf for child in below for leaf in leaves(child)]


@pytest.mark.parametrize("kind", leaves(RouterError))
def test_every_error_has_a_row_and_a_place_in_the_drawing(kind: type[RouterError]) -> None:
    assert errors._HTTP[kind].status >= 400
    assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("eta", "retry", "warm"), [(None, b"5", None), (0.2, b"1", b"1"), (0, b"1", b"0"), (60.5, b"61", b"61"), (900, b"120", b"900")]
)
def test_retry_after_is_a_slice_of_the_time_to_warmth(eta: float | None, retry: bytes, warm: bytes | None) -> None:
    fields = dict(errors.extra_headers(NotWarm("x", warm_in_s=eta)))
    assert (fields[b"retry-after"], fields.get(b"x-warm-eta")) == (retry, warm)
    assert Busy("x", retry_after_s=100_000).retry_after_s == 120


def test_our_own_answer_is_whole() -> None:
    answer = answers.own(BodyTooLarge(10), b"x-a: b\r\n", keep_alive=False)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in head
    assert b"content-length: %d" % len(body) in head


# heads, verdicts, clocks


@pytest.mark.parametrize("name", sorted(headers._NOT_DOWN))
def test_what_must_not_go_down_does_not(name: bytes) -> None:
    assert headers.down_lines([(name, b"x"), (b"vary", b"Origin")]) == b"vary: Origin\r\n"


@pytest.mark.parametrize("request_id", [b"", b"a b", b"x" * 129, b"a\xff"])
def test_a_request_id_that_is_not_sane_is_replaced(request_id: bytes) -> None:
    assert headers.read_request([(b"x-request-id", request_id)]).request_id is None


VERDICTS = {
    Verdict.PASS: (200, 201, 301, 400, 401, 403, 404, 408, 409, 413, 422, 501),
    Verdict.BUSY: (429, 503),
    Verdict.BROKEN: (500, 502, 504),
}


@pytest.mark.parametrize(("status", "found"), [(status, found) for found, row in VERDICTS.items() for status in row])
def test_what_a_status_means(status: int, found: Verdict) -> None:
    assert verdict(status) is found


CALM = {
    "age_s": 1,
    "attempt_s": 1,
    "silent_s": 1,
    "paused_s": 0,
    "streams": True,
    "begun": False,
    "first_token_s": 5,
    "idle_s": 5,
    "total_s": 50,
}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, None),
        ({"age_s": 51}, Clock.TOTAL),
        ({"attempt_s": 6}, Clock.FIRST_TOKEN),
        ({"attempt_s": 6, "streams": False}, None),
        ({"attempt_s": 6, "begun": True}, None),
        ({"silent_s": 6}, None),
        ({"silent_s": 6, "begun": True}, Clock.IDLE),
        ({"silent_s": 6, "begun": True, "paused_s": 6}, None),
        ({"begun": True, "paused_s": 61}, Clock.CALLER),
    ],
)
def test_which_clock_runs_out(changed: dict[str, float], found: Clock | None) -> None:
    assert clocks.overdue(**(CALM | changed)) is found  # type: ignore[arg-type]


# snapshots


def instance(service_id: str, *, passing: bool = True, **meta: str) -> Instance:
    return Instance(service_id, "10.0.0.1", 80, (), meta, passing)


def test_only_passing_replicas_that_say_what_they_are_become_endpoints() -> None:
    seen = snapshot(
        [
            instance("a", model="m", alloc_id="x"),
            instance("b", passing=False, model="m", alloc_id="y"),
            instance("c", model="m"),
            instance("d"),
        ],
        7,
    )
    assert (seen.index, seen.endpoints) == (7, (Endpoint("a", "x", "m", "10.0.0.1", 80),))


def test_the_draining_replicas_of_all_models_get_no_new_turns() -> None:
    def published(model: str) -> ModelState:
        return ModelState(
            model=model, desired=1, placed=1, ready=0, draining=(model,), cold_start_p50_s=1, cold_start_p90_s=1, updated_at=0
        )

    assert Published({"a": published("a"), "b": published("b")}).draining == {"a", "b"}


# the catalogue

PLANS = [
    ("large", None, ("large", "small"), "large"),
    ("lone", None, ("lone",), "lone"),
    ("auto", None, ("large", "small"), "large"),
    ("fallback", None, ("small", "large"), "small"),
    ("auto", Session(3), ("small",), "small"),
    ("large", Session(0), ("large", "small"), "large"),
    ("small", Session(0), ("small", "large"), "small"),
    ("lone", Session(0), ("lone", "large", "small"), "lone"),
    ("large", Session(0, "small"), ("small", "large"), "large"),
    ("lone", Session(0, "small"), ("lone", "small", "large"), "lone"),
    ("large", Session(0, "gone"), ("large", "small"), "large"),
    ("large", Session(7), ("large",), "large"),
    ("auto", Session(7), ("large", "small"), "large"),
]


@pytest.mark.parametrize(("name", "session", "chain", "wanted"), PLANS)
def test_the_chain_of_a_request(name: str, session: Session | None, chain: tuple[str, ...], wanted: str) -> None:
    plan = Catalogue(SPEC).plan(name, session)
    assert (plan.chain, plan.wanted) == (chain, wanted)


@pytest.mark.parametrize("session", [None, Session(0)])
def test_a_model_that_is_not_described_is_unknown(session: Session | None) -> None:
    with pytest.raises(UnknownModel):
        Catalogue(SPEC).plan("gpt-9", session)

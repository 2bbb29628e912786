"""Sessions as values: which version holds, when a swapped one goes back, and who is forgotten when the table is full."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.sessions.owners import Owners
from router.sessions.table import Session, SessionTable, agreed, may_return
from router.tenant import tenant
from router.wire import requests

sessions = st.builds(Session, st.just(0), st.sampled_from(["", "small"]), st.sampled_from(["a", "b"]), st.integers(0, 3), st.integers(0, 5))


@given(sessions, sessions)
def test_a_later_generation_holds_whoever_has_it(one: Session, other: Session) -> None:
    assert agreed(one, other).generation == max(one.generation, other.generation)
    if one.generation == other.generation:
        assert (agreed(one, other).model, agreed(one, other).home) == (other.model, other.home), "what the store had first"


@given(st.lists(sessions, max_size=12))
def test_a_table_never_goes_back_a_generation(versions: list[Session]) -> None:
    table, latest = SessionTable(5, 10.0), -1
    for number, version in enumerate(versions):
        if number % 2:
            table.adopt("s", version)
        else:
            table.put("s", version, 0.0)
        kept = table.get("s", 0.0)
        if kept is not None:
            assert kept.generation >= latest
            latest = kept.generation


def test_what_is_heard_of_a_session_that_is_not_here_is_nothing() -> None:
    table = SessionTable(5, 10.0)
    table.adopt("s", Session(0))
    assert table.get("s", 0.0) is None


SWAPPED = Session(0, "small", swapped_at=1000.0)
RETURNS = {
    "warm and calm for long enough": (SWAPPED, 100.0, 1060.0, True),
    "warm, but not long enough": (SWAPPED, 101.0, 1060.0, False),
    "swapped a moment ago": (SWAPPED, 0.0, 1059.0, False),
    "not warm": (SWAPPED, None, 1060.0, False),
    "the caller's own choice": (Session(0, "small", pinned=True), 0.0, 9999.0, False),
}


@pytest.mark.parametrize(("session", "warm_since", "wall", "found"), RETURNS.values(), ids=RETURNS)
def test_when_a_swapped_session_goes_back(session: Session, warm_since: float | None, wall: float, found: bool) -> None:
    assert may_return(session, warm_since=warm_since, now=160.0, wall=wall, after_s=60.0) is found


USER = {"role": "user", "content": "hi"}
TURNS = [
    ({"messages": [USER]}, True),
    ({"messages": [USER, {"role": "assistant", "content": None, "tool_calls": []}, {"role": "tool", "content": "4"}]}, False),
    ({"messages": [USER, {"role": "function", "name": "f", "content": "4"}]}, False),
    ({"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "4"}]}]}, False),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}, True),
    ({"messages": []}, True),
    ({"prompt": "hi"}, True),
    ({"messages": "hi"}, True),
    ({"messages": [{"content": "hi"}]}, True),
]


@pytest.mark.parametrize(("document", "found"), TURNS)
def test_a_tools_result_does_not_open_a_turn(document: dict[str, object], found: bool) -> None:
    assert requests.opens_turn(json.dumps(document).encode()) is found


def test_a_body_that_is_no_json_opens_a_turn() -> None:
    assert requests.opens_turn(b"{")


# who is forgotten


def test_hostile_ids_push_out_nobody_elses() -> None:
    table = SessionTable(100, 1e9)
    for n in range(20):
        table.put(f"good{n}", Session(1), 0.0, f"user{n}")
    for n in range(10_000):
        table.put(f"evil{n}", Session(2), 1.0, "evil")
    assert len(table) == 100
    assert all(table.get(f"good{n}", 2.0) == Session(1) for n in range(20))
    assert table.get("evil9999", 2.0) == Session(2)
    assert table.get("evil9919", 2.0) is None


def test_among_equals_the_oldest_goes() -> None:
    table = SessionTable(3, 1e9)
    for name in "abcd":
        table.put(name, Session(0), 0.0, name)
    assert [table.get(name, 0.0) is not None for name in "abcd"] == [False, True, True, True]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 8), st.booleans()), max_size=60))
def test_whoever_has_the_most_loses_its_least_recently_used(steps: list[tuple[str, int, bool]]) -> None:
    owners, plain = Owners(), dict[str, list[str]]()
    for owner, number, add in steps:
        item = f"{owner}{number}"
        line = plain.setdefault(owner, [])
        if item in line:
            line.remove(item)
            if add:
                owners.use(item, owner)
                line.append(item)
            else:
                owners.remove(item, owner)
        elif add:
            owners.add(item, owner)
            line.append(item)
        most = max(map(len, plain.values()))
        if most:
            assert owners.last() in {line[0] for line in plain.values() if len(line) == most}
        assert {name: owners.count(name) for name in plain} == {name: len(line) for name, line in plain.items()}


def test_a_tenant_is_its_key_and_without_one_its_address() -> None:
    assert tenant(b"Bearer a", "10.0.0.1") == tenant(b"Bearer a", "10.0.0.2") != tenant(b"Bearer b", "10.0.0.1")
    assert tenant(None, "10.0.0.1") == "10.0.0.1"
    assert b"Bearer" not in str(tenant(b"Bearer a", "")).encode()

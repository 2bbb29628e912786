"""The laws of what is done while nothing is warm: fates, expectations, the fair queue, the waiting room, slow start."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.state import Level, Loading, ModelState
from router.cold import hold, levels
from router.cold.eta import UNKNOWN, Warmth, warmth
from router.cold.hold import Fate, OnCold, fate
from router.cold.queue import FairQueue
from router.cold.room import Room
from router.errors import BadRequest
from router.replicas import ramp
from router.wire.headers import check_deadline, deadline_s

SOON, LATE = Warmth(5.0, known=True), Warmth(600.0, known=True)

FATES = [
    ("downgrade", SOON, 20.0, True, Fate.DOWNGRADE),
    ("downgrade", LATE, 20.0, True, Fate.DOWNGRADE),
    ("downgrade", SOON, 20.0, False, Fate.HOLD),
    ("downgrade", UNKNOWN, 20.0, False, Fate.HOLD),
    ("downgrade", LATE, 20.0, False, Fate.SHED),
    ("downgrade", SOON, 4.0, False, Fate.SHED),
    ("downgrade", UNKNOWN, 0.0, False, Fate.SHED),
    ("downgrade", UNKNOWN, -3.0, False, Fate.SHED),
    ("hold", SOON, 20.0, True, Fate.HOLD),
    ("hold", UNKNOWN, 20.0, True, Fate.HOLD),
    ("hold", LATE, 20.0, True, Fate.DOWNGRADE),
    ("hold", SOON, 4.0, True, Fate.DOWNGRADE),
    ("hold", SOON, 20.0, False, Fate.HOLD),
    ("hold", LATE, 20.0, False, Fate.SHED),
    ("shed", SOON, 20.0, True, Fate.SHED),
    ("shed", UNKNOWN, 20.0, False, Fate.SHED),
]


@pytest.mark.parametrize(("on_cold", "expected", "patience_s", "another", "found"), FATES)
def test_the_fate_of_a_request(on_cold: OnCold, expected: Warmth, patience_s: float, another: bool, found: Fate) -> None:
    assert fate(on_cold, expected, patience_s, another=another) is found


@given(st.sampled_from(["downgrade", "hold", "shed"]), st.floats(0, 1000), st.floats(-10, 1000), st.booleans())
def test_nobody_waits_for_what_comes_too_late_and_nobody_is_downgraded_to_nothing(
    on_cold: OnCold, in_s: float, patience_s: float, another: bool
) -> None:
    found = fate(on_cold, Warmth(in_s, known=True), patience_s, another=another)
    assert not (found is Fate.HOLD and in_s > patience_s)
    assert not (found is Fate.DOWNGRADE and not another)


@pytest.mark.parametrize(
    ("deadline", "age", "patience"), [(None, 3.0, 20.0), (600.0, 3.0, 20.0), (10.0, 3.0, 6.5), (2.0, 3.0, -1.5), (0.2, 0.0, -0.3)]
)
def test_patience_ends_before_the_callers_own_deadline(deadline: float | None, age: float, patience: float) -> None:
    assert hold.patience_s(20.0, deadline, age) == pytest.approx(patience)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (b"", None),
        (b"x-deadline-s: 12\r\n", 12.0),
        (b"accept: */*\r\nx-deadline-s: 1.5\r\nx-a: b\r\n", 1.5),
        (b"x-stainless-timeout: 30\r\n", 30.0),
        (b"x-stainless-read-timeout: 600.0\r\n", 600.0),
        (b"x-stainless-read-timeout: 600.0\r\nX-Deadline-S: 5\r\n", 5.0),
        (b"x-deadline-s: 29.999999523162842\r\n", 29.999999523162842),
        (b"x-deadline-s: 0\r\n", 0.0),
        (b"x-stainless-read-timeout: soon\r\n", None),
        (b"x-deadline-s: soon\r\n", None),
        (b"x-deadline-s: -1\r\n", None),
        (b"x-deadline-s: 1e9\r\n", None),
        (b"x-deadline-s: 99999999999\r\n", None),
        (b"x-my-x-deadline-s: 5\r\n", None),
        (b"a: x-deadline-s: 5\r\n", None),
    ],
)
def test_a_caller_may_say_how_long_it_waits(lines: bytes, found: float | None) -> None:
    assert deadline_s(lines) == found


WRONG = [
    "",
    "soon",
    "-1",
    "+1",
    "nan",
    "inf",
    "Infinity",
    "1e3",
    "1,5",
    "1.",
    ".5",
    "0x10",
    "1_000",
    "1000000",
    "9" * 400,
    "5s",
    "5 5",
    "\xb2",
]


@pytest.mark.parametrize("value", WRONG)
def test_a_wait_that_is_no_number_of_seconds_is_named(value: str) -> None:
    with pytest.raises(BadRequest, match="x-deadline-s") as caught:
        check_deadline(b"accept: */*\r\nX-Deadline-S: %b\r\nx-a: b\r\n" % value.encode("latin-1"))
    assert caught.value.param == "x-deadline-s"
    assert len(str(caught.value)) < 250


def test_a_wait_that_is_said_twice_is_named() -> None:
    with pytest.raises(BadRequest, match="twice"):
        check_deadline(b"x-deadline-s: 5\r\naccept: */*\r\nx-deadline-s: 5\r\n")


@given(st.integers(0, 999_999), st.one_of(st.just(""), st.integers(0, 10**20).map(lambda n: f".{n}")))
def test_any_number_of_seconds_below_a_million_is_taken(whole: int, part: str) -> None:
    lines = f"x-deadline-s: {whole}{part}\r\n".encode()
    check_deadline(lines)
    assert deadline_s(lines) == float(f"{whole}{part}")


# expectations and levels


def state(model: str = "m", *etas: float, ready: int = 0, level: Level = "low", updated_at: float = 1000.0) -> ModelState:
    loading = tuple(Loading(alloc_id="x", since=0, eta=eta) for eta in etas)
    return ModelState(
        model=model,
        desired=1,
        placed=1,
        ready=ready,
        loading=loading,
        cold_start_p50_s=90,
        cold_start_p90_s=120,
        level=level,
        updated_at=updated_at,
    )


EXPECTED = [
    ("the first to load", {"a": state("a", 1050.0, 1040.0)}, Warmth(40.0, True)),
    ("one that is late is due now", {"a": state("a", 900.0)}, Warmth(0.0, True)),
    ("nothing loads: a whole cold start", {"a": state("a")}, Warmth(90.0, True)),
    ("the earliest model of the chain", {"a": state("a"), "b": state("b", 1030.0)}, Warmth(30.0, True)),
    ("nobody says anything", {}, UNKNOWN),
    ("another model's is not ours", {"c": state("c", 1001.0)}, UNKNOWN),
    ("ready, but not here: it has just come or just left", {"a": state("a", ready=1)}, UNKNOWN),
    ("an autoscaler that has long been silent", {"a": state("a", updated_at=100.0)}, UNKNOWN),
    ("a replica that loads, whoever is silent", {"a": state("a", 1010.0, updated_at=100.0)}, Warmth(10.0, True)),
]


@pytest.mark.parametrize(("name", "states", "found"), EXPECTED)
def test_when_a_chain_is_expected_to_be_warm(name: str, states: dict[str, ModelState], found: Warmth) -> None:
    assert warmth(("a", "b"), states, 1000.0) == found


STARTS: list[tuple[tuple[Level | None, Level | None], str]] = [
    (("low", "low"), "large"),
    (("medium", "low"), "large"),
    ((None, "low"), "large"),
    (("high", "low"), "small"),
    (("high", "medium"), "small"),
    (("high", None), "small"),
    (("failure", "medium"), "small"),
    (("high", "high"), "large"),
    (("failure", "high"), "large"),
    (("low", "failure"), "large"),
]


@pytest.mark.parametrize(("at", "found"), STARTS)
def test_where_a_new_session_starts(at: tuple[Level | None, Level | None], found: str) -> None:
    states = {m: state(m, level=level) for m, level in zip(("large", "small"), at, strict=True) if level is not None}
    assert levels.start_on(("large", "small"), states) == found


# slow start


@given(st.integers(1, 512))
def test_slow_start_grows_by_answers_until_there_is_no_limit(concurrency: int) -> None:
    limit, answers = ramp.start(concurrency), 0
    while limit < ramp.NO_LIMIT:
        assert ramp.FIRST <= limit < concurrency
        limit, answers = ramp.grown(limit, concurrency), answers + 1
    assert answers <= concurrency / 2


# the fair queue


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_each_tenant_has_its_turn_and_none_overtakes_within(tenants: list[str]) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for number, tenant in enumerate(tenants):
        queue.push((tenant, number), tenant)
    served: list[tuple[str, int]] = []
    while (item := queue.head()) is not None:
        queue.serve(item)
        served.append(item)
    assert sorted(number for _, number in served) == list(range(len(tenants)))
    for tenant in "abc":
        own = [number for name, number in served if name == tenant]
        assert own == sorted(own)
    waiting = {tenant: tenants.count(tenant) for tenant in "abc"}
    for turn, (tenant, _) in enumerate(served):
        others = [name for name in waiting if waiting[name] and name != tenant]
        last = next((back for back, (name, _) in enumerate(reversed(served[:turn])) if name == tenant), None)
        if last is not None:
            assert {name for name, _ in served[turn - last : turn]} >= set(others), "nobody who waits is passed over twice"
        waiting[tenant] -= 1


@given(st.data())
def test_the_queue_is_what_a_plain_rotation_is(data: st.DataObject) -> None:
    """Against a model that does the same slowly."""
    queue: FairQueue[int] = FairQueue()
    plain: deque[tuple[str, list[int]]] = deque()
    for number in range(data.draw(st.integers(0, 30))):
        step = data.draw(st.sampled_from(["push", "push", "serve", "leave"]))
        if step == "push":
            tenant = data.draw(st.sampled_from("ab"))
            queue.push(number, tenant)
            line = next((line for name, line in plain if name == tenant), None)
            if line is None:
                plain.append((tenant, [number]))
            else:
                line.append(number)
        elif step == "serve" and plain:
            tenant, line = plain.popleft()
            head = queue.head()
            assert head == line[0]
            queue.serve(line.pop(0))
            if line:
                plain.append((tenant, line))
        elif step == "leave" and plain:
            item = data.draw(st.sampled_from([item for _, line in plain for item in line]))
            queue.leave(item)
            for _, line in plain:
                if item in line:
                    line.remove(item)
            plain = deque((name, line) for name, line in plain if line)
        assert len(queue) == sum(len(line) for _, line in plain)


def test_who_is_not_in_the_queue_leaves_nothing_behind() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.serve(1)
    queue.leave(1)
    assert (len(queue), queue.head()) == (0, None)


# the waiting room


@dataclass(eq=False)
class Held:
    """A held request that starts once there is `room[0]`."""

    started: list[Held]
    there: list[int]
    chain: tuple[str, ...] = ("large",)
    wanted: str = "large"
    tenant: str = "t"
    size_bytes: int = 10
    room: Room = field(default_factory=lambda: Room(0, 0))

    def go(self) -> bool:
        if not self.there[0]:
            return False
        self.there[0] -= 1
        self.room.leave(self, served=True)
        self.started.append(self)
        self.room.release()  # what a start brings about must not start others out of turn
        return True


def test_the_room_is_bounded_in_number_and_bytes() -> None:
    room = Room(3, 45)
    held = [Held([], [0], size_bytes=20, room=room) for _ in range(3)]
    assert [room.enter(one) for one in held] == [True, True, False]
    assert (room.size, room.size_bytes, room.held("large")) == (2, 40, 2)
    room.leave(held[0])
    room.leave(held[0])
    assert (room.size, room.size_bytes, room.held("large")) == (1, 20, 1)
    small = [Held([], [0], size_bytes=1, room=room) for _ in range(3)]
    assert [room.enter(one) for one in small] == [True, True, False]


def test_as_many_start_as_there_is_room_for_tenant_by_tenant() -> None:
    room, started, there = Room(100, 10_000), list[Held](), [5]
    for tenant in "aaaabc":
        assert room.enter(Held(started, there, tenant=tenant, room=room))
    room.release()
    assert "".join(one.tenant for one in started) == "abcaa"
    assert (room.size, room.has(("large",))) == (1, True)
    there[0] = 9
    room.release()
    assert (room.size, room.has(("large",)), room.size_bytes) == (0, False, 0)


def test_who_waits_for_another_model_keeps_nobody_back() -> None:
    room, started = Room(100, 10_000), list[Held]()
    room.enter(Held(started, [0], room=room))
    room.enter(Held(started, [1], chain=("small",), wanted="small", room=room))
    room.release()
    assert [one.wanted for one in started] == ["small"]
    assert (room.held("large"), room.held("small")) == (1, 0)

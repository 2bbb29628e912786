"""What holds for tenants without a server: what may be described, whom a key names, what a plan is cut to, what a log keeps."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fleet import spec
from fleet.errors import SpecError
from fleet.key import key
from fleet.model import Spec
from router.__main__ import _check_open as check_open
from router.answered import Answered
from router.errors import NotAllowed
from router.following.reload import Descriptions
from router.models.catalogue import Catalogue
from router.models.prices import NANO, Rate, usd
from router.records.rotated import RotatedFile
from router.records.usage_log import UsageLog, encoded
from router.sessions.table import Session, from_fields, next_turn, to_fields
from router.tenants import keys
from router.tenants.permits import Permits
from router.wire.events import without_usage
from tests.router.conftest import SPEC
from tests.router.upstream import DONE, delta

HASH = "a" * 64
MODEL = """
[runtime]
driver = "raw_exec"
[redis]
driver = "raw_exec"
[[model]]
name = "m"
engine = "llamacpp"
weights = "w"
cold_start = "10s"
capacity = { concurrency = 2, requests_per_min = 60.0 }
"""


def loaded(folder: Path, text: str, *variables: str) -> Spec:
    path = folder / "fleet.toml"
    path.write_text(MODEL + text)
    return spec.load(path, variables=variables).spec


def row(name: str = "a", key_sha256: str = HASH, **more: Any) -> str:
    fields = {"name": name, "key_sha256": [key_sha256], **more}
    return "[[tenant]]\n" + "".join(f"{field} = {json.dumps(value)}\n" for field, value in fields.items())


# what may be described


WRONG = {
    "no key": ('[[tenant]]\nname = "a"\nkey_sha256 = []\n', "needs at least 1 entry"),
    "a key itself": (row(key_sha256="sk-wf-x"), "must be a SHA-256 hash in 64 lower-case hexadecimal digits"),
    "one name twice": (row() + row(key_sha256="b" * 64), "'a' is taken by [[tenant]] row 1"),
    "one key twice": (row() + row("b"), "is a key of [[tenant]] row 1"),
    "nobody's model": (row(allow=["m", "x"]), "no model, provider or route 'x'; there are: m"),
    "a budget below nothing": (row(budget_usd=-1.0), "must be at least 0"),
}


@pytest.mark.parametrize(("text", "says"), WRONG.values(), ids=WRONG)
def test_a_wrong_tenant_is_found_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SpecError, match=r"fleet\.toml:\d+: tenant\.") as caught:
        loaded(tmp_path, text)
    assert says in str(caught.value)


def test_a_tenant_has_a_dollar_for_life_unless_something_else_is_said(tmp_path: Path) -> None:
    (tenant,) = loaded(tmp_path, row()).tenants
    assert (tenant.budget_usd, tenant.budget_per, tenant.requests_per_min, tenant.tokens_per_min, tenant.allow) == (1.0, "life", 0, 0, ())


@pytest.mark.parametrize(
    ("text", "variables", "is_right"),
    [
        ("", ("router.host=0.0.0.0",), False),
        ("", ("router.host=0.0.0.0", "router.allow_open=true"), True),
        (row(), ("router.host=0.0.0.0",), True),
        ("", ("router.host=127.0.0.1",), True),
    ],
)
def test_beyond_loopback_somebody_must_be_asked_for_a_key(tmp_path: Path, text: str, variables: tuple[str, ...], is_right: bool) -> None:
    if is_right:
        loaded(tmp_path, text, *variables)
    else:
        with pytest.raises(SpecError, match=r"add \[\[tenant\]\] rows, or set router\.allow_open = true"):
            loaded(tmp_path, text, *variables)


def test_a_reload_does_not_open_a_router_that_asked_for_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with_tenants = loaded(tmp_path, row())
    taken: list[Spec] = []
    descriptions = Descriptions(with_tenants, "boot", "the key", lambda now, _digest: taken.append(now))
    for variables in ((), ("router.allow_open=true",)):
        document = spec.resolved_json(spec.load(tmp_path / "fleet.toml", variables=variables)).replace(row(), "")
        without = json.loads(document)
        del without["tenant"]
        descriptions.seen(json.dumps(without).encode(), len(taken) + 1 + len(variables))
    assert [len(now.tenants) for now in taken] == [0], "only the one that says that it is meant"
    assert "nobody would be asked for a key" in caplog.text


# keys


def test_the_command_makes_a_key_whose_hash_is_what_it_prints() -> None:
    said = CliRunner().invoke(key, ["--name", "acme"]).output
    made = said.splitlines()[0].rsplit(" ", 1)[1]
    assert f'key_sha256 = ["{hashlib.sha256(made.encode()).hexdigest()}"]' in said
    assert keys.digest(f"Bearer {made}".encode()) == hashlib.sha256(made.encode()).hexdigest()
    assert made not in CliRunner().invoke(key, []).output, "each is another one"


@given(st.binary(max_size=2000) | st.none())
def test_any_header_is_a_hash_or_nothing(authorization: bytes | None) -> None:
    found = keys.digest(authorization)
    assert found is None or len(found) == 64
    assert found is None or not authorization or len(authorization) <= 512


@pytest.mark.parametrize(("one", "other", "are"), [(HASH, HASH, True), (HASH, "b" * 64, False), (HASH, HASH[:-1], False)])
def test_hashes_are_the_same_or_not(one: str, other: str, are: bool) -> None:
    assert keys.same(one, other) is are


# permits


CATALOGUE = Catalogue(SPEC)
CHAINS = {route.name: CATALOGUE.plan(route.name, None).chain for route in CATALOGUE.routes.values()}


@pytest.mark.parametrize(
    ("allow", "asks", "chain"),
    [
        (("best",), "best", ("large", "small")),
        (("best",), "small", ("small",)),  # the model is in the route's chain, so it may be asked for; its own route is another one
        (("large",), "large", ("large",)),
        (("large", "small"), "large", ("large", "small")),
        (("quick",), "auto", ("small",)),
        (("quick",), "large", None),
        (("large",), "best", None),
        (("lone",), "auto", None),
    ],
)
def test_a_plan_is_cut_to_what_is_allowed(allow: tuple[str, ...], asks: str, chain: tuple[str, ...] | None) -> None:
    permits = Permits(allow, CHAINS)
    if chain is None:
        with pytest.raises(NotAllowed):
            permits.cut(CATALOGUE.plan(permits.asked(asks), None))
    else:
        assert permits.cut(CATALOGUE.plan(permits.asked(asks), None)).chain == chain


# prices


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 100), st.floats(0, 100))
def test_a_cost_is_never_below_the_exact_one_and_less_than_a_nanodollar_above(prompt: int, answer: int, rin: float, rout: float) -> None:
    cost, exact = Rate(rin, rout).cost(prompt, answer), prompt * rin + answer * rout
    assert exact - 1e-5 <= cost <= exact + 1


@pytest.mark.parametrize(("nano", "says"), [(0, "$0"), (NANO, "$1"), (12_500_000, "$0.0125"), (1, "$0")])
def test_money_is_said_briefly(nano: int, says: str) -> None:
    assert usd(nano) == says


# what is hidden


USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'
SAYS_USAGE = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"\\"usage\\":{}"},"finish_reason":null}],"usage":null}\n\n'
KEPT = (delta("a"), SAYS_USAGE, b": comment\n\n", DONE, b'data: "usage"\n\n', USAGE.replace(b"[]", b'[{"index":0}]'))


@given(st.lists(st.sampled_from((*KEPT, USAGE)), max_size=12))
def test_only_events_that_say_nothing_but_a_usage_are_left_out(events: list[bytes]) -> None:
    assert without_usage(b"".join(events)) == b"".join(event for event in events if event != USAGE)


# the usage log


FACTS = Answered(1.0, "req-1", "acme", "s", "best", "large", 200, "answered", 2, ("small",), 7, 3, True, 370_000, 0.0123, None)


def test_a_line_says_who_used_what_and_what_it_cost() -> None:
    assert json.loads(encoded(FACTS)) == {
        "time": 1.0, "request_id": "req-1", "tenant": "acme", "session": "s", "route": "best", "model": "large", "status": 200,
        "outcome": "answered", "attempts": 2, "failed": ["small"], "input_tokens": 7, "output_tokens": 3, "counted": True,
        "cost_usd": 0.00037, "latency_ms": 12.3, "ttft_ms": None, "event": "usage",
    }  # fmt: skip


async def test_a_file_gets_every_line_and_what_does_not_fit_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "below" / "usage.jsonl"
    log = UsageLog(str(path), lambda: 0.0)
    log.lines.most_queued = 3
    for _ in range(5):
        log.noted(FACTS)
    await log.lines.write_queued()
    assert len(path.read_bytes().splitlines()) == 3
    assert "2 requests are not in the usage log" in caplog.text


async def test_a_folder_that_cannot_be_written_loses_lines_and_no_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    log = UsageLog(str(tmp_path / "file" / "usage.jsonl"), lambda: 0.0)
    log.noted(FACTS)
    await log.lines.write_queued()
    assert "1 lines of the usage log could not be written" in caplog.text


def lines_in(folder: Path) -> list[bytes]:
    return [line for path in folder.iterdir() if not path.name.endswith(".lock") for line in path.read_bytes().splitlines()]


def test_a_large_file_is_put_aside_and_an_old_one_deleted(tmp_path: Path) -> None:
    now = 1_000_000_000.0
    file = RotatedFile(tmp_path / "u", lambda: now, most_bytes=100, oldest_s=1e12)
    for n in range(30):
        file.write([b"%09d\n" % n])
    aside = [path for path in tmp_path.iterdir() if path.name.startswith("u.2001")]
    assert len(aside) == 2, "ten lines of ten bytes are 100; two rotations in one second have two names"
    assert sorted(lines_in(tmp_path)) == [b"%09d" % n for n in range(30)]
    young = RotatedFile(tmp_path / "u", lambda: 9e9, most_bytes=100, oldest_s=7 * 86400)
    young.write([b"x" * 9 + b"\n"])
    assert lines_in(tmp_path) == [b"x" * 9], "what was put aside before is older than a week by then"


def test_several_writers_lose_no_line_while_the_file_rotates(tmp_path: Path) -> None:
    def write(name: int) -> None:
        own = RotatedFile(tmp_path / "u", lambda: 1e9, most_bytes=500, oldest_s=1e12)
        for n in range(100):
            own.write([b"%d-%03d\n" % (name, n)])

    writers = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(lines_in(tmp_path)) == sorted(b"%d-%03d" % (name, n) for name in range(4) for n in range(100))


def test_a_session_keeps_its_tenant_through_redis() -> None:
    session = next_turn(replace(Session(3), tenant="acme"), model="", home="a", wall=lambda: 0.0)
    assert session.tenant == "acme"
    assert from_fields({name.encode(): str(value).encode() for name, value in to_fields(session).items()}) == session


def test_the_program_itself_listens_beyond_loopback_only_with_keys(tmp_path: Path) -> None:
    """The address of an allocation is not in the description: Nomad gives it."""
    loaded(tmp_path, row())
    check_open(spec.load(tmp_path / "fleet.toml"), "192.0.2.1")
    loaded(tmp_path, "")
    with pytest.raises(SpecError, match=r"no \[\[tenant\]\] has a key"):
        check_open(spec.load(tmp_path / "fleet.toml"), "192.0.2.1")

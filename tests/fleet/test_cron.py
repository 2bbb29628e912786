"""Cron fields and starts, with the two days a year on which the clocks are changed."""

from __future__ import annotations

import math
import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.cron import latest_start, parse_cron, parse_zone

BERLIN = ZoneInfo("Europe/Berlin")
DAY_S = 86400.0


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def last(cron: str, until: float, *, days: float = 40) -> float:
    return latest_start(parse_cron(cron), BERLIN, after=until - days * DAY_S, until=until)


@pytest.mark.parametrize(
    ("cron", "until", "start"),
    [
        ("0 8 * * *", "2026-11-20 09:00", "2026-11-20 08:00"),
        ("0 8 * * *", "2026-11-20 08:00", "2026-11-20 08:00"),
        ("0 8 * * *", "2026-11-20 07:59", "2026-11-19 08:00"),
        ("0 8 * * mon-fri", "2026-11-22 12:00", "2026-11-20 08:00"),  # a Sunday; the last weekday was a Friday
        ("30 22 * * 7", "2026-11-23 12:00", "2026-11-22 22:30"),
        ("30 22 * * 0", "2026-11-23 12:00", "2026-11-22 22:30"),
        ("*/20 * * * *", "2026-11-20 08:59", "2026-11-20 08:40"),
        ("10/20 * * * *", "2026-11-20 08:59", "2026-11-20 08:50"),
        ("0 6-8/2,20 * * *", "2026-11-20 12:00", "2026-11-20 08:00"),
        ("0 0 1 nov *", "2026-11-20 12:00", "2026-11-01 00:00"),
        ("0 0 13 * fri", "2026-11-19 12:00", "2026-11-13 00:00"),  # the 13th, and any Friday
        ("0 0 12 * fri", "2026-11-19 12:00", "2026-11-13 00:00"),
        ("0 0 29 2 *", "2026-11-20 12:00", None),
    ],
)
def test_the_latest_start(cron: str, until: str, start: str | None) -> None:
    assert last(cron, at(until)) == (at(start) if start else -math.inf)


@pytest.mark.parametrize(
    ("cron", "until", "start"),
    [
        ("30 2 * * *", "2026-03-29 12:00", "2026-03-29 03:00"),  # 02:00 to 03:00 does not exist
        ("0 8 * * *", "2026-03-29 12:00", "2026-03-29 08:00"),
        ("0 8 * * *", "2026-10-25 12:00", "2026-10-25 08:00"),
        ("30 2 * * *", "2026-10-25 12:00", "2026-10-25 02:30"),  # twice; the first one counts
    ],
)
def test_the_days_on_which_the_clocks_change(cron: str, until: str, start: str) -> None:
    assert last(cron, at(until)) == at(start)


def test_a_daily_start_is_a_day_less_or_more_one_hour_apart_across_a_change() -> None:
    assert at("2026-03-29 08:00") - last("0 8 * * *", at("2026-03-28 12:00")) == DAY_S - 3600
    assert at("2026-10-25 08:00") - last("0 8 * * *", at("2026-10-24 12:00")) == DAY_S + 3600


def test_the_start_itself_is_no_longer_after_it() -> None:
    eight = at("2026-11-20 08:00")
    assert latest_start(parse_cron("0 8 * * *"), BERLIN, after=eight, until=eight + 60) == -math.inf


@pytest.mark.parametrize(
    ("cron", "says"),
    [
        ("* * * *", "five fields"),
        ("60 * * * *", "minute '60': must be 0 to 59"),
        ("* * 0 * *", "day '0': must be 1 to 31"),
        ("* * * * mun", "weekday 'mun': must be 0 to 7 or sun to sat"),
        ("* 9-8 * * *", "hour '9-8': a range rises"),
        ("*/0 * * * *", "a step is a whole number above 0"),
        ("-1 * * * *", "minute ''"),
    ],
)
def test_a_wrong_field_is_named(cron: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_cron(cron)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "/etc/localtime"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        parse_zone(name)


@settings(deadline=None)
@given(
    st.sampled_from(["30 2 * * *", "*/7 1-4 * * *", "0 0 * * sun", "15 3 25 * mon"]),
    st.floats(at("2026-01-01 00:00"), at("2027-01-01 00:00")),
    st.floats(0, 2 * DAY_S),
)
def test_a_later_moment_never_has_an_earlier_start(cron: str, until: float, later: float) -> None:
    assert last(cron, until) <= last(cron, until + later)
    assert last(cron, until) <= until

"""Cron in a time zone: when did a schedule begin last?

    minute hour day-of-month month day-of-week      each: * or a list of numbers, ranges and steps, "*/15", "8-18", "mon-fri"

0 and 7 are Sunday. Where both kinds of day are restricted, either is enough, as in every cron. A time that the clocks skip begins at
the first minute that exists; one that they show twice begins the first time only. So every matching day has its start, once.
Pure; has no notion of now.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (("minute", 0, 59, ()), ("hour", 0, 23, ()), ("day", 1, 31, ()), ("month", 1, 12, _MONTHS), ("weekday", 0, 7, _WEEKDAYS))
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Cron:
    """The values that match, rising. `either_day`: a matching day of the month or a matching weekday is enough."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    either_day: bool

    def is_on(self, day: date) -> bool:
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and ((in_month or in_week) if self.either_day else (in_month and in_week))


def parse_cron(text: str) -> Cron:
    """Raises: ValueError: not five fields, or one that is out of its range; says which."""
    fields = text.lower().split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"a schedule has five fields (minute hour day month weekday), not {len(fields)}")
    minutes, hours, days, months, weekdays = (_values(field, *rule) for field, rule in zip(fields, _FIELDS, strict=True))
    either = not fields[2].startswith("*") and not fields[4].startswith("*")
    return Cron(minutes, hours, days, months, tuple(sorted({day % 7 for day in weekdays})), either)


def parse_zone(name: str) -> ZoneInfo:
    """Raises: ValueError: this machine knows no such time zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no time zone {name!r}; names are such as Europe/Berlin") from error


def latest_start(cron: Cron, zone: ZoneInfo, *, after: float, until: float) -> float:
    """The latest start in (after, until], seconds since the epoch; -inf where there is none. Costs a step per day between them."""
    day, oldest = _local(until, zone).date(), _local(after, zone).date()
    while day >= oldest:
        for start in _starts(cron, zone, day):
            if start <= until:
                return start if start > after else -math.inf
        day -= timedelta(days=1)
    return -math.inf


def _starts(cron: Cron, zone: ZoneInfo, day: date) -> Iterator[float]:
    """Of one day, latest first."""
    if cron.is_on(day):
        for hour in reversed(cron.hours):
            for minute in reversed(cron.minutes):
                yield _instant(datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone))


def _instant(wall: datetime) -> float:
    while _local(wall.timestamp(), wall.tzinfo).replace(tzinfo=None) != wall.replace(tzinfo=None):
        wall += _MINUTE
    return wall.timestamp()


def _local(at: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(at, UTC).astimezone(zone)


def _values(field: str, name: str, low: int, high: int, names: tuple[str, ...]) -> tuple[int, ...]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        if step and not (step.isdecimal() and int(step)):
            raise ValueError(f"{name} {part!r}: a step is a whole number above 0")
        first, last = _span(span, name, low, high, names)
        found |= set(range(first, (high if step and "-" not in span else last) + 1, int(step or 1)))
    return tuple(sorted(found))


def _span(span: str, name: str, low: int, high: int, names: tuple[str, ...]) -> tuple[int, int]:
    if span == "*":
        return low, high
    first, dash, last = span.partition("-")
    numbers = [_number(word, name, low, high, names) for word in ((first, last) if dash else (first, first))]
    if numbers[0] > numbers[1]:
        raise ValueError(f"{name} {span!r}: a range rises")
    return numbers[0], numbers[1]


def _number(word: str, name: str, low: int, high: int, names: tuple[str, ...]) -> int:
    if word in names:
        return names.index(word) + (low if name == "month" else 0)
    if not (word.isascii() and word.isdecimal() and low <= int(word) <= high):
        raise ValueError(f"{name} {word!r}: must be {low} to {high}" + (f" or {names[0]} to {names[-1]}" if names else ""))
    return int(word)

"""Durations and sizes as people write them (`15m`, `1.5h`, `16MiB`), in seconds and bytes inside."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|KiB|MiB|GiB)")


def parse_duration(value: object) -> float:
    """Seconds of `"90s"`, `"1h30m"`, ...

    Raises:
        ValueError: not a string of numbers with units ms, s, m, h, d. A bare number is refused: its unit would be a guess.
    """
    if isinstance(value, str):
        parts = _DURATION.findall(value)
        if parts and "".join(number + unit for number, unit in parts) == value:
            return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    raise ValueError('a duration is a string with units, such as "500ms", "20s", "15m" or "1h30m"')


def parse_size(value: object) -> int:
    """Bytes of `"16MiB"`, `"500kB"`, ...

    Raises:
        ValueError: not a string of one number with a unit.
    """
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        return int(float(match[1]) * _BYTES[match[2]])
    raise ValueError('a size is a string with a unit, such as "512KiB", "16MiB" or "2GiB"')


def format_duration(seconds: float) -> str:
    """The shortest form that Nomad, Consul and people read: `900.0` -> `15m`, `90` -> `90s`, `0.5` -> `500ms`."""
    if seconds != int(seconds):
        return f"{round(seconds * 1000)}ms"
    whole = int(seconds)
    for unit, size in (("h", 3600), ("m", 60)):
        if whole and whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def format_size(size_bytes: int) -> str:
    """The shortest exact form that `parse_size` reads: `536870912` -> `512MiB`."""
    for unit in ("GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % _BYTES[unit] == 0:
            return f"{size_bytes // _BYTES[unit]}{unit}"
    return f"{size_bytes}B"


Seconds = Annotated[float, BeforeValidator(parse_duration)]
SizeBytes = Annotated[int, BeforeValidator(parse_size)]

"""Durations and sizes are read as people write them, and written so that they read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("20s", 20), ("15m", 900), ("1h30m", 5400), ("1.5h", 5400), ("2d", 172800), ("0s", 0), ("1m500ms", 60.5)],
)
def test_a_duration_is_numbers_with_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("value", ["", "20", 20, 1.5, None, True, "20 s", "s", "-3s", "3s4", "1,5h", "20S", "3 m", ["3s"]])
def test_a_duration_without_a_clear_unit_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a duration is a string with units"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("text", "size"), [("1B", 1), ("500kB", 500_000), ("16MiB", 16 * 1024**2), ("1.5 GiB", 3 * 1024**3 // 2), ("2GB", 2 * 10**9)]
)
def test_a_size_is_one_number_with_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("value", ["", "16", 16, None, "16 mib", "16M", "1GiB2MiB", "-1B"])
def test_a_size_without_a_clear_unit_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a size is a string with a unit"):
        parse_size(value)


@pytest.mark.parametrize(("seconds", "text"), [(900.0, "15m"), (90, "90s"), (0.5, "500ms"), (0, "0s"), (7200, "2h"), (90.5, "90500ms")])
def test_a_duration_is_written_in_its_shortest_form(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 10**9))
def test_a_written_duration_reads_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@given(st.integers(0, 2**50) | st.integers(0, 2**20).map(lambda n: n * 1024))
def test_a_written_size_reads_back_exactly(size: int) -> None:
    assert parse_size(format_size(size)) == size

"""A trace is read as it stands, and a file that is none is refused with line and column."""

from pathlib import Path

import pytest

from autoscaler.simulate.errors import MalformedTrace
from autoscaler.simulate.trace import Trace, read_trace, write_trace


def read(folder: Path, text: str | bytes) -> Trace:
    path = folder / "some.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_trace(path)


def test_a_trace_has_the_name_of_its_file_and_one_count_a_minute(tmp_path: Path) -> None:
    trace = read(tmp_path, "minute,requests,input_tokens,gap\n3,10,x,0\n4,2.5,,0\n")
    assert (trace.name, trace.first_minute, trace.requests.tolist(), trace.gap.tolist()) == ("some", 3, [10.0, 2.5], [False, False])


def test_a_gap_is_marked_and_says_nothing(tmp_path: Path) -> None:
    trace = read(tmp_path, "minute,requests,gap\n0,10,0\n1,7,1\n2,30,0\n")
    assert (trace.requests.tolist(), trace.gap.tolist()) == ([10.0, 0.0, 30.0], [False, True, False])
    assert trace.bridged().tolist() == [10.0, 20.0, 30.0]


def test_minutes_that_the_file_skips_are_gaps(tmp_path: Path) -> None:
    trace = read(tmp_path, "minute,requests\n0,1\n3,1\n")
    assert trace.gap.tolist() == [False, True, True, False]


def test_what_stands_in_a_gap_is_not_read_and_an_empty_gap_is_none(tmp_path: Path) -> None:
    trace = read(tmp_path, "minute,requests,gap\n0,1,\n1,nan,1\n2,,1\n3,4,0\n")
    assert (trace.requests.tolist(), trace.gap.tolist()) == ([1.0, 0.0, 0.0, 4.0], [False, True, True, False])


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbfminute,requests\n0,1\n").requests.tolist() == [1.0]


def test_a_trace_that_was_written_is_read_as_it_was(tmp_path: Path) -> None:
    trace = read(tmp_path, "minute,requests,gap\n30000000,0.1,0\n30000001,,1\n30000002,12345678.25,0\n")
    write_trace(tmp_path / "again.csv", trace)
    again = read_trace(tmp_path / "again.csv")
    assert (again.first_minute, again.requests.tolist(), again.gap.tolist()) == (30000000, trace.requests.tolist(), trace.gap.tolist())


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", ":1:", "column minute: missing from the header"),
        ("minute,tokens\n0,1\n", ":1:", "column requests: missing from the header"),
        ("minute,requests\n0,1\n1,many\n", ":3:", "column requests: 'many' is not a number"),
        ("minute,requests\n0,1\n1\n", ":3:", "column requests: None is not a number"),
        ("minute,requests\n0,-1\n", ":2:", "column requests: '-1' is not a number of 0 or more"),
        ("minute,requests\n0,nan\n", ":2:", "column requests: 'nan'"),
        ("minute,requests\n0,inf\n", ":2:", "column requests: 'inf'"),
        ("minute,requests\n0.5,1\n", ":2:", "column minute: '0.5' is not a whole number"),
        ("minute,requests\n1,1\n1,1\n", ":3:", "column minute: 1 after 1"),
        ("minute,requests\n5,1\n2,1\n", ":3:", "column minute: 2 after 5"),
        ("minute,requests\n0,1\n99999999,1\n", ":3:", "column minute: 99999999 after 0"),
        ("minute,requests,gap\n0,1,maybe\n", ":2:", "column gap: 'maybe'"),
        ("minute,requests,gap\n0,1,1\n", ":2:", "no minute with a count"),
        ("minute,requests\n", ":2:", "no minute with a count"),
    ],
)
def test_a_malformed_file_is_refused_with_line_and_column(tmp_path: Path, text: str, where: str, what: str) -> None:
    with pytest.raises(MalformedTrace) as refused:
        read(tmp_path, text)
    assert where in str(refused.value)
    assert what in str(refused.value)


@pytest.mark.parametrize("junk", [b"\xff\xfe\x00\x01", b"minute,requests\n\xff,1\n"])
def test_a_binary_file_is_refused(tmp_path: Path, junk: bytes) -> None:
    with pytest.raises(MalformedTrace):
        read(tmp_path, junk)

"""How Datadog is read: settings that would never give a known signal, or hammer its API, are refused when they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.errors import SpecError
from fleet.spec import load

_REST = '[runtime]\nimage = "i"\n'


def read(tmp_path: Path, *lines: str) -> str:
    """What the loader complains of, or nothing."""
    path = tmp_path / "fleet.toml"
    path.write_text("\n".join((_REST, "[datadog]", *lines)))
    try:
        load(path)
    except SpecError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (('max_age = "1m"',), "datadog.max_age: is 1m; offset + rollup + read_interval + read_timeout = 115s must fit into it"),
        (('read_interval = "2m"',), "datadog.max_age: is 3m; offset + rollup + read_interval + read_timeout = 205s must fit"),
        (('read_interval = "10s"',), "datadog.read_interval"),
        (('rollup = "5s"',), "datadog.rollup"),
        (('rollup = "45s"',), "datadog.rollup"),
        (('site = "https://datadoghq.eu"',), "datadog.site"),
        (('gpu_tag = "a} by {b"',), "datadog.gpu_tag"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, lines: tuple[str, ...], says: str) -> None:
    assert says in read(tmp_path, *lines)


@pytest.mark.parametrize(
    "lines", [(), ('max_age = "115s"',), ("read = false", 'max_age = "1s"'), ('rollup = "60s"',), ('site = "us5.datadoghq.com"',)]
)
def test_what_works_is_taken(tmp_path: Path, lines: tuple[str, ...]) -> None:
    assert read(tmp_path, *lines) == ""

"""The laws of tests/fuzz/harness.py over a corpus and over what hypothesis makes of it. `make fuzz` looks further."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.harness import HARNESSES

CORPUS = Path(__file__).parent / "corpus"
SEEDS = {name: [path.read_bytes() for path in sorted((CORPUS / name).iterdir())] for name in HARNESSES}
CASES = [(name, seed) for name, seeds in SEEDS.items() for seed in seeds]


@pytest.mark.parametrize(("name", "data"), CASES, ids=[f"{name}-{number}" for number, (name, _) in enumerate(CASES)])
def test_the_corpus(name: str, data: bytes) -> None:
    HARNESSES[name](data)


@st.composite
def changed(draw: st.DrawFn, name: str) -> bytes:
    """One or two seeds of the corpus with a part cut out, put in or written over."""
    data = draw(st.sampled_from(SEEDS[name]))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        gone = draw(st.integers(0, 20))
        other = draw(st.sampled_from(SEEDS[name]))
        start = draw(st.integers(0, len(other)))
        new = draw(st.binary(max_size=8) | st.just(other[start : start + 40]))
        data = data[:at] + new + data[at + gone :]
    return data


@pytest.mark.parametrize("name", HARNESSES)
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_what_can_be_made_of_it(name: str, data: st.DataObject) -> None:
    HARNESSES[name](data.draw(changed(name)))


@pytest.mark.parametrize("name", HARNESSES)
@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes(name: str, data: bytes) -> None:
    HARNESSES[name](data)

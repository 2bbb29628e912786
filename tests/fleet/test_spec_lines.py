"""Every key of a TOML text is found on its line, however it is spelled."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tomlkit import dumps

from fleet.toml_lines import Path, lines_of

TEXT = '''
[fleet] # a comment
name = "a # = [ b" # [a comment]
notes = """
[not.a.table]
key = 1
"""
"quoted.key" = 'x = ]'
deep.er = { x = 1, y.z = [2,
  3, # four ]
  4] }

[[model]]
name = "a"
  [model.capacity]
  concurrency = 2
  [[model.policy]]
  target = 0.5
  [[model.policy]]
  target = 0.6

[[model]]
args = [
  "--a",
  { inner = true },
]
when = 2026-11-21T10:00:00Z
float = 1.5
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("fleet",), 2),
        (("fleet", "name"), 3),
        (("fleet", "notes"), 4),
        (("fleet", "quoted.key"), 8),
        (("fleet", "deep", "er"), 9),
        (("fleet", "deep", "er", "y", "z"), 9),
        (("fleet", "deep", "er", "y", "z", 1), 10),
        (("fleet", "deep", "er", "y", "z", 2), 11),
        (("model", 0), 13),
        (("model", 0, "name"), 14),
        (("model", 0, "capacity"), 15),
        (("model", 0, "capacity", "concurrency"), 16),
        (("model", 0, "policy", 0, "target"), 18),
        (("model", 0, "policy", 1, "target"), 20),
        (("model", 1), 22),
        (("model", 1, "args", 1, "inner"), 25),
        (("model", 1, "when"), 27),
        (("model", 1, "float"), 28),
    ],
)
def test_a_key_is_on_its_line(path: Path, line: int) -> None:
    tomllib.loads(TEXT.replace("deep.er = { x = 1, y.z = [2,\n  3, # four ]\n  4] }", ""))  # the rest is valid on every Python
    assert lines_of(TEXT)[path] == line


keys = st.text(st.sampled_from('ab.-_ #"[]{}=,é'), min_size=1, max_size=4)
scalars = (
    st.integers(-5, 5) | st.booleans() | st.text(st.sampled_from("a#=[]{},\"'\n\\"), max_size=6) | st.floats(allow_nan=False, width=16)
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8)


@given(st.dictionaries(keys, values, max_size=4))
def test_every_key_that_the_parser_finds_has_a_line(document: dict[str, Any]) -> None:
    text = dumps(document)
    found = lines_of(text)
    assert set(_paths(tomllib.loads(text), ())) <= set(found)
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


def _paths(value: Any, path: Path) -> list[Path]:
    here = [path] if path else []
    if isinstance(value, dict):
        return here + [p for key, child in value.items() for p in _paths(child, (*path, key))]
    if isinstance(value, list):
        return here + [p for i, child in enumerate(value) for p in _paths(child, (*path, i))]
    return here

"""The document between autoscaler and routers survives a round trip and a neighbour version."""

import msgspec
import pytest

from fleet.state import Loading, ModelState, decode, encode

STATE = ModelState(
    model="small-model",
    desired=2,
    placed=2,
    ready=1,
    loading=(Loading(alloc_id="a", since=1.0, eta=601.0),),
    draining=("b",),
    cold_start_p50_s=580.0,
    cold_start_p90_s=600.0,
    level="medium",
    updated_at=2.0,
)


def test_round_trip() -> None:
    assert decode(encode(STATE)) == STATE


def test_a_field_of_a_newer_version_is_ignored() -> None:
    document = msgspec.json.decode(encode(STATE)) | {"from_the_future": [1]}
    assert decode(msgspec.json.encode(document)) == STATE


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"model": 1}', b"\xff"])
def test_anything_else_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match="not a model state"):
        decode(document)

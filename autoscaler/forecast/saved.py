"""A forecaster's memory as bytes, so that a restart loses nothing. Where they are kept is the owner's business.

Law: bytes of another version are refused, not guessed at. Three weeks and three models are about 1 MB.
"""

from __future__ import annotations

import zlib
from dataclasses import astuple, fields

import msgspec
import numpy as np

from autoscaler.forecast.blend import Blend
from autoscaler.forecast.errors import UnreadableMemory
from autoscaler.forecast.forecaster import Memory
from autoscaler.forecast.holding import Answer, Held
from autoscaler.forecast.learner import Learner
from autoscaler.forecast.series import Window
from autoscaler.forecast.training import Fitted

_FORMAT = b"warmfleet forecast "
_VERSION = b"1\n"
_ANSWER = len(fields(Answer))


class _Model(msgspec.Struct):
    text: str
    lead_min: int
    until_minute: int


class _Saved(msgspec.Struct):
    """`counts` as little-endian float64, `gap` as one byte per minute, `held` as its answers; those of an older form are left out."""

    first_minute: int
    counts: bytes
    gap: bytes
    models: tuple[_Model, ...]
    tried_minute: int | None
    held: tuple[tuple[int, ...], ...]


def save(memory: Memory) -> bytes:
    """Bytes for `load`."""
    window = memory.window or Window(0, np.empty(0), np.empty(0, dtype=bool))
    fitted = memory.blend.models if memory.blend else ()
    models = tuple(_Model(each.model.text(), each.lead_min, each.until_minute) for each in fitted)
    counts, gap = window.counts.astype("<f8").tobytes(), window.gap.astype(np.uint8).tobytes()
    saved = _Saved(window.first_minute, counts, gap, models, memory.tried_minute, tuple(astuple(each) for each in memory.held.recent))
    return _FORMAT + _VERSION + zlib.compress(msgspec.msgpack.encode(saved))


def load(saved: bytes, learner: Learner | None) -> Memory:
    """The memory in bytes of `save`. Without a learner its models are left out; the rest is still worth having.

    Raises:
        UnreadableMemory: another version, or not such bytes.
    """
    version, _, body = saved.removeprefix(_FORMAT).partition(b"\n")
    if saved.startswith(_FORMAT) and version + b"\n" != _VERSION:
        raise UnreadableMemory(f"a forecaster's memory of version {version[:20]!r}, this is {_VERSION!r}: it starts from an empty one")
    try:
        found = msgspec.msgpack.decode(zlib.decompress(body), type=_Saved)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise UnreadableMemory(f"not a forecaster's memory ({error}): it starts from an empty one") from error
    counts, gap = np.frombuffer(found.counts, dtype="<f8"), np.frombuffer(found.gap, dtype=np.uint8) != 0
    if len(counts) != len(gap):
        raise UnreadableMemory("a forecaster's memory that is cut short: it starts from an empty one")
    window = Window(found.first_minute, counts.astype(np.float64), gap) if len(counts) else None
    return Memory(
        window, _blend(found.models, learner), found.tried_minute, Held(tuple(Answer(*each) for each in found.held if len(each) == _ANSWER))
    )


def _blend(models: tuple[_Model, ...], learner: Learner | None) -> Blend | None:
    if not models or learner is None:
        return None
    return Blend(tuple(Fitted(learner.read(model.text), model.lead_min, model.until_minute) for model in models))

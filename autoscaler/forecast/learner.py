"""The ports of the learner, and LightGBM behind them. LightGBM is imported when a learner is asked for, not before.

Deterministic on one thread: the same rows give the same model. Constraints make a need never grow with the level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from autoscaler.forecast.features import MONOTONE, Rows
from autoscaler.forecast.windows import Floats


class Model(Protocol):
    def predict(self, rows: Rows) -> Floats:
        """Need of each row, 0 to 1; `rows` has shape (n, features)."""

    def text(self) -> str:
        """All of it, for `Learner.read`."""


class Learner(Protocol):
    def fit(self, rows: Rows, needs: Floats) -> Model: ...

    def read(self, text: str) -> Model: ...


_TREES = 150
_OPTIONS: Mapping[str, Any] = {
    "objective": "cross_entropy",
    "num_leaves": 15,
    "extra_trees": True,
    "learning_rate": 0.1,
    "min_data_in_leaf": 300,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "monotone_constraints": list(MONOTONE),
    "num_threads": 1,
    "deterministic": True,
    "force_col_wise": True,
    "max_bin": 63,
    "bin_construct_sample_cnt": 20000,
    "enable_bundle": False,
    "seed": 7,
    "verbosity": -1,
}


@dataclass(frozen=True, slots=True)
class _Trees:
    booster: Any

    def predict(self, rows: Rows) -> Floats:
        return np.asarray(self.booster.predict(rows, num_threads=1), dtype=np.float64)

    def text(self) -> str:
        return str(self.booster.model_to_string())


@dataclass(frozen=True, slots=True)
class _LightGbm:
    library: Any

    def fit(self, rows: Rows, needs: Floats) -> Model:
        return _Trees(self.library.train(dict(_OPTIONS), self.library.Dataset(rows, label=needs), _TREES))

    def read(self, text: str) -> Model:
        return _Trees(self.library.Booster(model_str=text))


def lightgbm_learner() -> Learner | None:
    """LightGBM, or None where it (or the OpenMP library it needs) is not installed: the extra `forecast`."""
    try:
        import lightgbm  # noqa: PLC0415 (a quarter of a second and an extra that may be missing)
    except (ImportError, OSError):
        return None
    return _LightGbm(lightgbm)

"""The library's configuration: a dictionary or a JSON file in, checked settings out, and back.

Law: unknown keys and wrong values are refused with their key; a file is written whole or not at all, and one that is wrong changes
nothing. Keys are those of the documents that people have already (`models`, `cache_ttl`, `enable_ensemble`, ...).
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from router.choice.cache import SIZE, TTL_S
from router.choice.window import SIZE as WINDOW
from router.library.data import ModelConfig
from router.library.errors import BadConfig

_LARGEST_BYTES: Final = 8 * 1024**2


class _Model(BaseModel):
    """One entry of `models`; ModelConfig judges the values."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_id: str
    name: str = ""
    provider: str = ""
    cost_per_1k_tokens: float = 0.0
    max_tokens: int = 8192
    avg_latency_ms: float = 1000.0
    capabilities: list[str] = []
    quality_score: float = 0.5
    max_concurrent_requests: int = 50
    is_available: bool = True


class Settings(BaseModel):
    """`cache_ttl`, `queue_timeout`: seconds. `max_workers`: requests at all models together. `max_queue`: waiting for one model."""

    model_config = ConfigDict(extra="forbid")

    enable_caching: bool = True
    enable_ensemble: bool = True
    cache_ttl: float = Field(TTL_S, ge=0)
    cache_size: int = Field(SIZE, ge=1, le=1_000_000)
    window_size: int = Field(WINDOW, ge=1, le=1_000_000)
    max_workers: int = Field(1000, ge=1)
    max_queue: int = Field(100, ge=0)
    queue_timeout: float = Field(30.0, ge=0)
    ensemble_weights: dict[str, float] | None = None
    models: list[_Model] | None = None

    def model_configs(self) -> tuple[ModelConfig, ...] | None:
        """None: none were given. Raises: BadConfig"""
        if self.models is None:
            return None
        made = tuple(ModelConfig(**{**row.model_dump(), "capabilities": tuple(row.capabilities)}) for row in self.models)
        twice = next((m.model_id for at, m in enumerate(made) if m.model_id in {other.model_id for other in made[:at]}), None)
        if twice is not None:
            raise BadConfig(f"models: {twice!r} is there twice; every model needs an id of its own")
        return made


def settings(config: dict[str, Any]) -> Settings:
    """Raises: BadConfig"""
    try:
        return Settings.model_validate(config)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:20])
        raise BadConfig(f"the configuration is wrong: {found}") from error


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Raises: BadConfig: no file, not JSON, or not an object."""
    try:
        if Path(path).stat().st_size > _LARGEST_BYTES:
            raise BadConfig(f"{path} is larger than {_LARGEST_BYTES} bytes; this is no configuration")
        found = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadConfig(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadConfig(f"{path} holds no JSON object")
    return found


def save(path: str | os.PathLike[str], config: dict[str, Any]) -> None:
    """Raises: BadConfig: it cannot be written."""
    target = Path(path)
    try:
        with tempfile.NamedTemporaryFile("w", dir=target.parent, delete=False, encoding="utf-8") as file:
            json.dump(config, file, indent=2, ensure_ascii=False)
        Path(file.name).replace(target)
    except OSError as error:
        raise BadConfig(f"{path} cannot be written: {error}") from error

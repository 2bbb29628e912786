"""Models to begin with, so that the library can be tried before it is configured. Their numbers are examples: replace them by yours."""

from __future__ import annotations

from typing import Final, get_args

from fleet.serving import Capability
from router.library.data import ModelConfig

MODELS: Final = (
    ModelConfig(
        model_id="small-model",
        provider="warmfleet",
        cost_per_1k_tokens=0.0004,
        max_tokens=8192,
        avg_latency_ms=350.0,
        capabilities=("simple_qa", "summarization", "translation", "general"),
        quality_score=0.62,
        max_concurrent_requests=64,
    ),
    ModelConfig(
        model_id="code-model",
        provider="warmfleet",
        cost_per_1k_tokens=0.002,
        max_tokens=32768,
        avg_latency_ms=900.0,
        capabilities=("code_generation", "complex_reasoning", "general"),
        quality_score=0.84,
        max_concurrent_requests=32,
    ),
    ModelConfig(
        model_id="large-model",
        provider="warmfleet",
        cost_per_1k_tokens=0.006,
        max_tokens=32768,
        avg_latency_ms=700.0,
        capabilities=get_args(Capability),
        quality_score=0.88,
        max_concurrent_requests=16,
    ),
    ModelConfig(
        model_id="gpt-4",
        name="GPT-4",
        provider="openai",
        cost_per_1k_tokens=0.03,
        max_tokens=8192,
        avg_latency_ms=2000.0,
        capabilities=("complex_reasoning", "code_generation", "creative_writing", "analysis", "general"),
        quality_score=0.95,
        max_concurrent_requests=50,
    ),
)

"""What is known of well-known providers, so that a row need not say it: where they are, whose key they want, what they do not take.

A preset fills what its row leaves empty; what a row names besides is left out of requests too. Facts of their public documentation:
they change theirs when they like, so a row's own words always win. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from fleet.provider import Provider

# What vLLM and llama.cpp take beyond OpenAI's API. Endpoints that know only that refuse a request for each of them.
EXTRAS: Final = (
    "add_generation_prompt",
    "add_special_tokens",
    "allowed_token_ids",
    "bad_words",
    "best_of",
    "cache_prompt",
    "cache_salt",
    "chat_template",
    "chat_template_kwargs",
    "continue_final_message",
    "documents",
    "echo",
    "grammar",
    "guided_choice",
    "guided_decoding_backend",
    "guided_grammar",
    "guided_json",
    "guided_regex",
    "id_slot",
    "ignore_eos",
    "include_stop_str_in_output",
    "kv_transfer_params",
    "length_penalty",
    "min_p",
    "min_tokens",
    "mm_processor_kwargs",
    "priority",
    "prompt_logprobs",
    "repeat_penalty",
    "repetition_penalty",
    "request_id",
    "return_token_ids",
    "return_tokens_as_token_ids",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "stop_token_ids",
    "structured_outputs",
    "top_k",
    "truncate_prompt_tokens",
    "typical_p",
    "use_beam_search",
    "vllm_xargs",
)
_OPENAIS_OWN: Final = ("metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "store", "verbosity")
_ALSO_TOGETHERS: Final = frozenset(("echo", "min_p", "repetition_penalty", "top_k"))


@dataclass(frozen=True, slots=True)
class Preset:
    base_url: str
    key_env: str
    drop: tuple[str, ...]
    max_tokens_as: Literal["", "max_tokens", "max_completion_tokens"] = ""


PRESETS: Final[Mapping[str, Preset]] = {
    "openai": Preset("https://api.openai.com/v1", "OPENAI_API_KEY", EXTRAS, "max_completion_tokens"),
    "groq": Preset(
        "https://api.groq.com/openai/v1",
        "GROQ_API_KEY",
        (*EXTRAS, "logprobs", "top_logprobs", "logit_bias", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "verbosity"),
        "max_completion_tokens",
    ),
    "together": Preset(
        "https://api.together.xyz/v1",
        "TOGETHER_API_KEY",
        (*(name for name in EXTRAS if name not in _ALSO_TOGETHERS), *_OPENAIS_OWN),
        "max_tokens",
    ),
    "google": Preset(
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "GEMINI_API_KEY",
        (*EXTRAS, "logit_bias", "user", *_OPENAIS_OWN),
        "max_tokens",
    ),
}


def filled(provider: Provider) -> Provider:
    """The row with what its preset knows; the same row where it has none."""
    preset = PRESETS.get(provider.preset)
    if preset is None:
        return provider
    return replace(
        provider,
        base_url=provider.base_url or preset.base_url,
        key_env=provider.key_env or preset.key_env,
        drop=tuple(dict.fromkeys((*preset.drop, *provider.drop))),
        max_tokens_as=provider.max_tokens_as or preset.max_tokens_as,
    )

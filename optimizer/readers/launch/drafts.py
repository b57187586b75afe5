"""What engines refuse of speculation whatever the devices: methods without a draft, numbers that make no sense."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from optimizer.domain.problem import Problem
from optimizer.readers.launch.checkpoints import Refusal
from optimizer.readers.launch.flags import merged
from optimizer.readers.launch.launch import Launch
from optimizer.readers.launch.vllm import DRAFTS_OF_THE_MODEL

_BY_A_MODEL: Final = frozenset({"None", "eagle", "eagle3", "medusa", "mlp_speculator", "draft_model"})
"""Methods of vLLM that draft with another checkpoint, and what is said where neither a method nor one is named."""
WITHOUT_LAYERS: Final = frozenset(
    {
        "DeciLMForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM", "Gemma3ForConditionalGeneration",
        "GptOssForCausalLM", "GraniteForCausalLM", "Llama4ForConditionalGeneration", "LlamaForCausalLM",
        "MiniMaxM2ForCausalLM", "MistralForCausalLM", "MixtralForCausalLM", "Olmo2ForCausalLM", "Phi3ForCausalLM",
        "Qwen2ForCausalLM", "Qwen2_5_VLForConditionalGeneration", "Qwen3ForCausalLM", "Qwen3VLForConditionalGeneration",
    }
)  # fmt: skip
"""Architectures of which engines have no class of multi-token prediction (vLLM 0.33.0 models/registry.py
_SPECULATIVE_DECODING_MODELS, SGLang 0.5.23 srt/models)."""
_OF_THE_MODEL: Final = frozenset({"NEXTN", "MTP"})


def vllm_drafts(launch: Launch, problem: Problem) -> Iterator[Refusal]:
    """Of vLLM 0.12.0, 0.20.0 and 0.33.0 config/speculative.py."""
    option = launch.flag("--speculative-config")
    told = merged(launch.given, "speculative")
    if option is None or not told:
        return
    method, tokens, ranks = (
        str(told.get("method")),
        told.get("num_speculative_tokens"),
        told.get("draft_tensor_parallel_size"),
    )
    own = method in DRAFTS_OF_THE_MODEL and "model" not in told
    if own and problem.model.mtp is None and problem.model.architecture in WITHOUT_LAYERS:
        yield option, f"Unsupported speculative method: {method!r}: {problem.model.architecture} has no such layers"
    if method in _BY_A_MODEL and "model" not in told and tokens is not None:
        yield option, "num_speculative_tokens was provided but without speculative model."
    if isinstance(tokens, int) and tokens < 1:
        yield option, f"Expected num_speculative_tokens to be greater than zero ({tokens})."
    if isinstance(ranks, int) and ranks not in {1, launch.dense["tp"]}:
        yield option, (
            f"draft_tensor_parallel_size={ranks} cannot be other value than 1 or target model tensor_parallel_size"
        )  # fmt: skip


def sglang_drafts(launch: Launch, problem: Problem) -> Iterator[Refusal]:
    """Layers of the model that draft, where it has none and no other model is named."""
    option, model = launch.flag("--speculative-algorithm"), problem.model
    other = launch.flag("--speculative-draft-model-path")
    wanted = option is not None and option.text.upper() in _OF_THE_MODEL and other is None
    if option is not None and wanted and model.mtp is None and model.architecture in WITHOUT_LAYERS:
        yield option, f"{option.text} drafts with the model's own layers, and {model.architecture} has none"

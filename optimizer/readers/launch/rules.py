"""Rules of an engine's flags that ask for the model or the devices: no degree of a layout stands for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from optimizer.domain.engines.reservation import Paged
from optimizer.domain.problem import Problem
from optimizer.errors import Fault, SpecError
from optimizer.readers.launch import checkpoints
from optimizer.readers.launch.checkpoints import Refusal
from optimizer.readers.launch.drafts import sglang_drafts, vllm_drafts
from optimizer.readers.launch.exclusive import connector, sglang_exclusive, trtllm_yaml
from optimizer.readers.launch.flags import Given, merged
from optimizer.readers.launch.kernels import ATTENTION_BACKENDS, sglang_kernels, vllm_caches, vllm_kernels
from optimizer.readers.launch.launch import Launch
from optimizer.readers.launch.vllm import DRAFTS_OF_THE_MODEL

MOE_ONLY_SINCE: Final = "0.17"
"""Release of vLLM from which on external data parallelism was read to be for models with experts alone."""
WHOLE_EXPERTS_FP8: Final = "cutlass"
"""Kernels of SGLang that run experts of 8 bits without expert parallelism alone (srt/arg_groups/moe_hook.py:155)."""


def check_flags(launch: Launch, problem: Problem) -> None:
    """Refuse flags that the engine refuses of this model on these devices.

    Raises
    ------
    SpecError
        For each flag that is refused.
    """
    refusals = [refusal for rule in RULES.get(launch.engine, ()) for refusal in rule(launch, problem)]
    if refusals:
        raise SpecError(*(fault_at(launch, option, message) for option, message in refusals))


def fault_at(launch: Launch, option: Given | str, message: str) -> Fault:
    """A fault at the value of a flag, or at the flag where it has none; of a variable at the model."""
    if isinstance(option, str):
        return Fault(launch.source, *launch.model_place, option, message)
    place = (option.values[0] if option.values else option.word).start
    return Fault(launch.source, *place, option.flag.name, message)


def _experts_wanted(launch: Launch, problem: Problem) -> Iterator[Refusal]:
    """What vLLM does for models with experts alone (config/model.py:1502, engine/arg_utils.py:2462)."""
    if problem.model.moe is not None:
        return
    parallel = launch.flag("--enable-expert-parallel")
    if parallel is not None:
        yield parallel, "Number of experts in the model must be greater than 0 when expert parallelism is enabled"
    external = launch.flag("--data-parallel-rank") or launch.flag("--data-parallel-external-lb")
    if external is not None and launch.dense["dp"] > 1 and not launch.before(MOE_ONLY_SINCE):
        yield (
            external,
            (
                "Non-MoE models do not support external data parallel mode: launch independent instances without "
                "--data-parallel-* arguments"
            ),
        )


def _even_experts(launch: Launch, problem: Problem) -> Iterator[Refusal]:
    """EPLB deals physical experts evenly also without redundant ones, which the layout does not tell.

    With redundant experts the rule `even_redundant_experts` judges the layout (fused_moe/layer.py:276).
    """
    moe, balanced = problem.model.moe, launch.flag("--enable-eplb")
    ranks = launch.degrees["ep"]
    if moe is not None and balanced is not None and not launch.operating.redundant_slots and moe.experts % ranks:
        yield (
            balanced,
            (
                "EPLB currently only supports even distribution of experts across ranks. "
                f"Got {moe.experts} experts and {ranks} EP ranks"
            ),
        )


_DRAFTS_BESIDE_PCP: Final = DRAFTS_OF_THE_MODEL | {"dspark"}
_PCP_DRAFTS_SINCE: Final = "0.30"


def _beside_prefill_context(launch: Launch, _: Problem) -> Iterator[Refusal]:
    """What vLLM does not run beside prefill context parallelism (v1/worker/gpu/pcp_manager.py of 0.26 to 0.33)."""
    lora, drafts = launch.flag("--enable-lora"), launch.flag("--speculative-config")
    if launch.dense["cp"] == 1:
        return
    if lora is not None:
        yield lora, "MRV2 PCP does not support LoRA yet."
    method = str(merged(launch.given, "speculative").get("method"))
    if drafts is not None and launch.before(_PCP_DRAFTS_SINCE) and not launch.operating.draft_tokens:
        yield drafts, "MRV2 PCP does not support speculative decoding yet."
    elif drafts is not None and method not in _DRAFTS_BESIDE_PCP:
        yield drafts, "MRV2 PCP only supports DSpark or single-module MTP speculative decoding."


def page_of(launch: Launch, problem: Problem) -> int:
    """Tokens of the pages that a command's chunks of prompts are whole ones of; 1: any number will do."""
    page, stated = problem.engine.cache.page, launch.flag("--page-size")
    if page is None:
        return 1
    named = [option.text for name in ATTENTION_BACKENDS if (option := launch.flag(name)) is not None]
    tokens = int(stated.text) if stated is not None and stated.text.isdigit() else None
    return page(Paged(problem.model, problem.hardware.device, tuple(named), tokens))


def _whole_pages(launch: Launch, problem: Problem) -> Iterator[Refusal]:
    """A chunk of prompts is whole pages once attention DP has shared it out (srt/arg_groups/validation_hook.py:245)."""
    chunk, tokens = launch.flag("--chunked-prefill-size"), launch.operating.max_num_batched_tokens
    if chunk is None or tokens is None or launch.phase == "decode":
        return
    page = page_of(launch, problem)
    if tokens % page:
        of_all = "" if chunk.text == str(tokens) else f" ({chunk.text} over the attention data-parallel ranks)"
        yield chunk, f"chunked_prefill_size must be divisible by page_size: {tokens}{of_all} % {page} != 0"


def _whole_experts_fp8(launch: Launch, problem: Problem) -> Iterator[Refusal]:
    runner, ep = launch.flag("--moe-runner-backend"), launch.degrees["ep"]
    precision = problem.precision
    experts = precision.experts or precision.weights
    if runner is not None and runner.text == WHOLE_EXPERTS_FP8 and ep > 1 and "fp8" in experts:
        yield runner, f"FP8/MXFP8 Cutlass MoE is only supported with ep_size == 1, not {ep}"


def _devices_of_node(launch: Launch, problem: Problem) -> Iterator[Refusal]:
    """Ranks of a node take its devices from the first that is named on."""
    first = launch.flag("--base-gpu-id")
    if first is None or not first.text.isdigit():
        return
    step_given = launch.flag("--gpu-id-step")
    step = int(step_given.text) if step_given is not None and step_given.text.isdigit() else 1
    ranks, per_node = -(-launch.devices // (launch.nodes or 1)), problem.hardware.devices_per_node
    last = int(first.text) + (ranks - 1) * step
    if last >= per_node:
        taken = f"{ranks} ranks of a node take devices {first.text} to {last}"
        yield first, f"invalid device ordinal: {taken}, where it has {per_node}"


RULES: Final[Mapping[str, tuple[Callable[[Launch, Problem], Iterator[Refusal]], ...]]] = {
    "vllm": (
        _experts_wanted, _even_experts, _beside_prefill_context, vllm_kernels, vllm_caches, vllm_drafts, connector,
        *checkpoints.VLLM,
    ),
    "sglang": (
        _whole_pages, _whole_experts_fp8, _devices_of_node, sglang_kernels, sglang_drafts, sglang_exclusive,
        *checkpoints.SGLANG,
    ),
    "trtllm": (trtllm_yaml,),
}  # fmt: skip
"""Of each engine."""

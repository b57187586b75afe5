"""SGLang. Rules read from 0.5.23 (PyPI wheel); `tp_size` is the full width of a stage: attn_tp · attn_cp · attn_dp."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from optimizer.domain.engines import checks
from optimizer.domain.engines.engine import Engine, Waiting
from optimizer.domain.engines.reservation import GIB, MIB, CacheRules, Defaults, Reservation
from optimizer.domain.engines.rule import EngineRule, Premise
from optimizer.domain.shape import Shape
from optimizer.domain.tensor import Role


def _one_expert_mesh(premise: Premise, shape: Shape) -> str | None:
    if premise.model.moe is None or shape.edp == 1:
        return None
    width = shape.stage_devices
    if shape.edp == shape.cp and shape.pp == 1 and shape.ep * shape.edp == width:
        return None
    return (
        f"parallel topology is inconsistent: tp_size == moe_ep_size * moe_dp_size * moe_tp_size: {width} != "
        f"{shape.ep} * 1 * {shape.etp} (= {shape.ep * shape.etp}); moe_dp_size={shape.edp} needs "
        f"attn_cp_size={shape.edp}, ep_size * moe_dp_size = tp_size and no pipeline parallelism."
    )


def _context_parallel(premise: Premise, shape: Shape) -> str | None:
    if shape.cp > 1 and shape.pp > 1:
        return f"PP is not supported with context parallelism (cp={shape.cp}, pp={shape.pp})."
    return checks.context_parallel_latent(premise, shape)


EXPERT_MESH = EngineRule(
    name="expert_mesh",
    statement="ep·etp is the width of a stage; copies of experts (moe_dp) only beside as many attention cp ranks, pp 1",
    reads=("etp", "ep", "edp", "cp", "stage_devices", "pp"),
    breach=_one_expert_mesh,
    source="sglang 0.5.23 srt/runtime_context.py:308; srt/arg_groups/parallel_hook.py:182",
)
HEADS = EngineRule(
    name="attention_heads",
    statement="attn_tp divides the attention heads",
    reads=("tp",),
    breach=checks.query_heads_divide("AssertionError: {heads} attention heads are not divisible by attn_tp_size {tp}."),
    source="sglang 0.5.23 srt/models/qwen3_moe.py:506",
)
KV_HEADS = EngineRule(
    name="kv_heads",
    statement="attn_tp divides the key/value heads or is a multiple of them",
    reads=("tp",),
    breach=checks.kv_heads_divide("AssertionError: {kv} key/value heads and attn_tp_size {tp} do not divide."),
    source="sglang 0.5.23 srt/models/qwen3_moe.py:506",
)
VISION_HEADS = EngineRule(
    name="vision_heads",
    statement="attn_tp divides the heads of the vision encoder, unless it runs data-parallel",
    reads=("tp",),
    breach=checks.vision_heads_divide(
        "AssertionError: {heads} heads of the vision encoder are not divisible by {tp} (--mm-enable-dp-encoder)."
    ),
    source="sglang 0.5.23 srt/layers/attention/vision.py",
)
WIDTHS = EngineRule(
    name="feed_forward_widths",
    statement="attn_tp divides the widths of dense and shared feed-forward layers",
    reads=("tp", "shared_replicated"),
    breach=checks.dense_width_divides("AssertionError: {width} is not divisible by {tp}"),
    source="sglang 0.5.23 srt/distributed/utils.py divide()",
)
EVEN_EXPERTS = EngineRule(
    name="even_experts",
    statement="ep divides the experts and their redundant copies",
    reads=("ep", "redundant"),
    breach=checks.physical_experts_divide(
        "assert num_experts % moe_ep_size == 0: {physical} experts ({experts} + {redundant}), ep_size {ep}."
    ),
    source="sglang 0.5.23 srt/layers/moe/fused_moe_triton/layer.py:414; srt/eplb/expert_location.py:256",
)
EXPERT_WIDTH = EngineRule(
    name="expert_width",
    statement="moe_tp divides the experts' width",
    reads=("etp",),
    breach=checks.expert_width_divides("moe_intermediate_size {width} must be divisible by moe_tp_size ({etp})."),
    source="sglang 0.5.23 srt/layers/moe/fused_moe_triton/layer.py:427; moe_ep_setup.py:164",
)
FP8_EXPERT_BLOCKS = EngineRule(
    name="fp8_expert_blocks",
    statement="a rank's share of an FP8-block expert is whole blocks",
    reads=("etp",),
    breach=checks.blocks_divide(
        {Role.EXPERTS},
        columns="For quantized MoE models, please make sure moe_intermediate_size / moe_tp_size = {size} is a "
        "multiple of weight_block_size_k = {block}: fix with --ep-size.",
        rows="For quantized MoE models, please make sure (moe_intermediate_size / moe_tp_size = {size}) % "
        "weight_block_size_n={block} == 0: fix with --ep-size.",
    ),
    source="sglang 0.5.23 srt/model_executor/model_runner_components/moe_ep_setup.py:173; issue 23265",
)
FP8_BLOCKS = EngineRule(
    name="fp8_blocks",
    statement="a rank's share of every FP8-block linear layer is whole blocks",
    reads=("tp", "shared_replicated"),
    breach=checks.blocks_divide(
        checks.SPLIT_BY_TP,
        columns="Weight input_size_per_partition = {size} is not divisible by weight quantization block_k = {block}.",
        rows="Weight output_partition_size = {size} is not divisible by weight quantization block_n = {block}.",
    ),
    source="sglang 0.5.23 srt/layers/quantization/fp8_utils.py:2875; issues 3345, 4791",
)
GROUPS = EngineRule(
    name="quantisation_groups",
    statement="a rank's inputs of every group-quantised matrix (GPTQ, AWQ, compressed-tensors) are whole groups",
    reads=("tp", "etp", "shared_replicated"),
    breach=checks.groups_divide(
        frozenset(Role),
        "The input size is not aligned with the quantized weight shape: {size} is not a multiple of the group of "
        "{group}. This can be caused by too large tensor parallel size.",
    ),
    source="sglang 0.5.23 srt/layers/quantization/gptq.py, awq.py create_weights",
)
TP_WITHIN_EXPERTS = EngineRule(
    name="tp_within_experts",
    statement="DeepSeek's models: the width of a stage is no more than the routed experts",
    reads=("stage_devices",),
    breach=lambda premise, shape: (
        checks.tp_within_experts(
            lambda s: s.stage_devices, "Tensor parallel size {tp} is greater than the number of experts {experts}."
        )(premise, shape)
        if checks.has_latent_experts(premise)
        else None
    ),
    source="sglang 0.5.23 srt/models/deepseek_v2.py:716",
)
CONTEXT = EngineRule(
    name="context_parallel",
    statement="prefill context parallelism is for latent attention (MLA), without pipeline parallelism",
    reads=("cp", "pp"),
    breach=_context_parallel,
    source="sglang 0.5.23 srt/arg_groups/parallel_hook.py:163, 182",
)
NO_CONTEXT = replace(
    CONTEXT, statement="no prefill context parallelism", reads=("cp",), breach=checks.no_context_parallel
)

DECODE_CONTEXT = EngineRule(
    name="decode_context_parallel",
    statement="dcp divides attn_tp; with key/value heads it is at most their copies; no windows",
    reads=("tp", "cp"),
    breach=checks.decode_context_parallel(
        "tensor_model_parallel_size ({tp}) must be divisible by decode_context_parallel_size ({dcp})",
        "decode_context_parallel_size ({dcp}) is more than the {most} copies of each of {kv} key/value heads on {tp}.",
    ),
    source="sglang 0.5.23 srt/distributed/parallel_state.py:2667; model_executor/pool_configurator.py:340",
)
NO_DECODE_CONTEXT = replace(
    DECODE_CONTEXT, statement="no decode context parallelism", reads=("tp",), breach=checks.no_decode_context_parallel
)

_ALWAYS = (
    EXPERT_MESH, HEADS, KV_HEADS, VISION_HEADS, WIDTHS, EVEN_EXPERTS, EXPERT_WIDTH, FP8_EXPERT_BLOCKS, FP8_BLOCKS,
    GROUPS, TP_WITHIN_EXPERTS,
)  # fmt: skip
FLAGS = {
    "tp": "--tp-size",
    "pp": "--pp-size",
    "dp": "--attn-dp-size",
    "cp": "--attn-cp-size",
    "ep": "--ep-size",
    "redundant": "--ep-num-redundant-experts",
    "batch": "--max-running-requests",
    "prefill_chunk": "--chunked-prefill-size",
    "max_model_len": "--context-length",
    "memory_utilization": "--mem-fraction-static",
    "kv_cache": "--kv-cache-dtype",
    "capture_sizes": "--cuda-graph-bs",
    "placement": "--init-expert-location",
    "stages": "SGLANG_PP_LAYER_PARTITION",
}
WAITING = Waiting(
    overhead_s=Fraction(178, 1000),
    loop_overhead_s=Fraction(1, 100),
    steps=Fraction(29),
    source="fitted on 2026-11-29 to the TTFT of 191 closed-loop runs on H100, H200 and B200 "
    "(aiconfigurator-core 0.12.0 silicon_sample.csv), overhead_s to those of at most 8 requests in flight; "
    "5 to 50 steps: many were started with --scheduler-recv-interval",
)

_MEMORY_STEPS = ((20, 2048, 8, 8), (35, 4096, 48, 160), (60, 4096, 32, 160), (160, 8192, 256, 512))
"""GiB of a device up to which SGLang takes so many prompt tokens a step and captures batches so large (tp<4, else)."""
_LARGEST_STEP = (16384, 512)
"""The same on larger devices."""


def automatic_fraction(
    memory_bytes: int, *, tp: int, pp: int, attention_dp: int, chunk: int | None, capture: int | None, latent: bool,
    deepep: bool,
) -> Fraction:  # fmt: skip
    """`--mem-fraction-static` where a command names none: what is left beside an estimate of a step and its graphs.

    sglang 0.5.23 srt/arg_groups/memory_hook.py:84-414, in MiB: 512, 1.5 for each prompt token of a step, 128 for each
    rank, 2 for each captured sequence, with attention data parallelism 3 more for each rank (4.5 beyond 300), graphs of
    prompts (1,536 with latent attention, else 8 for each of their sizes); at least 10 GiB on devices above 60; and for
    DeepEP 2 GiB.

    Parameters
    ----------
    tp
        Width of a stage.
    chunk, capture
        Prompt tokens a step and largest captured batch where the command says them; capture 0: none is captured.
    """
    gib = Fraction(memory_bytes, GIB)
    sizes = next((row for row in _MEMORY_STEPS if gib < row[0]), None)
    usual, largest = _LARGEST_STEP if sizes is None else (sizes[1], sizes[2] if tp < _WIDE else sizes[3])
    tokens, batch = chunk or usual, largest if capture is None else capture
    reserved = 512 + Fraction(3, 2) * max(tokens, 2048) + tp * pp * 128
    if batch:
        each = Fraction(9, 2) if batch > _MANY_CAPTURED else 3
        reserved += 2 * batch + (batch * attention_dp * each if attention_dp > 1 else 0)
        reserved += 1536 if latent else 8 * sum(size <= tokens for size in _PROMPT_GRAPHS)
    if gib > _FLOOR_FROM_GIB:
        reserved = max(reserved, Fraction(10 * 1024))
    reserved += 2048 if deepep and batch else 0
    return max(Fraction(1, 100), Fraction(round((1 - reserved / (gib * 1024)) * 1000), 1000))


_WIDE, _MANY_CAPTURED, _FLOOR_FROM_GIB = 4, 300, 60
_PROMPT_GRAPHS = (
    *range(4, 33, 4), *range(48, 257, 16), *range(288, 513, 32), *range(576, 1025, 64), *range(1280, 4097, 256),
    *range(4608, 16385, 512),
)  # fmt: skip
"""Prompt tokens of which a graph is captured (srt/arg_groups/cuda_graph_hook.py:486)."""

NEWEST = Engine(
    name="sglang",
    version="0.5.23",
    since="0.5.15",
    rules=(*_ALWAYS, CONTEXT, DECODE_CONTEXT),
    memory_utilization=Fraction(9, 10),
    reservation=Reservation(
        context_bytes=GIB // 4,
        direct_group_bytes=185 * GIB // 100,
        switched_group_bytes=GIB // 2,
        stage_bytes=7 * GIB // 100,
        graph_bytes=13 * MIB // 10,
        graph_layer_bytes=41 * MIB // 100,
        graph_latent_layer_bytes=44 * MIB // 100,
        defaults=Defaults((1024, 256), (8192, 2048), 128),
        sampler_bytes=16,
        low_latency_capture=True,
        static_fraction=True,
        source="capture of large DP+EP batches: sglang issue 24453 (20 GiB); the rest assumed equal to vLLM's",
    ),
    cache=CacheRules(block_tokens=1),
    waiting=WAITING,
    vocabulary_padding=64,
    source="assumed equal to vLLM's; rules read from SGLang 0.5.23",
    flags=FLAGS,
)
RELEASES = (
    replace(
        NEWEST, version="0.5.0", since="0.4.6", rules=(*_ALWAYS, NO_CONTEXT, NO_DECODE_CONTEXT),
        flags={**FLAGS, "dp": "--dp-size --enable-dp-attention"},
    ),
    NEWEST,
)  # fmt: skip
"""Oldest first."""

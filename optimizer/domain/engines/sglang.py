"""SGLang. Rules read from 0.5.23 (PyPI wheel); `tp_size` is the full width of a stage: attn_tp · attn_cp · attn_dp."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from optimizer.domain.attention import Entries, Heads, Indexer, Kept, Latents
from optimizer.domain.engines import checks, makers, vllm
from optimizer.domain.engines.architectures import architectures, version_of
from optimizer.domain.engines.engine import Engine, Waiting
from optimizer.domain.engines.reservation import GIB, CacheRules, Defaults, DefaultsTier, Paged, StaticShare
from optimizer.domain.engines.rule import EngineRule, Premise
from optimizer.domain.engines.version import before
from optimizer.domain.model import ModelSpec
from optimizer.domain.shape import Shape

VERSION = "0.5.23"
"""The newest whose source was read."""


HIP_ASKED = "0.5.23"
"""Release from which on prefill context parallelism was read to be refused on AMD's devices; not in 0.5.19."""


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
    hip = premise.hardware.device.vendor == "AMD" and not before(version_of(premise, "sglang", VERSION), HIP_ASKED)
    if shape.cp > 1 and hip:
        return f"Prefill CP on HIP is only supported for DeepseekV4ForCausalLM, got {premise.model.architecture!r}."
    return checks.context_parallel_latent(premise, shape)


EXPERT_MESH = EngineRule(
    name="expert_mesh",
    statement="ep·etp is the width of a stage; copies of experts (moe_dp) only beside as many attention cp ranks, pp 1",
    reads=("etp", "ep", "edp", "cp", "stage_devices", "pp"),
    apart=("etp", "copies", "pp"),
    breach=_one_expert_mesh,
    source="sglang 0.5.23 srt/runtime_context.py:308; srt/arg_groups/parallel_hook.py:182",
)
HEADS = checks.attention_heads(
    "AssertionError: {heads} attention heads are not divisible by attn_tp_size {tp}.",
    "sglang 0.5.23 srt/models/qwen3_moe.py:506; srt/layers/attention/mamba/mamba.py:246",
    "attn_tp",
    mamba=checks.MAMBA_HEADS,
)
KV_HEADS = checks.kv_heads(
    "AssertionError: {kv} key/value heads and attn_tp_size {tp} do not divide.",
    "sglang 0.5.23 srt/models/qwen3_moe.py:506",
    "attn_tp",
)
VISION_HEADS = checks.vision_heads(
    "AssertionError: {heads} heads of the vision encoder are not divisible by {tp} (--mm-enable-dp-encoder).",
    "sglang 0.5.23 srt/layers/attention/vision.py",
    "attn_tp",
)
WIDTHS = checks.feed_forward_widths(
    "AssertionError: {width} is not divisible by {tp}", "sglang 0.5.23 srt/distributed/utils.py divide()", "attn_tp"
)
EVEN_EXPERTS = checks.even_experts(
    "assert num_experts % moe_ep_size == 0: {physical} experts ({experts} + {redundant}), ep_size {ep}.",
    "sglang 0.5.23 srt/layers/moe/fused_moe_triton/layer.py:414; srt/eplb/expert_location.py:256",
    "ep divides the experts and their redundant copies",
)
EXPERT_WIDTH = checks.expert_width(
    "moe_intermediate_size {width} must be divisible by moe_tp_size ({etp}).",
    "sglang 0.5.23 srt/layers/moe/fused_moe_triton/layer.py:427; moe_ep_setup.py:164",
    "moe_tp divides the experts' width",
)
FP8_EXPERT_BLOCKS = checks.fp8_expert_blocks(
    columns="For quantized MoE models, please make sure moe_intermediate_size / moe_tp_size = {size} is a "
    "multiple of weight_block_size_k = {block}: fix with --ep-size.",
    rows="For quantized MoE models, please make sure (moe_intermediate_size / moe_tp_size = {size}) % "
    "weight_block_size_n={block} == 0: fix with --ep-size.",
    source="sglang 0.5.23 srt/model_executor/model_runner_components/moe_ep_setup.py:173; issue 23265",
)
FP8_BLOCKS = checks.fp8_blocks(
    columns=vllm.BLOCK_COLUMNS,
    rows=vllm.BLOCK_ROWS,
    of=" (but MiMo's queries, keys and values)",
    exempt=checks.blocks_of_heads,
    source="sglang 0.5.23 srt/layers/quantization/fp8_utils.py:2875; srt/models/mimo_v2.py:492 "
    "(skip_block_quant_check); issues 3345, 4791, 26107",
)
GROUPS = checks.quantisation_groups(
    "The input size is not aligned with the quantized weight shape: {size} is not a multiple of the group of "
    "{group}. This can be caused by too large tensor parallel size.",
    source="sglang 0.5.23 srt/layers/quantization/gptq.py, awq.py create_weights",
)
DEVICES = checks.devices_of(
    "SGLang",
    ("AMD", "Google", "Huawei", "Intel", "NVIDIA"),
    "docs.sglang.io/docs/hardware-platforms (GPUs, TPU, Ascend NPU, XPU); docs.habana.ai SGLang_Inference (Gaudi)",
)
TP_WITHIN_EXPERTS = checks.tp_within_experts(
    "stage_devices",
    "DeepSeek's models: the width of a stage is no more than the routed experts",
    "sglang 0.5.23 srt/models/deepseek_v2.py:716",
    checks.has_latent_experts,
)
CONTEXT = EngineRule(
    name="context_parallel",
    statement="prefill context parallelism is for latent attention (MLA), without pipeline parallelism, not on AMD's",
    reads=("cp", "pp"),
    apart=("context_parallel", "pp"),
    breach=_context_parallel,
    source="sglang 0.5.23 srt/arg_groups/parallel_hook.py:115, 163, 182",
)
NO_CONTEXT = replace(
    CONTEXT,
    statement="no prefill context parallelism",
    reads=("cp",),
    apart=("context_parallel",),
    breach=checks.no_context_parallel,
)
DECODE_CONTEXT = checks.decode_context_parallel(
    "tensor_model_parallel_size ({tp}) must be divisible by decode_context_parallel_size ({dcp})",
    "decode_context_parallel_size ({dcp}) is more than the {most} copies of each of {kv} key/value heads on {tp}.",
    "dcp divides attn_tp; with key/value heads it is at most their copies; no windows",
    "sglang 0.5.23 srt/distributed/parallel_state.py:2667; model_executor/pool_configurator.py:340",
)
NO_DECODE_CONTEXT = checks.no_decode_context_parallel(DECODE_CONTEXT.source)


def _two_batch_overlap(premise: Premise, shape: Shape) -> str | None:
    if shape.overlap and not checks.layers_without_experts_lead(premise):
        return "dense layer TBO not yet implemented: a layer without experts stands after one with them."
    return checks.overlap_hides_exchange(
        "When enabling two batch overlap, moe_a2a_backend cannot be 'none': the backends take ep_size = tp_size, and "
        "attention data parallelism; here attn_dp_size={dp}, attn_cp_size={cp}, ep_size={ep}, moe_tp_size={etp}, "
        "moe_dp_size={edp}."
    )(premise, shape)


OVERLAP = EngineRule(
    name="two_batch_overlap",
    statement="two-batch overlap is for experts on the whole width, with data-parallel attention, and for models whose "
    "layers without experts come first",
    reads=("overlap", "spread"),
    breach=_two_batch_overlap,
    source="sglang 0.5.6 srt/server_args.py (moe_a2a_backend); srt/batch_overlap/operations_strategy.py; "
    "0.5.23 srt/arg_groups/overrides.py:1611",
)


def _pipelined_drafts(premise: Premise, shape: Shape) -> str | None:
    if shape.pp == 1 or not premise.workload.mtp_tokens or not premise.workload.decodes:
        return None
    return f"PP + speculative decoding (MTP) is only supported on prefill nodes; here pp={shape.pp}."


def _no_pipelined_drafts(premise: Premise, shape: Shape) -> str | None:
    if shape.pp == 1 or not premise.workload.mtp_tokens:
        return None
    return f"Pipeline parallelism (pp={shape.pp}) is not compatible with overlap schedule, speculative decoding."


PIPELINED_DRAFTS = EngineRule(
    name="pipelined_drafts",
    statement="a pipeline drafts tokens on instances of the prefill phase alone",
    reads=("pp",),
    breach=_pipelined_drafts,
    source="sglang 0.5.23 srt/arg_groups/validation_hook.py:122",
)
NO_PIPELINED_DRAFTS = replace(
    PIPELINED_DRAFTS,
    statement="no pipeline beside speculative decoding",
    breach=_no_pipelined_drafts,
    source="sglang 0.5.2, 0.5.10, 0.5.15 srt/server_args.py check_server_args",
)

NVFP4 = checks.number_formats(
    {"nvfp4": ((10, 0), (99, 0))},
    "The quantization method modelopt_fp4 is not supported for the current GPU. Minimum capability: {least}. Current "
    "capability: {own}.",
    "sglang 0.5.2, 0.5.6, 0.5.10, 0.5.12 srt/layers/quantization/modelopt_quant.py get_min_capability (80 in 0.5.15)",
    "NVFP4 has kernels from Blackwell on",
)

ARCHITECTURES = architectures(
    "sglang", "SGLang", VERSION, "Model architectures ['{name}'] are not supported for now",
    "sglang 0.4.6 to 0.5.23 srt/models/registry.py (EntryClass)",
)  # fmt: skip
FORMATS_OF_MAKERS = makers.formats_of_makers(
    makers.SGLANG, "docs.sglang.io advanced_features/quantization, hardware-platforms/ascend-npus (A2/A3)"
)

_ALWAYS = (
    ARCHITECTURES, FORMATS_OF_MAKERS, EXPERT_MESH, HEADS, KV_HEADS, VISION_HEADS, WIDTHS, EVEN_EXPERTS, EXPERT_WIDTH,
    FP8_EXPERT_BLOCKS, FP8_BLOCKS, GROUPS, TP_WITHIN_EXPERTS, OVERLAP, DEVICES,
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
    "overlap": "--enable-two-batch-overlap",
    "stages": "SGLANG_PP_LAYER_PARTITION",
}
WAITING = Waiting(
    overhead_s=Fraction(15, 100),
    steps=Fraction(0),
    source="fitted on 2026-11-29 to the TTFT of 128 closed-loop runs on H100, H200, B200 (aiconfigurator-core 0.12.0 "
    "silicon_sample.csv); --scheduler-recv-interval I, which is 1 by default, adds (I - 1) / 2 steps",
)

REQUEST_POOL = (2048, 4096)
"""Requests in flight of a rank: the tokens of the cache over the longest sequence · 512, within these, and no more than
half the tokens (mem_cache/kv_cache_configurator.py resolve_max_num_reqs)."""


def _defaults(*tiers: tuple[int, int, int, int]) -> Defaults:
    """From so many GiB on: prompt tokens of a step of all ranks, captured batch of stages of 4 ranks and of fewer."""
    return Defaults(
        tuple(DefaultsTier(gib * GIB, REQUEST_POOL[0], chunk, wide, narrow) for gib, chunk, wide, narrow in tiers)
    )


DEFAULTS = _defaults(
    (160, 16_384, 512, 512), (60, 8192, 512, 256), (35, 4096, 160, 32), (20, 4096, 160, 48), (0, 2048, 8, 8)
)
"""SGLang 0.5.23 srt/arg_groups/memory_hook.py:84."""
SMALLER_DEFAULTS = _defaults(
    (160, 16_384, 512, 512), (60, 8192, 512, 256), (35, 4096, 160, 32), (20, 2048, 80, 24), (0, 2048, 8, 8)
)
"""SGLang 0.5.6, 0.5.10 and 0.5.15 srt/server_args.py _handle_gpu_memory_settings."""
FIRST_DEFAULTS = _defaults((160, 16_384, 160, 160), (35, 8192, 160, 160), (0, 2048, 80, 8))
"""SGLang 0.4.9 and 0.5.2 srt/server_args.py; captured up to 160 where it does not say."""

_MANY_CAPTURED, _FLOOR_FROM_GIB = 300, 60
_PROMPT_GRAPHS = (
    *range(4, 33, 4), *range(48, 257, 16), *range(288, 513, 32), *range(576, 1025, 64), *range(1280, 4097, 256),
    *range(4608, 16385, 512),
)  # fmt: skip
"""Prompt tokens of which a graph is captured (srt/arg_groups/cuda_graph_hook.py:486)."""
_USUAL_VISION_PARAMETERS = 12 * 24 * 1024**2
"""Of ViT-L/14: 24 layers of 12 · 1,024²; memory_hook.py adjust_mem_fraction_for_vlm compares layers · width²."""


def automatic_fraction(command: StaticShare) -> Fraction:
    """`--mem-fraction-static` where a command names none: what is left beside an estimate of a step and its graphs.

    sglang 0.5.23 srt/arg_groups/memory_hook.py:84-460, in MiB: 512, 1.5 for each prompt token of a step, 128 for each
    rank, 2 for each captured sequence, with attention data parallelism 3 more for each rank (4.5 beyond 300), graphs of
    prompts (1,536 with latent attention, else 8 for each of their sizes); at least 10 GiB on devices above 60; and for
    DeepEP 2 GiB. Of that 95% with a vision encoder of the usual size, 10% less for each further one.
    """
    gib = Fraction(command.device.exposed_memory, GIB)
    batch = command.capture
    reserved = 512 + Fraction(3, 2) * max(command.chunk, 2048) + command.width * command.pp * 128
    if batch:
        rank_mib = Fraction(9, 2) if batch > _MANY_CAPTURED else 3
        reserved += 2 * batch + (batch * command.attention_dp * rank_mib if command.attention_dp > 1 else 0)
        reserved += 1536 if command.latent else 8 * sum(size <= command.chunk for size in _PROMPT_GRAPHS)
    if gib > _FLOOR_FROM_GIB:
        reserved = max(reserved, Fraction(10 * 1024))
    reserved += 2048 if command.deepep and batch else 0
    return _share(gib, reserved, command)


def _share(gib: Fraction, reserved_mib: Fraction, command: StaticShare) -> Fraction:
    share = Fraction(round((1 - reserved_mib / (gib * 1024)) * 1000), 1000)
    if command.vision_parameters:
        excess = Fraction(command.vision_parameters, _USUAL_VISION_PARAMETERS) - 1
        share *= Fraction(95, 100) * max(Fraction(8, 10), min(Fraction(105, 100), 1 - excess / 10))
    return max(Fraction(1, 100), share)


_RESERVED = (
    (160, Fraction(32), Fraction(0)), (90, Fraction(12), Fraction(1, 2)), (35, Fraction(19, 2), Fraction(1, 2)),
    (0, Fraction(14, 5), Fraction(1, 10)),
)  # fmt: skip
"""From so many GiB on: GiB beside weights and cache, and for each rank (SGLang 0.4.9, 0.5.2 srt/server_args.py)."""


def first_fraction(command: StaticShare) -> Fraction:
    """The same of SGLang 0.4.9 and 0.5.2: by memory and ranks, 2 GiB for drafts, 4 for attention data parallelism."""
    gib = Fraction(command.device.exposed_memory, GIB)
    fixed, rank_gib = next((fixed, rank_gib) for edge, fixed, rank_gib in _RESERVED if gib >= edge)
    reserved = (
        fixed
        + command.width * command.pp * rank_gib
        + (2 if command.drafts else 0)
        + (4 if command.attention_dp > 1 else 0)
    )
    return _share(gib, reserved * 1024, command)


BACKEND_PAGES: Mapping[str, tuple[int, ...]] = {
    "flashmla": (64,), "cutlass_mla": (128,), "trtllm_mla": (64, 32), "cutedsl_mla": (64, 32),
    "trtllm_mha": (64, 16, 32, 128), "hpc_ops": (64,),
}  # fmt: skip
"""Tokens of a page that kernels of attention take, the one that they are given otherwise first (srt/arg_groups/
overrides.py:1143; 0.5.2 and 0.5.10 srt/server_args.py)."""
_DATACENTER_BLACKWELL = ("b200", "b300")
_BLACKWELL_KERNELS: Mapping[type[Kept], str] = {Heads: "trtllm_mha", Latents: "trtllm_mla"}


def _own_page(kept: Kept) -> int:
    """Tokens of a page of DeepSeek-V4, DeepSeek's sparse attention and MiniMax-M3, whatever is asked for; 0: as asked.

    srt/arg_groups/model_overrides/deepseek_v4.py:51, deepseek_v2.py:171, minimax_m3.py.
    """
    match kept:
        case Entries():
            return 256
        case Heads(indexer=Indexer()):
            return 128
        case Latents(indexer=Indexer()):
            return 64
        case _:
            return 0


def stated_page(asked: Paged) -> int:
    """Tokens of a page as a command asks for them; 1 where it does not, and what kernels that it names take."""
    page = asked.stated or 1
    for backend in asked.backends:
        takes = BACKEND_PAGES.get(backend, (page,))
        page = page if page in takes else takes[0]
    return page


def sparse_page(asked: Paged) -> int:
    """The same, where sparse attention has a page of its own."""
    if asked.device.vendor not in {"", "NVIDIA"}:
        return stated_page(asked)
    return max(map(_own_page, asked.model.kept), default=0) or stated_page(asked)


def default_page(asked: Paged) -> int:
    """The same, where B200 and B300 take TensorRT-LLM's kernels unless told (srt/arg_groups/model_override_base.py)."""
    kernels = {_BLACKWELL_KERNELS.get(type(kept)) if kept.indexer is None else None for kept in asked.model.kept}
    blackwell = any(part in asked.device.name.casefold() for part in _DATACENTER_BLACKWELL)
    if blackwell and not asked.backends and len(kernels) == 1:
        asked = replace(asked, backends=tuple(name for name in kernels if name is not None))
    return sparse_page(asked)


OWN_POOLS = frozenset({"gemma4_text", "gpt_oss", "llama4_text", "mimo_v2_flash"})
"""Families whose layers with windows have a pool of their own from 0.5.8 on, of those that are read here (srt/configs/
model_config.py is_hybrid_swa_model; DeepSeek-V4 beside them). Of all others every layer holds every token."""
POOL_SHARE, COMPRESSED_SHARE = Fraction(8, 10), Fraction(1, 10)
"""`--swa-full-tokens-ratio` unless told: srt/arg_groups/fields/schedule.py:150; model_overrides/deepseek_v4.py:48."""


def window_share(model: ModelSpec, stated: Fraction | None) -> Fraction:
    """Tokens that layers with windows have room for, of those of the others."""
    if model.compressed:
        return stated or COMPRESSED_SHARE
    return (stated or POOL_SHARE) if model.family in OWN_POOLS else Fraction(1)


def undivided(model: ModelSpec, stated: Fraction | None) -> Fraction:
    """The same of releases in which every layer of the models that they know holds every token."""
    del model, stated
    return Fraction(1)


NEWEST = Engine(
    # srt/runtime_context.py:106: the order that is priced where no engine is named
    name="sglang",
    version=VERSION,
    since="0.5.16",
    rules=(*_ALWAYS, CONTEXT, DECODE_CONTEXT, PIPELINED_DRAFTS),
    memory_utilization=Fraction(9, 10),
    reservation=replace(
        vllm.FITTED,
        graph_latent_layer_bytes=0,
        defaults=DEFAULTS,
        low_latency_tokens=128,  # SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK
        static_fraction=automatic_fraction,
        source="capture of large DP+EP batches: sglang issue 24453 (20 GiB); other graphs near the 2 MiB a captured "
        "sequence that SGLang reserves itself; the rest assumed equal to vLLM's",
    ),
    # srt/layers/rotary_embedding, as vLLM's
    cache=CacheRules(
        block_tokens=1,
        position_tables=True,
        page=default_page,
        window_share=window_share,
        scaled_latent_majors=(9,),
        state_ratio=Fraction(9, 10),
        slots_of_request=5,  # arg_groups/overrides.py: extra_buffer, from 0.5.16 on
        serves_none="Hybrid (mamba/linear-attention) state cache is too small to serve any requests",
    ),
    waiting=WAITING,
    vocabulary_padding=64,
    source="assumed equal to vLLM's; rules read from SGLang 0.5.23",
    flags=FLAGS,
)
# layers/quantization/mxfp4_marlin_moe.py: scales of 32 bits until 0.5.16; 125.65 GiB of DeepSeek-V4-Pro on 8 H200
# (InferenceX issue 2128), 124.5 derived
_HOPPER = ("h100", "h200", "h20", "h800")
_SCALES_LEFT = replace(NEWEST.cache, slots_of_request=3, loaded_scales={"mxfp4": dict.fromkeys(_HOPPER, 4)})
_EARLIER = replace(
    NEWEST, version="0.5.10", since="0.5.9",
    rules=(*_ALWAYS, NO_CONTEXT, NO_DECODE_CONTEXT, NO_PIPELINED_DRAFTS, NVFP4),
    # 0.5.12 srt/model_executor/pool_configurator.py:386
    cache=replace(_SCALES_LEFT, window_states=True, serves_none=""),
    # mem_cache: the target's pool is measured before the draft is loaded, until pull request 23862 (April 2026)
    reservation=replace(NEWEST.reservation, defaults=SMALLER_DEFAULTS, drafts_beside="own"),
    flags={**FLAGS, "dp": "--dp-size --enable-dp-attention"},
)  # fmt: skip
_POOLING = replace(
    # models/qwen3_moe.py routed_experts_weights_of_layer refers to experts before they are repacked; lazily from 0.5.9
    # on. Issues 8362, 9506 and 9872: 4-bit experts that vLLM runs do not load.
    _EARLIER, version="0.5.8", since="0.5.8", reservation=replace(_EARLIER.reservation, holds_loaded_experts=True),
    cache=replace(_EARLIER.cache, page=sparse_page),
)  # fmt: skip
_HOLDING = replace(
    # model_runner.py:440 and server_args.py:1090: of the families here that have windows none has a pool of its own
    _POOLING,
    version="0.5.6",
    since="0.5.6",
    cache=replace(_POOLING.cache, window_share=undivided),
)
_FIRST = replace(
    _HOLDING, version="0.5.2", since="0.4.10", cache=replace(_HOLDING.cache, page=stated_page, state_ratio=None),
    reservation=replace(_HOLDING.reservation, defaults=FIRST_DEFAULTS, static_fraction=first_fraction),
)  # fmt: skip
RELEASES = (
    # model_runner.py:1246 of 0.4.9.post5: the draft's pool has num_effective_layers; one from post6 on
    replace(_FIRST, version="0.4.9", since="0.4.6", reservation=replace(_FIRST.reservation, drafts_beside="all")),
    _FIRST,
    _HOLDING,
    _POOLING,
    _EARLIER,
    replace(
        NEWEST, version="0.5.15", since="0.5.15", cache=_SCALES_LEFT,
        rules=(*_ALWAYS, CONTEXT, DECODE_CONTEXT, NO_PIPELINED_DRAFTS),
        reservation=replace(_EARLIER.reservation, drafts_beside="none"),
    ),
    NEWEST,
)  # fmt: skip
"""Oldest first."""

"""vLLM. Rules read from 0.33.0 (PyPI source) and, for what differed, from logs and issues of earlier releases."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import partial

from optimizer.domain.attention import Mixer, State
from optimizer.domain.capability import capability
from optimizer.domain.engines import checks, makers
from optimizer.domain.engines.architectures import architectures, pipelines, version_of
from optimizer.domain.engines.engine import Engine, Waiting
from optimizer.domain.engines.reservation import (
    GIB,
    MIB,
    UNLOGGED_ERROR,
    CacheRules,
    Defaults,
    DefaultsTier,
    Reservation,
)
from optimizer.domain.engines.rule import EngineRule, Premise
from optimizer.domain.engines.version import before
from optimizer.domain.hardware import Device
from optimizer.domain.shape import Shape

VERSION = "0.33.0"
"""The newest whose source was read."""

BLOCK_COLUMNS = "Weight input_size_per_partition = {size} is not divisible by weight quantization block_k = {block}."
BLOCK_ROWS = "Weight output_partition_size = {size} is not divisible by weight quantization block_n = {block}."

EXPERTS_USE_ALL_RANKS = EngineRule(
    name="experts_use_all_ranks",
    statement="EP is tp·cp·dp (expert parallelism on) or 1 with every expert divided over tp·cp·dp ranks (off)",
    reads=("etp", "ep", "edp"),
    apart=("etp", "ep", "copies"),
    breach=checks.experts_use_all_ranks,
    source="vllm 0.33.0 model_executor/layers/fused_moe/config.py:1112, 1352; config/parallel.py",
)
HEADS = checks.attention_heads(
    "Total number of attention heads ({heads}) must be divisible by tensor parallel size ({tp}).",
    "vllm 0.33.0 config/model.py:1561; model_executor/layers/mamba/mamba_mixer2.py:317",
    mamba=checks.MAMBA_HEADS,
)
KV_HEADS = checks.kv_heads(
    "{tp} is not divisible by {kv}: key/value heads are divided or copied whole.",
    "vllm 0.33.0 model_executor/layers/linear.py:1068",
)
VISION_HEADS = checks.vision_heads(
    "{heads} heads of the vision encoder are not divisible by {tp} (--mm-encoder-tp-mode data runs it whole).",
    "vllm 0.33.0 distributed/utils.py:54 divide(), as the vision towers call it",
)
WIDTHS = checks.feed_forward_widths("{width} is not divisible by {tp}.", "vllm 0.33.0 distributed/utils.py:54")
EXPERT_WIDTH = checks.expert_width(
    "The experts' intermediate size {width} is not divisible by {etp} ranks.",
    "vllm 0.33.0 model_executor/layers/fused_moe/config.py:1352",
    "without expert parallelism the ranks that share an expert divide its width",
)
VOCABULARY = EngineRule(
    name="vocabulary",
    statement="tp divides the vocabulary padded to 64",
    reads=("tp",),
    breach=checks.vocabulary_divides(64, "{padded} (the padded vocabulary) is not divisible by {tp}."),
    source="vllm 0.33.0 model_executor/layers/vocab_parallel_embedding.py:304",
)
_FP8_BLOCKS = partial(checks.fp8_blocks, columns=BLOCK_COLUMNS, rows=BLOCK_ROWS)
FIRST_FP8_BLOCKS = _FP8_BLOCKS(
    of=" (attention, dense and shared experts)",
    source="vllm 0.12.0 model_executor/layers/quantization/utils/fp8_utils.py validate_fp8_block_shape",
)
_MERGED_FP8_BLOCKS = partial(
    _FP8_BLOCKS, merged="start ({start}) + length ({length}) exceeds dimension size ({whole})."
)
FP8_BLOCKS = _MERGED_FP8_BLOCKS(
    of=" (but MiMo's queries, keys and values)",
    exempt=checks.blocks_of_heads,
    source="vllm pull requests 30836 (layers/linear.py _maybe_allow_fp8_block_shape_mismatch), 52915; issue 42384",
)
PADDED_FP8_BLOCKS = _MERGED_FP8_BLOCKS(
    of=" (but MiMo's queries, keys and values, and DeepSeek-V4's shared experts, which are padded)",
    exempt=checks.blocks_of_heads_or_padded,
    source="vllm 0.33.0 model_executor/layers/quantization/utils/fp8_utils.py:1326, 1343; pull requests 46001, 52915",
)
FP8_EXPERT_BLOCKS = checks.fp8_expert_blocks(
    columns="The input_size of down's weight = {size} is not divisible by weight quantization block_k = {block}.",
    rows="The output_size of gate's and up's weight = {size} is not divisible by weight quantization "
    "block_n = {block}.",
    source="vllm before 0.33: model_executor/layers/quantization/fp8.py; 0.33.0 refines the scales instead "
    "(fused_moe/oracle/fp8.py:355)",
)
GROUPS = checks.quantisation_groups(
    "Weight input_size_per_partition={size} is not divisible by group_size={group}. "
    "Consider reducing tensor_parallel_size.",
    source="vllm 0.33.0 distributed/utils.py:149; issues 13640, 17604",
)
EPLB_EVEN = checks.even_experts(
    "EPLB currently only supports even distribution of experts across ranks. "
    "Got {physical} experts ({experts} + {redundant}) and {ep} EP ranks.",
    "vllm 0.33.0 model_executor/layers/fused_moe/layer.py:276",
    "with redundant experts (EPLB) ep divides all physical experts",
    name="even_redundant_experts",
    asks=lambda _, shape: shape.redundant > 0,
)
V4_EVEN = checks.even_experts(
    "assert n_physical_experts % ep_size == 0: {physical} experts ({experts} + {redundant}) and {ep} EP ranks.",
    "vllm issue 52435, pull request 57465",
    "DeepSeek-V4's model code asks that ep divide its physical experts",
    name="deepseek_v4_experts",
    asks=lambda premise, _: premise.model.compressed,
)
TP_WITHIN_EXPERTS = checks.tp_within_experts(
    "tp", "no more tensor-parallel ranks than experts", "vllm 0.33.0 model_executor/models/qwen3_moe.py:156"
)


def _prefill_context(premise: Premise, shape: Shape) -> str | None:
    if shape.cp == 1:
        return None
    if premise.model.vision is not None:
        return "MRV2 PCP does not support MM inputs yet. (--language-model-only leaves them out.)"
    if shape.pp > 1 and before(version_of(premise, "vllm", VERSION), PIPELINED_CONTEXT):
        return f"MRV2 PCP does not support PP yet. (cp={shape.cp}, pp={shape.pp}.)"
    return checks.context_parallel_latent(premise, shape)


def _first_prefill_context(premise: Premise, shape: Shape) -> str | None:
    if shape.cp > 1 and shape.dp > 1:
        return f"PCP does not support data parallelism yet. (cp={shape.cp}, dp={shape.dp}.)"
    if shape.cp > 1 and premise.workload.mtp_tokens:
        return "MRV2 PCP does not support speculative decoding yet."
    return _prefill_context(premise, shape)


PIPELINED_CONTEXT = "0.31"
"""Release from which on PCP may run in a pipeline: 0.30.0 refuses it, 0.33.0 does not; none between was read."""
LATENT_CONTEXT = EngineRule(
    name="prefill_context_parallel",
    statement="prefill context parallelism is for latent attention (MLA) without pictures, and in 0.30 no pipeline",
    reads=("cp", "pp"),
    apart=("context_parallel", "pp"),
    breach=_prefill_context,
    source="vllm 0.33.0 v1/worker/gpu/pcp_manager.py:167; 0.30.0 the same:133; config/vllm.py:3336",
)
FIRST_CONTEXT = replace(
    LATENT_CONTEXT,
    statement="the same without a pipeline, data parallelism and drafts",
    reads=("cp", "pp", "dp"),
    apart=("context_parallel", "pp", "dp"),
    breach=_first_prefill_context,
    source="vllm 0.26.0, 0.27.0, 0.28.0 v1/worker/gpu/pcp_manager.py:135; config/parallel.py:509, 528",
)
NO_CONTEXT = replace(
    LATENT_CONTEXT,
    statement="no prefill context parallelism",
    reads=("cp",),
    apart=("context_parallel",),
    breach=checks.no_context_parallel,
    source="vllm 0.22.0, 0.25.0 v1/attention/backend.py supports_pcp, which no class sets; v1/worker/cp_utils.py:40",
)
DECODE_CONTEXT = checks.decode_context_parallel(
    "tp_size={tp} must be divisible by dcp_size={dcp}.",
    "`--decode-context-parallel-size` ({dcp}) exceeds the maximum supported value ({most}) for "
    "`--tensor-parallel-size` ({tp}) and {kv} model KV heads.",
    "dcp divides tp, is at most the copies of a key/value head and divides its queries; no sliding windows",
    "vllm 0.33.0 config/parallel.py:600; config/model.py:1578; v1/kv_cache_interface.py SlidingWindowSpec",
)
OVERLAP = EngineRule(
    name="two_batch_overlap",
    statement="dual-batch overlap (--enable-dbo) is for experts spread over all ranks, with data-parallel attention",
    reads=("overlap", "spread"),
    breach=checks.overlap_hides_exchange(
        "Microbatching currently only supports the deepep_* all2all backends: it splits steps of data-parallel ranks "
        "with expert parallelism, here dp={dp}, cp={cp}, etp={etp}, ep={ep}, edp={edp}."
    ),
    source="vllm 0.33.0 config/vllm.py:2200; v1/worker/ubatch_utils.py; v1/worker/dp_utils.py; beside context "
    "parallelism assumed as SGLang",
)
STATES_IN_GROUPS = EngineRule(
    name="hybrid_states",
    statement="states of linear attention beside a cache of tokens need the hybrid KV cache manager",
    reads=("tp",),
    breach=checks.states_in_groups(
        "Hybrid KV cache manager is disabled but failed to convert the KV cache specs to one unified type."
    ),
    source="vllm 0.12.0 v1/core/kv_cache_utils.py unify_hybrid_kv_cache_specs; 0.33.0 v1/core/kv_cache_planning.py",
)
NO_OVERLAP = checks.no_overlap("vllm 0.10.2 engine/arg_utils.py: no --enable-dbo", "no dual-batch overlap")  # fmt: skip

SPARSE_ATTENTION = checks.sparse_attention_devices(
    (9, 10, 12),
    "vllm 0.33.0 platforms/cuda.py:134; v1/attention/backends/mla/*_sparse*.py supports_compute_capability; models/"
    "deepseek_v4/sparse_mla.py:95; issues 38006, 40851",
    "sparse latent attention (DeepSeek-V3.2 and V4, GLM-5) has no kernels of NVIDIA's devices before Hopper",
)
FIRST_SPARSE_ATTENTION = checks.sparse_attention_devices(
    (9, 10),
    "vllm 0.11.1, 0.14.0, 0.19.0, 0.22.0 v1/attention/backends/mla/flashmla_sparse.py supports_compute_capability; "
    "issues 31480, 31936",
    "the same, of DeepSeek-V3.2 and GLM-5 nor those of workstations (SM12)",
)

INT8 = checks.number_formats(
    {"int8": ((7, 5), (10, 0))},
    "Int8 not supported on SM{own}. Use FP8 quantization instead, or run on older arch (SM < 100).",
    "vllm csrc/quantization/w8a8/cutlass/c3x/scaled_mm_helper.hpp; docs/features/quantization/int8.md",
    "weights and activations of 8-bit integers, but experts', have no kernels from Blackwell on",
    roles=checks.SPLIT_BY_TP,
)

ARCHITECTURES = architectures(
    "vllm", "vLLM", VERSION, "Model architectures ['{name}'] are not supported for now",
    "vllm 0.6.6 to 0.33.0 model_executor/models/registry.py",
)  # fmt: skip
PIPELINES = pipelines(
    "vllm", VERSION,
    "Pipeline parallelism is not supported for this model. Supported models implement the `SupportsPP` interface.",
    "vllm 0.6.6 to 0.33.0 model_executor/models (SupportsPP); config/model.py verify_with_parallel_config; issue 45455",
)  # fmt: skip
FORMATS_OF_MAKERS = makers.formats_of_makers(
    makers.VLLM,
    "platforms/interface.py verify_quantization; supported_quantization of vllm-ascend (issues 1526, 6800), "
    "vllm-gaudi, tpu-inference, vllm-neuron",
)

_ALWAYS = (
    ARCHITECTURES, PIPELINES, EXPERTS_USE_ALL_RANKS, HEADS, KV_HEADS, VISION_HEADS, WIDTHS, EXPERT_WIDTH, VOCABULARY,
    FORMATS_OF_MAKERS, GROUPS, EPLB_EVEN, TP_WITHIN_EXPERTS, DECODE_CONTEXT, STATES_IN_GROUPS, INT8,
)  # fmt: skip
FLAGS = {
    "tp": "--tensor-parallel-size",
    "pp": "--pipeline-parallel-size",
    "dp": "--data-parallel-size",
    "cp": "--prefill-context-parallel-size",
    "ep": "--enable-expert-parallel",
    "redundant": "--eplb-config",
    "batch": "--max-num-seqs",
    "prefill_chunk": "--max-num-batched-tokens",
    "max_model_len": "--max-model-len",
    "memory_utilization": "--gpu-memory-utilization",
    "kv_cache_memory": "--kv-cache-memory-bytes",
    "kv_cache": "--kv-cache-dtype",
    "capture_sizes": "--cudagraph-capture-sizes",
    "overlap": "--enable-dbo",
    "stages": "VLLM_PP_LAYER_PARTITION",
}

_MODEST = DefaultsTier(0, 256, 2048, 512, offline_tokens=8192)
_AMPLE = DefaultsTier(70 * GIB, 1024, 8192, 512, offline_tokens=16_384)
DEFAULTS = Defaults(
    tiers=(DefaultsTier(160 * GIB, 1024, 16_384, 512), _AMPLE, _MODEST),
    modest=("a100", "gb10"), captures={"b200": 1024, "b300": 1024}, low_latency_tokens=256,
)  # fmt: skip
"""Of the server, and of `LLM`: vLLM 0.30.0 and 0.33.0 engine/arg_utils.py get_batch_defaults; captures: config/vllm.py
_set_cudagraph_sizes, up to min(2 · max_num_seqs, 512 or 1,024); 256 tokens: config/scheduler.py, for
deepep_low_latency and nixl_ep."""
EARLIER_DEFAULTS = Defaults(tiers=(_AMPLE, _MODEST), modest=("a100",))
"""The same of vLLM 0.10.2, 0.12.0, 0.15.1 and 0.19.0."""
FUSED_SAMPLER_BYTES = 2 + 4 + 4 + 4
"""Logits in 16 and in 32 bits, their probabilities, exponential noise (vllm v1/sample/ops/topk_topp_sampler.py
forward_native, random_sample); top-k and top-p mask in place, with a row of 32 bits for each multiprocessor
(topk_topp_triton.py). From 0.17 on. Peaks of twelve logs lie within 0.03 GiB."""
SORTING_SAMPLER_BYTES = 2 + 4 + (4 + 8) + (8 + 4 + 8)
"""The same before: logits in 16 and in 32 bits, sorted values with 64-bit indices (apply_top_k_top_p_pytorch), and what
PyTorch's segmented sort holds: indices, and both once more. Peaks of 5.56 GiB at 151,936 and 7.38 at 201,088 entries
with 1,024 sequences (llm-d-planner) are met to 0.01."""


def _two_states(_: State, __: Device) -> tuple[int, int]:
    """The last state of a prefix and the next: v1/kv_cache_interface.py MambaSpec.max_memory_usage_bytes."""
    return 2, 1


def _two_states_or_all(state: State, _: Device) -> tuple[int, int]:
    """The same but of Mamba 2, which keeps one of every block: not modelled."""
    return 1 if state.mixer is Mixer.MAMBA2 else 2, 1


def _exported_states(state: State, device: Device) -> tuple[int, int]:
    """And one that kernels write amid a prompt: Mamba 2's, and FlashInfer's of Gated DeltaNet from Hopper on."""
    if state.mixer is Mixer.MAMBA2:
        return 3, 1
    known = capability(device)
    flashinfer = state.mixer is Mixer.GATED_DELTA and known is not None and known[0] >= FLASHINFER_DELTA_MAJOR
    return (3, FLASHINFER_DELTA_TOKENS) if flashinfer else (2, 1)


FLASHINFER_DELTA_MAJOR = 9
FLASHINFER_DELTA_TOKENS = 64
"""model_executor/layers/mamba/gdn/qwen_gdn_linear_attn.py _resolve_gdn_prefill_backend, from 0.30 on."""
CACHE = CacheRules(
    block_tokens=16,
    holds_step_in_window=True,
    steps_in_flight=2,  # config/vllm.py max_in_flight_tokens, of asynchronous scheduling; issue 53961: 23.32 GiB
    equal_groups=True,
    sparse_latent_fp8=True,
    compressed_pages=True,
    position_tables=True,  # model_executor/layers/rotary_embedding: a buffer of every rank, shared by its layers
    # v1/core/kv_cache_planning.py check_enough_kv_cache_memory
    admits_longest="to serve at least one request with the model's max seq len ({length}), {needed:.2f} GiB KV cache "
    "is needed, which is larger than the available KV cache memory ({room:.2f} GiB); the estimated maximum model "
    "length is {longest}",
    # config/compilation.py:1526, from 0.20 on (pull request 38270)
    sequences_in_blocks="max_num_seqs ({sequences}) exceeds available Mamba cache blocks ({blocks}); each decode "
    "sequence requires one Mamba cache block, so CUDA graph capture cannot proceed",
    prefix_states=_exported_states,
    caches_prefixes=True,  # engine/arg_utils.py default_prefix_caching, from 0.28 on
    # fused_moe/oracle/mxfp4.py:837: Triton on Hopper, AITER on AMD's, Marlin or TensorRT-LLM on others.
    # 64.38 GiB of gpt-oss-120b on one H100 (issue 33155), 65.97 with Marlin.
    expert_padding={
        "mxfp4": dict.fromkeys(("h100", "h200", "h20", "h800"), (256, 1)) | {"mi3": (256, 256), "": (256, 128)}
    },
)
WAITING = Waiting(
    overhead_s=Fraction(1, 100),
    steps=Fraction(4),
    source="fitted on 2026-11-29 to the TTFT of 403 closed-loop runs on H100, H200 and B200 "
    "(aiconfigurator-core 0.12.0 silicon_sample.csv)",
)

# Graphs: least squares over the estimates of 19 logs (51 sizes): median error 12%. Groups: 2.06-2.21 GiB over NVLink
# with 0.25 of them alone; 0.30 and 0.75 GiB in all on two L40S and two RTX 5090.
FITTED = Reservation(
    context_bytes=GIB // 4,
    direct_group_bytes=185 * GIB // 100,
    switched_group_bytes=GIB // 2,
    stage_bytes=7 * GIB // 100,
    graph_bytes=13 * MIB // 10,
    graph_layer_bytes=41 * MIB // 100,
    graph_latent_layer_bytes=44 * MIB // 100,
    defaults=DEFAULTS,
    sampler_bytes=16,  # assumed, where no sampler was read
    source="fitted to 28 start-up logs of vLLM 0.19.0 on H100 (llm-d-planner pull request 205) on 2026-11-29",
)
"""What engines of which no log is known are assumed to keep too."""

NEWEST = Engine(
    name="vllm",
    version=VERSION,
    since="0.30",
    order=("dp", "pp", "cp", "tp"),  # distributed/parallel_state.py:2149
    rules=(*_ALWAYS, PADDED_FP8_BLOCKS, OVERLAP, V4_EVEN, LATENT_CONTEXT, SPARSE_ATTENTION),
    memory_utilization=Fraction(92, 100),
    reservation=replace(
        FITTED,
        sampler_bytes=FUSED_SAMPLER_BYTES,
        sampler_rows=132,  # one of each multiprocessor: H100's; 58 of L4 to 170 of RTX 5090
        workspace_bytes=32 * MIB,  # PyTorch's of cuBLAS on Hopper
        gathered_sequences=4,  # models/deepseek_v4/nvidia/flashmla.py PREFILL_CHUNK_SIZE
        keeps_experts=True,  # v1/worker/workspace.py; 1.21 GiB of Mixtral on two ranks, 1.93 of DeepSeek-V2-Lite
        gathers_tokens=True,
    ),
    cache=CACHE,
    waiting=WAITING,
    vocabulary_padding=64,
    source="vLLM 0.19.0 logs on H100 (llm-d-planner PR 205); rules read from vLLM 0.33.0",
    flags=FLAGS,
)
_PREFIXES = replace(
    NEWEST, version="0.28.0", since="0.28",
    rules=tuple(FIRST_CONTEXT if rule is LATENT_CONTEXT else rule for rule in NEWEST.rules),
    cache=replace(CACHE, prefix_states=_two_states),
    # vLLM 0.24.0 engine/arg_utils.py has the 256 tokens of low latency already
    reservation=replace(NEWEST.reservation, defaults=replace(EARLIER_DEFAULTS, low_latency_tokens=256)),
)  # fmt: skip
_UNCACHED = replace(
    _PREFIXES, version="0.27.0", since="0.27",
    cache=replace(CACHE, prefix_states=_two_states_or_all, caches_prefixes=False),
)  # fmt: skip
_IN_FLIGHT = replace(
    # 0.26.0 v1/kv_cache_interface.py: max_in_flight_tokens; 0.25.1: max_num_batched_tokens (pull request 47728)
    _UNCACHED, version="0.26.0", since="0.26",
    cache=replace(
        _UNCACHED.cache,  # config/vllm.py validate_block_size
        prefix_in_step="In Mamba cache align mode, block_size ({block}) must be <= max_num_batched_tokens ({tokens})",
    ),
)  # fmt: skip
_SETTLED = replace(
    _IN_FLIGHT, version="0.25.0", since="0.25", cache=replace(_IN_FLIGHT.cache, steps_in_flight=1),
    rules=tuple(NO_CONTEXT if rule is FIRST_CONTEXT else rule for rule in _IN_FLIGHT.rules),
)  # fmt: skip
_GROUPED = replace(_SETTLED.cache, tokens_by_groups=True, sequences_in_blocks="")
"""v1/core/kv_cache_utils.py of releases before 0.21 (pull request 40694, issue 40691)."""
_FIRST_GROUP = replace(_GROUPED, checked="first")
"""The same of 0.14.0 to 0.18.0: _max_memory_usage_bytes_from_groups."""
_OWN_KINDS = replace(_GROUPED, checked="own", chunks="held", prefix_states=None)
"""The same of 0.10.1 to 0.13.0: check_enough_kv_cache_memory comes before unify_hybrid_kv_cache_specs, which models
with chunks meet unless told otherwise (config/vllm.py; pull requests 21761, 29627)."""
_MERGED_RULES = (*_ALWAYS, FP8_BLOCKS, OVERLAP, FP8_EXPERT_BLOCKS, NO_CONTEXT, FIRST_SPARSE_ATTENTION)
_FIRST = replace(NEWEST.reservation, graphs_in_budget=False, defaults=EARLIER_DEFAULTS)
_EARLY = replace(
    _SETTLED, version="0.12.0", since="0.12", cache=_OWN_KINDS,
    rules=(*_ALWAYS, FIRST_FP8_BLOCKS, OVERLAP, FP8_EXPERT_BLOCKS, NO_CONTEXT, FIRST_SPARSE_ATTENTION),
    memory_utilization=Fraction(9, 10),
    reservation=replace(
        _FIRST, sampler_bytes=SORTING_SAMPLER_BYTES, sampler_rows=0, keeps_experts=False,
        context_bytes=14 * GIB // 100, switched_group_bytes=16 * GIB // 100,
        direct_group_bytes=196 * GIB // 100,  # with the context as much as in later releases
        # of 0.3 · 79 GiB nothing was left to Qwen2.5-VL-3B, which is said 11 (issue 18124); 4.3 of Qwen3-VL-235B's were
        # taken (Qwen3-VL issue 1684); none of four models in logs of 0.19
        vision_bytes=11 * GIB,
        vision_scores=True,  # models/moonvit.py, until pull request 31738
        source="non-PyTorch memory of 0.13, 0.13 and 0.14 GiB on one H100 (llm-d-planner) and 0.30 on two L40S "
        "(issue 15815)",
    ),
)  # fmt: skip
_FIRST_V1 = replace(
    _EARLY, version="0.9.0", since="0.9",
    cache=replace(_OWN_KINDS, windows_freed=False, chunks="whole"),  # pull requests 17996 (0.9.1), 19351 (0.10.0)
    rules=(*_ALWAYS, FIRST_FP8_BLOCKS, NO_OVERLAP, FP8_EXPERT_BLOCKS, NO_CONTEXT, FIRST_SPARSE_ATTENTION),
    reservation=replace(
        _EARLY.reservation,
        defaults=replace(EARLIER_DEFAULTS, capture_step=8),  # config/__init__.py:3655; 67 sizes in logs up to 0.11
        falls_back="0.11",  # engine/arg_utils.py _is_v1_supported_oracle; V1 alone since
        graph_error=Fraction(4, 100),  # issue 17469 died with 3.8% of memory left for more than the derived graphs
    ),
    flags={word: flag for word, flag in FLAGS.items() if word != "overlap"},
)  # fmt: skip
_TRIMMED = replace(
    _SETTLED, version="0.19.0", since="0.19", cache=_GROUPED, rules=_MERGED_RULES,
    memory_utilization=Fraction(9, 10), reservation=_FIRST,
)  # fmt: skip
RELEASES = (
    _FIRST_V1,
    replace(_FIRST_V1, version="0.9.2", since="0.9.1", cache=replace(_OWN_KINDS, chunks="whole")),
    replace(_FIRST_V1, version="0.10.0", since="0.10", cache=replace(_OWN_KINDS, chunks="freed")),
    replace(_FIRST_V1, version="0.10.2", since="0.10.1", cache=_OWN_KINDS),
    _EARLY,
    # get_kv_cache_configs of 0.14.0 and 0.16.0 (pull requests 29431, 33698; issues 32105, 34076)
    replace(
        _EARLY, version="0.14.0", since="0.14", rules=_MERGED_RULES,
        cache=replace(_FIRST_GROUP, checked_on_every_stage=True),
    ),
    replace(_TRIMMED, version="0.18.0", since="0.17", cache=_FIRST_GROUP),
    _TRIMMED,
    replace(
        _TRIMMED, version="0.20.0", since="0.20",
        cache=replace(_GROUPED, sequences_in_blocks=CACHE.sequences_in_blocks),
    ),
    replace(
        _SETTLED, version="0.22.0", since="0.21",
        rules=(*_ALWAYS, FP8_BLOCKS, OVERLAP, V4_EVEN, NO_CONTEXT, SPARSE_ATTENTION),
    ),
    _SETTLED,
    _IN_FLIGHT,
    _UNCACHED,
    _PREFIXES,
    NEWEST,
)  # fmt: skip
"""Oldest first."""

_V1 = replace(
    _FIRST_V1, version="0.8.5", since="0.8",
    reservation=replace(
        _FIRST_V1.reservation, error=Fraction(5, 100),
        defaults=replace(_FIRST_V1.reservation.defaults, modest=()),
    ),
)  # fmt: skip
OLDER = (
    replace(
        _V1, version="0.6.6", since="0.5",
        reservation=replace(
            _V1.reservation, error=UNLOGGED_ERROR, falls_back="",
            # engine/arg_utils.py _set_default_args_v0: no chunked prefill of multimodal models or MLA
            defaults=Defaults(tiers=(DefaultsTier(0, 256, 2048, 256),), whole_prompts=32_768, whole_kinds=True),
            graph_most_bytes=3 * GIB,  # worker/model_runner.py: "additional 1~3 GiB memory per GPU"; issue 7593
        ),
        cache=replace(
            _FIRST_V1.cache, holds_step_in_window=False, checked="all", tokens_by_groups=False,
            # worker/worker.py raise_if_cache_size_invalid
            admits_longest="the model's max seq len ({length}) is larger than the maximum number of tokens that can be "
            "stored in KV cache ({longest}); {needed:.2f} GiB is needed and {room:.2f} GiB is left",
        ),
        source="vLLM 0.6.6 config.py:1427, engine/arg_utils.py:1075 (V0); memory assumed equal to the first of V1",
    ),
    _V1,
)  # fmt: skip
"""Releases of which launches are read, oldest first: vLLM 0.8.5 engine/arg_utils.py:1593; V0 before it. Rooms that they
logged lie within 3.2% of a device's memory (issue 17469), and of V0 0.2% (10517), 5.2% (15598) and 8.9% (6746)."""

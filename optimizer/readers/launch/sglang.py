"""What the flags of `sglang.launch_server` mean (SGLang 0.5.23 srt/runtime_context.py, srt/arg_groups).

``--tp-size`` is the whole width of a stage: attention divides it into attention DP, CP and TP, experts into MoE DP, EP
and MoE TP. ``--dp-size`` without attention data parallelism counts whole replicas.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from optimizer.readers.launch.launch import (
    ACTIVATION_FORMATS,
    KV_FORMATS,
    ONLINE_FORMATS,
    CommandReading,
    Launch,
    Operating,
    meshes,
)
from optimizer.readers.launch.vllm import ALONE, launched
from optimizer.readers.messages import shown

PARTITION: Final = "SGLANG_PP_LAYER_PARTITION"
WHOLE_WIDTH: Final = frozenset(
    {
        "megamoe", "deepep", "deepep_v2", "mooncake", "nixl", "ascend_fuseep", "flashinfer", "flashinfer_megamoe",
        "mori", "pplx",
    }
)  # fmt: skip
"""All-to-all backends that make EP the whole width (srt/arg_groups/overrides.py:1611)."""

WHOLE_OR_NONE: Final = frozenset({"flashinfer_cutlass", "flashinfer_cutedsl"})
"""Kernels of experts that run on the whole width or without expert parallelism (srt/arg_groups/moe_hook.py:92)."""

CACHES: Final[Mapping[str, str | None]] = {
    name: KV_FORMATS[name] for name in ("auto", "bf16", "bfloat16", "fp8_e4m3", "fp8_e5m2", "nvfp4", "fp4_e2m1")
}
"""Formats of the cache that have a name here (srt/server_args.py --kv-cache-dtype)."""
CP_STRATEGIES: Final = ("zigzag", "interleave")
"""Of `--cp-strategy` (layers/cp/base.py)."""
ROLES: Final = frozenset({"null", "prefill", "decode", "encode"})
"""Of `--disaggregation-mode`."""

_OWN_DRAFTS: Final = frozenset({"EAGLE", "NEXTN", "MTP"})
"""Speculative algorithms that draft with the model's own layers where no draft model is named."""
PIPELINED: Final = _OWN_DRAFTS | {"DSPARK"}
"""Those that a pipeline may run beside."""


def read(command: CommandReading, environment: Mapping[str, str]) -> Launch:
    """Launch that the arguments of ``sglang.launch_server`` describe.

    Raises
    ------
    SpecError
        Flags that contradict each other, as SGLang refuses them.
    """
    width, pp, copies = command.degree("tp"), command.degree("pp"), command.degree("dp")
    attention_dp, cp, moe_dp, dcp = (command.degree(name) for name in ("attention_dp", "cp", "edp", "dcp"))
    if command.on("dp_attention") and copies > 1 and command.one("attention_dp") is not None and copies != attention_dp:
        command.fault(
            command.one("attention_dp"),
            f"{attention_dp} contradicts the {copies} of --dp-size with --enable-dp-attention",
        )
    if command.on("dp_attention"):
        attention_dp, copies = max(attention_dp, copies), 1
    elif copies > 1 and attention_dp > 1:
        command.fault(
            command.one("dp"),
            f"--dp-size {copies} with --attn-dp-size {attention_dp}: data-parallel replicas combined with attention "
            "data parallelism are not supported",
        )
    ep = _expert_parallel(command, width)
    option = command.one("attention_dp") or command.one("dp")
    command.divides(
        option, attention_dp * cp, width,
        f"tp_size={width} must be divisible by attn_dp_size · attn_cp_size = {attention_dp} · {cp}",
    )  # fmt: skip
    command.divides(
        command.one("ep"), ep * moe_dp, width,
        f"tp_size == ep_size · moe_dp_size · moe_tp_size: {ep} · {moe_dp} does not divide {width}",
    )  # fmt: skip
    command.divides(command.one("dcp"), dcp, width, f"tp_size ({width}) must be divisible by dcp_size ({dcp})")
    nodes = _nodes(command, width * pp, copies)
    _refusals(command, width=width, ep=ep, attention_dp=attention_dp, dcp=dcp)
    _prefill_context(command, cp)
    if pp > 1:
        _pipelined(command, environment)
    command.raise_faults()
    degrees, dense = meshes(
        tp=width // (attention_dp * cp), cp=cp, dp=attention_dp * copies, pp=pp, etp=width // (ep * moe_dp), ep=ep,
        edp=moe_dp * copies,
    )  # fmt: skip
    for name in ("eplb", "expert_location"):
        command.one(name)
    role = command.text("role")
    if role is not None and role not in ROLES:
        command.fault(command.one("role"), f"{shown(role)} is none of {', '.join(sorted(ROLES))}")
    operating = _operating(command, attention_dp)
    return launched(
        "sglang", command, environment, PARTITION, degrees=degrees, dense=dense, operating=operating, dcp=dcp,
        nodes=nodes, phase=role if role in {"prefill", "decode"} else None,
    )  # fmt: skip


def _expert_parallel(command: CommandReading, width: int) -> int:
    backend = command.text("all2all")
    ep = command.degree("ep")
    old = command.on("deepep") | command.on("ep_moe")
    return width if backend in WHOLE_WIDTH or old else ep


def _refusals(command: CommandReading, *, width: int, ep: int, attention_dp: int, dcp: int) -> None:
    """What SGLang refuses of flags that no degree of a layout stands for (srt/arg_groups of 0.5.23, unless said)."""
    backend, dense = command.text("all2all") or "none", command.number_of("--moe-dense-tp-size")
    exchanges = backend != "none" or command.on("deepep")
    if command.on("eplb") and ep == 1 and not command.before("0.5.2"):
        command.fault(command.one("eplb"), f"assert ep_size > 1: EPLB moves experts between ranks, and ep_size is {ep}")
    allowed = {1} if command.before("0.5.15") else {1, width}  # 0.5.10: only 1 and None
    if dense is not None and dense not in allowed:
        command.fault(
            command.flag("--moe-dense-tp-size"),
            f"moe_dense_tp_size only supports None, {' or '.join(map(str, sorted(allowed)))} currently, not {dense}",
        )
    dispatch = command.flag_text("--ep-dispatch-algorithm")
    if dispatch in {"static", "lp"} and not exchanges and not command.before("0.5.16"):
        command.fault(
            command.flag("--ep-dispatch-algorithm"),
            f"--ep-dispatch-algorithm {dispatch} picks a different physical replica per rank, which only holds up when "
            "an a2a backend routes each token to a single rank: use dynamic with --moe-a2a-backend none",
        )
    runner = command.flag_text("--moe-runner-backend")
    if runner in WHOLE_OR_NONE and ep not in {1, width}:
        command.fault(
            command.flag("--moe-runner-backend"),
            f"{runner}: the expert parallel size must be 1 or the same as the tensor parallel size ({width}), not {ep}",
        )
    if command.on("overlap") and not exchanges and (attention_dp == 1 or command.before("0.5.15")):
        command.fault(
            command.one("overlap"), "When enabling two batch overlap, moe_a2a_backend cannot be 'none': give "
            "--moe-a2a-backend" + ("" if command.before("0.5.15") else " or attention DP (--attn-dp-size)"),
        )  # fmt: skip
    if dcp > 1 and command.flag("--enable-prefill-cp") is not None:
        command.fault(command.one("dcp"), f"decode context parallelism (dcp_size={dcp}) excludes --enable-prefill-cp")


def _prefill_context(command: CommandReading, cp: int) -> None:
    """What divides prompts over the ranks of context parallelism (layers/cp/base.py:279 of 0.5.23).

    Aliases of releases to 0.5.19 have a strategy of their own.
    """
    divides, strategy = command.one("prefill_cp"), command.one("cp_strategy")
    if divides is not None and divides.flag.name == "--enable-prefill-cp" and strategy is None:
        command.fault(divides, "--cp-strategy must be set when --enable-prefill-cp is enabled")
    elif strategy is not None and not strategy.open and strategy.text not in CP_STRATEGIES:
        command.fault(strategy, f"{shown(strategy.text)} is none of {', '.join(CP_STRATEGIES)}")
    elif divides is None and cp > 1 and command.text("role") != "decode" and not command.before("0.5.15"):
        command.fault(
            command.one("cp"), f"attn_cp_size {cp} divides no prompt without --enable-prefill-cp and --cp-strategy: "
            "each rank computes the whole of it, which no figure here is of",
        )  # fmt: skip


def _pipelined(command: CommandReading, environment: Mapping[str, str]) -> None:
    """What a pipeline does not run beside (validation_hook.py:122; srt/server_args.py of 0.5.15 and before).

    Of the model's own drafts the rule `pipelined_drafts` judges the layout.
    """
    mixed, method = command.flag("--enable-mixed-chunk"), command.one("draft_method")
    if mixed is not None and command.before("0.5.15"):
        command.fault(mixed, "Pipeline parallelism is not compatible with mixed chunked prefill")
    if method is None or (_of_model(command) and "SGLANG_ENABLE_PP_SPEC" not in environment):
        return
    if command.before("0.5.16"):
        command.fault(method, "Pipeline parallelism is not compatible with overlap schedule, speculative decoding")
    elif method.text.upper() not in PIPELINED:
        command.fault(method, "Pipeline parallelism currently only supports EAGLE speculative decoding")
    elif command.text("role") != "prefill" and "SGLANG_ENABLE_PP_SPEC" not in environment:
        command.fault(
            method, "PP + speculative decoding (MTP) is only supported on prefill nodes (--disaggregation-mode prefill)"
        )


def _of_model(command: CommandReading) -> bool:
    """Whether tokens are drafted by the model's own layers."""
    method = command.text("draft_method") or ""
    return method.upper() in _OWN_DRAFTS and command.arguments.last("draft_model") is None


def _nodes(command: CommandReading, replica: int, copies: int) -> int | None:
    nodes = command.number("nodes", needed=False)
    rank = command.number("node_rank", least=0, needed=False)
    command.one("address")
    if command.one("nodes") is None and rank:
        command.fault(command.one("node_rank"), f"--node-rank must be between 0 and 0{ALONE}")
    if nodes is None:
        return None
    option = command.one("nodes")
    if replica % nodes:
        command.fault(option, f"tp_size · pp_size = {replica} must be divisible by number of nodes ({nodes})")
    if copies > 1 and nodes > 1:
        command.fault(
            command.one("dp"),
            "multi-node data-parallel replicas are not supported; use attention DP (--attn-dp-size) across nodes",
        )
    if rank is not None and rank >= nodes:
        command.fault(command.one("node_rank"), f"--node-rank must be between 0 and {nodes - 1}")
    return nodes


def _operating(command: CommandReading, attention_dp: int) -> Operating:
    """Operating point of one attention data-parallel rank: requests and chunks are shared out over them."""
    running, chunk = command.number("max_num_seqs"), command.number("prefill_chunk", least=-1)
    drafted = command.number("draft_tokens", needed=False)
    steps = command.number("draft_steps", needed=False)
    of_model = _of_model(command)
    command.influence(command.arguments.last("draft_model"), "takes")
    uncached = command.arguments.last("no_prefixes")
    command.influence(uncached, "time")
    if of_model:
        command.number("draft_topk", needed=False)
    quantization = command.text("quantization")
    captured = command.integers("capture_sizes")
    largest = command.number("max_capture_size", needed=False)
    if captured is None and largest is not None:
        captured = tuple(size for size in (1, 2, 4, *range(8, largest + 1, 8)) if size <= largest)
    return Operating(
        max_num_seqs=None if running is None else max(1, running // attention_dp),
        max_num_batched_tokens=None if chunk is None or chunk < 1 else max(1, chunk // attention_dp),
        max_model_len=command.number("max_model_len"), memory_utilization=command.share("memory_utilization"),
        kv_cache=command.choice("kv_cache", CACHES), weights=ONLINE_FORMATS.get(quantization or ""),
        quantization=quantization, activations=command.choice("dtype", ACTIVATION_FORMATS),
        capture_sizes=() if command.on("eager") else captured,
        draft_tokens=(steps or (drafted - 1 if drafted else 0)) if of_model else 0,
        window_share=_window_share(command),
        prefix_caching=False if uncached is not None and uncached.on else None,
        redundant_slots=command.number("redundant_slots", 0, least=0) or 0, all2all=command.text("all2all"),
        two_batch=command.on("overlap"), text_only=command.on("text_only"), whole_vision=command.on("whole_vision"),
    )  # fmt: skip


def _window_share(command: CommandReading) -> Fraction | None:
    """Room of layers with windows, of that of the others (srt/arg_groups/kv_cache_hook.py:427)."""
    option, together = command.one("window_share"), command.on("one_pool")
    share = None if option is None or option.open or not option.values else Fraction(option.values[0].text)
    if share is not None and not 0 < share <= 1:
        command.fault(option, "--swa-full-tokens-ratio should be in range (0, 1.0]")
        return None
    return Fraction(1) if together else share

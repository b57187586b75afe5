"""What the flags of `vllm serve` mean (vLLM 0.33.0 config/parallel.py, engine/arg_utils.py).

TP × PCP × DP ranks in each of PP stages; ``--enable-expert-parallel`` is a switch: EP is all of them, or 1 with the
experts divided over all of them. Decode context parallelism re-uses TP.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from optimizer.readers.launch.flags import merged
from optimizer.readers.launch.launch import (
    ACTIVATION_FORMATS,
    FITTED_LENGTH,
    KV_FORMATS,
    ONLINE_FORMATS,
    CommandReading,
    Launch,
    Operating,
    meshes,
)
from optimizer.readers.messages import shown

PARTITION: Final = "VLLM_PP_LAYER_PARTITION"
DRAFTS_OF_THE_MODEL: Final = frozenset(
    {
        "mtp",
        "deepseek_mtp",
        "mimo_mtp",
        "glm4_moe_mtp",
        "ernie_mtp",
        "qwen3_next_mtp",
        "longcat_flash_mtp",
        "qwen3_5_mtp",
    }
)
"""Speculative methods that draft with the model's own multi-token-prediction layers."""


WITHOUT_A_MODEL: Final = frozenset({"ngram", "ngram_gpu", "suffix"})
"""Those that draft with what has been said before."""

EXECUTORS: Final = frozenset({"mp", "ray", "external_launcher", "uni"})
"""Names of `--distributed-executor-backend` (config/parallel.py DistributedExecutorBackend); else a class's path."""

ALONE: Final = ": one node unless --nnodes says more"
"""What a rank of a node is beyond without the number of nodes."""

OVERLAPPING: Final = ("deepep_", "nixl_ep")
"""All-to-all backends with which steps run as two micro-batches (config/vllm.py:2200)."""


def read(command: CommandReading, environment: Mapping[str, str]) -> Launch:
    """Launch that the arguments of ``vllm serve`` describe.

    Raises
    ------
    SpecError
        Flags that contradict each other, as vLLM refuses them.
    """
    tp, pp, dp, cp = (command.degree(name) for name in ("tp", "pp", "dp", "cp"))
    dcp = command.degree("dcp")
    experts = command.on("expert_parallel")
    degrees, dense = meshes(
        tp=tp, cp=cp, dp=dp, pp=pp, etp=1 if experts else tp * cp * dp, ep=tp * cp * dp if experts else 1
    )
    if cp == 1:
        command.divides(command.one("dcp"), dcp, tp, f"tp_size={tp} must be divisible by dcp_size={dcp}")
    elif dcp not in {1, cp, tp * cp}:
        command.fault(
            command.one("dcp"),
            f"When PCP is enabled, DCP must be disabled, span the PCP axis ({cp}), or span the full TP x PCP axis "
            f"({tp * cp}), not {dcp}",
        )
    nodes = _nodes(command, tp * pp * cp, dp)
    operating = _operating(command, environment, experts=experts, ranks=tp * cp * dp)
    return launched(
        "vllm", command, environment, PARTITION, degrees=degrees, dense=dense, operating=operating, dcp=dcp,
        nodes=nodes, phase=_phase(command),
    )  # fmt: skip


_SIZES: Final = re.compile(
    r'"(?:num_|n_|hidden|intermediate|moe_intermediate|vocab|head_dim|kv_lora|q_lora|quantization|sliding_window|dtype)'
)
"""Keys of a config.json that change what weights and cache take."""


def launched(
    engine: str, command: CommandReading, environment: Mapping[str, str], variable: str, *, degrees: Mapping[str, int],
    dense: Mapping[str, int], operating: Operating, dcp: int, nodes: int | None, phase: str | None,
) -> Launch:  # fmt: skip
    """The launch of what was read, with the model it names and the stages that an environment variable cuts.

    Raises
    ------
    SpecError
        Everything wrong that was found so far.
    """
    stages = partition(command, environment.get(variable), degrees["pp"], variable)
    overrides = [option for option in command.arguments.given if option.flag.carries == "hf_overrides"]
    for option in overrides if _SIZES.search(json.dumps(merged(overrides, "hf_overrides"))) else ():
        command.influence(option, "memory")
    model, place = model_of(command)
    command.raise_faults()
    return Launch(
        engine=engine, source=command.source, version=command.version, model=model, model_place=place, degrees=degrees,
        dense=dense, operating=operating, dcp=dcp, stages=stages, nodes=nodes, given=command.arguments.given,
        ignored=command.ignored(), environment=environment, places=command.places(), phase=phase,
    )  # fmt: skip


def model_of(command: CommandReading) -> tuple[str | None, tuple[int, int]]:
    """Model that a command names, as its first argument or by a flag, and where."""
    named = command.one("model")
    if command.arguments.positional:
        word = command.arguments.positional[0]
        if named is not None and not named.open and named.values and named.values[0].text != word.text:
            command.fault(named, f"names another model than the argument {word.text!r} without a flag")
        extra = command.arguments.positional[1:]
        if extra:
            from optimizer.errors import Fault  # noqa: PLC0415 - one fault needs it

            message = f"unexpected argument {extra[0].text!r}: one model is served"
            if extra[0].unset:
                message = f"{', '.join(extra[0].unset)} is not set in this text: write what it stands for in its place"
            command.faults.append(Fault(command.source, *extra[0].start, None, message))
        return (None if word.unset else word.text), word.start
    if named is None or not named.values:
        return None, command.start
    word = named.values[0]
    return (None if word.unset else word.text), word.start


def partition(command: CommandReading, text: str | None, pp: int, name: str) -> tuple[int, ...] | None:
    """Layers of each stage, of an environment variable such as ``20,21,20``."""
    if not text:
        return None
    try:
        layers = tuple(int(part) for part in text.split(","))
    except ValueError:
        command.fault(None, f"{text!r} is no list of layer counts, such as 20,21,20", name)
        return None
    if len(layers) != pp:
        command.fault(None, f"len(partitions)={len(layers)} does not match pp_size={pp}", name)
    if min(layers) < 1:
        command.fault(None, "every stage has at least one layer", name)
        return None
    return layers


def _phase(command: CommandReading) -> str | None:
    """Role of a disaggregated deployment, where the transfer of the cache names one."""
    role = merged(command.arguments.given, "kv_transfer").get("kv_role")
    return {"kv_producer": "prefill", "kv_consumer": "decode"}.get(str(role))


def _nodes(command: CommandReading, replica: int, dp: int) -> int | None:
    """Machines, and the rules that bind their numbers (config/parallel.py:548, engine/arg_utils.py:2409)."""
    local, nodes = command.number("dp_local", least=0), command.number("nodes", needed=False)
    dp_rank = command.number("dp_rank", least=0, needed=False)
    executor = command.text("executor")
    if executor is not None and executor not in EXECUTORS and "." not in executor:
        command.fault(
            command.one("executor"), f"{shown(executor)} is none of {', '.join(sorted(EXECUTORS))}, nor a class"
        )
    rank, start = command.number("node_rank", least=0, needed=False), command.number("dp_start", least=0, needed=False)
    for name in ("dp_rank", "address", "port", "headless", "executor", "dp_backend", "balancer"):
        command.one(name)
    _balancing(command, dp, local, nodes)
    if nodes is not None and nodes > 1:
        if command.text("dp_backend") == "ray":
            command.fault(
                command.one("dp_backend"), f"`--nnodes {nodes}` requires `--data-parallel-backend mp`, not ray"
            )
        if executor == "ray":
            command.fault(
                command.one("executor"),
                f"nnodes > 1 ({nodes}) can only be set when distributed executor backend is mp, uni or "
                "external_launcher, not ray",
            )
        external = command.flag("--data-parallel-external-lb") or command.one("dp_rank")
        if local and external is None and local <= dp and dp % local == 0 and nodes % (dp // local):
            command.fault(
                command.one("nodes"),
                f"nnodes ({nodes}) must be divisible by the number of data parallel node groups, "
                f"{dp} / {local} = {dp // local} (--data-parallel-size-local)",
            )
    if local is not None and local > dp:
        command.fault(
            command.one("dp_local"), f"data_parallel_size_local ({local}) must be <= data_parallel_size ({dp})"
        )
    if nodes is not None and replica * dp % nodes:
        message = f"--nnodes {nodes} must evenly divide the total world size ({replica * dp})"
        command.fault(command.one("nodes"), message)
    most = 1 if command.one("nodes") is None else nodes
    if most is not None and rank is not None and rank >= most:
        explanation = ALONE if nodes is None else ""
        command.fault(command.one("node_rank"), f"--node-rank must be between 0 and {most - 1}{explanation}")
    if dp_rank is not None and dp_rank >= max(dp, 1):
        command.fault(command.one("dp_rank"), f"data_parallel_rank ({dp_rank}) must be in the range [0, {dp})")
    if start is not None and start >= dp:
        command.fault(command.one("dp_start"), f"rank {start} is not among the {dp} data-parallel ranks")
    if nodes is None and local and local <= dp and dp % local == 0:
        return dp // local
    return nodes


_ONE_OF_ALL: Final = "0.24"
"""From here on every way to share out requests counts as a mode (entrypoints/cli/serve.py:101)."""


def _balancing(command: CommandReading, dp: int, local: int | None, nodes: int | None) -> None:
    """Who shares out requests among the data-parallel ranks: one of the modes, and what it asks for.

    vLLM 0.33.0 entrypoints/cli/serve.py:101, engine/arg_utils.py:2440-2530, config/parallel.py.
    """
    if command.on("headless") and (command.number_of("--api-server-count") or 0) > 1:
        # entrypoints/cli/serve.py run_headless of 0.11.0 to 0.33.0
        command.fault(command.flag("--api-server-count"), "api_server_count can't be set in headless mode")
    hybrid, external = command.flag("--data-parallel-hybrid-lb"), command.flag("--data-parallel-external-lb")
    ports, rank = command.flag("--data-parallel-multi-port-external-lb"), command.one("dp_rank")
    start, several_nodes = command.one("dp_start"), nodes is not None and nodes > 1
    modes = [option for option in (hybrid, external) if option is not None]
    if not command.before(_ONE_OF_ALL):
        implied = start if hybrid is None and ports is None else None
        modes = [mode for mode in (ports, external or rank, hybrid or implied) if mode is not None]
    if len(modes) > 1:
        names = " and ".join(mode.flag.name for mode in modes)
        command.fault(modes[-1], f"Cannot use more than one data parallel load balancing mode: {names}")
    if external is not None and dp == 1:
        command.fault(external, "data_parallel_external_lb can only be set when data_parallel_size > 1")
    elif external is not None and rank is None and not several_nodes:
        command.fault(external, "requires a data-parallel rank: give --data-parallel-rank, or --nnodes and --node-rank")
    if rank is not None and local is not None and local > 1:
        command.fault(
            command.one("dp_local"),
            f"data_parallel_size_local must be 1 or None when data_parallel_rank is set: {local}",
        )
    if hybrid is None:
        return
    if command.one("dp_local") is None and not several_nodes:
        command.fault(hybrid, "`--data-parallel-hybrid-lb` requires `--data-parallel-size-local`")
    if command.on("headless"):
        command.fault(hybrid, "data_parallel_hybrid_lb is not applicable in headless mode")


def _operating(command: CommandReading, environment: Mapping[str, str], *, experts: bool, ranks: int) -> Operating:
    seqs, tokens, length = (
        command.number("max_num_seqs"), command.number("max_num_batched_tokens"), _length(command),
    )  # fmt: skip
    if seqs is not None and tokens is not None and tokens < seqs:
        command.fault(
            command.one("max_num_batched_tokens"),
            f"max_num_batched_tokens ({tokens}) must be greater than or equal to max_num_seqs ({seqs})",
        )
    backend = command.text("all2all") or "allgather_reducescatter"
    if command.on("overlap") and not backend.startswith(OVERLAPPING):
        command.fault(
            command.one("overlap"),
            f"Microbatching currently only supports the deepep_* all2all backends on this platform. {backend} is not "
            "supported: give --all2all-backend",
        )
    chunked = command.one("chunked_prefill")
    if chunked is not None and not chunked.on and tokens is not None and length is not None and tokens < length:
        command.fault(
            command.one("max_num_batched_tokens"),
            f"max_num_batched_tokens ({tokens}) is smaller than max_model_len ({length}) without chunked prefill",
        )
    draft = merged(command.arguments.given, "speculative")
    tokens_drafted = draft.get("num_speculative_tokens")
    of_model = draft.get("method") in DRAFTS_OF_THE_MODEL
    if of_model or not draft:
        command.one("speculative")
    if isinstance(tokens_drafted, int) and tokens is not None and tokens <= tokens_drafted:
        # config/vllm.py:2373 of 0.33.0; earlier ones leave no token to schedule
        message = f"not enough slots to schedule a token beside {tokens_drafted} drafted ones: {tokens}"
        command.fault(command.one("max_num_batched_tokens"), message)
    _drafting(command, str(draft.get("method", "")))
    if not of_model and command.arguments.last("draft_model") is None:
        command.number("draft_tokens", needed=False)
    quantization = command.text("quantization")
    return Operating(
        max_num_seqs=seqs, max_num_batched_tokens=tokens, max_model_len=length,
        fits_length=_fits_length(command),
        memory_utilization=command.share("memory_utilization"),
        kv_cache_memory=command.number("kv_cache_memory", needed=False),
        kv_cache=command.choice("kv_cache", KV_FORMATS),
        weights=ONLINE_FORMATS.get(quantization or ""), quantization=quantization,
        activations=command.choice("dtype", ACTIVATION_FORMATS), capture_sizes=_captured(command),
        draft_tokens=tokens_drafted if of_model and isinstance(tokens_drafted, int) else 0,
        redundant_slots=_redundant(command, experts=experts, ranks=ranks), all2all=command.text("all2all"),
        chunked_prefill=None if chunked is None else chunked.on,
        doubled=command.text("performance_mode") == "throughput", two_batch=command.on("overlap"),
        text_only=_text_only(command), whole_vision=command.text("whole_vision") == "data",
        hybrid_cache=_hybrid_cache(command, environment), whole_graphs=_graph_mode(command) != "PIECEWISE",
        prefix_caching=_told(command, "--enable-prefix-caching"), async_scheduling=_told(command, "--async-scheduling"),
    )  # fmt: skip


def _drafting(command: CommandReading, method: str) -> None:
    """What drafts of another model take, and those that need none do not."""
    last = command.arguments.last
    for option, named in (
        (last("speculative"), method),
        (last("draft_model"), command.flag_text("--speculative-model") or ""),
        (command.flag("--spec-method"), command.flag_text("--spec-method") or ""),
    ):
        command.influence(option, "time" if named.strip("[]") in WITHOUT_A_MODEL else "takes")


def _text_only(command: CommandReading) -> bool:
    """Whether no vision encoder is loaded: it is told so, or that no prompt has any picture or video."""
    most = merged(command.arguments.given, "mm_limits")
    if command.on("text_only"):
        return True
    if most and not any(most.get(kind, 1) for kind in ("image", "video")):
        command.one("mm_limits")
        return True
    return False


_FREES_CHUNKS: Final = "VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE"
_EVENTS_APART: Final = "0.20"
"""Before, events of the cache turn the hybrid KV cache manager off (config/vllm.py of 0.9.1 to 0.19.0)."""
_TOLD_APART: Final = "0.13"
"""From here on the manager stays on beside a connector where it is told to (config/vllm.py of 0.12.0, 0.13.0)."""
_ASKS_CONNECTOR: Final = "0.22"
"""Before, any connector turns it off (config/vllm.py of 0.21.0, 0.22.0)."""
_HYBRID_CONNECTORS: Final = frozenset(
    {
        "DecodeBenchConnector", "ExampleHiddenStatesConnector", "HiSparseConnector", "MoRIIOConnector",
        "MooncakeConnector", "MooncakeStoreConnector", "NixlConnector", "NixlPullConnector", "NixlPushConnector",
        "OffloadingConnector", "SimpleCPUOffloadConnector", "UMBPStoreConnector",
    }
)  # fmt: skip
"""Classes of vLLM 0.22.0 to 0.33.0 distributed/kv_transfer/kv_connector/v1 that are SupportsHMA."""


def _hybrid_cache(command: CommandReading, environment: Mapping[str, str]) -> bool | None:
    """Whether the hybrid KV cache manager is on, as flags, connectors and the environment say; None: they do not."""
    told = command.one("unified_cache")
    if told is not None and told.on:
        return False
    transfer = merged(command.arguments.given, "kv_transfer")
    kept = told is not None and not command.before(_TOLD_APART)
    if transfer and not kept and (command.before(_ASKS_CONNECTOR) or not _connects_hybrid(transfer)):
        command.one("kv_transfer")
        return False
    if command.arguments.last("kv_events") is not None and command.before(_EVENTS_APART):
        command.one("kv_events")
        return False
    return True if environment.get(_FREES_CHUNKS) == "1" else None


def _connects_hybrid(transfer: Mapping[str, Any]) -> bool:
    """Whether a connector, and each that it stands for, supports the manager; one that is not named does."""
    name, more = transfer.get("kv_connector"), transfer.get("kv_connector_extra_config")
    if name != "MultiConnector":
        return name is None or name in _HYBRID_CONNECTORS
    parts = more.get("connectors") if isinstance(more, dict) else None
    return all(_connects_hybrid(part) for part in parts or () if isinstance(part, dict))


_FITTED_SINCE: Final = "0.14"
"""Release from which on vLLM takes the longest that its cache holds (its PR 29431)."""


def _length(command: CommandReading) -> int | None:
    """Longest sequence; ``auto`` and ``-1`` leave it to the engine."""
    if not _fits_length(command):
        return command.number("max_model_len")
    if command.before(_FITTED_SINCE):
        option = command.one("max_model_len")
        command.fault(option, f"a whole number is wanted: vLLM fits it to its cache from {_FITTED_SINCE} on")
    return None


def _fits_length(command: CommandReading) -> bool:
    option = command.one("max_model_len")
    return option is not None and option.text in FITTED_LENGTH


def _redundant(command: CommandReading, *, experts: bool, ranks: int) -> int:
    """Redundant expert slots, and what vLLM asks for them (config/parallel.py:570-588)."""
    config = merged(command.arguments.given, "eplb_config")
    slots_option = command.one("eplb_config") or command.one("redundant_slots")
    wanted: Any = config.get("num_redundant_experts", command.number("redundant_slots", 0, least=0))
    if isinstance(wanted, str) and wanted.isascii() and wanted.isdigit():
        wanted = int(wanted)
    balanced = command.on("eplb")
    if balanced and not experts:
        command.fault(command.one("eplb"), "enable_expert_parallel must be True to use EPLB")
    elif balanced and ranks == 1:
        command.fault(
            command.one("eplb"), "EPLB requires tensor, prefill-context, or data parallelism, but got one rank"
        )
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 0:
        command.fault(slots_option, "num_redundant_experts is a whole number, 0 or more")
        return 0
    if wanted and not balanced:
        command.fault(
            slots_option,
            f"num_redundant_experts is set to {wanted} but EPLB is not enabled. "
            "Either enable EPLB or unset num_redundant_experts",
        )
    return wanted


def _told(command: CommandReading, name: str) -> bool | None:
    """Whether a switch is on or off that changes times as well; None: it is not given."""
    given = [option for option in command.arguments.given if option.flag.name == name]
    return given[-1].on if given else None


def _graph_mode(command: CommandReading) -> str:
    """How graphs are captured; empty: as the engine does unless told."""
    config = merged(command.arguments.given, "compilation")
    return str(config.get("cudagraph_mode", "")).upper()


def _captured(command: CommandReading) -> tuple[int, ...] | None:
    """Sizes of captured graphs; none with ``--enforce-eager``, ``cudagraph_mode`` NONE or, without a mode, ``-O0``."""
    config = merged(command.arguments.given, "compilation")
    mode = _graph_mode(command) or "NONE" * (command.flag_text("--optimization-level") == "0")
    if command.on("eager") or mode in {"NONE", "0"}:
        command.one("capture_sizes")
        if set(config) <= {"cudagraph_mode", "cudagraph_capture_sizes"}:
            command.one("compilation")
        return ()
    sizes = command.integers("capture_sizes")
    if sizes is not None:
        return tuple(sorted(sizes))
    listed = config.get("cudagraph_capture_sizes")
    if isinstance(listed, list) and all(isinstance(size, int) for size in listed):
        if set(config) <= {"cudagraph_capture_sizes"}:
            command.one("compilation")
        return tuple(sorted(listed))
    largest = command.number("max_capture_size", needed=False)
    if largest is None:
        return None
    # 1, 2, 4, then every 8 up to 256 and every 16 beyond (vLLM config/vllm.py).
    steps = (1, 2, 4, *range(8, min(largest, 256) + 1, 8), *range(272, largest + 1, 16))
    return tuple(size for size in steps if size <= largest)

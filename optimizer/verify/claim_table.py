"""What each claim means: its dimension, its readings, and the physical bound it cannot pass.

A name with a definition has its defining reading first; others are tried only to say which one makes a claim true. An
ambiguous word has no first reading: a claim holds under it where every reading gives it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from optimizer.domain.limits import LATENCIES, PERCENTILES
from optimizer.domain.objectives import OBJECTIVES
from optimizer.domain.problem import Problem
from optimizer.figures.room import EARLIER
from optimizer.units import Dimension

B, S, N, R = Dimension.BYTES, Dimension.SECONDS, Dimension.COUNT, Dimension.RATIO
TPS, RPS, BPS = Dimension.TOKENS_PER_SECOND, Dimension.PER_SECOND, Dimension.BYTES_PER_SECOND


class Physics(StrEnum):
    """Which physical bound a kind of claim has."""

    NONE = "none"
    THROUGHPUT = "throughput"
    THROUGHPUT_PER_DEVICE = "throughput_per_device"
    REQUESTS = "requests"
    TTFT = "ttft"
    TPOT = "tpot"
    LATENCY = "latency"
    SHARE = "share"
    FLOPS = "flops"
    HBM = "hbm"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Reading:
    """One meaning of a claim: the figure it is compared with."""

    name: str
    figure: str


@dataclass(frozen=True, slots=True)
class ClaimKind:
    """A claim that can be judged.

    Attributes
    ----------
    defined
        Whether the first reading is the word's definition.
    tier
        Link tier whose rated bandwidth bounds it; the outermost where it names none, `ANY_TIER` for the fastest.
    whole
        Counts things: ``1e2`` of them are 100, not about 100.
    """

    dimension: Dimension
    readings: tuple[Reading, ...]
    defined: bool = True
    physics: Physics = Physics.NONE
    tier: str = ""
    whole: bool = False


ANY_TIER = "*"


def _kind(
    dimension: Dimension, figure: str, *others: tuple[str, str], name: str = "", physics: Physics = Physics.NONE
) -> ClaimKind:
    first = Reading(name or "as defined", figure)
    return ClaimKind(dimension, (first, *(Reading(*other) for other in others)), physics=physics)


def _ambiguous(
    dimension: Dimension, *readings: tuple[str, str], physics: Physics = Physics.NONE, tier: str = ""
) -> ClaimKind:
    return ClaimKind(dimension, tuple(Reading(*reading) for reading in readings), False, physics, tier)  # noqa: FBT003


_WHOLE = (
    "devices",
    "idle_devices",
    "replicas",
    "nodes",
    "devices_per_replica",
    "tp",
    "cp",
    "dp",
    "pp",
    "etp",
    "ep",
    "edp",
    "batch",
    "prefill_chunk",
    "layers",
    "layers_per_stage",
    "moe_layers",
    "experts_per_layer",
    "experts_per_token",
    "sequences_in_flight",
    "sequences_in_prefill",
    "running_sequences",
    "experts_resident_per_layer",
    "expert_instances",
    "slots_per_device",
    "redundant_slots",
    "moves",
)
_AMOUNTS = (
    "expert_equivalents",
    "concurrency",
    "mtp_parameters",
    "checkpoint_parameters",
    "parameters_per_expert",
    "active_parameters_without_embedding",
    "parameters_per_device",
    "flops_per_token",
)
_COMPONENTS = ("embeddings", "attention", "dense", "experts", "shared", "router", "norms", "lm_head", "other")
_EXPERTS = (
    ("distinct experts of one layer", "experts_resident_per_layer"),
    ("expert instances over the layers of the stage", "expert_instances"),
    ("whole-expert equivalents", "expert_equivalents"),
)
_PER_DEVICE = "per device"


def _part(figure: str, total: str | None = None) -> ClaimKind:
    others = (("in total over all devices", total),) if total else ()
    return _kind(B, figure, *others, name=_PER_DEVICE)


def _room(dimension: Dimension, figure: str, total: str | None = None) -> ClaimKind:
    others = (("of all data-parallel ranks", total),) if total else ()
    earlier = ((f"by the engine's {which} release", f"{figure}_of_{which}_release") for which in EARLIER)
    return _kind(dimension, figure, *others, *earlier, name="of one data-parallel rank")


def _stored(name: str, figure: str) -> tuple[str, str]:
    return f"{name}, as in the checkpoint: not padded for a kernel", f"{figure}_as_stored"


_TOTAL = "in total over all devices"
_WEIGHTS = (
    (_PER_DEVICE, "model_weights_bytes"),
    (_TOTAL, "total_weights_bytes"),
    ("one copy of the model", "model_bytes"),
    ("per device, with the tables of positions, as its engine logs it", "loaded_weights_bytes"),
)
_WEIGHTS_STORED = tuple(_stored(*reading) for reading in _WEIGHTS[:-1])
_EXPERT_WEIGHTS = ((_PER_DEVICE, "expert_weights_bytes"), (_TOTAL, "total_expert_weights_bytes"))
_EXPERT_WEIGHTS_STORED = tuple(_stored(*reading) for reading in _EXPERT_WEIGHTS)
_MEMORY_OTHERS = (
    ("in total over all devices", "total_memory_bytes"),
    ("weights alone, per device", "model_weights_bytes"),
    ("weights and KV cache, per device", "weights_and_cache_bytes"),
    ("one copy of the model", "model_bytes"),
)
_OUTPUT = "output tokens (prompt tokens in phase prefill)"

CLAIMS: dict[str, ClaimKind] = {
    **{name: ClaimKind(N, (Reading("as defined", name),), whole=True) for name in _WHOLE},
    **{name: _kind(N, name) for name in _AMOUNTS},
    **{f"{name}_parameters": _kind(N, f"{name}_parameters") for name in _COMPONENTS},
    "parameters": _kind(
        N,
        "parameters",
        ("with multi-token-prediction layers, buffers and vision", "checkpoint_parameters"),
        ("active parameters", "active_parameters"),
        ("parameters held by one device", "parameters_per_device"),
        name="main stack, embedding and head",
    ),
    "active_parameters": _kind(
        N,
        "active_parameters",
        ("without the input embedding", "active_parameters_without_embedding"),
        name="with the input embedding",
    ),
    "experts_per_gpu": _ambiguous(N, *_EXPERTS),
    "memory": _kind(B, "memory_bytes", *_MEMORY_OTHERS, name=_PER_DEVICE),
    "total_memory": _kind(B, "total_memory_bytes", (_PER_DEVICE, "memory_bytes"), name="in total over all devices"),
    "weights": _kind(B, *_WEIGHTS[0][1:], *_WEIGHTS[1:], *_WEIGHTS_STORED, name=_PER_DEVICE),
    "total_weights": _kind(
        B, "total_weights_bytes", _WEIGHTS[2], _WEIGHTS[0], *_WEIGHTS_STORED, name="in total over all devices"
    ),
    "model_size": _ambiguous(B, *_WEIGHTS, *_WEIGHTS_STORED),
    "model_bytes": _kind(B, "model_bytes", *_WEIGHTS[:2], *_WEIGHTS_STORED, name="one copy of the model"),
    "sharded_weights": _part("weights_bytes"),
    "weights_bytes": _kind(B, "weights_bytes", *_WEIGHTS, name="the part that tensor parallelism divides, per device"),
    "replicated_weights": _part("replicated_weights_bytes"),
    "expert_weights": _kind(B, "expert_weights_bytes", _EXPERT_WEIGHTS[1], *_EXPERT_WEIGHTS_STORED, name=_PER_DEVICE),
    "total_expert_weights": _kind(
        B, "total_expert_weights_bytes", _EXPERT_WEIGHTS[0], *_EXPERT_WEIGHTS_STORED, name=_TOTAL
    ),
    "kv_cache": _kind(B, "kv_cache_bytes", (_TOTAL, "total_kv_cache_bytes"), name=_PER_DEVICE),
    "total_kv_cache": _kind(B, "total_kv_cache_bytes", (_PER_DEVICE, "kv_cache_bytes"), name=_TOTAL),
    "kv_cache_room": _room(B, "kv_cache_room_bytes"),
    "kv_cache_tokens": _room(N, "kv_cache_tokens", "total_kv_cache_tokens"),
    "max_concurrency": _room(N, "max_concurrency", "total_max_concurrency"),
    "longest_context_tokens": _room(N, "longest_context_tokens"),
    "kv_cache_per_sequence": _part("kv_cache_bytes_per_sequence"),
    "kv_cache_per_token": _part("kv_cache_bytes_per_token"),
    "activations": _part("activations_bytes"),
    "reserve": _part("reserve_bytes"),
    "memory_headroom": _part("memory_headroom_bytes"),
    "memory_utilization": _kind(
        R,
        "memory_utilization",
        ("of the nominal memory", "nominal_memory_utilization"),
        ("of what the utilisation limit allows", "allowed_memory_utilization"),
        ("weights alone", "weights_utilization"),
        name="of the exposed memory",
        physics=Physics.SHARE,
    ),
    "compute_utilization": _kind(
        R,
        "compute_utilization",
        ("2 · active parameters a token over the peak", "model_flops_utilization"),
        name="all FLOPs at the peak of their format",
        physics=Physics.SHARE,
    ),
    "model_flops_utilization": _kind(
        R,
        "model_flops_utilization",
        ("all FLOPs at the peak of their format", "compute_utilization"),
        name="2 · active parameters a token over the peak",
        physics=Physics.SHARE,
    ),
    "hbm_utilization": _kind(R, "hbm_utilization", physics=Physics.SHARE),
    "gpu_utilization": _ambiguous(
        R,
        ("compute", "compute_utilization"),
        ("memory bandwidth", "hbm_utilization"),
        ("memory", "memory_utilization"),
        physics=Physics.SHARE,
    ),
    "ttft": _kind(S, "ttft_s", name="arrival to first token", physics=Physics.TTFT),
    "tpot": _kind(S, "tpot_s", physics=Physics.TPOT),
    **{
        f"{name}_p{share}": _kind(S, f"{name}_p{share}_s", name=f"of {share}% of requests at most", physics=physics)
        for name, physics in (("ttft", Physics.TTFT), ("tpot", Physics.TPOT))
        for share in PERCENTILES
    },
    "latency": _kind(
        S, "latency_s", ("time to first token", "ttft_s"), name="of a whole request", physics=Physics.LATENCY
    ),
    "step_time": _kind(S, "step_time_s"),
    "throughput": _kind(
        TPS,
        "throughput_tokens_per_s",
        ("prompt and output tokens", "processed_tokens_per_s"),
        ("output tokens, per device", "throughput_per_device_tokens_per_s"),
        ("one sequence", "sequence_tokens_per_s"),
        name=_OUTPUT,
        physics=Physics.THROUGHPUT,
    ),
    "throughput_per_device": _kind(
        TPS,
        "throughput_per_device_tokens_per_s",
        ("prompt and output tokens", "processed_per_device_tokens_per_s"),
        ("of all devices together", "throughput_tokens_per_s"),
        ("one sequence", "sequence_tokens_per_s"),
        name=_OUTPUT,
        physics=Physics.THROUGHPUT_PER_DEVICE,
    ),
    "processed_tokens": _kind(TPS, "processed_tokens_per_s", physics=Physics.THROUGHPUT),
    "closed_loop_tokens": _kind(TPS, "closed_loop_tokens_per_s", physics=Physics.THROUGHPUT),
    "request_capacity": _kind(RPS, "request_capacity_per_s", physics=Physics.REQUESTS),
    "goodput": _kind(RPS, "goodput_per_s"),
    "place_wait": _kind(Dimension.SECONDS, "place_wait_s"),
    "place_wait_chance": _kind(R, "place_wait_chance"),
    "cost_per_hour": _kind(Dimension.DOLLARS_PER_HOUR, "cost_per_hour_dollars"),
    "cost_per_token": _kind(Dimension.DOLLARS_PER_TOKEN, "cost_per_token_dollars"),
    "cost_per_million_tokens": _kind(Dimension.DOLLARS, "cost_dollars_per_million_tokens"),
    "flops": _kind(Dimension.FLOPS, "flops", name="per device", physics=Physics.FLOPS),
    "balance": _kind(
        R,
        "expert_imbalance",
        ("mean over layers", "mean_expert_imbalance"),
        name="hottest device's expert load ÷ the mean, worst layer",
    ),
    "nodes_visited": _kind(
        R, "nodes_visited", ("worst layer", "worst_nodes_visited"), name="by co-activated experts, mean over layers"
    ),
    "hbm_bandwidth": _kind(
        BPS,
        "hbm_bytes_per_s",
        ("rated", "rated_hbm_bytes_per_s"),
        name="read and written in a mean step",
        physics=Physics.HBM,
    ),
    "fabric_bandwidth": _kind(
        BPS,
        "fabric_bytes_per_s",
        ("rated", "rated_fabric_bytes_per_s"),
        ("rated, both directions", "duplex_fabric_bytes_per_s"),
        name="over the outermost tier",
        physics=Physics.LINK,
    ),
    "fabric_utilization": _kind(R, "fabric_utilization", name="of the outermost tier", physics=Physics.SHARE),
    "link_bandwidth": _ambiguous(
        BPS,
        ("used of the outermost tier", "fabric_bytes_per_s"),
        ("used of the innermost tier", "innermost_bytes_per_s"),
        ("rated, outermost tier", "rated_fabric_bytes_per_s"),
        ("rated, innermost tier", "rated_innermost_bytes_per_s"),
        ("rated, outermost tier, both directions", "duplex_fabric_bytes_per_s"),
        ("rated, innermost tier, both directions", "duplex_innermost_bytes_per_s"),
        physics=Physics.LINK,
        tier=ANY_TIER,
    ),
    "link_utilization": _ambiguous(
        R,
        ("of the outermost tier", "fabric_utilization"),
        ("of the innermost tier", "innermost_utilization"),
        physics=Physics.SHARE,
    ),
    **{f"{axis}_bytes": _kind(B, f"{axis}_bytes", name="a device in a mean step") for axis in ("tp", "cp", "ep", "pp")},
    "dp_bytes": _kind(B, "dp_bytes", name="a device in a mean step"),
}
"""Every claim by name."""

_IDEAL = (
    "ttft", "tpot", "latency", "step_time", "throughput", "throughput_per_device", "request_capacity",
    *(f"{name}_p{share}" for name in LATENCIES for share in PERCENTILES),
)  # fmt: skip
CLAIMS |= {
    f"ideal_{name}": _kind(
        CLAIMS[name].dimension, f"ideal_{CLAIMS[name].readings[0].figure}", name="at rated peaks without overhead"
    )
    for name in _IDEAL
}

ALIASES: dict[str, str] = {
    "gpus": "devices",
    "num_gpus": "devices",
    "gpu_count": "devices",
    "device_count": "devices",
    "total_devices": "devices",
    "world_size": "devices",
    "tensor_parallel": "tp",
    "tensor_parallel_size": "tp",
    "pipeline_parallel": "pp",
    "pipeline_parallel_size": "pp",
    "data_parallel": "dp",
    "data_parallel_size": "dp",
    "expert_parallel": "ep",
    "expert_parallel_size": "ep",
    "context_parallel": "cp",
    "stages": "pp",
    "total_parameters": "parameters",
    "params": "parameters",
    "activated_parameters": "active_parameters",
    "expert_parameters": "parameters_per_expert",
    "top_k": "experts_per_token",
    "experts": "experts_per_layer",
    "experts_per_device": "experts_per_gpu",
    "experts_on_device": "experts_per_gpu",
    "local_experts": "experts_per_gpu",
    "experts_per_gpu_per_layer": "experts_resident_per_layer",
    "experts_per_device_per_layer": "experts_resident_per_layer",
    "memory_bytes": "memory",
    "memory_per_device": "memory",
    "memory_per_gpu": "memory",
    "gpu_memory": "memory",
    "weights_per_device": "weights",
    "weight_memory": "weights",
    "expert_weights_bytes": "expert_weights",
    "expert_memory": "expert_weights",
    "kv_cache_bytes": "kv_cache",
    "kv_cache_bytes_per_token": "kv_cache_per_token",
    "activations_bytes": "activations",
    "activation_memory": "activations",
    "memory_usage": "memory_utilization",
    "mfu": "model_flops_utilization",
    "compute_efficiency": "compute_utilization",
    "bandwidth_utilization": "hbm_utilization",
    "memory_bandwidth_utilization": "hbm_utilization",
    "hbm_bandwidth_utilization": "hbm_utilization",
    "utilization": "gpu_utilization",
    **{f"{name}_p{share}_s": f"{name}_p{share}" for name in LATENCIES for share in PERCENTILES},
    **{f"p{share}_{name}": f"{name}_p{share}" for name in LATENCIES for share in PERCENTILES},
    "ttft_s": "ttft",
    "time_to_first_token": "ttft",
    "tpot_s": "tpot",
    "itl": "tpot",
    "inter_token_latency": "tpot",
    "time_per_output_token": "tpot",
    "latency_s": "latency",
    "step_time_s": "step_time",
    "request_capacity_per_s": "request_capacity",
    "goodput_per_s": "goodput",
    "place_wait_s": "place_wait",
    "closed_loop_tokens_per_s": "closed_loop_tokens",
    "replicated_weights_bytes": "replicated_weights",
    "reserve_bytes": "reserve",
    "end_to_end_latency": "latency",
    "request_latency": "latency",
    "throughput_tokens_per_s": "throughput",
    "tokens_per_second": "throughput",
    "output_throughput": "throughput",
    "throughput_per_device_tokens_per_s": "throughput_per_device",
    "throughput_per_gpu": "throughput_per_device",
    "tokens_per_second_per_gpu": "throughput_per_device",
    "request_rate": "request_capacity",
    "requests_per_second": "request_capacity",
    "qps": "request_capacity",
    "cost_dollars_per_million_tokens": "cost_per_million_tokens",
    "chunk": "prefill_chunk",
    "chunk_size": "prefill_chunk",
    "chunked_prefill_size": "prefill_chunk",
    "prefill_chunk_size": "prefill_chunk",
    "prefill_chunk_tokens": "prefill_chunk",
    "redundant_experts": "redundant_slots",
    "experts_moved": "moves",
    "nodes_per_token": "nodes_visited",
    "mean_nodes_visited": "nodes_visited",
    "memory_headroom_bytes": "memory_headroom",
    "max_over_mean": "balance",
    "imbalance": "balance",
    "load_balance": "balance",
    "concurrent_requests": "concurrency",
    "available_kv_cache": "kv_cache_room",
    "available_kv_cache_memory": "kv_cache_room",
    "kv_cache_room_bytes": "kv_cache_room",
    "kv_tokens": "kv_cache_tokens",
    "kv_cache_size": "kv_cache_tokens",
    "gpu_kv_cache_size": "kv_cache_tokens",
    "maximum_concurrency": "max_concurrency",
    "longest_context": "longest_context_tokens",
    "max_context": "longest_context_tokens",
    "inter_node_bandwidth": "fabric_bandwidth",
    "network_bandwidth": "fabric_bandwidth",
    "fabric_bytes_per_s": "fabric_bandwidth",
    "inter_node_utilization": "fabric_utilization",
    "network_utilization": "fabric_utilization",
    "network_bandwidth_utilization": "fabric_utilization",
    "fabric_bandwidth_utilization": "fabric_utilization",
    "interconnect_bandwidth": "link_bandwidth",
    "interconnect_utilization": "link_utilization",
    "link_bandwidth_utilization": "link_utilization",
    "memory_bandwidth": "hbm_bandwidth",
    "hbm_bytes_per_s": "hbm_bandwidth",
    "tp_traffic": "tp_bytes",
    "ep_traffic": "ep_bytes",
    "pp_traffic": "pp_bytes",
    "cp_traffic": "cp_bytes",
    **{f"ideal_{CLAIMS[name].readings[0].figure}": f"ideal_{name}" for name in _IDEAL},
}
"""Other names of the same claims."""


def own_claims(problem: Problem) -> dict[str, ClaimKind]:
    """Claims that only this problem has: of its link tiers by name, its layers and stages, its measured loads.

    Values of objectives that no other claim is of are claimed by the objective's name, with its unit or without.
    """
    told = [row for row in OBJECTIVES.values() if row.untold(problem) is None]
    kinds = {name: _kind(row.dimension, row.unit) for row in told for name in (row.unit, row.name)}
    for tier in problem.hardware.tiers:
        used = f"{tier.name}_bytes_per_s"
        readings = (
            Reading("used in a mean step", used),
            Reading("rated", f"rated_{used}"),
            Reading("rated, both directions", f"duplex_{used}"),
        )
        bandwidth = ClaimKind(BPS, readings, physics=Physics.LINK, tier=tier.name)
        kinds |= {f"{tier.name}_bandwidth": bandwidth, used: bandwidth}
        kinds[f"{tier.name}_utilization"] = _kind(R, f"{tier.name}_utilization", physics=Physics.SHARE)
    model = problem.model
    for number, block in enumerate(model.layer_names):
        # No more stages than layers.
        names = [f"layers_of_stage_{number}", f"first_layer_of_stage_{number}"]
        kinds |= {name: ClaimKind(N, (Reading("as defined", name),), whole=True) for name in names}
        if model.blocks[block].moe is None:
            continue
        names = [f"balance_of_layer_{number}", f"nodes_visited_of_layer_{number}"]
        names += [f"balance_of_layer_{number}_under_load_{load}" for load in range(len(problem.expert_loads))]
        kinds |= {name: _kind(R, name) for name in names}
    return {name: kind for name, kind in kinds.items() if name not in CLAIMS and name not in ALIASES}


def dimensions(problem: Problem | None = None) -> dict[str, Dimension]:
    """What each known claim measures, by every name it goes by; with a problem, those that only it has as well."""
    known = {name: kind.dimension for name, kind in CLAIMS.items()}
    by_name = known | {alias: CLAIMS[name].dimension for alias, name in ALIASES.items()}
    return (
        by_name if problem is None else by_name | {name: kind.dimension for name, kind in own_claims(problem).items()}
    )


def kind_of_claim(name: str, problem: Problem) -> ClaimKind | None:
    """Kind of a claim by any of its names; None for one that is not known."""
    return CLAIMS.get(ALIASES.get(name, name)) or own_claims(problem).get(name)

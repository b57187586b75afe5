"""What each claim means: its dimension, its readings, and the physical bound it cannot pass.

A name with a definition has its defining reading first; others are tried only to say which one makes a claim true. An
ambiguous word has no first reading: a claim holds under it where every reading gives it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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
    """

    dimension: Dimension
    readings: tuple[Reading, ...]
    defined: bool = True
    physics: Physics = Physics.NONE


def _kind(
    dimension: Dimension, figure: str, *others: tuple[str, str], name: str = "", physics: Physics = Physics.NONE
) -> ClaimKind:
    first = Reading(name or "as defined", figure)
    return ClaimKind(dimension, (first, *(Reading(*other) for other in others)), physics=physics)


def _ambiguous(dimension: Dimension, *readings: tuple[str, str], physics: Physics = Physics.NONE) -> ClaimKind:
    return ClaimKind(dimension, tuple(Reading(*reading) for reading in readings), defined=False, physics=physics)


_COUNTS = (
    "devices",
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
    "layers",
    "layers_per_stage",
    "moe_layers",
    "experts_per_layer",
    "experts_per_token",
    "sequences_in_flight",
    "experts_resident_per_layer",
    "expert_instances",
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


_WEIGHTS = (
    (_PER_DEVICE, "model_weights_bytes"),
    ("in total over all devices", "total_weights_bytes"),
    ("one copy of the model", "model_bytes"),
)
_MEMORY_OTHERS = (
    ("in total over all devices", "total_memory_bytes"),
    ("weights alone, per device", "model_weights_bytes"),
    ("weights and KV cache, per device", "weights_and_cache_bytes"),
    ("one copy of the model", "model_bytes"),
)
_OUTPUT = "output tokens (prompt tokens in phase prefill)"

CLAIMS: dict[str, ClaimKind] = {
    **{name: _kind(N, name) for name in _COUNTS},
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
    "weights": _kind(B, *_WEIGHTS[0][1:], *_WEIGHTS[1:], name=_PER_DEVICE),
    "total_weights": _kind(B, "total_weights_bytes", _WEIGHTS[2], _WEIGHTS[0], name="in total over all devices"),
    "model_size": _ambiguous(B, *_WEIGHTS),
    "model_bytes": _kind(B, "model_bytes", *_WEIGHTS[:2], name="one copy of the model"),
    "sharded_weights": _part("weights_bytes"),
    "replicated_weights": _part("replicated_weights_bytes"),
    "expert_weights": _part("expert_weights_bytes", "total_expert_weights_bytes"),
    "total_expert_weights": _kind(
        B, "total_expert_weights_bytes", (_PER_DEVICE, "expert_weights_bytes"), name="in total over all devices"
    ),
    "kv_cache": _part("kv_cache_bytes", "total_kv_cache_bytes"),
    "total_kv_cache": _kind(
        B, "total_kv_cache_bytes", (_PER_DEVICE, "kv_cache_bytes"), name="in total over all devices"
    ),
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
    "request_capacity": _kind(RPS, "request_capacity_per_s", physics=Physics.REQUESTS),
    "cost_per_hour": _kind(Dimension.DOLLARS_PER_HOUR, "cost_per_hour_dollars"),
    "cost_per_token": _kind(Dimension.DOLLARS_PER_TOKEN, "cost_per_token_dollars"),
    "flops": _kind(Dimension.FLOPS, "flops", name="per device", physics=Physics.FLOPS),
    "balance": _kind(R, "expert_imbalance", name="hottest device's expert load ÷ the mean"),
    "fabric_bandwidth": _kind(BPS, "fabric_bytes_per_s", name="over the outermost tier", physics=Physics.LINK),
    **{f"{axis}_bytes": _kind(B, f"{axis}_bytes", name="a device in a mean step") for axis in ("tp", "cp", "ep", "pp")},
    "dp_bytes": _kind(B, "dp_bytes", name="a device in a mean step"),
}
"""Every claim by name."""

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
    "weights_bytes": "weights",
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
    "ttft_s": "ttft",
    "time_to_first_token": "ttft",
    "tpot_s": "tpot",
    "itl": "tpot",
    "inter_token_latency": "tpot",
    "time_per_output_token": "tpot",
    "latency_s": "latency",
    "step_time_s": "step_time",
    "request_capacity_per_s": "request_capacity",
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
    "max_over_mean": "balance",
    "imbalance": "balance",
    "load_balance": "balance",
    "concurrent_requests": "concurrency",
    "inter_node_bandwidth": "fabric_bandwidth",
    "network_bandwidth": "fabric_bandwidth",
    "tp_traffic": "tp_bytes",
    "ep_traffic": "ep_bytes",
    "pp_traffic": "pp_bytes",
}
"""Other names of the same claims."""


def dimensions() -> dict[str, Dimension]:
    """What each known claim measures, by every name it goes by."""
    own = {name: kind.dimension for name, kind in CLAIMS.items()}
    return own | {alias: CLAIMS[name].dimension for alias, name in ALIASES.items()}


def kind_of_claim(name: str) -> ClaimKind | None:
    """Kind of a claim by any of its names; None for one that is not known."""
    return CLAIMS.get(ALIASES.get(name, name))

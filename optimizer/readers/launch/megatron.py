"""What the arguments of Megatron-LM's and torchtitan's training scripts mean.

Megatron-LM (core 0.20.0, core/parallel_state.py): the world is TP × CP × DP × PP and ETP × EP × EDP × PP at once; DP
and EDP follow from the number of ranks, ETP is TP unless given. torchtitan (distributed/parallel_dims.py): the world is
PP × replicate × shard × CP × TP, and EP divides shard × CP × TP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from optimizer.readers.launch.launch import CommandReading, Launch, Operating, meshes

_SHAPE: Final = (
    "layers", "hidden", "ffn", "heads", "groups", "head_dim", "experts", "topk", "moe_ffn", "shared_ffn", "q_rank",
    "kv_rank", "qk_dim", "rope_dim", "v_dim", "vocab", "positions", "mtp",
)  # fmt: skip


def read(given: CommandReading, environment: Mapping[str, str], world: int | None) -> Launch:
    """Launch of a Megatron-LM script on `world` ranks.

    Raises
    ------
    SpecError
        Degrees that do not divide the world, or that Megatron refuses.
    """
    tp, pp, cp, ep = (given.degree(name) for name in ("tp", "pp", "cp", "ep"))
    etp = given.number("etp", tp) or tp
    world = _world(given, world, tp * pp * cp)
    given.divides(
        given.one("tp"), tp * pp * cp, world,
        f"world size ({world}) is not divisible by tp · pp · cp = {tp} · {pp} · {cp}",
    )  # fmt: skip
    given.divides(
        given.one("ep"), etp * ep * pp if not given.faults else 0, world,
        f"world_size ({world}) is not divisible by expert_tensor_model_pipeline_parallel size ({etp} · {ep} · {pp})",
    )  # fmt: skip
    shape: dict[str, Any] = {name: given.number(f"model_{name}", needed=False, least=0) for name in _SHAPE}
    shape |= {name: given.on(f"model_{name}") for name in ("gqa", "mla", "gated", "untied")}
    shape["moe_freq"] = given.text("model_moe_freq")
    given.one("model_no_bias")
    experts = shape["experts"]
    if ep > 1 and not experts and not _named(given):
        given.fault(given.one("ep"), "num_experts must be non None to use expert model parallelism")
    if experts and experts % ep:
        given.fault(given.one("ep"), "Number of experts should be a multiple of expert model parallel_size")
    length = given.number("sequence_length", needed=False)
    if cp > 1 and length is not None and length % (2 * cp):
        given.fault(
            given.one("sequence_length"),
            "seq-length should be a multiple of 2 * context-parallel-size if context-parallel-size > 1",
        )
    if given.faults:
        given.raise_faults()
    dp = world // (tp * pp * cp)
    micro, batch = given.number("micro_batch", needed=False), given.number("global_batch", needed=False)
    if micro and batch and batch % (micro * dp):
        given.fault(
            given.one("global_batch"),
            f"global batch size ({batch}) is not divisible by micro batch size ({micro}) times data parallel size "
            f"({dp})",
        )
    stages = _stages(given, shape["layers"], pp)
    _training(given)
    given.raise_faults()
    degrees, dense = meshes(tp=tp, cp=cp, dp=dp, pp=pp, etp=etp, ep=ep)
    return Launch(
        engine="megatron", source=given.source, version=given.version, model=None, model_place=given.start,
        degrees=degrees, dense=dense, operating=Operating(max_num_seqs=micro, max_model_len=length), stages=stages,
        given=given.arguments.given, ignored=given.ignored(), environment=environment, places=given.places(),
        training=True,
    )  # fmt: skip


def _named(given: CommandReading) -> bool:
    """Whether the model comes from elsewhere than the arguments."""
    return given.arguments.last("model_layers") is None


def _training(given: CommandReading) -> None:
    for name in (
        "sequence_parallel", "distributed_optimizer", "recompute", "recompute_method", "recompute_layers",
        "recompute_selective", "bf16", "all2all", "all2all_flex", "optimizer", "first_stage_layers",
        "last_stage_layers", "schedule",
    ):  # fmt: skip
        given.one(name)


def _world(given: CommandReading, world: int | None, least: int) -> int:
    if world is None:
        given.fault(None, f"how many ranks? torchrun's --nnodes and --nproc-per-node, or --devices, at least {least}")
        given.raise_faults()
    assert world is not None  # noqa: S101 - the fault was raised
    return world


def _stages(given: CommandReading, layers: int | None, pp: int) -> tuple[int, ...] | None:
    """Layers of each stage (core/transformer/transformer_config.py, pipeline_parallel_layer_layout.py)."""
    layout = given.text("pipeline_layout")
    if layout is not None:
        return _laid(given, layout, pp)
    first, last = given.number("first_stage_layers"), given.number("last_stage_layers")
    if layers is None or pp == 1:
        return None
    middle = pp - (first is not None) - (last is not None)
    rest = layers - (first or 0) - (last or 0)
    # The embedding and the loss each take the place of a layer where they are accounted for.
    bonus = given.on("account_embedding") + given.on("account_loss")
    if (rest + bonus) % max(1, middle) or rest < middle:
        given.fault(
            given.one("pp"),
            f"Number of layers should be divisible by the pipeline-model-parallel size: {rest + bonus} on {middle}",
        )
        return None
    each = (rest + bonus) // middle if middle else 0
    counts = [*([first] if first else []), *([each] * middle), *([last] if last else [])]
    if given.on("account_embedding"):
        counts[0] -= 1
    if given.on("account_loss"):
        counts[-1] -= 1
    return tuple(counts)


def _laid(given: CommandReading, layout: str, pp: int) -> tuple[int, ...] | None:
    """Decoder layers of each stage of a layout such as ``Et*15|t*17L``."""
    plain = re.sub(r"\(([^()]*)\)\*(\d{1,4})", lambda m: m[1] * int(m[2]), layout.replace(",", "").replace(" ", ""))
    counts = [sum(int(match[1] or 1) for match in re.finditer(r"t(?:\*(\d{1,4}))?", part)) for part in plain.split("|")]
    if len(counts) % pp:
        given.fault(given.one("pipeline_layout"), f"{len(counts)} stages are not a multiple of {pp} pipeline ranks")
        return None
    if len(counts) > pp:
        # Interleaved: rank r holds the virtual stages r, r + pp, ...
        return None
    return tuple(counts) if min(counts) > 0 else None


def read_torchtitan(given: CommandReading, environment: Mapping[str, str], world: int | None) -> Launch:
    """Launch of torchtitan on `world` ranks.

    Raises
    ------
    SpecError
        Degrees whose product is not the world.
    """
    tp, pp, cp, ep = (given.degree(name) for name in ("tp", "pp", "cp", "ep"))
    copies, shard = given.degree("dp_replicate"), given.number("dp_shard", -1, least=-1) or 1
    world = _world(given, world, tp * pp * cp * copies)
    if shard == -1:
        given.divides(
            given.one("tp"), tp * pp * cp * copies, world,
            f"pp · dp_replicate · cp · tp = {pp} · {copies} · {cp} · {tp} does not divide WORLD_SIZE({world})",
        )  # fmt: skip
        shard = max(1, world // (tp * pp * cp * copies))
    elif copies * shard * cp * tp * pp != world:
        given.fault(
            given.one("dp_shard"),
            f"Invalid parallel dims: dp_replicate({copies}) * dp_shard({shard}) * cp({cp}) * tp({tp}) * pp({pp}) "
            f"!= WORLD_SIZE({world})",
        )
    etp = given.degree("etp")
    given.divides(
        given.one("ep"), ep * etp, shard * cp * tp,
        f"expert_parallel_degree ({ep}) must divide dp_shard * cp * tp ({shard * cp * tp})",
    )  # fmt: skip
    micro, length = given.number("micro_batch", needed=False), given.number("sequence_length", needed=False)
    given.number("global_batch", needed=False)
    _training(given)
    given.raise_faults()
    degrees, dense = meshes(tp=tp, cp=cp, dp=copies * shard, pp=pp, etp=etp, ep=ep)
    named = given.text("model")
    return Launch(
        engine="torchtitan", source=given.source, version=given.version, model=named, model_place=given.start,
        degrees=degrees, dense=dense, operating=Operating(max_num_seqs=micro, max_model_len=length),
        given=given.arguments.given, ignored=given.ignored(), environment=environment, places=given.places(),
        training=True,
    )  # fmt: skip

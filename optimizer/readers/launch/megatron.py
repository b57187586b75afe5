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


def read(command: CommandReading, environment: Mapping[str, str], world: int | None) -> Launch:
    """Launch of a Megatron-LM script on `world` ranks.

    Raises
    ------
    SpecError
        Degrees that do not divide the world, or that Megatron refuses.
    """
    tp, pp, cp, ep = (command.degree(name) for name in ("tp", "pp", "cp", "ep"))
    etp = command.number("etp", tp) or tp
    world = _world(command, world, tp * pp * cp)
    command.divides(
        command.one("tp"), tp * pp * cp, world,
        f"world size ({world}) is not divisible by tp · pp · cp = {tp} · {pp} · {cp}",
    )  # fmt: skip
    command.divides(
        command.one("ep"), etp * ep * pp if not command.faults else 0, world,
        f"world_size ({world}) is not divisible by expert_tensor_model_pipeline_parallel size ({etp} · {ep} · {pp})",
    )  # fmt: skip
    shape: dict[str, Any] = {name: command.number(f"model_{name}", needed=False, least=0) for name in _SHAPE}
    shape |= {name: command.on(f"model_{name}") for name in ("gqa", "mla", "gated", "untied")}
    shape["moe_freq"] = command.text("model_moe_freq")
    command.one("model_no_bias")
    experts = shape["experts"]
    if ep > 1 and not experts and not _named(command):
        command.fault(command.one("ep"), "num_experts must be non None to use expert model parallelism")
    if experts and experts % ep:
        command.fault(command.one("ep"), "Number of experts should be a multiple of expert model parallel_size")
    length = command.number("sequence_length", needed=False)
    if cp > 1 and length is not None and length % (2 * cp):
        command.fault(
            command.one("sequence_length"),
            "seq-length should be a multiple of 2 * context-parallel-size if context-parallel-size > 1",
        )
    if command.faults:
        command.raise_faults()
    dp = world // (tp * pp * cp)
    micro, batch = command.number("micro_batch", needed=False), command.number("global_batch", needed=False)
    if micro and batch and batch % (micro * dp):
        command.fault(
            command.one("global_batch"),
            f"global batch size ({batch}) is not divisible by micro batch size ({micro}) times data parallel size "
            f"({dp})",
        )
    stages = _stages(command, shape["layers"], pp)
    _refusals(command, shape, tp=tp, pp=pp, ep=ep, etp=etp)
    _training(command)
    command.raise_faults()
    degrees, dense = meshes(tp=tp, cp=cp, dp=dp, pp=pp, etp=etp, ep=ep)
    return Launch(
        engine="megatron", source=command.source, version=command.version, model=None, model_place=command.start,
        degrees=degrees, dense=dense, operating=Operating(max_num_seqs=micro, max_model_len=length), stages=stages,
        given=command.arguments.given, ignored=command.ignored(), environment=environment, places=command.places(),
        training=True,
    )  # fmt: skip


def _refusals(command: CommandReading, shape: Mapping[str, Any], *, tp: int, pp: int, ep: int, etp: int) -> None:
    """What Megatron-LM d98e8a64 refuses of heads, schedules and experts that the arguments state."""
    heads, groups, layers = shape["heads"], shape["groups"] if shape["gqa"] else None, shape["layers"]
    if heads and heads % tp:
        command.fault(
            command.one("tp"), f"num_attention_heads ({heads}) must be a multiple of tensor_model_parallel_size ({tp})"
        )  # transformer_config.py:1448
    if groups and groups % tp and tp % groups:
        command.fault(
            command.one("tp"),
            f"num_query_groups ({groups}) must be a multiple or divisor of tensor_model_parallel_size ({tp})",
        )  # transformer_config.py:1466
    for name in ("layers_per_virtual_stage", "virtual_stages"):  # arguments.py:973
        virtual, option = command.number(name, needed=False), command.one(name)
        if virtual is None:
            continue
        alone = command.flag("--no-overlap-p2p-communication") is not None
        if pp <= 1 + alone:
            command.fault(
                option, f"pipeline-model-parallel size should be greater than {1 + alone} with interleaved schedule"
            )
        elif layers and layers % pp == 0 and layers // pp % virtual:
            command.fault(
                option,
                f"number of layers per pipeline stage ({layers // pp}) must be divisible by {virtual} "
                + ("layers of a virtual stage" if name == "layers_per_virtual_stage" else "virtual stages"),
            )
    if command.on("fsdp") and (pp > 1 or ep > 1):  # arguments.py:1037
        other = "pipeline parallelism" if pp > 1 else "expert parallelism"
        command.fault(command.one("fsdp"), f"--use-torch-fsdp2 is not supported with {other}")
    if not (shape["experts"] and heads and shape["hidden"]):
        return
    # A command that states its model states these too.
    if etp > 1 and command.one("model_no_bias") is None:  # transformer_config.py:2615
        command.fault(command.one("etp") or command.one("tp"), "Bias in Moe is only supported when ETP==1: "
                      "--disable-bias-linear")  # fmt: skip
    if ep > 1 and tp > 1 and command.one("sequence_parallel") is None:  # moe_layer.py:636
        command.fault(command.one("tp"), "experts (EP) beside tensor parallelism are trained with --sequence-parallel")


def _named(command: CommandReading) -> bool:
    """Whether the model comes from elsewhere than the arguments."""
    return command.arguments.last("model_layers") is None


def _training(command: CommandReading) -> None:
    for name in (
        "sequence_parallel", "distributed_optimizer", "recompute", "recompute_method", "recompute_layers",
        "recompute_selective", "bf16", "all2all", "all2all_flex", "optimizer", "first_stage_layers",
        "last_stage_layers", "schedule",
    ):  # fmt: skip
        command.one(name)


def _world(command: CommandReading, world: int | None, least: int) -> int:
    if world is None:
        command.fault(None, f"how many ranks? torchrun's --nnodes and --nproc-per-node, or --devices, at least {least}")
        command.raise_faults()
    assert world is not None  # noqa: S101 - the fault was raised
    return world


def _stages(command: CommandReading, layers: int | None, pp: int) -> tuple[int, ...] | None:
    """Layers of each stage (core/transformer/transformer_config.py, pipeline_parallel_layer_layout.py)."""
    layout = command.text("pipeline_layout")
    if layout is not None:
        return _laid(command, layout, pp)
    first, last = command.number("first_stage_layers"), command.number("last_stage_layers")
    if layers is None or pp == 1:
        return None
    middle = pp - (first is not None) - (last is not None)
    inner = layers - (first or 0) - (last or 0)
    # The embedding and the loss each take the place of a layer where they are accounted for.
    bonus = command.on("account_embedding") + command.on("account_loss")
    if (inner + bonus) % max(1, middle) or inner < middle:
        command.fault(
            command.one("pp"),
            f"Number of layers should be divisible by the pipeline-model-parallel size: {inner + bonus} on {middle}",
        )
        return None
    per_stage = (inner + bonus) // middle if middle else 0
    counts = [*([first] if first else []), *([per_stage] * middle), *([last] if last else [])]
    if command.on("account_embedding"):
        counts[0] -= 1
    if command.on("account_loss"):
        counts[-1] -= 1
    return tuple(counts)


def _laid(command: CommandReading, layout: str, pp: int) -> tuple[int, ...] | None:
    """Decoder layers of each stage of a layout such as ``Et*15|t*17L``."""
    plain = re.sub(r"\(([^()]*)\)\*(\d{1,4})", lambda m: m[1] * int(m[2]), layout.replace(",", "").replace(" ", ""))
    counts = [sum(int(match[1] or 1) for match in re.finditer(r"t(?:\*(\d{1,4}))?", part)) for part in plain.split("|")]
    if len(counts) % pp:
        command.fault(command.one("pipeline_layout"), f"{len(counts)} stages are not a multiple of {pp} pipeline ranks")
        return None
    if len(counts) > pp:
        # Interleaved: rank r holds the virtual stages r, r + pp, ...
        return None
    return tuple(counts) if min(counts) > 0 else None


def read_torchtitan(command: CommandReading, environment: Mapping[str, str], world: int | None) -> Launch:
    """Launch of torchtitan on `world` ranks.

    Raises
    ------
    SpecError
        Degrees whose product is not the world.
    """
    tp, pp, cp, ep = (command.degree(name) for name in ("tp", "pp", "cp", "ep"))
    copies, shard = command.degree("dp_replicate"), command.number("dp_shard", -1, least=-1) or 1
    world = _world(command, world, tp * pp * cp * copies)
    if shard == -1:
        command.divides(
            command.one("tp"), tp * pp * cp * copies, world,
            f"pp · dp_replicate · cp · tp = {pp} · {copies} · {cp} · {tp} does not divide WORLD_SIZE({world})",
        )  # fmt: skip
        shard = max(1, world // (tp * pp * cp * copies))
    elif copies * shard * cp * tp * pp != world:
        command.fault(
            command.one("dp_shard"),
            f"Invalid parallel dims: dp_replicate({copies}) * dp_shard({shard}) * cp({cp}) * tp({tp}) * pp({pp}) "
            f"!= WORLD_SIZE({world})",
        )
    etp = command.degree("etp")
    command.divides(
        command.one("ep"), ep * etp, shard * cp * tp,
        f"expert_parallel_degree ({ep}) must divide dp_shard * cp * tp ({shard * cp * tp})",
    )  # fmt: skip
    micro, length = command.number("micro_batch", needed=False), command.number("sequence_length", needed=False)
    command.number("global_batch", needed=False)
    _training(command)
    command.raise_faults()
    degrees, dense = meshes(tp=tp, cp=cp, dp=copies * shard, pp=pp, etp=etp, ep=ep)
    named = command.text("model")
    return Launch(
        engine="torchtitan", source=command.source, version=command.version, model=named, model_place=command.start,
        degrees=degrees, dense=dense, operating=Operating(max_num_seqs=micro, max_model_len=length),
        given=command.arguments.given, ignored=command.ignored(), environment=environment, places=command.places(),
        training=True,
    )  # fmt: skip

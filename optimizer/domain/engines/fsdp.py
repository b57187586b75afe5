"""FSDP2 as torchtitan drives it. Rules read from torchtitan b5bcd76c6 parallel_dims.py: ep divides dp · cp · tp."""

from __future__ import annotations

from fractions import Fraction

from optimizer.domain.engines import checks, megatron
from optimizer.domain.engines.engine import Engine
from optimizer.domain.engines.rule import EngineRule, Premise
from optimizer.domain.shape import Shape


def _whole_experts(premise: Premise, shape: Shape) -> str | None:
    if premise.model.moe is None or shape.etp == 1:
        return None
    return f"experts are whole: the mesh has no axis that divides one (etp={shape.etp})."


RULES = (
    EngineRule(
        name="whole_experts",
        statement="no expert is divided: the sparse mesh is pp, dp_replicate, efsdp, ep",
        reads=("etp",),
        breach=_whole_experts,
        source="torchtitan b5bcd76c6 torchtitan/distributed/parallel_dims.py:242",
    ),
    checks.even_experts(
        "{experts} experts are not divisible by expert_parallel_degree ({ep}).",
        "torchtitan b5bcd76c6 torchtitan/distributed/expert_parallel.py (Shard(0) over ep)",
        "ep divides the experts",
    ),
    checks.no_redundant_experts("torchtitan b5bcd76c6 (no such option)"),
    checks.attention_heads(
        "{heads} heads are not divisible by tensor_parallel_degree ({tp}).",
        "torch.distributed.tensor.parallel ColwiseParallel on wq",
    ),
    checks.kv_heads(
        "{kv} key/value heads and tensor_parallel_degree ({tp}) do not divide.",
        "torch.distributed.tensor.parallel ColwiseParallel on wk, wv",
    ),
    checks.no_decode_context_parallel("torchtitan b5bcd76c6 (no such option)"),
    checks.no_overlap("torchtitan b5bcd76c6 (no such option)"),
)

RELEASES = (
    Engine(
        name="fsdp",
        version="2",
        since="2",
        rules=RULES,
        memory_utilization=Fraction(9, 10),
        reservation=megatron.RELEASES[-1].reservation,
        cache=megatron.RELEASES[-1].cache,
        waiting=megatron.WAITING,
        vocabulary_padding=1,
        source="assumed: training has no cache pool; rules read from torchtitan b5bcd76c6",
        flags={
            "tp": "--parallelism.tensor_parallel_degree",
            "pp": "--parallelism.pipeline_parallel_degree",
            "cp": "--parallelism.context_parallel_degree",
            "dp": "--parallelism.data_parallel_shard_degree",
            "ep": "--parallelism.expert_parallel_degree",
        },
    ),
)
"""Oldest first."""

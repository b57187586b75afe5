"""Which rule judges which claim."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from optimizer.audit import judge_load as load
from optimizer.audit import judge_structure as structure
from optimizer.audit.judge import Judge, JudgedClaim
from optimizer.audit.statements import Statement
from optimizer.audit.verdict import Verdict

_EXPERT_COUNTS: Final = ("experts_per_gpu", "experts_per_gpu_per_layer", "expert_instances")
_SUPPOSED: Final = re.compile(r"\b(?:if|unless|suppos\w*|hypothetical\w*)\b")
_REFUSED: Final = re.compile(
    r"\b(?:if|unless|suppos\w*|hypothetical\w*|would|could|without|avoid\w*|never|cannot|can't|threshold|alert\w*"
    r"|at most)\b"
)
"""Words by which an author says that a figure beyond a bound is not the deployment's."""
_Rule = Callable[[Judge, Statement], JudgedClaim | None]
_RULES: Final[dict[str, _Rule]] = {
    "devices": structure.devices,
    **dict.fromkeys(_EXPERT_COUNTS, structure.expert_count),
    "experts_total": structure.experts_total,
    "parameters_per_expert": structure.per_expert,
    "expert_parameters": structure.expert_parameters,
    "parameters": structure.parameters,
    "expert_weights": structure.expert_weights,
    "expert_weights_total": structure.expert_weights,
    "memory": load.memory_claim,
    "memory_total": load.memory_claim,
    "weights": load.memory_claim,
    "weights_total": load.memory_claim,
    "memory_utilization": load.memory_utilization,
    "compute_utilization": load.utilization,
    "hbm_bandwidth_utilization": load.utilization,
    "link_utilization": load.utilization,
    "model_flops_utilization": load.utilization,
    "achieved_bandwidth": load.achieved,
    "achieved_flops": load.achieved,
    "memory_headroom": load.headroom,
    "compute_headroom": load.headroom,
    "throughput_per_device": load.throughput_claim,
    "throughput": load.throughput_claim,
    "ttft": load.ttft,
}


def judge_claim(judge: Judge, claim: Statement) -> JudgedClaim | None:
    """Verdict on ``claim``; None where the figure is a mere given (a device count with no degrees to test it)."""
    rule = _RULES.get(claim.name)
    judged = judge.unsupported(claim, ()) if rule is None else rule(judge, claim)
    if judged is None or not judged.verdict.wrong:
        return judged
    supposed = _SUPPOSED if judged.verdict is Verdict.FAILS else _REFUSED
    if supposed.search(claim.near.lower()) is None:
        return judged
    told = f"said as a supposition or a limit; taken for a figure it is {judged.verdict}"
    return replace(judged, verdict=Verdict.UNSUPPORTED, note="; ".join(filter(None, (told, judged.note))))

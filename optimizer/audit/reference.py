"""What a problem settles, and the data blocks that `verify` judges as they stand."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

from optimizer.domain.feedforward import MixtureOfExperts
from optimizer.domain.precision import FORMATS
from optimizer.domain.problem import Problem
from optimizer.readers.document import Document
from optimizer.readers.read import layout_in
from optimizer.verify import judge
from optimizer.verify.claim_table import dimensions


def problem_values(problem: Problem) -> dict[str, Fraction]:
    """Facts that a problem settles: shapes of the model, limits of the device, lengths of the workload."""
    model, device = problem.model, problem.hardware.device
    values: dict[str, int | Fraction] = {
        "layers": model.layer_count,
        "hidden_size": model.hidden_size,
        "vocabulary": model.vocab_size,
        "device_memory": device.memory,
        "memory_bandwidth": device.bandwidth,
        "peak_flops": max(device.peak.values()),
        "input_tokens": problem.workload.input_tokens,
    }
    bits = FORMATS[problem.precision.weights].bits if problem.precision.weights in FORMATS else 0
    if bits % 8 == 0 and bits:
        values["bytes_per_parameter"] = bits // 8
    moe = model.moe
    if isinstance(moe, MixtureOfExperts):
        values |= {"experts_per_layer": moe.experts, "layers": model.moe_layer_count}
        if moe.latent_size is None and not moe.bias:
            values |= {"expert_hidden_size": moe.intermediate, "expert_matrices": 3 if moe.gated else 2}
    return {name: Fraction(value) for name, value in values.items()}


def judge_data(block: Document, problem: Problem | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Claims of a data block with its layout, as `verify` judges them, and the constraints that the layout violates.

    Raises
    ------
    SpecError
        The layout or a claim cannot be read.
    """
    data = {key: value for key, value in block.data.items() if key in {"name", "problem", "layout", "claims", "notes"}}
    document = layout_in(_with(block, data, problem), claims=dimensions)
    verdict = judge(document)
    claims = [{**item.to_json(), "role": "stated"} for item in verdict.claims]
    return claims, [str(violation) for violation in verdict.violations]


def _with(block: Document, data: dict[str, Any], problem: Problem | None) -> Document:
    if problem is not None:
        data = {**data, "problem": problem.model_dump(mode="python")}
    return replace(block, data=data)

"""What a certificate states, as JSON; format `shardproof/certificate/1`.

====================  ================================================================================================
key                   meaning
====================  ================================================================================================
``kind``              ``optimal`` (nothing beats the layout), ``infeasible`` (nothing fits) or ``feasible`` (the layout
                      fits, and nothing beats the bound)
``problem_digest``    SHA-256 of the problem the statement is about
``layout``            degrees, batch, chunk and stages; null where nothing fits
``redundant``         redundant expert slots of each MoE layer
``objective``         name with unit, exact value, and exact bound (null: a feasible layout without one)
``tolerance``         largest relative gap between value and bound that counts as optimal; 0 without expert placement
``placements``        expert placements: for each expert mesh that was tried its ep and redundant slots, the placement
                      and the witnesses of each layer's bound
``figures``           exact figures of the layout: integers, and rationals written ``n/d``
``lattice``           the axes, the mesh pairs left on them and those excluded by structural family
``top``               further layouts, best first: nothing lies between them
``solver_trusted``    what the checker cannot check
``digest``            SHA-256 of all this, against slips of the hand
====================  ================================================================================================

All numbers are exact; the checker recomputes every one of them from the problem and compares for equality.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from optimizer.domain.layout import slotted
from optimizer.domain.problem import Problem
from optimizer.figures.objective import Scored, better
from optimizer.figures.placement import PLACEMENT_TOLERANCE
from optimizer.figures.serving import Evaluation

SCHEMA = "shardproof/certificate/1"


def tolerance_of(problem: Problem) -> Fraction:
    """Relative gap that counts as optimal: none, or that of expert placement where loads were measured."""
    return PLACEMENT_TOLERANCE if problem.expert_loads else Fraction(0)


def allowance_of(problem: Problem) -> Fraction:
    """What balance may cost for fewer nodes visited, in mean device loads: as stated, else the tolerance."""
    allowance = problem.experts.balance_allowance if problem.experts is not None else None
    return PLACEMENT_TOLERANCE if allowance is None else allowance


def relative_gap(value: Fraction, bound: Fraction) -> Fraction:
    """|bound − value| ÷ |value|; 1 where a value of zero has a bound beyond it."""
    return abs(bound - value) / abs(value) if value else Fraction(int(bound != 0))


def slack(problem: Problem, value: Fraction, bound: Fraction) -> Fraction:
    """What no other layout may beat beside one of this value: the value less the tolerance, or the bound if worse."""
    sign = 1 if problem.objective_row.maximised else -1
    moved = value * (1 + sign * tolerance_of(problem))
    return moved if better(problem, bound, moved) else bound


def exact(value: Fraction | int | None) -> str | None:
    """A rational as text, ``n/d`` in lowest terms."""
    if value is None:
        return None
    value = Fraction(value)
    return f"{value.numerator}/{value.denominator}"


def figures_statement(evaluation: Evaluation) -> dict[str, Any]:
    """Exact figures of a layout."""
    return {
        "memory_bytes": evaluation.memory_bytes,
        "stages": [
            {
                "layers": layers,
                "weights_bytes": memory.weights_bytes,
                "expert_weights_bytes": memory.expert_weights_bytes,
                "replicated_weights_bytes": memory.replicated_weights_bytes,
                "kv_cache_bytes": memory.kv_cache_bytes,
                "activations_bytes": memory.activations_bytes,
                "reserve_bytes": memory.reserve_bytes,
                "mean_ticks": exact(ticks),
            }
            for layers, memory, ticks in zip(evaluation.cuts, evaluation.memory, evaluation.stage_ticks, strict=True)
        ],
        "share_of_mixed_steps": exact(evaluation.steps.share),
        "ttft_s": exact(evaluation.ttft_s),
        "tpot_s": exact(evaluation.tpot_s),
        "queue_s": exact(evaluation.queue_s),
        "request_capacity_per_s": exact(evaluation.request_capacity),
        "throughput_tokens_per_s": exact(evaluation.throughput),
    }


def statement(
    problem: Problem,
    lattice: dict[str, Any],
    kind: str,
    best: Scored | None,
    evaluation: Evaluation | None,
    *,
    bound: Fraction | None = None,
    top: Sequence[Scored] = (),
    placements: Sequence[dict[str, Any]] = (),
    trusted: Sequence[str] = (),
) -> dict[str, Any]:
    """The certificate of an answer.

    Parameters
    ----------
    lattice
        Axes and counts, as `optimizer.certificate.meshes.MeshCount.to_json` gives them.
    kind
        ``optimal``, ``infeasible`` or ``feasible``.
    best, evaluation
        The layout and its exact figures; None where nothing fits.
    bound
        Exact bound on the objective; None where only the search knows one, or nothing fits.
    top
        Further layouts in order, where more than one was asked for.
    placements
        What was placed, with witnesses.
    """
    claim = {
        "schema": SCHEMA,
        "kind": kind,
        "problem_digest": problem.digest,
        **slotted(best.layout if best else None),
        "objective": {
            "name": problem.objective_row.unit,
            "value": exact(best.value) if best else None,
            "bound": exact(bound),
        },
        "tolerance": exact(tolerance_of(problem)),
        "figures": figures_statement(evaluation) if evaluation else None,
        "lattice": lattice,
        "top": [slotted(scored.layout) | {"value": exact(scored.value)} for scored in top],
        "placements": list(placements),
        "solver_trusted": list(trusted),
    }
    return sealed(claim)


def sealed(claim: dict[str, Any]) -> dict[str, Any]:
    """A certificate with its digest: SHA-256 over all its other keys as canonical JSON."""
    body = {key: value for key, value in claim.items() if key != "digest"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return body | {"digest": "sha256:" + hashlib.sha256(text.encode()).hexdigest()}

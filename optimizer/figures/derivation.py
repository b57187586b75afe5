"""Every figure of a layout with its derivation, and the same figures as the JSON that results carry."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from optimizer.domain.layout import Layout
from optimizer.domain.limits import LATENCIES, PERCENTILES
from optimizer.domain.objectives import OBJECTIVES
from optimizer.domain.problem import Problem
from optimizer.figures import derivation_counts as counts
from optimizer.figures import derivation_serving as serving
from optimizer.figures.derivation_figure import Figure, Sheet
from optimizer.figures.derivation_memory import PARTS, memory
from optimizer.figures.objective import value_of
from optimizer.figures.rates import ceil_fraction, ideal_rates
from optimizer.figures.room import engines_that_run
from optimizer.figures.serving import Evaluation, evaluate
from optimizer.units import plain

__all__ = ["Figure", "derive", "figures_json"]


def derive(problem: Problem, layout: Layout, evaluation: Evaluation) -> dict[str, Figure]:
    """Every figure by name.

    Parameters
    ----------
    evaluation
        The layout, priced.
    """
    ideal = evaluate(problem, layout, rates=ideal_rates(problem.priced_hardware))
    sheet = Sheet()
    counts.degrees(sheet, problem, evaluation)
    counts.parameters(sheet, problem.model)
    counts.experts(sheet, problem, evaluation)
    memory(sheet, problem, evaluation)
    serving.times(sheet, problem, evaluation, ideal)
    serving.rates(sheet, problem, evaluation, ideal)
    serving.traffic(sheet, problem, evaluation)
    serving.utilization(sheet, problem, evaluation)
    _objectives(sheet, problem, evaluation)
    return sheet


def _objectives(sheet: Sheet, problem: Problem, evaluation: Evaluation) -> None:
    """The values of objectives that no figure above is."""
    for row in OBJECTIVES.values():
        value = None if row.unit in sheet or row.untold(problem) else value_of(row, problem, evaluation)
        if value is None:
            continue
        scale = row.scale_of(problem)
        level, factor, offset = scale.level(value), scale.factor, scale.offset
        numbers = (factor, level) if scale.quotient else (level, factor)
        sign = "÷" if scale.quotient else "·"
        added = f" + {float(offset):,.6g}" if offset else ""
        sheet.put(
            row.unit, value, row.dimension,
            f"factor ÷ {scale.measure.value}" if scale.quotient else f"{scale.measure.value} · factor",
            f"{sign.join(f' {float(number):,.6g} ' for number in numbers).strip()}{added}",
            inputs={"factor": factor, "level": level, "offset": offset},
        )  # fmt: skip


_TOP = (
    "parameters",
    "active_parameters",
    "memory_bytes",
    "ttft_s",
    "tpot_s",
    "throughput_tokens_per_s",
    "throughput_per_device_tokens_per_s",
    "request_capacity_per_s",
    "goodput_per_s",
    "place_wait_chance",
    "place_wait_s",
    "idle_devices",
    *(f"{name}_p{share}_s" for name in LATENCIES for share in PERCENTILES),
    "latency_s",
    "closed_loop_tokens_per_s",
    "concurrency",
    "step_time_s",
    "cost_dollars_per_million_tokens",
    "experts_resident_per_layer",
    "expert_instances",
    "expert_equivalents",
    "kv_cache_bytes_per_token",
    "kv_cache_room_bytes",
    "kv_cache_tokens",
    "max_concurrency",
    "longest_context_tokens",
    "sequences_in_prefill",
    "running_sequences",
)
_BESIDE = frozenset({"devices", "memory_headroom_bytes"})
"""Objectives of which the layout, and what it holds, tell in a result."""
_ALWAYS = frozenset(_TOP[:7])
_QUEUED = frozenset({"latency_s", "concurrency", *(f"ttft_p{share}_s" for share in PERCENTILES)})
"""What nothing is where the queue grows without end."""


def figures_json(
    problem: Problem, layout: Layout, evaluation: Evaluation, figures: dict[str, Figure] | None = None
) -> dict[str, Any]:
    """``figures`` of a result: sizes in whole bytes, traffic rounded up; a figure that the phase lacks is null.

    Parameters
    ----------
    figures
        What `derive` gave, where the caller has it already.
    """
    derived = derive(problem, layout, evaluation) if figures is None else figures
    values: dict[str, Any] = {
        name: plain(derived[name].value) if name in derived else None
        for name in _TOP
        if name in derived or name in _ALWAYS or (evaluation.endless and name in _QUEUED)
    }
    own = (row.unit for row in OBJECTIVES.values() if row.unit in derived and row.unit not in _BESIDE.union(_TOP))
    values |= {name: plain(derived[name].value) for name in own}
    values |= {figure.name: plain(figure.value) for figure in problem.workload.figures(evaluation) if figure.told}
    values["engines"] = engines_that_run(problem, evaluation)
    values["memory"] = {part: plain(derived[part].value) for part in PARTS}
    values["traffic"] = {
        f"{axis}_bytes": ceil_fraction(Fraction(derived[f"{axis}_bytes"].value)) for axis in serving.AXES
    }
    tiers = [tier.name for tier in problem.hardware.tiers]
    values["traffic"]["tiers"] = {name: {"bytes_per_s": plain(derived[f"{name}_bytes_per_s"].value)} for name in tiers}
    values["utilization"] = {
        "memory": plain(derived["memory_utilization"].value),
        "compute": plain(derived["compute_utilization"].value),
        "hbm_bandwidth": plain(derived["hbm_utilization"].value),
        "links": {name: plain(derived[f"{name}_utilization"].value) for name in tiers},
    }
    values["bounds"] = {
        name: plain(bound) for name in _TOP if name in derived and (bound := derived[name].bound) is not None
    }
    return values

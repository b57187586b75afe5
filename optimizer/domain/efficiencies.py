"""The efficiencies of the cost model that may be wrong, and a problem with some of them multiplied."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from optimizer.domain.hardware import HardwareSpec, Measured, MeasuredTime
from optimizer.domain.problem import Problem
from optimizer.domain.variation import changed

EFFICIENCIES = ("hbm", "attention_hbm", "compute", "links", "latency", "launch")
"""What is uncertain; `compute` is every number format and attention's, `links` and `latency` every tier."""

PRECISION = Fraction(1, 128)
"""Thresholds are found to this much of the efficiency's own value."""

LARGEST_CHANGE = 2
"""Thresholds are sought between half and twice each efficiency."""

Factors = tuple[tuple[str, Fraction], ...]
"""Efficiencies by name, each with what multiplies it."""


def _scaled(measured: Measured, factor: Fraction) -> Measured:
    return measured.model_copy(update={"value": min(Fraction(1), measured.value * factor)})


def _slower(measured: MeasuredTime, factor: Fraction) -> MeasuredTime:
    return measured.model_copy(update={"value": measured.value * factor})


def with_factors(problem: Problem, factors: Factors) -> Problem:
    """A copy whose efficiencies are multiplied; shares of a peak end at 1."""
    own = dict(factors)
    hardware: HardwareSpec = problem.hardware
    efficiency, tiers = hardware.efficiency, hardware.tiers
    update: dict[str, Any] = {n: _scaled(getattr(efficiency, n), own[n]) for n in ("hbm", "attention_hbm") if n in own}
    if "compute" in own:
        update["compute"] = {name: _scaled(m, own["compute"]) for name, m in efficiency.compute.items()}
        update["attention_compute"] = _scaled(efficiency.attention_compute, own["compute"])
    if "launch" in own:
        update["launch"] = _slower(efficiency.launch, own["launch"])
    if "links" in own:
        tiers = tuple(t.model_copy(update={"efficiency": _scaled(t.efficiency, own["links"])}) for t in tiers)
    if "latency" in own:
        tiers = tuple(t.model_copy(update={"latency": _slower(t.latency, own["latency"])}) for t in tiers)
    new = hardware.model_copy(update={"efficiency": efficiency.model_copy(update=update), "tiers": tiers})
    return changed(problem, hardware=new)

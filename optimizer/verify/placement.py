"""What an expert placement does to a layout: redundant slots, the hottest device of each layer, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from optimizer.errors import SpecError
from optimizer.families import Family
from optimizer.figures.placement import violations as placement_violations
from optimizer.spec.layout import Layout
from optimizer.spec.problem import Problem
from optimizer.verify.violation import Violation


@dataclass(frozen=True, slots=True)
class Placed:
    """A placement as it enters the figures.

    Attributes
    ----------
    redundant
        Physical experts of a layer beyond the routed ones.
    imbalance
        Hottest device's load ÷ mean of each layer of the main stack, as the placement states it; None: balanced.
    """

    redundant: int
    imbalance: tuple[Fraction, ...] | None
    violations: tuple[Violation, ...]


def _devices(layer: Mapping[str, Any]) -> Sequence[Sequence[int]]:
    found = layer.get("devices")
    if not isinstance(found, Sequence) or not all(
        isinstance(held, Sequence) and all(isinstance(expert, int) for expert in held) for held in found
    ):
        raise SpecError("layout.placement.layers: devices must be lists of expert numbers")
    return found


def placed_experts(problem: Problem, layout: Layout, placement: Mapping[str, Any]) -> Placed:
    """Read a placement of a result.

    Raises
    ------
    SpecError
        It is no placement: keys are missing, or layers are not layers with experts.
    """
    slots, layers = placement.get("slots_per_device"), placement.get("layers")
    moe = problem.model.moe
    if not isinstance(slots, int) or not isinstance(layers, Sequence) or moe is None:
        raise SpecError("layout.placement: slots_per_device and layers of a model with experts are wanted")
    model = problem.model
    experts = {i: m.experts for i, name in enumerate(model.layer_names) if (m := model.blocks[name].moe) is not None}
    imbalance = [Fraction(1)] * problem.model.layer_count
    found: list[Violation] = []
    for layer in layers:
        number = layer.get("layer") if isinstance(layer, Mapping) else None
        if not isinstance(number, int) or number not in experts:
            raise SpecError(f"layout.placement.layers: {number} is no layer with experts")
        wrong = placement_violations(_devices(layer), experts[number], layout.ep, slots)
        found += (Violation(Family.PLACEMENT, f"layer {number}: {message.split(') ', 1)[-1]}") for message in wrong)
        stated = layer.get("max_over_mean")
        if isinstance(stated, int | float | str):
            imbalance[number] = Fraction(str(stated))
    return Placed(slots * layout.ep - moe.experts, tuple(imbalance), tuple(found))

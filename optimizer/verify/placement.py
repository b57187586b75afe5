"""What an expert placement does to a layout: redundant slots, the hottest device of each layer, and what is wrong.

Balance is derived from the problem's measured loads. A layout without a placement is judged with the experts in order
of their ids, which is how engines lay them out unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from optimizer.domain.families import Family
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.errors import SpecError
from optimizer.figures.derivation_figure import Figure, Sheet
from optimizer.figures.locality import nodes_visited
from optimizer.figures.placement import (
    CVAR_TAIL,
    Devices,
    aggregate,
    linear_placement,
    max_over_mean,
    moves,
    split_device_loads,
)
from optimizer.figures.placement import violations as placement_violations
from optimizer.figures.skew import load_weights, placeable
from optimizer.units import Dimension, parse_fraction
from optimizer.verify.violation import Violation


@dataclass(frozen=True, slots=True)
class Placed:
    """A placement as it enters the figures.

    Attributes
    ----------
    redundant
        Physical experts of a layer beyond the routed ones.
    imbalance
        Hottest device's load ÷ mean of each layer of the main stack; None: nothing was measured, so balanced.
    """

    redundant: int
    imbalance: tuple[Fraction, ...] | None
    violations: tuple[Violation, ...]


def _devices(layer: Mapping[str, Any]) -> Sequence[Sequence[int]]:
    listed = layer.get("devices")
    if not isinstance(listed, Sequence) or not all(
        isinstance(experts, Sequence) and all(isinstance(expert, int) for expert in experts) for experts in listed
    ):
        raise SpecError("layout.placement.layers: devices must be lists of expert numbers")
    return listed


def placed_experts(problem: Problem, layout: Layout, placement: Mapping[str, Any]) -> Placed:
    """Read a placement of a result, or one that somebody proposes.

    Raises
    ------
    SpecError
        It is no placement: keys are missing, or layers are not layers with experts.
    """
    slots, layers = placement.get("slots_per_device"), placement.get("layers")
    model, moe = problem.model, problem.model.moe
    if type(slots) is not int or not isinstance(layers, Sequence) or moe is None:
        raise SpecError("layout.placement: slots_per_device and layers of a model with experts are wanted")
    moe_layers = problem.model.moe_layers
    imbalance = [Fraction(1)] * model.layer_count
    node_size, groups = _nodes(problem, layout)
    broken: list[Violation] = []
    for layer in layers:
        number = layer.get("layer") if isinstance(layer, Mapping) else None
        if type(number) is not int or number not in moe_layers:
            raise SpecError(f"layout.placement.layers: {number} is no layer with experts")
        devices = _devices(layer)
        wrong = placement_violations(devices, moe.experts, layout.ep, slots, node_size=node_size, groups=groups)
        broken += (Violation(Family.PLACEMENT, f"layer {number}: {message.split(') ', 1)[-1]}") for message in wrong)
        if not wrong:
            imbalance[number] = _balance(problem, moe_layers.index(number), devices, layer.get("shares"))
    redundant = max(0, slots * layout.ep - moe.experts)
    return Placed(redundant, tuple(imbalance) if problem.expert_loads else None, tuple(broken))


def placed_in_order(problem: Problem, layout: Layout) -> Placed | None:
    """The placement that engines start from; None where nothing was measured or the slots do not divide."""
    moe = problem.model.moe
    if moe is None or not problem.expert_loads or not placeable(problem, layout.shape):
        return None
    if layout.ep > moe.experts + layout.redundant_slots:
        return None
    devices = linear_placement(moe.experts, layout.ep, (moe.experts + layout.redundant_slots) // layout.ep)
    imbalance = [Fraction(1)] * problem.model.layer_count
    for index, number in enumerate(problem.model.moe_layers):
        imbalance[number] = _balance(problem, index, devices, None)
    return Placed(layout.redundant_slots, tuple(imbalance), ())


def _nodes(problem: Problem, layout: Layout) -> tuple[int | None, int | None]:
    """Devices of a node and router groups, or of a rack, where the problem wants groups kept there."""
    moe, size = problem.model.moe, problem.group_domain(layout.ep)
    if moe is None or size is None:
        return None, None
    return size, moe.group_count


def _balance(problem: Problem, index: int, devices: Devices, shares: object) -> Fraction:
    """Hottest device ÷ mean over the problem's loads, put together as its `robust` says."""
    if not problem.expert_loads:
        return Fraction(1)
    values = [balance_under(load.rows[index], devices, shares) for load in problem.expert_loads]
    experts = problem.experts
    return aggregate(values, load_weights(problem), experts.robust if experts else "worst", CVAR_TAIL)


def balance_under(row: Sequence[int], devices: Devices, shares: object) -> Fraction:
    """Hottest device ÷ mean under one load, split evenly over copies or by `shares`."""
    if shares is None or not sum(row):
        return max_over_mean(row, devices)
    try:
        parts = [[parse_fraction(str(part)) for part in device_shares] for device_shares in shares]  # type: ignore[attr-defined]
        loads = split_device_loads(row, devices, parts)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise SpecError(f"layout.placement.layers: shares cannot be read: {error}") from None
    return max(loads) * len(devices) / sum(row)


def placement_figures(problem: Problem, layout: Layout, placement: Mapping[str, Any]) -> dict[str, Figure]:
    """Figures of a placement that `placed_experts` has read without objection."""
    sheet = Sheet()
    layers = problem.model.moe_layers
    placed = {layer["layer"]: layer for layer in placement["layers"] if layer["layer"] in layers}
    for index, number in enumerate(layers):
        if number not in placed:
            continue
        layer = placed[number]
        for load, measured in enumerate(problem.expert_loads):
            sheet.put(
                f"balance_of_layer_{number}_under_load_{load}",
                balance_under(measured.rows[index], layer["devices"], layer.get("shares")),
                Dimension.RATIO,
                f"hottest device's load ÷ mean load, under {measured.name}",
            )
    if len(placed) == len(layers):
        devices = [placed[number]["devices"] for number in layers]
        _visits(sheet, problem, layout, layers, devices)
        _moves(sheet, problem, devices)
    return sheet


def _visits(sheet: Sheet, problem: Problem, layout: Layout, layers: Sequence[int], devices: Sequence[Devices]) -> None:
    """Nodes that experts chosen together lie on, copies chosen for the fewest."""
    coactivation, moe = problem.coactivation, problem.model.moe
    if coactivation is None or moe is None:
        return
    size = min(problem.hardware.devices_per_node, layout.ep)
    visits: list[Fraction] = []
    for index, number in enumerate(layers):
        groups = coactivation.groups(index, moe.experts)
        nodes, group_count = nodes_visited(groups, devices[index], moe.experts, size), max(1, sum(g[0] for g in groups))
        visits.append(Fraction(nodes, group_count))
        sheet.put(
            f"nodes_visited_of_layer_{number}", visits[-1], Dimension.RATIO,
            f"nodes that groups of {coactivation.name} visit ÷ groups", f"{nodes:,} ÷ {group_count:,}",
        )  # fmt: skip
    sheet.put("nodes_visited", sum(visits, Fraction(0)) / len(visits), Dimension.RATIO, "mean over MoE layers")
    sheet.put("worst_nodes_visited", max(visits), Dimension.RATIO, "max over MoE layers")


def _moves(sheet: Sheet, problem: Problem, devices: Sequence[Devices]) -> None:
    before = problem.current_placement
    if before is None or any(len(old) != len(new) for old, new in zip(before, devices, strict=True)):
        return
    layer_moves = [moves(old, new) for old, new in zip(before, devices, strict=True)]
    formula = "Σ layers of experts that a device must load to leave the placement in service"
    sheet.count("moves", sum(layer_moves), formula)

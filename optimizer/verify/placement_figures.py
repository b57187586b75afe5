"""Figures of a placement that only claims ask for: each load alone, nodes visited, experts loaded anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.figures.derivation_figure import Figure, Sheet
from optimizer.figures.locality import nodes_visited
from optimizer.figures.placement import Devices, moves
from optimizer.units import Dimension
from optimizer.verify.placement import balance_under, moe_layers_of


def placement_figures(problem: Problem, layout: Layout, placement: Mapping[str, Any]) -> dict[str, Figure]:
    """Figures of a placement that `placed_experts` has read without objection."""
    sheet = Sheet()
    layers = moe_layers_of(problem)
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
    given, moe = problem.coactivation, problem.model.moe
    if given is None or moe is None:
        return
    size = min(problem.hardware.devices_per_node, layout.ep)
    visits: list[Fraction] = []
    for index, number in enumerate(layers):
        groups = given.groups(index, moe.experts)
        nodes, seen = nodes_visited(groups, devices[index], moe.experts, size), max(1, sum(g[0] for g in groups))
        visits.append(Fraction(nodes, seen))
        sheet.put(
            f"nodes_visited_of_layer_{number}", visits[-1], Dimension.RATIO,
            f"nodes that groups of {given.name} visit ÷ groups", f"{nodes:,} ÷ {seen:,}",
        )  # fmt: skip
    sheet.put("nodes_visited", sum(visits, Fraction(0)) / len(visits), Dimension.RATIO, "mean over MoE layers")
    sheet.put("worst_nodes_visited", max(visits), Dimension.RATIO, "max over MoE layers")


def _moves(sheet: Sheet, problem: Problem, devices: Sequence[Devices]) -> None:
    before = problem.current_placement
    if before is None or any(len(old) != len(new) for old, new in zip(before, devices, strict=True)):
        return
    each = [moves(old, new) for old, new in zip(before, devices, strict=True)]
    formula = "Σ layers of experts that a device must load to leave the placement in service"
    sheet.count("moves", sum(each), formula)

"""Expert placements in a certificate: each checked with its witnesses, and what they prove of the layers' balance."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from optimizer.certificate.placement import check_placement
from optimizer.certificate.reading import keys
from optimizer.certificate.statement import allowance_of, tolerance_of
from optimizer.certificate.verdict import Check, Rejected, brief, equal
from optimizer.certificate.witness_forms import check_rational, check_visits, check_witness
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.placement import CVAR_TAIL, max_over_mean, moves, split_device_loads
from optimizer.figures.skew import Skews, StageMesh, load_weights, placeable

_ENTRY = frozenset({"ep", "redundant", "placement", "certificate"})
_LAYER = frozenset({"layer", "max_over_mean", "bound", "witness"})


def placements(problem: Problem, claim: dict[str, Any], check: Check) -> tuple[Skews, Skews]:
    """Check every placement of a certificate.

    Returns
    -------
    tuple
        What the placements reach, and what their witnesses prove that no placement goes below.
    """
    reached: dict[StageMesh, Any] = {}
    proved: dict[StageMesh, Any] = {}
    entries = claim["placements"]
    if not isinstance(entries, list) or (entries and not problem.expert_loads):
        raise Rejected("certificate.placements", "placements without measured loads")
    for number, entry in enumerate(entries):
        item = f"certificate.placements[{number}]"
        keys(item, entry, _ENTRY)
        mesh = mesh_of(entry, item)
        if mesh in reached:
            raise Rejected(item, "placed before")
        if not placeable(problem, Shape(1, 1, 1, mesh[0], 1, mesh[1])):
            raise Rejected(item, f"{mesh[1]} redundant slots do not divide over ep={mesh[0]}")
        layers, trusted = placed_layers(problem, mesh, entry, item)
        check.solver_trusted += [f"placement of layer {layer} on ep={mesh[0]}" for layer in trusted]
        reached[mesh] = [Fraction(layer["max_over_mean"]) for layer in layers]
        proved[mesh] = [Fraction(layer["bound"]) for layer in layers]
    if entries:
        check.checked.append("placements: slots, copies, balance and bounds")
    return Skews(problem, reached), Skews(problem, proved)


def placed_layers(
    problem: Problem, mesh: StageMesh, entry: dict[str, Any], item: str
) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
    """Check the `placement` of an entry against its `certificate`, both against the problem.

    Parameters
    ----------
    item
        Where the entry stands; "" for the document itself.

    Returns
    -------
    tuple
        Layers of the certificate, and those whose bound rests on the solver's word.
    """
    prefix = item + "." if item else ""
    layers = _terms(problem, mesh, entry["certificate"], prefix + "certificate")
    try:
        outcome = check_placement(
            [load.rows for load in problem.expert_loads],
            entry["certificate"],
            entry["placement"],
            groups_of(problem),
            problem.current_placement if problem.current_mesh == mesh else None,
        )
        if not outcome.accepted:
            raise Rejected(f"{item or 'placement'}.layer {outcome.layer}", str(outcome.reason))
        equal(prefix + "placement", entry["placement"], _written(problem, mesh, entry["placement"], layers))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
        raise Rejected(item or "placement", f"cannot be read: {brief(error)}") from None
    return layers, outcome.solver_trusted


def groups_of(problem: Problem) -> list[list[tuple[int, ...]]] | None:
    """Co-activated experts of each MoE layer, where the problem has them."""
    measured, moe = problem.coactivation, problem.model.moe
    if measured is None or moe is None:
        return None
    return [measured.groups(layer, moe.experts) for layer in range(problem.model.moe_layer_count)]


def mesh_of(entry: dict[str, Any], item: str) -> StageMesh:
    """Ep and redundant slots of a placement."""
    ep, redundant = entry["ep"], entry["redundant"]
    if type(ep) is not int or type(redundant) is not int or not 1 <= ep <= 10**6 or not 0 <= redundant <= 10**6:
        raise Rejected(item, "ep and redundant are not counts")
    return ep, redundant


def _terms(problem: Problem, mesh: StageMesh, stated: object, item: str) -> list[dict[str, Any]]:
    """What a placement must be made for: this problem's mesh and objective over its loads. Returns its layers."""
    options, moe = problem.experts, problem.model.moe
    if moe is None:
        raise Rejected(item, "a placement for a model without experts")
    size = problem.group_domain(mesh[0])
    slots = moe.experts + mesh[1]
    expected = {
        "devices": mesh[0],
        "slots_per_device": -(-slots // mesh[0]),
        "node_size": size,
        "groups": None if size is None else moe.group_count,
        "hierarchy": "free" if size is None else "node",
        "robust": options.robust if options else "worst",
        "weights": [str(weight) for weight in load_weights(problem)],
        "cvar_tail": str(CVAR_TAIL),
        "split": options.split if options else "even",
        "tolerance": str(tolerance_of(problem)),
    }
    if slots % mesh[0]:
        expected["empty_slots"] = -slots % mesh[0]
    if options is not None and options.max_moves is not None and problem.current_mesh == mesh:
        expected |= {"max_moves": options.max_moves}
    if problem.coactivation is not None:
        expected |= {
            "coactivation": problem.coactivation.measure,
            "locality_node_size": min(problem.hardware.devices_per_node, mesh[0]),
            "balance_allowance": str(allowance_of(problem)),
        }
    terms = keys(item, stated, frozenset({*expected, "layers"}))
    equal(item, {name: terms[name] for name in expected}, expected)
    ids, layers = problem.model.moe_layers, terms["layers"]
    if not isinstance(layers, list) or len(layers) != len(ids):
        raise Rejected(item + ".layers", f"not the {len(ids)} layers with experts")
    for at, (number, layer) in enumerate(zip(ids, layers, strict=True)):
        place = f"{item}.layers[{at}]"
        keys(place, layer, _LAYER if problem.coactivation is None else _LAYER | {"visits"})
        if problem.coactivation is not None:
            check_visits(place + ".visits", layer["visits"])
        equal(place + ".layer", layer["layer"], number)
        check_rational(place + ".max_over_mean", layer["max_over_mean"])
        check_rational(place + ".bound", layer["bound"])
        check_witness(place + ".witness", layer["witness"])
    return layers


def _written(problem: Problem, mesh: StageMesh, stated: dict[str, Any], layers: list[dict[str, Any]]) -> dict[str, Any]:
    """The placement as it must be written, given where it puts the experts and what its certificate says of them."""
    entries, tolerance, moved = [], tolerance_of(problem), []
    groups = groups_of(problem)
    values: list[list[float]] = [[] for _ in problem.expert_loads]
    current = problem.current_placement if problem.current_mesh == mesh else None
    for number, (layer, answer) in enumerate(zip(layers, stated["layers"], strict=True)):
        devices, value, bound = answer["devices"], Fraction(layer["max_over_mean"]), Fraction(layer["bound"])
        listed = isinstance(devices, list) and all(isinstance(experts, list) for experts in devices)
        if not listed or not all(type(expert) is int for experts in devices for expert in experts):
            raise Rejected(f"layer {layer['layer']}", "experts are not all numbered")
        entry: dict[str, Any] = {
            "layer": layer["layer"], "devices": devices, "max_over_mean": float(value), "bound": float(bound),
            "gap": float(value - bound), "proved": value - bound <= tolerance,
        }  # fmt: skip
        if problem.experts is not None and problem.experts.split == "free":
            entry["shares"] = [[str(Fraction(part)) for part in parts] for parts in _shares(answer)]
        if groups is not None:
            group_count, visits = max(1, sum(group[0] for group in groups[number])), layer["visits"]
            entry["nodes_visited"] = {"mean": visits["nodes"] / group_count, "bound": visits["bound"] / group_count}
        entries.append(entry)
        for at, load in enumerate(problem.expert_loads):
            values[at].append(float(balance(load.rows[number], answer)))
        if current is not None:
            moved.append(moves(current[number], devices))
    budget = problem.experts.max_moves if problem.experts is not None else None
    if budget is not None and any(count > budget for count in moved):
        raise Rejected("placement.moves", f"{max(moved)} experts of a layer move, {budget} may")
    names = [load.name for load in problem.expert_loads]
    return {
        "slots_per_device": len(stated["layers"][0]["devices"][0]),
        "tolerance": float(tolerance),
        "layers": entries,
        "workloads": [{"name": name, "max_over_mean": balances} for name, balances in zip(names, values, strict=True)],
        "moves": sum(moved) if current is not None else None,
    }


def _shares(answer: dict[str, Any]) -> list[list[str]]:
    """Parts of the load that slots carry, as text that is a rational."""
    shares: list[list[str]] = answer["shares"]
    for parts in shares:
        for part in parts:
            check_rational("shares", part)
    return shares


def balance(row: Sequence[int], answer: dict[str, Any]) -> Fraction:
    """Hottest device over mean under one load."""
    if "shares" not in answer or not sum(row):
        return max_over_mean(row, answer["devices"])
    shares = [[Fraction(part) for part in parts] for parts in _shares(answer)]
    loads = split_device_loads(row, answer["devices"], shares)
    return max(loads) * len(loads) / sum(row)


def placement_of(claim: dict[str, Any], layout: Layout) -> object:
    """The placement of a certificate on a layout's expert mesh; None where it has none."""
    for entry in claim["placements"]:
        if (entry["ep"], entry["redundant"]) == (layout.ep, layout.redundant_slots):
            placement: object = entry["placement"]
            return placement
    return None

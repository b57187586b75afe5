"""Expert placements in a certificate: each checked with its witnesses, and what they prove of the layers' balance."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from optimizer.certificate.placement import check_placement
from optimizer.certificate.reading import keys
from optimizer.certificate.statement import allowance_of, tolerance_of
from optimizer.certificate.verdict import Check, Rejected, brief, equal
from optimizer.domain.problem import Problem
from optimizer.figures.placement import max_over_mean, moves, split_device_loads
from optimizer.figures.robust import CVAR_TAIL
from optimizer.figures.shape import Shape
from optimizer.figures.skew import Mesh, Skews, load_weights, placeable

_ENTRY = frozenset({"ep", "redundant", "placement", "certificate"})
_LAYER = frozenset({"layer", "max_over_mean", "bound", "witness"})
_VISITS = frozenset({"nodes", "bound", "witness"})
_VISITS_WITNESS = {"partners": frozenset({"kind", "price"}), "solver": frozenset({"kind"})}
_WITNESS = {
    "average": frozenset({"kind"}),
    "count": frozenset({"kind", "threshold"}),
    "topj": frozenset({"kind", "heaviest"}),
    "pairing": frozenset({"kind", "threshold", "values", "cases"}),
    "price": frozenset({"kind", "threshold", "sizes", "prices"}),
    "hierarchical": frozenset({"kind"}),
    "scenario": frozenset({"kind", "bounds"}),
    "envelope": frozenset({"kind", "threshold"}),
    "combination": frozenset({"kind", "parts", "bound"}),
    "relief": frozenset({"kind", "devices"}),
    "relieved": frozenset({"kind", "devices", "threshold"}),
    "laying": frozenset({"kind"}),
    "solver": frozenset({"kind", "checked"}),
}
"""Keys of a witness by its kind; see `certificate.placement` for what each proves."""

_SPLIT, _REFUTED = frozenset({"expert", "copies", "at_most", "more"}), frozenset({"price", "points"})
_Read = Callable[[str, object], None]
_RATIONAL = re.compile(r"-?[0-9]{1,4000}(?:/[0-9]{1,4000})?")


def placements(problem: Problem, claim: dict[str, Any], check: Check) -> tuple[Skews, Skews]:
    """Check every placement of a certificate.

    Returns
    -------
    tuple
        What the placements reach, and what their witnesses prove that no placement goes below.
    """
    reached: dict[Mesh, Any] = {}
    proved: dict[Mesh, Any] = {}
    entries = claim["placements"]
    if not isinstance(entries, list) or (entries and not problem.expert_loads):
        raise Rejected("certificate.placements", "placements without measured loads")
    for number, entry in enumerate(entries):
        item = f"certificate.placements[{number}]"
        keys(item, entry, _ENTRY)
        mesh = _mesh(problem, entry, item)
        if mesh in reached:
            raise Rejected(item, "placed before")
        layers = _terms(problem, mesh, entry["certificate"], item)
        try:
            outcome = check_placement(
                [load.rows for load in problem.expert_loads],
                entry["certificate"],
                entry["placement"],
                _groups(problem),
                problem.current_placement if problem.current_mesh == mesh else None,
            )
            if not outcome.accepted:
                raise Rejected(f"{item}.layer {outcome.layer}", str(outcome.reason))
            equal(item + ".placement", entry["placement"], _written(problem, mesh, entry["placement"], layers))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
            raise Rejected(item, f"cannot be read: {brief(error)}") from None
        check.solver_trusted += [f"placement of layer {layer} on ep={mesh[0]}" for layer in outcome.solver_trusted]
        reached[mesh] = [Fraction(layer["max_over_mean"]) for layer in layers]
        proved[mesh] = [Fraction(layer["bound"]) for layer in layers]
    if entries:
        check.checked.append("placements: slots, copies, balance and bounds")
    return Skews(problem, reached), Skews(problem, proved)


def _groups(problem: Problem) -> list[list[tuple[int, ...]]] | None:
    """Co-activated experts of each MoE layer, where the problem has them."""
    given, moe = problem.coactivation, problem.model.moe
    if given is None or moe is None:
        return None
    return [given.groups(layer, moe.experts) for layer in range(problem.model.moe_layer_count)]


def _mesh(problem: Problem, entry: dict[str, Any], item: str) -> Mesh:
    ep, redundant = entry["ep"], entry["redundant"]
    if type(ep) is not int or type(redundant) is not int or not 1 <= ep <= 10**6 or not 0 <= redundant <= 10**6:
        raise Rejected(item, "ep and redundant are not counts")
    if not placeable(problem, Shape(1, 1, 1, ep, 1, redundant)):
        raise Rejected(item, f"{redundant} redundant slots do not divide over ep={ep}")
    return ep, redundant


def _terms(problem: Problem, mesh: Mesh, stated: object, item: str) -> list[dict[str, Any]]:
    """What a placement must be made for: this problem's mesh and objective over its loads. Returns its layers."""
    own, moe, item = problem.experts, problem.model.moe, item + ".certificate"
    if moe is None:
        raise Rejected(item, "a placement for a model without experts")
    size = problem.group_domain(mesh[0])
    expected = {
        "devices": mesh[0],
        "slots_per_device": (moe.experts + mesh[1]) // mesh[0],
        "node_size": size,
        "groups": None if size is None else moe.group_count,
        "hierarchy": "free" if size is None else "node",
        "robust": own.robust if own else "worst",
        "weights": [str(weight) for weight in load_weights(problem)],
        "cvar_tail": str(CVAR_TAIL),
        "split": own.split if own else "even",
        "tolerance": str(tolerance_of(problem)),
    }
    if own is not None and own.max_moves is not None and problem.current_mesh == mesh:
        expected |= {"max_moves": own.max_moves}
    if problem.coactivation is not None:
        expected |= {
            "coactivation": problem.coactivation.measure,
            "locality_node_size": min(problem.hardware.devices_per_node, mesh[0]),
            "balance_allowance": str(allowance_of(problem)),
        }
    found = keys(item, stated, frozenset({*expected, "layers"}))
    equal(item, {name: found[name] for name in expected}, expected)
    names = problem.model.layer_names
    ids = [number for number, name in enumerate(names) if problem.model.blocks[name].moe is not None]
    layers = found["layers"]
    if not isinstance(layers, list) or len(layers) != len(ids):
        raise Rejected(item + ".layers", f"not the {len(ids)} layers with experts")
    for at, (number, layer) in enumerate(zip(ids, layers, strict=True)):
        place = f"{item}.layers[{at}]"
        keys(place, layer, _LAYER if problem.coactivation is None else _LAYER | {"visits"})
        if problem.coactivation is not None:
            _visits(place + ".visits", layer["visits"])
        equal(place + ".layer", layer["layer"], number)
        _lowest_terms(place + ".max_over_mean", layer["max_over_mean"])
        _lowest_terms(place + ".bound", layer["bound"])
        _witness(place + ".witness", layer["witness"])
    return layers


def _witness(item: str, stated: object) -> None:
    """The form of a witness: its keys, and numbers that are integers or rationals in lowest terms."""
    kind = stated.get("kind") if isinstance(stated, dict) else None
    found = keys(item, stated, _WITNESS.get(kind if isinstance(kind, str) else "", frozenset({"kind"})))
    for name, read in _FORMS.items():
        if name in found:
            read(f"{item}.{name}", found[name])


def _visits(item: str, stated: object) -> None:
    """The form of what is said of nodes visited."""
    found = keys(item, stated, _VISITS)
    _whole(item + ".nodes", found["nodes"])
    _whole(item + ".bound", found["bound"])
    witness = found["witness"]
    kind = witness.get("kind") if isinstance(witness, dict) else None
    keys(item + ".witness", witness, _VISITS_WITNESS.get(kind if isinstance(kind, str) else "", frozenset({"kind"})))
    if kind == "partners":
        _lowest_terms(item + ".witness.price", witness["price"])


def _whole(item: str, stated: object) -> None:
    if type(stated) is not int or abs(stated) >= 2**63:
        raise Rejected(item, f"{brief(stated)} is not an integer of 64 bits")


def _point(item: str, stated: object) -> None:
    if not isinstance(stated, list) or len(stated) != 2:
        raise Rejected(item, f"{brief(stated)} is not the place of a value with its multiplier")
    _whole(item, stated[0])
    _whole(item, stated[1])


def _cases(item: str, stated: object) -> None:
    todo = [stated]
    while todo:
        case = todo.pop()
        if not isinstance(case, dict):
            raise Rejected(item, f"{brief(case)} is not a case")
        if "expert" in case:
            keys(item, case, _SPLIT)
            _whole(item, case["expert"])
            _whole(item, case["copies"])
            todo += [case["at_most"], case["more"]]
        else:
            keys(item, case, _REFUTED)
            _whole(item, case["price"])
            _each(_point)(item, case["points"])


def _each(read: _Read) -> _Read:
    def read_all(item: str, stated: object) -> None:
        if not isinstance(stated, list):
            raise Rejected(item, f"{brief(stated)} is not a list")
        for number, part in enumerate(stated):
            read(f"{item}[{number}]", part)

    return read_all


def _lowest_terms(item: str, stated: object) -> None:
    if not isinstance(stated, str) or not _RATIONAL.fullmatch(stated) or stated.endswith("/0"):
        raise Rejected(item, f"{brief(stated)} is not a rational")
    if str(Fraction(stated)) != stated:
        raise Rejected(item, f"{brief(stated)} is not in lowest terms")


_FORMS: dict[str, _Read] = {
    "threshold": _lowest_terms,
    "sizes": _each(_lowest_terms),
    "prices": _each(_whole),
    "heaviest": _whole,
    "values": _each(_lowest_terms),
    "cases": _cases,
    "bounds": _each(_witness),
    "parts": _each(_lowest_terms),
    "bound": _witness,
    "checked": _witness,
    "devices": _each(_whole),
}
"""What the fields of a witness hold."""


def _written(problem: Problem, mesh: Mesh, stated: dict[str, Any], layers: list[dict[str, Any]]) -> dict[str, Any]:
    """The placement as it must be written, given where it puts the experts and what its certificate says of them."""
    found, tolerance, moved = [], tolerance_of(problem), []
    groups = _groups(problem)
    values: list[list[float]] = [[] for _ in problem.expert_loads]
    current = problem.current_placement if problem.current_mesh == mesh else None
    for number, (layer, answer) in enumerate(zip(layers, stated["layers"], strict=True)):
        devices, value, bound = answer["devices"], Fraction(layer["max_over_mean"]), Fraction(layer["bound"])
        if not all(type(expert) is int for held in devices for expert in held):
            raise Rejected(f"layer {layer['layer']}", "experts are not all numbered")
        own: dict[str, Any] = {
            "layer": layer["layer"], "devices": devices, "max_over_mean": float(value), "bound": float(bound),
            "gap": float(value - bound), "proved": value - bound <= tolerance,
        }  # fmt: skip
        if problem.experts is not None and problem.experts.split == "free":
            own["shares"] = [[str(Fraction(part)) for part in parts] for parts in _shares(answer)]
        if groups is not None:
            seen, visits = max(1, sum(group[0] for group in groups[number])), layer["visits"]
            own["nodes_visited"] = {"mean": visits["nodes"] / seen, "bound": visits["bound"] / seen}
        found.append(own)
        for at, load in enumerate(problem.expert_loads):
            values[at].append(float(_balance(load.rows[number], answer)))
        if current is not None:
            moved.append(moves(current[number], devices))
    budget = problem.experts.max_moves if problem.experts is not None else None
    if budget is not None and any(count > budget for count in moved):
        raise Rejected("placement.moves", f"{max(moved)} experts of a layer move, {budget} may")
    names = [load.name for load in problem.expert_loads]
    return {
        "slots_per_device": len(stated["layers"][0]["devices"][0]),
        "tolerance": float(tolerance),
        "layers": found,
        "workloads": [{"name": n, "max_over_mean": own} for n, own in zip(names, values, strict=True)],
        "moves": sum(moved) if current is not None else None,
    }


def _shares(answer: dict[str, Any]) -> list[list[str]]:
    """Parts of the load that slots carry, as text that is a rational."""
    shares: list[list[str]] = answer["shares"]
    for parts in shares:
        for part in parts:
            _lowest_terms("shares", part)
    return shares


def _balance(row: tuple[int, ...], answer: dict[str, Any]) -> Fraction:
    """Hottest device over mean under one load."""
    if "shares" not in answer or not sum(row):
        return max_over_mean(row, answer["devices"])
    shares = [[Fraction(part) for part in parts] for parts in _shares(answer)]
    loads = split_device_loads(row, answer["devices"], shares)
    return max(loads) * len(loads) / sum(row)


def placement_of(claim: dict[str, Any], ep: int, redundant: int) -> object:
    """The placement of a certificate on a layout's expert mesh; None where it has none."""
    for entry in claim["placements"]:
        if (entry["ep"], entry["redundant"]) == (ep, redundant):
            found: object = entry["placement"]
            return found
    return None

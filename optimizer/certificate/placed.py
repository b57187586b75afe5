"""Expert placements in a certificate: each checked with its witnesses, and what they prove of the layers' balance."""

from __future__ import annotations

from typing import Any

from optimizer.certificate.balance import rational
from optimizer.certificate.placement import check_placement
from optimizer.certificate.statement import tolerance_of
from optimizer.certificate.verdict import Check, Rejected, equal
from optimizer.figures.placement import moves
from optimizer.figures.robust import CVAR_TAIL
from optimizer.figures.shape import Shape
from optimizer.figures.skew import Mesh, Skews, load_weights, placeable
from optimizer.spec.problem import Problem

_KEYS = frozenset({"ep", "redundant", "placement", "certificate"})


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
        if not isinstance(entry, dict) or entry.keys() != _KEYS:
            raise Rejected(item, "needs ep, redundant, placement and certificate")
        mesh = _mesh(problem, entry, item)
        if mesh in reached:
            raise Rejected(item, "placed before")
        _terms(problem, mesh, entry, item)
        try:
            outcome = check_placement(
                [load.rows for load in problem.expert_loads], entry["certificate"], entry["placement"]
            )
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError) as error:
            raise Rejected(item, f"cannot be read: {error!r}") from None
        if not outcome.accepted:
            raise Rejected(f"{item}.layer {outcome.layer}", str(outcome.reason))
        _moves(problem, mesh, entry["placement"], item)
        check.solver_trusted += [f"placement of layer {layer} on ep={mesh[0]}" for layer in outcome.solver_trusted]
        layers = entry["certificate"]["layers"]
        reached[mesh] = [rational(layer["max_over_mean"]) for layer in layers]
        proved[mesh] = [rational(layer["bound"]) for layer in layers]
    if entries:
        check.checked.append("placements: slots, copies, balance and bounds")
    return Skews(problem, reached), Skews(problem, proved)


def _mesh(problem: Problem, entry: dict[str, Any], item: str) -> Mesh:
    ep, redundant = entry["ep"], entry["redundant"]
    if type(ep) is not int or type(redundant) is not int or not 1 <= ep <= 10**6 or not 0 <= redundant <= 10**6:
        raise Rejected(item, "ep and redundant are not counts")
    if not placeable(problem, Shape(1, 1, 1, ep, 1, redundant)):
        raise Rejected(item, f"{redundant} redundant slots do not divide over ep={ep}")
    return ep, redundant


def _terms(problem: Problem, mesh: Mesh, entry: dict[str, Any], item: str) -> None:
    """A placement must be made for this problem's mesh and objective over its loads."""
    stated, own, moe = entry["certificate"], problem.experts, problem.model.moe
    if not isinstance(stated, dict) or moe is None:
        raise Rejected(item, "not a placement certificate")
    expected = {
        "devices": mesh[0],
        "slots_per_device": (moe.experts + mesh[1]) // mesh[0],
        "robust": own.robust if own else "worst",
        "split": own.split if own else "even",
        "hierarchy": own.hierarchy if own else "free",
        "weights": [str(weight) for weight in load_weights(problem)],
        "cvar_tail": str(CVAR_TAIL),
        "tolerance": str(tolerance_of(problem)),
    }
    if own is not None and own.hierarchy == "node":
        expected |= {"node_size": min(problem.hardware.devices_per_node, mesh[0]), "groups": moe.group_count}
    for name, value in expected.items():
        if stated.get(name) != value:
            raise Rejected(f"{item}.certificate.{name}", f"is {stated.get(name)!r}, should be {value!r}")


def _moves(problem: Problem, mesh: Mesh, placement: dict[str, Any], item: str) -> None:
    """Experts loaded anew are counted right, and no layer loads more than its budget."""
    own, before = problem.experts, problem.current_placement
    if before is None or problem.current_mesh != mesh:
        equal(f"{item}.placement.moves", placement.get("moves"), None)
        return
    counted = [moves(old, new["devices"]) for old, new in zip(before, placement["layers"], strict=True)]
    equal(f"{item}.placement.moves", placement.get("moves"), sum(counted))
    budget = own.max_moves if own else None
    if budget is not None and max(counted) > budget:
        layer = placement["layers"][counted.index(max(counted))]["layer"]
        raise Rejected(f"{item}.layer {layer}", f"loads {max(counted)} experts anew, {budget} are allowed")


def placement_of(claim: dict[str, Any], ep: int, redundant: int) -> object:
    """The placement of a certificate on a layout's expert mesh; None where it has none."""
    for entry in claim["placements"]:
        if (entry["ep"], entry["redundant"]) == (ep, redundant):
            found: object = entry["placement"]
            return found
    return None

"""Checks a placement on a decided expert mesh, ``shardproof/placement/1``: nothing but the document is needed."""

from __future__ import annotations

import json
import time
from typing import Any

from optimizer.certificate.balance import rational
from optimizer.certificate.placement import check_placement
from optimizer.certificate.verdict import Check, Rejected, equal
from optimizer.domain.coactivation import Coactivation
from optimizer.figures.locality import nodes_visited
from optimizer.figures.placement import max_over_mean, moves
from optimizer.figures.robust import aggregate

SCHEMA = "shardproof/placement/1"
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError)


def certify_placement(document: dict[str, Any]) -> Check:
    """Check that balance, bounds and moves of a placement follow from the loads beside it; never raises."""
    started = time.monotonic()
    check = Check()
    try:
        _check(document, check)
        check.accepted = True
    except Rejected as rejection:
        check.reason, check.item = rejection.reason, rejection.item
    except _UNREADABLE as error:
        check.reason, check.item = f"cannot be read: {error!r}", "placement"
    check.wall_s = time.monotonic() - started
    return check


def _check(document: dict[str, Any], check: Check) -> None:
    if document.get("schema") != SCHEMA:
        raise Rejected("schema", f"not a {SCHEMA} document")
    loads = [load["load"] for load in document["loads"]]
    if not loads or any(type(tokens) is not int or tokens < 0 for load in loads for row in load for tokens in row):
        raise Rejected("loads", "not whole numbers of tokens")
    terms, placement = document["certificate"], document["placement"]
    groups = _groups(document, len(loads[0]), len(loads[0][0]))
    before = document["before"]
    in_service = [layer["devices"] for layer in before["layers"]] if before["name"] == "in service" else None
    outcome = check_placement(loads, terms, placement, groups, in_service)
    if not outcome.accepted:
        raise Rejected(f"placement.layer {outcome.layer}", str(outcome.reason))
    check.solver_trusted += [f"placement of layer {layer}" for layer in outcome.solver_trusted]
    check.checked.append("placement: slots, copies, balance and bounds")
    if groups is not None:
        check.checked.append("nodes visited by co-activated experts")
    equal("ep", document["ep"], terms["devices"])
    equal("slots_per_device", document["slots_per_device"], terms["slots_per_device"])
    slots = terms["devices"] * terms["slots_per_device"] - terms.get("empty_slots", 0)
    equal("redundant", document["redundant"], slots - len(loads[0][0]))
    stated = [(rational(layer["max_over_mean"]), rational(layer["bound"])) for layer in terms["layers"]]
    equal("max_over_mean", document["max_over_mean"], float(max(value for value, _ in stated)))
    equal("bound", document["bound"], float(max(bound for _, bound in stated)))
    equal("gap", document["gap"], float(max(value - bound for value, bound in stated)))
    proved = all(layer["proved"] for layer in placement["layers"])
    equal("status", document["status"], "optimal" if proved else "feasible")
    _before(document, loads, groups, check)


def _groups(document: dict[str, Any], layers: int, experts: int) -> list[list[tuple[int, ...]]] | None:
    """Co-activated experts of each layer, where the document has them."""
    written = document.get("coactivation")
    if written is None:
        return None
    given = Coactivation.model_validate_json(json.dumps(written))
    equal("certificate.coactivation", document["certificate"]["coactivation"], given.measure)
    groups = [given.groups(layer, experts) for layer in range(layers)]
    if any(not 0 <= expert < experts for own in groups for _, *chosen in own for expert in chosen):
        raise Rejected("coactivation", "names experts that the loads do not have")
    return groups


def _before(
    document: dict[str, Any], loads: list[Any], groups: list[list[tuple[int, ...]]] | None, check: Check
) -> None:
    terms, placement, before = document["certificate"], document["placement"], document["before"]
    weights = [rational(weight) for weight in terms["weights"]]
    for number, layer in enumerate(before["layers"]):
        values = [max_over_mean(load[number], layer["devices"]) for load in loads]
        value = aggregate(values, weights, terms["robust"], rational(terms["cvar_tail"]))
        equal(f"before.layers[{number}].max_over_mean", layer["max_over_mean"], float(value))
        if groups is not None:
            nodes = nodes_visited(groups[number], layer["devices"], len(loads[0][0]), terms["locality_node_size"])
            seen = max(1, sum(group[0] for group in groups[number]))
            equal(f"before.layers[{number}].nodes_visited", layer["nodes_visited"], nodes / seen)
    counted = None
    if before["name"] == "in service":
        pairs = zip(before["layers"], placement["layers"], strict=True)
        counted = sum(moves(old["devices"], new["devices"]) for old, new in pairs)
    equal("placement.moves", placement["moves"], counted)
    check.checked.append("before: balance, and moves")

"""Checks a placement on a decided expert mesh, ``shardproof/placement/1``, from the problem that it holds."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from optimizer.certificate.placed import balance, groups_of, mesh_of, placed_layers
from optimizer.certificate.question import bind
from optimizer.certificate.reading import keys, problem_of
from optimizer.certificate.verdict import Check, Rejected, brief, count, equal, number
from optimizer.certificate.witness_forms import check_witness
from optimizer.domain.problem import Problem
from optimizer.figures.locality import nodes_visited
from optimizer.figures.placement import Devices, aggregate, linear_placement, max_over_mean, noise_table
from optimizer.figures.placement_bounds.balance import RejectedError, bound_of
from optimizer.figures.skew import StageMesh, load_weights

SCHEMA = "shardproof/placement/1"
_KEYS = frozenset(
    {
        "schema", "problem", "status", "model", "model_layers", "ep", "redundant", "slots_per_device", "max_over_mean",
        "bound", "gap", "before", "placement", "certificate", "loads", "wall_s", "step_tokens", "noise", "hold_out",
        "frontier", "prices",
    }
)  # fmt: skip
_HELD_OUT = frozenset({"name", "load", "before", "after", "bound", "witnesses"})
_MOVED = frozenset({"budget", "moves", "mean", "worst"})
_MOST_TOKENS = 10**15
"""Of a step, as of a measured load."""
_PRICE = frozenset({"varied", "choice", "mean", "worst", "mean_bound", "worst_bound"})


def check_placement_document(document: dict[str, Any], check: Check, asked: Problem | None) -> None:
    """Check a placement document: its placement with every witness, and what stands beside it.

    Raises
    ------
    Rejected
        At the first part that does not follow.
    """
    keys("document", document, _KEYS | ({"coactivation"} & document.keys()))
    problem = problem_of(document["problem"])
    check.checked += ["form", "problem digest"]
    bind(problem, asked, check)
    mesh = mesh_of(document, "ep")
    _measured(problem, document)
    layers, trusted = placed_layers(problem, mesh, document, "")
    check.solver_trusted += [f"placement of layer {layer}" for layer in trusted]
    check.checked.append("placement: slots, copies, balance and bounds")
    if problem.coactivation is not None:
        check.checked.append("nodes visited by co-activated experts")
    _totals(problem, document, layers)
    check.status = document["status"]
    check.objective = {"name": "max_over_mean", "value": document["max_over_mean"], "bound": document["bound"],
                       "gap": document["gap"]}  # fmt: skip
    before = _before(problem, mesh, document["before"])
    _noise(problem, mesh, document)
    check.checked.append("before: placement and balance; noise of sampling")
    _held_out(mesh, document, before, check)
    _not_recomputed(document, check)


def _measured(problem: Problem, document: dict[str, Any]) -> None:
    """Loads and co-activation, which a reader finds beside the problem as well."""
    if not problem.expert_loads:
        raise Rejected("problem", "no measured loads")
    loads = [{"name": load.name, "load": [list(row) for row in load.rows]} for load in problem.expert_loads]
    equal("loads", document["loads"], loads)
    coactivation = problem.coactivation
    equal(
        "coactivation",
        document.get("coactivation"),
        None if coactivation is None else coactivation.model_dump(mode="json"),
    )


def _totals(problem: Problem, document: dict[str, Any], layers: list[dict[str, Any]]) -> None:
    stated = [(Fraction(layer["max_over_mean"]), Fraction(layer["bound"])) for layer in layers]
    proved = all(layer["proved"] for layer in document["placement"]["layers"])
    for item, expected in (
        ("model", problem.model.name),
        ("model_layers", problem.model.layer_count),
        ("slots_per_device", document["placement"]["slots_per_device"]),
        ("max_over_mean", float(max(value for value, _ in stated))),
        ("bound", float(max(bound for _, bound in stated))),
        ("gap", float(max(value - bound for value, bound in stated))),
        ("status", "optimal" if proved else "feasible"),
    ):
        equal(item, document[item], expected)


def _before(problem: Problem, mesh: StageMesh, stated: object) -> list[Devices]:
    """What was in service, or the order of expert ids: its placement and balance. Returns its layers."""
    moe, weights, options = problem.model.moe, load_weights(problem), problem.experts
    assert moe is not None  # noqa: S101 - loads belong to a model with experts
    ids, groups = problem.model.moe_layers, groups_of(problem)
    slots = moe.experts + mesh[1]
    linear = linear_placement(moe.experts, mesh[0], -(-slots // mesh[0]), empty_slots=-slots % mesh[0])
    if problem.current_placement is not None and problem.current_mesh != mesh:
        raise Rejected("ep", "the placement in service is on another mesh")
    placements: list[Devices] = list(problem.current_placement or [linear] * len(ids))
    layers: list[dict[str, Any]] = []
    for index, devices in enumerate(placements):
        values = [max_over_mean(load.rows[index], devices) for load in problem.expert_loads]
        value = aggregate(values, weights, options.robust if options else "worst")
        entry: dict[str, Any] = {
            "layer": ids[index], "devices": [list(experts) for experts in devices], "max_over_mean": float(value),
        }  # fmt: skip
        if groups is not None:
            size = min(problem.hardware.devices_per_node, mesh[0])
            group_count = max(1, sum(group[0] for group in groups[index]))
            entry["nodes_visited"] = nodes_visited(groups[index], devices, moe.experts, size) / group_count
        layers.append(entry)
    written = keys("before", stated, frozenset({"name", "layers"}))
    equal("before.name", written["name"], "linear" if problem.current_placement is None else "in service")
    if len(_list("before.layers", written["layers"])) != len(layers):
        raise Rejected("before.layers", f"not the {len(layers)} layers with experts")
    for index, (entry, layer) in enumerate(zip(written["layers"], layers, strict=True)):
        equal(f"before.layers[{index}]", entry, layer)
    return placements


def _noise(problem: Problem, mesh: StageMesh, document: dict[str, Any]) -> None:
    tokens, moe = document["step_tokens"], problem.model.moe
    if tokens is not None:
        count("step_tokens", tokens)
        if tokens > _MOST_TOKENS:
            raise Rejected("step_tokens", f"more than {_MOST_TOKENS}")
    table = noise_table(mesh[0], 0 if moe is None else moe.top_k, tokens)
    equal("noise", document["noise"], [{"activations": n, "max_over_mean": floor} for n, floor in table])


def _held_out(mesh: StageMesh, document: dict[str, Any], before: Sequence[Devices], check: Check) -> None:
    """What loads cost that were not placed for, and witnesses of how little a placement for them alone could."""
    placed = document["placement"]["layers"]
    experts = len(document["loads"][0]["load"][0])
    for index, entry in enumerate(_list("hold_out", document["hold_out"])):
        item = f"hold_out[{index}]"
        keys(item, entry, _HELD_OUT)
        rows, witnesses = _list(f"{item}.load", entry["load"]), _list(f"{item}.witnesses", entry["witnesses"])
        if not isinstance(entry["name"], str) or len(rows) != len(placed) or len(witnesses) != len(placed):
            raise Rejected(item, f"not a named load of {len(placed)} layers, with a witness for each")
        for row in rows:
            if not isinstance(row, list) or len(row) != experts:
                raise Rejected(f"{item}.load", f"a layer without the {experts} experts")
            for tokens in row:
                count(f"{item}.load", tokens)
        after, bounds = [], []
        for row, layer, witness in zip(rows, placed, witnesses, strict=True):
            check_witness(f"{item}.witnesses", witness)
            after.append(balance(row, layer))
            try:
                bounds.append(bound_of(row, mesh[0], document["slots_per_device"], witness))
            except RejectedError as error:
                raise Rejected(f"{item}.witnesses", str(error)) from None
        check.not_checked += [f"{item}.name", f"{item}.load: taken as stated"]
        old = [max_over_mean(row, devices) for row, devices in zip(rows, before, strict=True)]
        for name, values in (("before", old), ("after", after), ("bound", bounds)):
            mean = sum(values, Fraction(0)) / len(values)
            summary = {"mean": float(mean), "worst": float(max(values)), "layers": [float(value) for value in values]}
            equal(f"{item}.{name}", entry[name], summary)
    check.not_checked.append("which loads are held out, if any")
    if document["hold_out"]:
        check.checked.append("hold-out: balance before and after, and bounds")


def _not_recomputed(document: dict[str, Any], check: Check) -> None:
    """Searches of their own, of which the document keeps numbers alone: their form, and their names."""
    number("wall_s", document["wall_s"])
    for index, entry in enumerate(_list("frontier", document["frontier"])):
        keys(f"frontier[{index}]", entry, _MOVED)
        for name, value in entry.items():
            (count if name in {"budget", "moves"} else number)(f"frontier[{index}].{name}", value)
    for index, entry in enumerate(_list("prices", document["prices"])):
        keys(f"prices[{index}]", entry, _PRICE)
        for name in ("mean", "worst", "mean_bound", "worst_bound"):
            number(f"prices[{index}].{name}", entry[name])
        if not isinstance(entry["varied"], str) or type(entry["choice"]) not in {int, str}:
            raise Rejected(f"prices[{index}]", "not a choice and what it is of")
    check.not_checked += ["frontier", "prices", "wall_s"]


def _list(item: str, stated: object) -> list[Any]:
    if not isinstance(stated, list):
        raise Rejected(item, f"{brief(stated)} is not a list")
    return stated

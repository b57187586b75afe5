"""Checks what is claimed of an expert placement, its balance and its lower bound, by integer arithmetic alone.

Every layer carries a witness of its bound. ``balance`` lists the kinds for one load; beside them stand

============  =========================================================================================================
kind          why no placement is better than the bound
============  =========================================================================================================
hierarchical  every way to lay the groups on the nodes has a node with too much load or too many copies
scenario      one bound for each workload, put together as the objective does
envelope      an expert needs the copies that its heaviest workload asks for, and all of them are more than the slots
combination   one bound for a mix of the workloads, which is below the worst, or, mixed by weight, the mean
solver        CP-SAT searched all placements or counts; trusted, and listed as such; ``checked`` holds without it
============  =========================================================================================================

With a budget of moves, the kinds of `budget` bound what it can reach from the placement in service.
Where co-activation was given, the nodes visited and their bound (`locality`) are checked in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from optimizer.figures.locality import TokenGroup, nodes_visited
from optimizer.figures.placement import Devices, aggregate, max_over_mean, moves, split_device_loads, violations
from optimizer.figures.placement_bounds.balance import (
    RejectedError,
    Witness,
    bound_of,
    combined,
    envelope_copies,
    rational,
)
from optimizer.figures.placement_bounds.budget import budget_bound
from optimizer.figures.placement_bounds.hierarchy import hierarchical_bound
from optimizer.figures.placement_bounds.locality import locality_bound

_ANY_SPLIT = frozenset({"average", "count"})

Loads = Sequence[Sequence[int]]
"""Tokens of ``[layer][expert]``."""


@dataclass(frozen=True, slots=True)
class PlacementCheck:
    """Outcome: why the placement is rejected, if it is, at which layer, and which layers rest on the solver's word."""

    accepted: bool
    reason: str | None
    layer: int | None
    checked: tuple[int, ...]
    solver_trusted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PlacementTerms:
    """What the placement was made for, as its certificate states it."""

    devices: int
    slots: int
    nodes: int | None
    groups: int | None
    robust: str
    weights: tuple[Fraction, ...]
    tail: Fraction
    split: str
    tolerance: Fraction
    near: int | None = None
    """Devices of a node, where nodes visited are counted."""
    empty: int = 0
    """Devices, the last ones, with one slot less: a blank expert without load fills each, and the bound holds."""
    max_moves: int | None = None
    current: Devices | None = None
    """Placement of the layer in service, where a budget of moves bounds its balance."""

    @classmethod
    def read(cls, certificate: Mapping[str, Any], workloads: int) -> "PlacementTerms":
        """Terms of a certificate for so many workloads."""
        devices, slots = certificate.get("devices"), certificate.get("slots_per_device")
        if not isinstance(devices, int) or not isinstance(slots, int) or devices < 1 or slots < 1:
            raise RejectedError("devices and slots_per_device are not positive integers")
        node_size, groups = certificate.get("node_size"), certificate.get("groups")
        if certificate.get("hierarchy") != "node":
            node_size = groups = None
        elif not isinstance(node_size, int) or not isinstance(groups, int) or devices % node_size:
            raise RejectedError("a hierarchy by node needs node_size, a divisor of devices, and groups")
        weights = tuple(rational(weight) for weight in certificate.get("weights", ()))
        if len(weights) != workloads or sum(weights) != 1 or min(weights) < 0:
            raise RejectedError(f"{len(weights)} weights for {workloads} workloads, or they do not add up to 1")
        return cls(
            devices,
            slots,
            None if node_size is None else devices // node_size,
            groups,
            str(certificate.get("robust")),
            weights,
            rational(certificate.get("cvar_tail")),
            str(certificate.get("split")),
            rational(certificate.get("tolerance")),
            _near(certificate),
            _empty(certificate, devices),
            _budget(certificate),
        )


def _empty(certificate: Mapping[str, Any], devices: int) -> int:
    empty = certificate.get("empty_slots", 0)
    if type(empty) is not int or not 0 <= empty < devices or (empty and certificate.get("hierarchy") == "node"):
        raise RejectedError("empty_slots is not a number of devices, or groups are kept on nodes beside it")
    return empty


def _budget(certificate: Mapping[str, Any]) -> int | None:
    budget = certificate.get("max_moves")
    if budget is not None and (type(budget) is not int or budget < 0):
        raise RejectedError("max_moves is not a number of moves")
    return budget


def _near(certificate: Mapping[str, Any]) -> int | None:
    size = certificate.get("locality_node_size")
    if size is None:
        return None
    if not isinstance(size, int) or size < 1 or rational(certificate.get("balance_allowance")) < 0:
        raise RejectedError("locality_node_size is not a number of devices, or balance_allowance is negative")
    return size


def check_placement(
    loads: Sequence[Loads],
    certificate: Mapping[str, Any],
    placement: Mapping[str, Any],
    groups: Sequence[Sequence[TokenGroup]] | None = None,
    current: Sequence[Devices] | None = None,
) -> PlacementCheck:
    """Check every layer of a placement against its certificate.

    Parameters
    ----------
    loads
        Measured loads, ``[workload][layer][expert]`` tokens, layers in the order of the placement.
    certificate
        ``certificate`` of a placement result.
    placement
        The ``placement`` object of a result: layers with their devices, ``bound`` and ``proved``.
    groups
        Co-activated experts of each layer, where nodes visited are claimed.
    current
        Placement in service, ``[layer][device][slot]``, where there is a budget of moves.

    Returns
    -------
    Check
        Accepted only if every stated balance is equal, every bound follows, and ``proved`` says what the gap says.
    """
    checked: list[int] = []
    trusted: list[int] = []
    layer: int | None = None
    try:
        terms = PlacementTerms.read(certificate, len(loads))
        stated, placed = certificate.get("layers"), placement.get("layers")
        if not isinstance(stated, Sequence) or not isinstance(placed, Sequence) or len(stated) != len(placed):
            raise RejectedError("certificate and placement list different layers")  # noqa: TRY301
        if terms.tolerance < 0 or float(terms.tolerance) != placement.get("tolerance"):
            raise RejectedError(f"tolerance {terms.tolerance} is not the placement's")  # noqa: TRY301
        if (terms.near is None) != (groups is None) or (groups is not None and len(groups) != len(placed)):
            raise RejectedError("nodes visited are claimed without co-activation of the layers, or the other way")  # noqa: TRY301
        if terms.max_moves is not None and (current is None or len(current) != len(placed)):
            raise RejectedError("a budget of moves without the placement in service")  # noqa: TRY301
        if any(len(load) != len(placed) for load in loads):
            raise RejectedError(f"{len(placed)} layers placed, the loads have another number")  # noqa: TRY301
        for index, (claim, answer) in enumerate(zip(stated, placed, strict=True)):
            layer = answer.get("layer")
            rows = [load[index] for load in loads]
            layer_terms = (
                terms if current is None or terms.max_moves is None else replace(terms, current=current[index])
            )
            sound = _check_layer(rows, layer_terms, claim, answer)
            near = groups is None or _check_visits(groups[index], len(rows[0]), terms, claim, answer)
            (checked if sound and near else trusted).append(int(layer or 0))
    except RejectedError as error:
        return PlacementCheck(
            accepted=False, reason=str(error), layer=layer, checked=tuple(checked), solver_trusted=tuple(trusted)
        )
    return PlacementCheck(accepted=True, reason=None, layer=None, checked=tuple(checked), solver_trusted=tuple(trusted))


def _check_layer(
    rows: Sequence[Sequence[int]], terms: PlacementTerms, claim: Mapping[str, Any], answer: Mapping[str, Any]
) -> bool:
    if claim.get("layer") != answer.get("layer"):
        raise RejectedError(f"certificate of layer {claim.get('layer')} beside layer {answer.get('layer')}")
    devices, experts = answer["devices"], len(rows[0])
    node_size = None if terms.nodes is None else terms.devices // terms.nodes
    wrong = violations(
        devices, experts, terms.devices, terms.slots, node_size=node_size, groups=terms.groups, empty_slots=terms.empty
    )
    if wrong:
        raise RejectedError(wrong[0])
    values = [max_over_mean(row, devices) for row in rows] if terms.split == "even" else _split_values(rows, answer)
    value = aggregate(values, terms.weights, terms.robust, terms.tail)
    if rational(claim.get("max_over_mean")) != value:
        raise RejectedError(f"max over mean is {value}, not {claim.get('max_over_mean')}")
    bound = rational(claim.get("bound"))
    padded = [[*row, *[0] * terms.empty] for row in rows]
    trusted, proved = _bound(padded, terms, claim["witness"], bound)
    if proved != bound:
        raise RejectedError(f"the witness proves a bound of {proved}, not {bound}")
    if terms.current is not None and moves(terms.current, devices) > (terms.max_moves or 0):
        raise RejectedError(f"{moves(terms.current, devices)} experts move, {terms.max_moves} may")
    if answer.get("proved") is not (value - bound <= terms.tolerance):
        raise RejectedError(f"proved is {answer.get('proved')} at a gap of {value - bound}")
    if abs(float(value) - answer["max_over_mean"]) > 0 or abs(float(bound) - answer["bound"]) > 0:
        raise RejectedError("the placement states other figures than its certificate")
    return not trusted


def _check_visits(
    groups: Sequence[TokenGroup],
    experts: int,
    terms: PlacementTerms,
    claim: Mapping[str, Any],
    answer: Mapping[str, Any],
) -> bool:
    """Whether the bound on nodes visited is checked rather than trusted."""
    stated, near = claim.get("visits"), terms.near
    if near is None or not isinstance(stated, Mapping):
        raise RejectedError("the layer does not say how many nodes are visited")
    nodes, bound = nodes_visited(groups, answer["devices"], experts, near), stated.get("bound")
    if stated.get("nodes") != nodes:
        raise RejectedError(f"{nodes} nodes are visited, not {stated.get('nodes')}")
    if not isinstance(bound, int) or bound > nodes:
        raise RejectedError(f"{nodes} nodes are visited, fewer than the bound of {bound}")
    group_count = max(1, sum(group[0] for group in groups))
    if answer.get("nodes_visited") != {"mean": nodes / group_count, "bound": bound / group_count}:
        raise RejectedError("the placement states other nodes visited than its certificate")
    witness = stated["witness"]
    if witness.get("kind") == "solver":
        return False
    proved = locality_bound(groups, experts, terms.devices, terms.slots, near, witness)
    if proved != bound:
        raise RejectedError(f"the witness proves {proved} nodes visited, not {bound}")
    return True


def _split_values(rows: Sequence[Sequence[int]], answer: Mapping[str, Any]) -> list[Fraction]:
    shares = [[rational(part) for part in parts] for parts in answer.get("shares", ())]
    try:
        loads = [split_device_loads(row, answer["devices"], shares) for row in rows]
    except ValueError as error:
        raise RejectedError(str(error)) from error
    return [
        max(load) * len(load) / sum(row) if sum(row) else Fraction(1) for load, row in zip(loads, rows, strict=True)
    ]


def _bound(
    rows: Sequence[Sequence[int]], terms: PlacementTerms, witness: Witness, claimed: Fraction
) -> tuple[bool, Fraction]:
    """Whether the bound rests on the solver, and the bound that the witness proves."""
    kind = witness.get("kind")
    if kind == "solver":
        checked = witness.get("checked")
        if not isinstance(checked, Mapping) or checked.get("kind") == "solver":
            raise RejectedError("a bound on the solver's word needs the witness of what was proved without it")
        _, proved = _bound(rows, terms, checked, claimed)
        if proved > claimed:
            raise RejectedError(f"the solver's word for {claimed} is less than the {proved} that is proved without it")
        return True, claimed
    if kind == "scenario":
        parts = witness.get("bounds")
        if not isinstance(parts, Sequence) or len(parts) != len(rows):
            raise RejectedError("a scenario bound needs one bound for each workload")
        bounds = [_one_bound(row, terms, part) for row, part in zip(rows, parts, strict=True)]
        return False, aggregate(bounds, terms.weights, terms.robust, terms.tail)
    if kind == "envelope":
        return False, _envelope(rows, terms, rational(witness.get("threshold")))
    if kind == "combination":
        return False, _combination(rows, terms, witness)
    if len(rows) != 1:
        raise RejectedError(f"a bound of kind {kind!r} speaks of one workload, and there are {len(rows)}")
    return False, _one_bound(rows[0], terms, witness)


def _envelope(rows: Sequence[Sequence[int]], terms: PlacementTerms, threshold: Fraction) -> Fraction:
    if terms.robust != "worst" or terms.split != "even":
        raise RejectedError("an envelope bounds the worst workload under the even split only")
    needed = envelope_copies(rows, terms.devices, threshold) if threshold > 0 else 0
    if needed <= terms.devices * terms.slots:
        raise RejectedError(f"shares below {threshold} means need {needed} copies, not more than there are slots")
    return threshold


def _combination(rows: Sequence[Sequence[int]], terms: PlacementTerms, witness: Witness) -> Fraction:
    parts, inner = witness.get("parts"), witness.get("bound")
    if not isinstance(parts, Sequence) or not isinstance(inner, Mapping):
        raise RejectedError("a combination needs the parts of the workloads and a bound")
    mix = [rational(part) for part in parts]
    if terms.robust != "worst" and (terms.robust != "mean" or tuple(mix) != terms.weights):
        raise RejectedError("a combination bounds the worst workload, or the mean where it is mixed by the weights")
    try:
        load = combined(rows, mix)
    except ValueError as error:
        raise RejectedError(str(error)) from error
    return _one_bound(load, terms, inner)


def _one_bound(row: Sequence[int], terms: PlacementTerms, witness: Witness) -> Fraction:
    # A device carries at most the threshold of an expert however its load is split, so that counting copies holds too.
    if terms.split != "even" and terms.slots * terms.devices > len(row) and witness.get("kind") not in _ANY_SPLIT:
        raise RejectedError(f"a bound of kind {witness.get('kind')!r} holds for the even split only")
    if witness.get("kind") in {"relief", "relieved", "laying"}:
        return _within_budget(row, terms, witness)
    if witness.get("kind") != "hierarchical":
        return bound_of(row, terms.devices, terms.slots, witness)
    if terms.nodes is None or terms.groups is None:
        raise RejectedError("a hierarchical bound for a placement that is free")
    if sum(row) == 0:
        return Fraction(1)
    return hierarchical_bound(row, terms.devices, terms.slots, terms.nodes, terms.groups)


def _within_budget(row: Sequence[int], terms: PlacementTerms, witness: Witness) -> Fraction:
    if terms.current is None or terms.max_moves is None:
        raise RejectedError(f"a bound of kind {witness.get('kind')!r} without a budget of moves")
    if terms.split != "even" or len(terms.current) != terms.devices:
        raise RejectedError("a budget of moves bounds the even split, on the devices in service")
    if sum(row) == 0:
        return Fraction(1)
    try:
        bound = budget_bound(row, terms.current, terms.slots, terms.max_moves, witness, terms.nodes, terms.groups)
    except ValueError as error:
        raise RejectedError(str(error)) from error
    return bound * terms.devices / sum(row)

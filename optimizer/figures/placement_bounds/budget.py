"""Lower bounds on balance where few experts may be loaded anew, from the placement in service, by integer arithmetic.

=========  ============================================================================================================
kind       why no placement within the budget of ``m`` moves is better
=========  ============================================================================================================
relief     a move relieves some devices, taken together, by one of their copies at most; what the ``m`` largest leave is
           shared by them
relieved   every device at the threshold or above needs a copy taken off, or one of its experts copied; one move does
           either for few of them
laying     groups kept on nodes: every way to lay them that is within the budget has a node with too much load
=========  ============================================================================================================

Slots are full, so a device that loads an expert drops one. Copies beyond those in service number at most ``m``.
"""

import heapq
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import combinations
from typing import Any

from optimizer.figures.placement import Devices, replica_counts
from optimizer.figures.placement_bounds.hierarchy import node_bounds
from optimizer.units import parse_fraction

MOST_GROUPS = 12
"""Groups up to which all ways to lay them are weighed."""


def relief_bound(load: Sequence[int], current: Devices, budget: int, chosen: Sequence[int]) -> Fraction:
    """Least load, in tokens, of the hottest of the chosen devices after the moves.

    An expert loaded by a chosen device takes one of its copies off, and adds there what it thins out on the others. One
    loaded elsewhere thins ``n`` of ``r`` copies on the chosen devices from ``n w / r`` to ``n w / (r + 1)``, by no more
    than ``w / r``: what taking one of these copies off would relieve.
    """
    copies = replica_counts(current, len(load))
    slots = [Fraction(load[expert], copies[expert]) for device in chosen for expert in current[device]]
    return (sum(slots, Fraction(0)) - sum(heapq.nlargest(budget, slots), Fraction(0))) / len(chosen)


def needs(load: Sequence[int], copies: Sequence[int], held: Sequence[int], threshold: Fraction) -> int:
    """Copies to be taken off a device, at least, until it is below the threshold."""
    left, taken = sum((Fraction(load[e], copies[e]) for e in held), Fraction(0)), 0
    for share in sorted((Fraction(load[e], copies[e]) for e in held), reverse=True):
        if left < threshold:
            break
        left -= share
        taken += 1
    return taken


def relieves_too_few(
    load: Sequence[int], current: Devices, budget: int, threshold: Fraction, chosen: Sequence[int]
) -> bool:
    """Whether the budget leaves one of the chosen devices at the threshold or above."""
    copies = replica_counts(current, len(load))
    wanted = sum(needs(load, copies, current[device], threshold) for device in chosen)
    at_once = max(replica_counts([current[device] for device in chosen], len(load)))
    return wanted > budget * (1 + at_once)


def node_moves(devices: Devices, wanted: Sequence[int]) -> int:
    """Fewest experts to be loaded so that a node holds just these experts, each somewhere, none twice on a device.

    What is foreign or doubled must go, what is missing must come; slots suffice for both at once.
    """
    mine = set(wanted)
    kept = [set(held) & mine for held in devices]
    foreign = sum(len(held) - len(staying) for held, staying in zip(devices, kept, strict=True))
    return max(foreign, len(mine - set().union(*kept)))


LayerOptions = list[tuple[int, Fraction, tuple[tuple[int, ...], ...]]]
"""Moves, worst node's bound in tokens, and the groups of each node."""


def layings_within(
    load: Sequence[int], current: Devices, slots: int, nodes: int, groups: int, budget: int | None
) -> LayerOptions:
    """Ways to lay groups on nodes within the budget that no other is better than in both moves and bound.

    By fewest moves first; node by node over the sets of groups used so far. Empty where the budget allows none.
    """
    size = len(current) // nodes
    each = len(load) // groups
    bounds = node_bounds(load, len(current), slots, nodes, groups)
    costs = [
        {
            some: node_moves(
                current[node * size : (node + 1) * size], [g * each + n for g in some for n in range(each)]
            )
            for some in bounds
        }
        for node in range(nodes)
    ]
    reached: dict[frozenset[int], LayerOptions] = {frozenset(): [(0, Fraction(0), ())]}
    for node in range(nodes):
        further: dict[frozenset[int], LayerOptions] = {}
        for used, options in reached.items():
            left = [group for group in range(groups) if group not in used]
            for some in combinations(left, groups // nodes):
                cost, bound = costs[node][some], bounds[some]
                further.setdefault(used.union(some), []).extend(
                    (moves + cost, max(worst, bound), (*laid, some))
                    for moves, worst, laid in options
                    if budget is None or moves + cost <= budget
                )
        reached = {used: _undominated(options) for used, options in further.items()}
    return reached.get(frozenset(range(groups)), [])


def _undominated(options: LayerOptions) -> LayerOptions:
    kept: LayerOptions = []
    for option in sorted(options, key=lambda entry: (entry[0], entry[1], entry[2])):
        if not kept or option[1] < kept[-1][1]:
            kept.append(option)
    return kept


def budget_bound(
    load: Sequence[int], current: Devices, slots: int, budget: int, witness: Mapping[str, Any],
    nodes: int | None, groups: int | None,
) -> Fraction:  # fmt: skip
    """Bound on the hottest device, in tokens, that a witness of one of these kinds proves.

    Raises
    ------
    ValueError
        The witness proves nothing.
    """
    kind = witness.get("kind")
    if kind == "laying":
        if nodes is None or groups is None or groups > MOST_GROUPS:
            raise ValueError("a laying bounds placements by node, of few groups")
        options = layings_within(load, current, slots, nodes, groups, budget)
        if not options:
            raise ValueError(f"no laying of the groups is within {budget} moves")
        return min(bound for _, bound, _ in options)
    chosen = witness.get("devices")
    if not isinstance(chosen, list) or not chosen or len(set(chosen)) < len(chosen) or not all(
        type(device) is int and 0 <= device < len(current) for device in chosen
    ):  # fmt: skip
        raise ValueError("devices are not different devices")
    if kind == "relief":
        return relief_bound(load, current, budget, chosen)
    if kind != "relieved":
        raise ValueError(f"unknown kind of bound {kind!r}")
    threshold = parse_fraction(str(witness.get("threshold")))
    if not relieves_too_few(load, current, budget, threshold, chosen):
        raise ValueError(f"{budget} moves could bring {len(chosen)} devices below {threshold}")
    return threshold

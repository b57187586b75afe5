"""Slots that do not divide over the devices: some devices have one slot more, spread as evenly as possible.

Blank experts without load fill the missing slots, so that every device has as many; the placement of this layer is a
relaxation, whose bound holds. Where two blanks met on one device, they are made copies of one expert, which no device
holds twice, and the devices are balanced anew. Small layers are solved by CP-SAT.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from optimizer.errors import SpecError
from optimizer.figures.placement import max_over_mean
from optimizer.figures.robust import aggregate
from optimizer.placement.construct import deal
from optimizer.placement.descent import Search, descend
from optimizer.placement.layer_model import best_uneven_balance
from optimizer.placement.place import TOLERANCE, place
from optimizer.placement.question import Loads
from optimizer.placement.replicas import Floats, Ints, divisor_replicas
from optimizer.placement.result import Devices, LayerPlacement, PlacementResult
from optimizer.placement.variants import transferred

_VARIANTS = 12
_TRANSFERS = 3
_ROUNDS_PER_SLOT = 20


def place_unevenly(
    loads: Sequence[Loads], devices: int, slots: int, *, time_limit_s: float | None = None,
    tolerance: Fraction = TOLERANCE, **asked: Any,
) -> PlacementResult:  # fmt: skip
    """Place experts on so many slots in all, the first devices with one slot more than the last.

    Parameters
    ----------
    loads
        Tokens ``[load][layer][expert]``.
    devices, slots
        Devices, and slots over all of them.
    time_limit_s, tolerance, asked
        As for `place`; even split, without nodes, moves or co-activation.

    Raises
    ------
    SpecError
        As `place`.
    """
    begun = time.monotonic()
    each, experts = -(-slots // devices), len(loads[0][0])
    blanks = each * devices - slots
    if slots < devices:
        raise SpecError(
            f"experts.redundant_slots: {slots} slots cannot hold one expert on each of {devices} devices; "
            f"{devices - experts} redundant would"
        )
    padded = [[[*row, *[0] * blanks] for row in load] for load in loads]
    limit = None if time_limit_s is None else time_limit_s * 0.7
    relaxed = place(padded, devices, each, time_limit_s=limit, tolerance=tolerance, **asked)
    deadline = None if time_limit_s is None else begun + time_limit_s
    terms = relaxed.terms | {"empty_slots": blanks}
    layers = tuple(
        _layer([load[n] for load in loads], layer, blanks, terms, deadline) for n, layer in enumerate(relaxed.layers)
    )
    return replace(relaxed, layers=layers, terms=terms, wall_s=time.monotonic() - begun)


def _layer(
    rows: Sequence[Sequence[int]], layer: LayerPlacement, blanks: int, terms: dict[str, Any], deadline: float | None
) -> LayerPlacement:
    experts, tolerance = len(rows[0]), Fraction(terms["tolerance"])

    def value(devices: Devices) -> Fraction:
        return aggregate(
            [max_over_mean(row, devices) for row in rows], [Fraction(weight) for weight in terms["weights"]],
            terms["robust"], Fraction(terms["cvar_tail"]),
        )  # fmt: skip

    whole = [sum(expert >= experts for expert in held) for held in layer.devices]
    found = []
    if max(whole) <= 1 and sum(whole) == blanks:
        found.append(_stripped(layer.devices, experts))
    else:
        goal = float(layer.bound + tolerance / 2)
        found.append(_searched(np.array(rows, dtype=np.float64), layer.devices, blanks, goal, deadline))
    best = min(found, key=value)
    if value(best) - layer.bound > tolerance and terms["robust"] == "worst" and all(map(sum, rows)):
        devices, bound = best_uneven_balance(rows, best, [len(held) for held in best]) or (None, layer.bound)
        if devices is not None and value(devices) <= value(best):
            best = devices
        if bound > layer.bound:
            known = layer.witness.get("checked", layer.witness)
            layer = replace(layer, bound=bound, witness={"kind": "solver", "checked": known})
    return replace(
        layer, devices=best, max_over_mean=value(best), workloads=tuple(max_over_mean(row, best) for row in rows)
    )


def _stripped(devices: Sequence[Sequence[int]], experts: int) -> Devices:
    """Without blanks, devices with more slots first."""
    real = [tuple(sorted(expert for expert in held if expert < experts)) for held in devices]
    return tuple(sorted(real, key=lambda held: -len(held)))


def _searched(
    loads: Floats, relaxed: Devices, blanks: int, goal: float, deadline: float | None
) -> Devices:  # fmt: skip
    """Balance one layer with one blank expert of so many copies; over several workloads for their sum."""
    devices, slots, experts = len(relaxed), len(relaxed[0]), loads.shape[1]
    total = loads.sum(axis=1, keepdims=True)
    weights = (loads * devices / np.where(total > 0, total, 1.0)).mean(axis=0)
    counts = divisor_replicas(weights[None], devices * slots - blanks, devices)[0]
    rng = np.random.default_rng(0)
    tried: list[Ints] = [counts]
    for number in range(_VARIANTS):
        draws = rng.random((1 + number % _TRANSFERS, 2))
        tried.append(transferred(weights, counts, devices, draws))
    copies = np.array([[*own, blanks] for own in tried])
    padded = np.tile(np.append(weights, 0.0), (len(tried), 1))
    search = Search.start(padded / copies, deal(padded, copies, devices))
    descend(
        search, np.ones(len(tried)), np.full(len(tried), goal), rounds=_ROUNDS_PER_SLOT * devices * slots, seed=0,
        deadline=deadline,
    )  # fmt: skip
    return _stripped(search.best_held[int(search.best.argmin())].tolist(), experts)

"""The one entry: from loads to a placement of every layer with its certificate."""

import time
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import numpy as np

from optimizer.certificate.balance import bound_of
from optimizer.figures.placement import max_over_mean
from optimizer.figures.robust import CVAR_TAIL
from optimizer.solve.placement.bounds import counting_witness
from optimizer.solve.placement.question import Current, Loads, Question, ask
from optimizer.solve.placement.replicas import Floats
from optimizer.solve.placement.result import LayerPlacement, PlacementResult
from optimizer.solve.placement.search import balance

TOLERANCE = Fraction(1, 10_000)
"""Gap, in mean device loads, within which a layer counts as proved."""

_FINE_SLOTS = 6
_ROUNDS = 6000


def place(
    loads: Sequence[Loads] | Loads,
    devices: int,
    slots_per_device: int,
    *,
    node_size: int | None = None,
    groups: int | None = None,
    hierarchy: Literal["free", "node"] = "free",
    robust: Literal["worst", "mean", "cvar"] = "worst",
    weights: Sequence[Fraction | int | float] | None = None,
    cvar_tail: Fraction = CVAR_TAIL,
    current: Current | None = None,
    max_moves: int | None = None,
    split: Literal["even", "free"] = "even",
    tolerance: Fraction = TOLERANCE,
    time_limit_s: float | None = None,
    seed: int = 0,
    layer_ids: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
) -> PlacementResult:
    """Place the experts of every layer so that the hottest device is as cool as can be, and prove how cool that is.

    Parameters
    ----------
    loads
        Tokens ``[layer][expert]``, or several such loads.
    devices, slots_per_device
        Devices of the expert mesh, and the expert slots of each; every slot is filled.
    node_size, groups, hierarchy
        With ``hierarchy="node"`` each of the router's ``groups`` lives on one node of ``node_size`` devices.
    robust, weights, cvar_tail
        Objective over several loads, their weights, and the tail of ``cvar``.
    current, max_moves
        Placement in service, ``[layer][device][slot]``, and the most experts of a layer that may be loaded anew.
    split
        ``even``: copies carry equal parts. ``free``: the parts are chosen as well.
    tolerance
        Gap, in mean device loads, that counts as proved.
    time_limit_s
        Seconds after which the best so far is returned.
    seed
        Of the random choices; the same seed gives the same placement unless time ran out.
    layer_ids, names
        The model's own layer indices and the names of the loads, for the result.

    Raises
    ------
    SpecError
        The question does not fit together.
    """
    begun = time.monotonic()
    question = ask(
        loads, devices, slots_per_device, node_size=node_size, groups=groups, hierarchy=hierarchy, robust=robust,
        weights=weights, tail=cvar_tail, current=current, max_moves=max_moves, split=split, tolerance=tolerance,
        seed=seed,
    )  # fmt: skip
    deadline = None if time_limit_s is None else begun + time_limit_s
    ids = list(layer_ids) if layer_ids is not None else list(range(question.layers))
    placed = _plain(question, ids, deadline)
    return PlacementResult(
        tuple(placed), devices, slots_per_device, tolerance,
        tuple(names) if names is not None else tuple(f"load {number}" for number in range(len(question.loads))),
        question.terms, current is not None, time.monotonic() - begun,
    )  # fmt: skip


def _goal(question: Question) -> float:
    """Excess at which a layer is done: a tenth of the tolerance where many slots make that cheap."""
    return float(question.tolerance) * (0.1 if question.slots >= _FINE_SLOTS else 0.95)


def _plain(question: Question, ids: list[int], deadline: float | None) -> list[LayerPlacement]:
    weights: Floats = question.normalised(0)
    witnesses = [counting_witness(row, question.devices, question.slots) for row in question.loads[0]]
    bounds = [
        bound_of(row, question.devices, question.slots, witness)
        for row, witness in zip(question.loads[0], witnesses, strict=True)
    ]
    held, _ = balance(
        weights, np.array([float(bound) for bound in bounds]), question.devices, question.slots, goal=_goal(question),
        rounds=_ROUNDS, seed=question.seed, deadline=deadline,
    )  # fmt: skip
    placed = []
    for index, layer in enumerate(ids):
        devices = tuple(tuple(sorted(map(int, slots))) for slots in held[index])
        value = max_over_mean(question.loads[0][index], devices)
        placed.append(LayerPlacement(layer, devices, value, bounds[index], witnesses[index], (value,)))
    return placed

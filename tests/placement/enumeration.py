"""All placements of a tiny layer, one by one; and a question asked in one line."""

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from optimizer.figures.placement import aggregate, max_over_mean, moves, violations
from optimizer.figures.placement_bounds.balance import bound_of
from optimizer.placement import PlacementResult, Question, place
from optimizer.placement.bounds import counting_witness

Placement = tuple[tuple[int, ...], ...]


def placed(loads: Any, *mesh: int, time_limit_s: float | None = None, **asked: Any) -> PlacementResult:
    """`place` of one load, or of several, on devices and slots."""
    several = loads if not isinstance(loads[0][0], int) else [loads]
    return place(Question(several, *mesh, **asked), time_limit_s=time_limit_s)


def counted_bound(load: Sequence[int], devices: int, slots: int) -> Fraction:
    """What counting proves of the hottest device over the mean."""
    return bound_of(load, devices, slots, counting_witness(load, devices, slots))


def placements(experts: int, devices: int, slots: int) -> Iterator[Placement]:
    sets = list(itertools.combinations(range(experts), slots))
    for held in itertools.product(sets, repeat=devices):
        if len({expert for device in held for expert in device}) == experts:
            yield held


def best(
    rows: Sequence[Sequence[int]],
    devices: int,
    slots: int,
    *,
    robust: str = "worst",
    weights: Sequence[Fraction] | None = None,
    node_size: int | None = None,
    groups: int | None = None,
    current: Placement | None = None,
    max_moves: int | None = None,
) -> Fraction | None:
    parts = list(weights or [Fraction(1, len(rows))] * len(rows))
    found: Fraction | None = None
    for held in placements(len(rows[0]), devices, slots):
        if violations(held, len(rows[0]), devices, slots, node_size=node_size, groups=groups):
            continue
        if current is not None and max_moves is not None and moves(current, held) > max_moves:
            continue
        value = aggregate([max_over_mean(row, held) for row in rows], parts, robust)
        found = value if found is None else min(found, value)
    return found

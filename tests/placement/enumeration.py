"""All placements of a tiny layer, one by one."""

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

from optimizer.figures.placement import max_over_mean, moves, violations
from optimizer.figures.robust import aggregate

Placement = tuple[tuple[int, ...], ...]


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

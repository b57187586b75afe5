"""The best way to share out the copies of two devices between them, for many pairs of devices at once.

Few slots: every way of halving the ``2k`` copies is tried. Many slots: some slots of either device are drawn
and all ways of exchanging within each are combined by sorting, so thousands of ways cost a few hundred steps.
An expert that both devices hold must stay on both: its two copies get a tag, a large number that has to appear on each
side once, and halving the tags comes out of halving the load.
"""

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np

from optimizer.placement.counts import Floats, Ints

WHOLE_TABLE_SLOTS = 5
_TAG = 16.0
_MOST_SHARED = 6


@dataclass(frozen=True, slots=True, eq=False)
class Halvings:
    """Ways of halving ``2k`` positions: ``order[i]`` lists side A's positions, then B's; ``side_a[:, i]`` marks A's."""

    order: Ints
    side_a: Floats


@cache
def halvings(slots: int, *, whole: bool) -> Halvings:
    """All ways to halve ``2 * slots`` positions; ``whole`` counts (A, B) and (B, A) as one.

    The first way leaves everything where it is.
    """
    size = 2 * slots
    if whole:
        sides = [(0, *others) for others in itertools.combinations(range(1, size), slots - 1)]
    else:
        sides = list(itertools.combinations(range(size), slots))
    order = np.array(
        [[*side, *(place for place in range(size) if place not in side)] for side in sides], dtype=np.int64
    )
    marks = np.zeros((size, len(sides)))
    for way, side in enumerate(sides):
        marks[list(side), way] = 1.0
    return Halvings(order, marks)


def tagged(values: Floats, experts: Ints) -> tuple[Floats, Ints]:
    """Values with the tags of shared experts added, and how many experts each pair shares.

    Parameters
    ----------
    values, experts
        ``[pairs, 2k]``: device A's slots, then device B's.
    """
    slots = values.shape[1] // 2
    same = experts[:, :slots, None] == experts[:, None, slots:]
    shared = same.any(axis=2)
    count = shared.sum(axis=1)
    pairs = np.nonzero(count)[0]
    if not len(pairs):
        return values, count
    mine = shared[pairs]
    tags = mine * (_TAG * 4.0 ** (np.cumsum(mine, axis=1) - 1))
    other = (tags[:, :, None] * same[pairs]).sum(axis=1)
    weighed = values.copy()
    weighed[pairs] += np.concatenate([tags, other], axis=1)
    return weighed, count


def best_halving(values: Floats, experts: Ints, target: Floats, positions: Ints) -> Ints:
    """Order of the ``2k`` copies of each pair whose first ``k`` come nearest to the target.

    Parameters
    ----------
    values, experts
        ``[pairs, 2k]``: device A's slots, then device B's; loads in units of the mean device load.
    target
        Load wanted on device A, ``[pairs]``.
    positions
        A permutation of ``0..k-1``: which slots take part where not all ways are tried.

    Returns
    -------
    Ints
        ``[pairs, 2k]``, positions of the copies that A and then B gets.
    """
    slots = values.shape[1] // 2
    weighed, shared = tagged(values, experts)
    goal = target + (weighed - values).sum(axis=1) / 2
    if slots <= WHOLE_TABLE_SLOTS:
        table = halvings(slots, whole=True)
        off = weighed @ table.side_a
        off -= goal[:, None]
        np.abs(off, out=off)
        whole: Ints = table.order[off.argmin(axis=1)]
        return whole
    order = _best_combined(weighed, goal, positions)
    crowded = shared > _MOST_SHARED
    order[crowded] = np.arange(2 * slots)
    return order


def _best_combined(weighed: Floats, goal: Floats, positions: Ints) -> Ints:
    slots = weighed.shape[1] // 2
    pairs = len(weighed)
    first = min(slots // 2, 4)
    second = min(slots - first, 5)
    part_one = np.concatenate([positions[:first], positions[:first] + slots])
    part_two = np.concatenate([positions[first : first + second], positions[first : first + second] + slots])
    table_one, table_two = halvings(first, whole=False), halvings(second, whole=False)
    sums_one = weighed[:, part_one] @ table_one.side_a
    sums_two = weighed[:, part_two] @ table_two.side_a
    remaining = weighed[:, positions[first + second :]].sum(axis=1)
    by_sum = sums_two.argsort(axis=1)
    ascending = np.take_along_axis(sums_two, by_sum, axis=1)
    wanted = (goal - remaining)[:, None] - sums_one
    width = ascending.shape[1]
    span = np.abs(wanted).max(initial=1.0) + np.abs(ascending).max(initial=1.0) + 1.0
    shift = (2.0 * span * np.arange(pairs))[:, None]
    index = np.searchsorted((ascending + shift).ravel(), (wanted + shift).ravel()).reshape(pairs, -1)
    index -= (np.arange(pairs) * width)[:, None]
    above, below = np.minimum(index, width - 1), np.maximum(index - 1, 0)
    off_above = np.abs(np.take_along_axis(ascending, above, axis=1) - wanted)
    off_below = np.abs(np.take_along_axis(ascending, below, axis=1) - wanted)
    nearest = np.where(off_below <= off_above, below, above)
    rows = np.arange(pairs)
    way_one = np.minimum(off_above, off_below).argmin(axis=1)
    way_two = by_sum[rows, nearest[rows, way_one]]
    order = np.tile(np.arange(2 * slots), (pairs, 1))
    moved_one, moved_two = part_one[table_one.order[way_one]], part_two[table_two.order[way_two]]
    order[:, part_one] = moved_one
    order[:, part_two] = moved_two
    return order

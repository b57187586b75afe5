"""Lower bounds over several workloads at once, beyond one bound for each of them, by integer arithmetic."""

import math
from collections.abc import Sequence
from fractions import Fraction

Rows = Sequence[Sequence[int]]
"""Tokens of ``[workload][expert]``."""


def combined(rows: Rows, parts: Sequence[Fraction]) -> list[int]:
    """Load of each expert under a mix of the workloads, each first scaled to the same total, in a common unit.

    Whatever the placement, a device's load under the mix is the mix of its loads, so the hottest device under the mix,
    over the mean, is at most the mix of the workloads' maxima over means.

    Raises
    ------
    ValueError
        A part is negative, the parts do not add up to 1, or a workload without load has one.
    """
    if len(parts) != len(rows) or sum(parts) != 1 or min(parts) < 0:
        raise ValueError("the parts of the workloads are negative or do not add up to 1")
    totals = [sum(row) for row in rows]
    if any(part and not total for part, total in zip(parts, totals, strict=True)):
        raise ValueError("a workload without load has a part")
    scale = math.lcm(*(part.denominator * total for part, total in zip(parts, totals, strict=True) if part))
    factors = [int(part * scale / total) if part else 0 for part, total in zip(parts, totals, strict=True)]
    return [sum(map(int.__mul__, factors, column)) for column in map(list, zip(*rows, strict=True))]


def envelope_copies(rows: Rows, devices: int, threshold: Fraction) -> int:
    """Copies without which some share under some workload is at least ``threshold`` mean device loads.

    An expert has one number of copies for all workloads, so it needs the most that one of them asks for.
    """
    units = [
        (devices * threshold.denominator, sum(row) * threshold.numerator, row) for row in rows if sum(row)
    ]  # fmt: skip
    return sum(
        max((row[expert] * above // below + 1 for above, below, row in units), default=1)
        for expert in range(len(rows[0]))
    )

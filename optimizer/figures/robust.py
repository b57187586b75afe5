"""One number for several workloads: the worst, the mean, or the mean of the worst part (conditional value at risk)."""

from collections.abc import Sequence
from fractions import Fraction

CVAR_TAIL = Fraction(1, 4)
"""Part of the weight that the tail of ``cvar`` holds, unless told otherwise (assumed)."""


def aggregate(
    values: Sequence[Fraction], weights: Sequence[Fraction], robust: str, tail: Fraction = CVAR_TAIL
) -> Fraction:
    """Objective over workloads; grows with every value, so that lower bounds aggregate to a lower bound.

    Parameters
    ----------
    values
        Max over mean under each workload.
    weights
        Weight of each workload, adding up to 1.
    robust
        ``worst``, ``mean`` or ``cvar``.
    tail
        Weight of the worst workloads that ``cvar`` averages over (Rockafellar and Uryasev 2000).
    """
    if robust == "worst":
        return max(values)
    if robust == "mean":
        return sum((value * weight for value, weight in zip(values, weights, strict=True)), Fraction(0))
    if robust != "cvar":
        raise ValueError(f"unknown objective {robust!r}")
    left, total = tail, Fraction(0)
    for value, weight in sorted(zip(values, weights, strict=True), reverse=True):
        taken = min(left, weight)
        total += taken * value
        left -= taken
    return total / (tail - left)

"""Layers far from their bound: prices bound them anew, and the copies that are cheapest at those prices place them."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from optimizer.certificate.balance import bound_of
from optimizer.figures.placement import max_over_mean
from optimizer.placement.bounds import Witness
from optimizer.placement.clock import seconds_left
from optimizer.placement.construct import deal
from optimizer.placement.descent import Search, descend
from optimizer.placement.price_bound import price
from optimizer.placement.replicas import Ints
from optimizer.placement.rounding import rounded

_SAMPLES = 8
_ROUNDS = 600


def price_and_place(
    load: Sequence[int], held: Ints, bound: Fraction, *, tolerance: float, seed: int, deadline: float | None
) -> tuple[Witness | None, Ints]:
    """Better witness of a layer's bound, if there is one, and the placement given or a cooler one.

    Parameters
    ----------
    load
        Tokens of each expert.
    held
        Expert of each slot ``[devices, slots]``.
    bound
        Max over mean below which no placement is known to be.
    tolerance
        In mean device loads: how finely the bound is sought.
    seed, deadline
        Random seed, and ``time.monotonic()`` at which to stop.
    """
    if seconds_left(deadline) <= 0:
        return None, held
    devices, slots = held.shape
    mean, hottest = Fraction(sum(load), devices), max_over_mean(load, held.tolist())
    priced = price(load, devices, slots, bound * mean, hottest * mean, tolerance, deadline)
    if priced.counts is None:
        return priced.witness, held
    rng = np.random.default_rng(seed)
    counts = np.unique(rounded(priced.counts, _SAMPLES, rng), axis=0)
    counts = counts[(counts.sum(axis=1) == devices * slots) & (counts.max(axis=1) <= devices)]
    if not len(counts):
        return priced.witness, held
    weights = np.tile(np.array(load, dtype=np.float64) / float(mean), (len(counts), 1))
    search = Search.start(weights / counts, deal(weights, counts, devices))
    if priced.witness is not None:
        bound = bound_of(load, devices, slots, priced.witness)
    floor = np.full(len(counts), float(bound))
    descend(search, floor, floor + tolerance, rounds=_ROUNDS, seed=seed, deadline=deadline)
    coolest = search.best_held[search.best.argmin()]
    return priced.witness, coolest if max_over_mean(load, coolest.tolist()) < hottest else held

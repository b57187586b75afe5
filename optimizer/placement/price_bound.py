"""Three slots a device and more: how low the hottest device can be, by prices for copy sizes.

A linear program looks for prices of size classes, rising with size, under which the experts' cheapest copies cost more
than all devices can hold within ``T``. Devices enter as cuts: the dearest choices of ``k`` classes that fit, found by
dynamic programming over room. Classes begin at the experts' own shares, so that little is lost between a share and its
class. One program serves all thresholds: those below switch off the counts and the choices that no longer fit. Prices
are rounded to whole numbers and checked exactly, so the program is never trusted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from optimizer.figures.placement import max_over_mean
from optimizer.figures.placement_bounds.balance import bound_of
from optimizer.figures.placement_bounds.prices import check_price
from optimizer.placement import effort
from optimizer.placement.bounds import Witness
from optimizer.placement.counts import Floats, Ints, rounded
from optimizer.placement.descent import Aim, Descent, descend
from optimizer.placement.linear_program import new_program, solved
from optimizer.placement.processes import seconds_left

_WHOLE = 10**9
_NOTHING = 1e-6


@dataclass(frozen=True, slots=True)
class LayerPrices:
    """What prices tell of one layer."""

    witness: dict[str, Any] | None
    """Of the highest threshold refuted, if any."""
    counts: Floats | None
    """Copies of each expert, fractional, in the cheapest answer at the lowest threshold not refuted."""


def price(
    load: Sequence[int], devices: int, slots: int, low: Fraction, high: Fraction, tolerance: float,
    deadline: float | None,
) -> LayerPrices:  # fmt: skip
    """Bisect for the highest threshold that prices refute between two device loads in tokens.

    Parameters
    ----------
    load, devices, slots
        As `check_price` has them.
    low, high
        Device loads that are known to be too little, and to be enough.
    tolerance
        In mean device loads: how finely the threshold is sought.
    deadline
        ``time.monotonic()`` at which to stop.
    """
    if high < 1:
        return LayerPrices(None, None)
    program = _Program(load, devices, slots, int(high))
    step = tolerance * sum(load) / devices / program.unit
    below, above = float(low) / program.unit, float(high) / program.unit
    best: tuple[int, Ints] | None = None
    counts: Floats | None = None
    trial = above - step
    while trial > below and above - below > step and seconds_left(deadline) > 0:
        room = min(int(trial), program.room)
        prices = program.refute(room, deadline) if room > below else None
        if prices is None:
            above = min(trial, float(room))
            counts = counts if program.counts is None else program.counts
        else:
            best, below = (room, prices), float(room)
        trial = (below + above) / 2
    return LayerPrices(None if best is None else program.witness(*best), counts)


class _Program:
    def __init__(self, load: Sequence[int], devices: int, slots: int, high: int) -> None:
        self.load, self.devices, self.slots = load, devices, slots
        self.unit = max(1, high // effort.ROOM)
        self.room = high // self.unit
        self.spare = devices * slots - len(load)
        self.copies: Ints = np.arange(1, min(devices, 1 + self.spare) + 1)
        weights: Ints = np.array(load, dtype=np.int64)
        self.weights = weights
        self.shares: Ints = weights[:, None] // self.copies // self.unit
        fewest = np.maximum(1, -(-weights // (self.room * self.unit)))
        near = (self.copies >= fewest[:, None]) & (self.copies < fewest[:, None] + effort.CLASS_COPIES)
        ends = np.unique(self.shares[near & (self.shares <= self.room)])
        if len(ends) > effort.CLASSES:
            ends = ends[np.unique(np.linspace(0, len(ends) - 1, effort.CLASSES).astype(np.int64))]
        self.ends: Ints = np.union1d(ends, [0])
        self.classes: Ints = np.searchsorted(self.ends, self.shares, side="right") - 1
        self.counts: Floats | None = None
        self._post(fewest)

    def _post(self, fewest: Ints) -> None:
        self.solver = solver = new_program()
        infinity = solver.infinity()
        self.price = [solver.NumVar(-1.0, 1.0, "") for _ in self.ends]
        for dearer, cheaper in zip(self.price[1:], self.price, strict=False):
            row = solver.Constraint(0.0, infinity)
            row.SetCoefficient(dearer, 1.0)
            row.SetCoefficient(cheaper, -1.0)
        self.held = solver.NumVar(-float(self.slots), float(self.slots), "")
        self.objective = solver.Objective()
        self.objective.SetMaximization()
        self.objective.SetCoefficient(self.held, -float(self.devices))
        self.rows: list[tuple[int, int, Any]] = []
        for expert, least in enumerate(fewest.tolist()):
            cheapest = solver.NumVar(-infinity, infinity, "")
            self.objective.SetCoefficient(cheapest, 1.0)
            for copies in range(least, min(least + effort.PRICED_COPIES, len(self.copies)) + 1):
                row = solver.Constraint(-infinity, 0.0)
                row.SetCoefficient(cheapest, 1.0)
                row.SetCoefficient(self.price[self.classes[expert, copies - 1]], -float(copies))
                self.rows.append((expert, copies, row))
        self.cuts: list[tuple[int, Any]] = []

    def refute(self, room: int, deadline: float | None) -> Ints | None:
        """Whole prices that refute so much room on every device, if the rounds allowed find any; else the counts."""
        self.counts = None
        infinity = self.solver.infinity()
        fewest = np.maximum(1, -(-self.weights // (room * self.unit)))
        if int(fewest.sum()) > self.devices * self.slots or int(fewest.max()) > len(self.copies):
            return None
        last = np.minimum(fewest + effort.PRICED_COPIES, len(self.copies))
        for expert, copies, row in self.rows:
            row.SetUb(0.0 if fewest[expert] <= copies <= last[expert] else infinity)
        for size, row in self.cuts:
            row.SetUb(0.0 if size <= room else infinity)
        for _ in range(effort.CUT_ROUNDS):
            if seconds_left(deadline) <= 0 or not solved(self.solver):
                return None
            if self.objective.Value() < _NOTHING * self.devices:
                self.counts = self._counts()
                return None
            prices = np.array([variable.solution_value() for variable in self.price])
            whole: Ints = np.rint(np.maximum.accumulate(prices) * _WHOLE).astype(np.int64)
            stages = _dearest(whole, self.ends, self.slots, room)
            if self._cost(whole, fewest) > self.devices * int(stages[-1][room]):
                return whole
            if not self._cut(whole, stages, room):
                return None
        return None

    def _counts(self) -> Floats | None:
        """Mean copies of each expert in the last program's answer: its dual values weigh the counts."""
        mean = np.zeros(len(self.load))
        weight = np.zeros(len(self.load))
        for expert, copies, row in self.rows:
            part = abs(row.dual_value())
            mean[expert] += copies * part
            weight[expert] += part
        return mean if (abs(weight - 1) < _NOTHING).all() else None

    def _cost(self, whole: Ints, fewest: Ints) -> int:
        """What all experts cost at least."""
        costs = np.where(self.copies >= fewest[:, None], self.copies * whole[self.classes], np.iinfo(np.int64).max)
        return int(costs.min(axis=1).sum())

    def _cut(self, whole: Ints, stages: list[Ints], room: int) -> int:
        """Post the dearest choices that cost more than a device is said to hold, by their dearest class."""
        held = self.held.solution_value() * _WHOLE
        fitting = np.nonzero(self.ends <= room)[0]
        worth = whole[fitting] + stages[-2][room - self.ends[fitting]]
        chosen: set[tuple[int, ...]] = set()
        for place in np.argsort(-worth, kind="stable")[: effort.CUTS].tolist():
            if worth[place] <= held + 1:
                break
            chosen.add(self._traced(int(fitting[place]), whole, stages, room))
        for choice in chosen:
            row = self.solver.Constraint(-self.solver.infinity(), 0.0)
            row.SetCoefficient(self.held, -1.0)
            for size in set(choice):
                row.SetCoefficient(self.price[size], float(choice.count(size)))
            self.cuts.append((int(self.ends[list(choice)].sum()), row))
        return len(chosen)

    def _traced(self, first: int, whole: Ints, stages: list[Ints], room: int) -> tuple[int, ...]:
        """Classes of the dearest choice that has ``first``, in order; the largest class of each price."""
        choice, left = [first], room - int(self.ends[first])
        for stage in range(self.slots - 2, -1, -1):
            fitting = np.nonzero(self.ends <= left)[0]
            worth = whole[fitting] + stages[stage][left - self.ends[fitting]]
            best = int(fitting[np.nonzero(worth == worth.max())[0][-1]])
            choice.append(best)
            left -= int(self.ends[best])
        return tuple(sorted(choice))

    def witness(self, room: int, whole: Ints) -> dict[str, Any] | None:
        """Witness of the threshold; ``None`` where the exact check disagrees."""
        threshold = Fraction(room * self.unit)
        rising = np.concatenate([[True], np.diff(whole) > 0])
        sizes = [int(end) * self.unit for end in self.ends[rising]]
        prices = [int(price) for price in whole[rising]]
        exact = [Fraction(size) for size in sizes]
        if check_price(self.load, self.devices, self.slots, threshold, exact, prices) is not None:
            return None
        return {
            "kind": "price",
            "threshold": str(threshold),
            "sizes": [str(size) for size in sizes],
            "prices": prices,
        }


def _dearest(whole: Ints, ends: Ints, slots: int, room: int) -> list[Ints]:
    """Dearest choice of ``0, 1, .. slots`` classes within each room, ``[slots + 1][room + 1]``."""
    # Of classes that cost the same, the smallest leaves most room.
    lowest = np.concatenate([[True], np.diff(whole) > 0]) & (ends <= room)
    most = int(ends[lowest].max())
    places = np.arange(room + 1)[None, :] - ends[lowest][:, None] + most
    none = np.full(most, np.iinfo(np.int64).min // 4)
    stages = [np.zeros(room + 1, dtype=np.int64)]
    for _ in range(slots):
        reached = np.concatenate([none, stages[-1]]).take(places)
        reached += whole[lowest][:, None]
        stages.append(reached.max(axis=0))
    return stages


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
    counts = np.unique(rounded(priced.counts, effort.PRICED_ROUNDINGS, rng), axis=0)
    counts = counts[(counts.sum(axis=1) == devices * slots) & (counts.max(axis=1) <= devices)]
    if not len(counts):
        return priced.witness, held
    weights = np.tile(np.array(load, dtype=np.float64) / float(mean), (len(counts), 1, 1))
    if priced.witness is not None:
        bound = bound_of(load, devices, slots, priced.witness)
    floor = np.full(len(counts), float(bound))
    search = Descent.dealt(Aim("worst", np.ones(1), 1.0), weights, counts, devices, floor, floor + tolerance)
    descend(search, rounds=effort.PRICED_DESCENT, seed=seed, deadline=deadline)
    coolest = search.best_held[search.best.argmin()]
    return priced.witness, coolest if max_over_mean(load, coolest.tolist()) < hottest else held

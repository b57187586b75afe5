"""Two slots a device: the linear program over replica counts that says whether copies can pair up within a threshold.

For a threshold ``T`` and every ``v <= T / 2`` at most as many copies may be larger than ``T - v`` as are smaller than
``v``. The program minimises the worst violation; where it cannot vanish, its dual values refute the threshold, rounded
to whole numbers and checked in whole numbers. A running total over the values keeps it sparse: each count enters two
rows. Counts that are not posted enter as they are priced in, and limits on counts come and go, so that the dual
simplex method goes on from where it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from optimizer.placement import effort
from optimizer.placement.counts import Floats, Ints
from optimizer.placement.exchange import Marks
from optimizer.placement.linear_program import new_program, solved
from optimizer.placement.pairing import GRID

_WHOLE = 10**6
_FEASIBLE = 1e-7
_LONGEST = 1 << 50


@dataclass(frozen=True, slots=True)
class Refuted:
    """Price of a slot and ``(place of v, multiplier)``, whole numbers that refute the threshold."""

    price: int
    points: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Counted:
    """Copies that pair up, fractional: weight of each ``(expert, copies)``."""

    parts: dict[tuple[int, int], float]

    def mean(self, experts: int) -> Floats:
        """Mean copies of each expert."""
        mean = np.zeros(experts)
        for (expert, copies), part in self.parts.items():
            mean[expert] += copies * part
        return mean


class Pairings:
    """Which counts of copies may pair up within ``threshold / GRID``, and the values by which that is judged.

    Parameters
    ----------
    load
        Tokens of each expert.
    devices, threshold
        Devices, two slots each, and the threshold, even.
    extra
        Values that are to be among those judged by.
    near
        Copies beyond the fewest whose shares are values; of all counts where not given.
    """

    def __init__(
        self, load: Sequence[int], devices: int, threshold: int, extra: Ints, near: int | None = None
    ) -> None:  # fmt: skip
        self.devices, self.threshold, self.slots = devices, threshold, 2 * devices
        self.possible = self.overfull = False
        if max(load) * GRID >= _LONGEST:
            return
        self.load: Ints = np.array(load, dtype=np.int64) * GRID
        self.low: Ints = np.maximum(1, -(-self.load // threshold))
        spare = self.slots - int(self.low.sum())
        self.high: Ints = np.minimum(devices, self.low + max(spare, 0))
        self.overfull = spare < 0 or int(self.low.max()) > devices
        self.possible = not self.overfull
        self.values: Ints = np.zeros(0, dtype=np.int64)
        if self.overfull:
            return
        self.copies: Ints = np.arange(1, int(self.high.max()) + 1)
        floors, ceilings = self.load[:, None] // self.copies, -(-self.load[:, None] // self.copies)
        self.inside: Marks = (self.copies >= self.low[:, None]) & (self.copies <= self.high[:, None])
        self.first: Marks = self.inside & (self.copies < self.low[:, None] + (near or self.slots))
        values = np.unique(floors[self.first & (2 * ceilings <= threshold)])
        if len(values) > effort.PAIRING_VALUES:
            values = values[np.unique(np.linspace(0, len(values) - 1, effort.PAIRING_VALUES).astype(np.int64))]
        # Half the threshold counts all shares above it against all below.
        values = np.union1d(np.union1d(values, extra[2 * extra <= threshold]), [threshold // 2])
        self.values = values[values > 0]
        self.large: Ints = np.searchsorted(self.values, threshold - ceilings, side="right")
        self.small: Ints = np.searchsorted(self.values, floors, side="right")

    def fresh_values(self, counts: Ints) -> Ints:
        """Values, not among those judged by, that tell of counts that miss the threshold in truth."""
        return np.setdiff1d(self.load // counts, self.values)


class PairingProgram(Pairings):
    """Counts of copies of each expert, such that copies pair up within ``threshold / GRID`` as well as can be."""

    def __init__(self, load: Sequence[int], devices: int, threshold: int, extra: Ints) -> None:
        super().__init__(load, devices, threshold, extra, near=effort.PAIRING_COPIES)
        if self.possible:
            self._post_rows()

    def _post_rows(self) -> None:
        self.solver = solver = new_program()
        infinity = solver.infinity()
        self.excess = solver.NumVar(0.0, infinity, "")
        solver.Objective().SetCoefficient(self.excess, 1.0)
        self.totals: list[Any] = []
        self.limits: list[Any] = []
        before = None
        for _ in range(len(self.values)):
            running = solver.NumVar(-infinity, infinity, "")
            total, limit = solver.Constraint(0.0, 0.0), solver.Constraint(-infinity, 0.0)
            total.SetCoefficient(running, -1.0)
            if before is not None:
                total.SetCoefficient(before, 1.0)
            limit.SetCoefficient(running, 1.0)
            limit.SetCoefficient(self.excess, -1.0)
            self.totals.append(total)
            self.limits.append(limit)
            before = running
        self.one = [solver.Constraint(1.0, 1.0) for _ in self.load]
        self.all_slots = solver.Constraint(float(self.slots), float(self.slots))
        self.posted: list[dict[int, Any]] = [{} for _ in self.load]
        for expert, place in zip(*np.nonzero(self.first), strict=True):
            self.post(int(expert), int(place) + 1)

    def post(self, expert: int, copies: int) -> None:
        """Let the expert have so many copies."""
        if copies in self.posted[expert] or not self.low[expert] <= copies <= self.high[expert]:
            return
        variable = self.solver.NumVar(0.0, self.solver.infinity(), "")
        self.posted[expert][copies] = variable
        self.one[expert].SetCoefficient(variable, 1.0)
        self.all_slots.SetCoefficient(variable, float(copies))
        large, small = int(self.large[expert, copies - 1]), int(self.small[expert, copies - 1])
        if large != small:
            for place, sign in ((large, copies), (small, -copies)):
                if place < len(self.values):
                    self.totals[place].SetCoefficient(variable, float(sign))

    def limit(self, expert: int, low: int, high: int) -> None:
        """Allow the expert's posted counts between ``low`` and ``high`` only."""
        for copies, variable in self.posted[expert].items():
            variable.SetUb(self.solver.infinity() if low <= copies <= high else 0.0)

    def solve(self, low: Ints, high: Ints) -> Refuted | Counted | None:
        """Whole multipliers that refute the counts between ``low`` and ``high``, or fractional counts that pair up."""
        spare = self.slots - int(low.sum())
        if spare < 0 or (low > high).any() or int(high.sum()) < self.slots:
            return Refuted(0, [])
        high = np.minimum(high, low + spare)
        allowed = (self.copies >= low[:, None]) & (self.copies <= high[:, None])
        for _ in range(effort.PRICINGS):
            if not solved(self.solver):
                return None
            if self.excess.solution_value() < _FEASIBLE:
                return Counted(
                    {
                        (expert, copies): variable.solution_value()
                        for expert, columns in enumerate(self.posted)
                        for copies, variable in columns.items()
                        if variable.solution_value() > _FEASIBLE
                    }
                )
            multipliers = np.array([round(-limit.dual_value() * _WHOLE) for limit in self.limits], dtype=np.int64)
            multipliers = np.maximum(multipliers, 0)
            price = round(-self.all_slots.dual_value() * _WHOLE)
            costs = self.costs(multipliers, price)
            cheapest = np.where(allowed, costs, np.inf).min(axis=1)
            if cheapest.sum() > price * self.slots:
                places = np.nonzero(multipliers)[0].tolist()
                return Refuted(price, [(place, int(multipliers[place])) for place in places])
            missing = 0
            for expert in np.nonzero(cheapest < np.inf)[0].tolist():
                copies = int(np.where(allowed[expert], costs[expert], np.inf).argmin()) + 1
                missing += copies not in self.posted[expert]
                self.post(expert, copies)
            if not missing:
                return None
        return None

    def costs(self, multipliers: Ints, price: int) -> Ints:
        """Cost of each count of copies, ``[experts, counts from 1]``, in whole numbers."""
        beyond = np.concatenate([np.cumsum(multipliers[::-1])[::-1], [0]])
        costs: Ints = self.copies * (price + beyond[self.large] - beyond[self.small])
        return costs

    def witness(self, cases: dict[str, Any]) -> dict[str, Any]:
        """Witness of a bound at the threshold, refuted case by case."""
        return {
            "kind": "pairing",
            "threshold": str(Fraction(self.threshold, GRID)),
            "values": [str(Fraction(value, GRID)) for value in self.values.tolist()],
            "cases": cases,
        }

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
from optimizer.placement.counts import Floats, Ints, rounded
from optimizer.placement.linear_program import new_program, solved
from optimizer.placement.pairing import GRID, PairingAnswer, Pairings, cool_down, fold, hottest, refined
from optimizer.placement.processes import seconds_left

_WHOLE = 10**6
_FEASIBLE = 1e-7
_SPLIT = 1e-6


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


class _Cases:
    """Case by case over copies of experts; the first program's counts, rounded and cooled, often answer before."""

    def __init__(
        self, program: PairingProgram, most: int, steps: int | None, rng: np.random.Generator, deadline: float | None
    ) -> None:
        self.program, self.most, self.steps, self.rng, self.deadline = program, most, steps, rng, deadline
        self.solved = 0
        self.found: Ints | None = None
        self.near: Ints | None = None

    def explore(self, low: Ints, high: Ints) -> dict[str, Any] | None:
        """Cases that refute the counts between ``low`` and ``high``; ``None`` if counts are found or work runs out."""
        if self.solved >= self.most or seconds_left(self.deadline) <= 0:
            return None
        self.solved += 1
        outcome = self.program.solve(low, high)
        if isinstance(outcome, Refuted):
            return {"price": outcome.price, "points": [list(point) for point in outcome.points]}
        if outcome is None or self._near(outcome):
            return None
        expert, split = self._branch(outcome)
        if expert < 0:
            self._keep(outcome)
            return None
        program = self.program
        copies = int(np.floor(split + _SPLIT))
        copies = min(max(copies, int(low[expert])), int(high[expert]) - 1)
        less, more = high.copy(), low.copy()
        less[expert], more[expert] = copies, copies + 1
        cases: dict[str, Any] = {"expert": expert, "copies": copies}
        sides = [("at_most", low, less), ("more", more, high)]
        for name, least, most in sides if split - copies < 0.5 else reversed(sides):
            for count in (least[expert], most[expert]):
                program.post(expert, int(count))
            program.limit(expert, int(least[expert]), int(most[expert]))
            case = self.explore(least, most)
            program.limit(expert, int(low[expert]), int(high[expert]))
            if case is None:
                return None
            cases[name] = case
        return cases

    def _near(self, outcome: Counted) -> bool:
        """Whether whole counts near the program's are within the threshold; the first time, the coolest are kept."""
        program, steps = self.program, self.steps
        if steps is None:
            return False
        self.steps = None
        weights = program.load.astype(np.float64)
        counts = rounded(outcome.mean(len(weights)), effort.ROUNDINGS, self.rng)
        shares = np.repeat((weights / counts).ravel(), counts.ravel()).reshape(effort.ROUNDINGS, -1)
        self.near = counts[fold(shares).max(axis=1).argmin()]
        if steps and hottest(weights, self.near) > program.threshold:
            load = (program.load // GRID).tolist()
            self.near = cool_down(
                load, program.devices, program.threshold, self.near, steps=steps, rng=self.rng, deadline=self.deadline
            )
        return hottest(weights, self.near) <= program.threshold

    def _branch(self, outcome: Counted) -> tuple[int, float]:
        """The expert whose counts lie farthest apart for its load, and its mean count; -1 where all are whole."""
        counts: dict[int, list[tuple[int, float]]] = {}
        for (expert, copies), part in outcome.parts.items():
            counts.setdefault(expert, []).append((copies, part))
        best, best_spread, split = -1, 0.0, 0.0
        for expert, parts in counts.items():
            if len(parts) > 1:
                mean = sum(copies * part for copies, part in parts)
                spread = sum(part * (copies - mean) ** 2 for copies, part in parts)
                spread /= max(1.0, float(self.program.load[expert])) ** 0.5
                if spread > best_spread:
                    best, best_spread, split = expert, spread, mean
        return best, split

    def _keep(self, outcome: Counted) -> None:
        counts = np.zeros(len(self.program.load), dtype=np.int64)
        for expert, copies in outcome.parts:
            counts[expert] = copies
        self.found = counts


def decide(
    load: Sequence[int], devices: int, threshold: int, *, programs: int, steps: int | None = None, seed: int = 0,
    deadline: float | None,
) -> PairingAnswer:  # fmt: skip
    """Look for counts whose copies pair up within ``threshold / GRID`` tokens.

    Parameters
    ----------
    load, devices, threshold
        As `Pairings` has them.
    programs, steps, seed, deadline
        Most linear programs, steps of tabu search if the first program's counts are to be rounded, its random seed,
        and ``time.monotonic()`` at which to stop.
    """
    rng = np.random.default_rng((seed, threshold))
    spent = 0

    def ask(values: Ints) -> tuple[Pairings | None, PairingAnswer]:
        nonlocal spent
        program = PairingProgram(load, devices, threshold, values)
        if not program.possible:
            return None, PairingAnswer(None, program.witness({"price": 0, "points": []}) if program.overfull else None)
        cases = _Cases(program, programs - spent, None if spent else steps, rng, deadline)
        refuted = cases.explore(program.low, program.high)
        spent += cases.solved
        if refuted is not None:
            return None, PairingAnswer(None, program.witness(refuted))
        if cases.found is None or spent >= programs:
            return None, PairingAnswer(cases.near if cases.found is None else cases.found)
        return program, PairingAnswer(cases.found)

    return refined(threshold, ask)

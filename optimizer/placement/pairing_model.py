"""Two slots a device: CP-SAT decides whether counts exist whose copies pair up within a threshold.

Mathematics: ``y[e,r]`` says that expert ``e`` has ``r`` copies, ``sum_r y[e,r] = 1``, ``sum r y[e,r] = 2 G``; for each
value ``v`` at most as many copies are larger than ``T - v`` as are smaller than ``v`` (see ``pairing_program``), as a
running total over the values. Few values make the question easier, so a refusal stands; counts are measured and, where
they miss the threshold, bring the values that tell. Linear relaxations with cuts and learned clauses close in a second
what case by case takes thousands of linear programs; its refusals are CP-SAT's word, without a witness.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from optimizer.placement import effort
from optimizer.placement.counts import Ints
from optimizer.placement.pairing import GRID, hottest
from optimizer.placement.processes import seconds_left

_LONGEST = 1 << 50


@dataclass(frozen=True, slots=True)
class Ruled:
    """Counts that CP-SAT found, or whether it refuses the threshold; neither where the work allowed was not enough."""

    counts: Ints | None
    refused: bool


def rule(
    load: Sequence[int], devices: int, threshold: int, start: Ints, *, work: float, seed: int, deadline: float | None
) -> Ruled:
    """Look for counts whose copies pair up within ``threshold / GRID`` tokens.

    Parameters
    ----------
    load
        Tokens of each expert.
    devices
        Devices, two slots each.
    threshold
        In tokens times ``GRID``; even.
    start
        Counts to hint at.
    work, seed, deadline
        Limit in CP-SAT's deterministic time, random seed, and ``time.monotonic()`` at which to stop.
    """
    weights: Ints = np.array(load, dtype=np.int64) * GRID
    fewest = np.maximum(1, -(-weights // threshold))
    spare = 2 * devices - int(fewest.sum())
    if spare < 0 or int(fewest.max()) > devices:
        return Ruled(None, refused=True)
    if max(load) * GRID >= _LONGEST:
        return Ruled(None, refused=False)
    most = np.minimum(devices, fewest + spare)
    told: Ints = np.zeros(0, dtype=np.int64)
    for _ in range(effort.RULINGS):
        model = _Model(weights, devices, threshold, fewest, most, told)
        counts, refused = model.solve(start, work=work, seed=seed, seconds=seconds_left(deadline))
        if counts is None or hottest(weights.astype(np.float64), counts) <= threshold:
            return Ruled(counts, refused)
        fresh = np.setdiff1d(weights // counts, model.values)
        if not len(fresh):
            return Ruled(counts, refused=False)
        told = np.union1d(told, fresh)
    return Ruled(counts, refused=False)


class _Model:
    def __init__(self, weights: Ints, devices: int, threshold: int, fewest: Ints, most: Ints, told: Ints) -> None:
        self.model = cp_model.CpModel()
        copies: Ints = np.arange(1, int(most.max()) + 1)
        floors, ceilings = weights[:, None] // copies, -(-weights[:, None] // copies)
        inside = (copies >= fewest[:, None]) & (copies <= most[:, None])
        self.values = _values(floors[inside & (2 * ceilings <= threshold)], told, threshold)
        large = np.searchsorted(self.values, threshold - ceilings, side="right")
        small = np.searchsorted(self.values, floors, side="right")
        self.y = [{int(count): self.model.new_bool_var("") for count in copies[row]} for row in inside]
        terms: list[list[tuple[cp_model.IntVar, int]]] = [[] for _ in range(len(self.values) + 1)]
        for expert, literals in enumerate(self.y):
            self.model.add_exactly_one(literals.values())
            for count, literal in literals.items():
                one, other = int(large[expert, count - 1]), int(small[expert, count - 1])
                if one != other:
                    terms[one].append((literal, count))
                    terms[other].append((literal, -count))
        everyone = [(literal, count) for literals in self.y for count, literal in literals.items()]
        self._equal(everyone, 2 * devices)
        before: list[tuple[cp_model.IntVar, int]] = []
        for here in terms[:-1]:
            running = self.model.new_int_var(-2 * devices, 0, "")
            self._equal([*here, *before, (running, -1)], 0)
            before = [(running, 1)]

    def _equal(self, terms: Sequence[tuple[cp_model.IntVar, int]], total: int) -> None:
        literals, factors = [literal for literal, _ in terms], [factor for _, factor in terms]
        self.model.add(cp_model.LinearExpr.weighted_sum(literals, factors) == total)

    def solve(self, start: Ints, *, work: float, seed: int, seconds: float) -> tuple[Ints | None, bool]:
        """Counts if any, and whether there are none."""
        for literals, count in zip(self.y, start.tolist(), strict=True):
            for copies, literal in literals.items():
                self.model.add_hint(literal, copies == count)
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = seed
        solver.parameters.linearization_level = 2
        # Both cost more on these models than they save: ten times the whole solve.
        solver.parameters.cp_model_probing_level = 0
        solver.parameters.symmetry_level = 0
        solver.parameters.max_deterministic_time = work
        solver.parameters.max_time_in_seconds = min(max(seconds, 0.01), 1e9)
        status = solver.solve(self.model)
        if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            return None, status == cp_model.INFEASIBLE
        counts = [
            next(copies for copies, literal in literals.items() if solver.boolean_value(literal))
            for literals in self.y
        ]  # fmt: skip
        return np.array(counts, dtype=np.int64), False


def _values(floors: Ints, told: Ints, threshold: int) -> Ints:
    values = np.unique(floors[floors > 0])
    if len(values) > effort.PAIRING_VALUES:
        values = values[np.unique(np.linspace(0, len(values) - 1, effort.PAIRING_VALUES).astype(np.int64))]
    values = np.union1d(values, told[2 * told <= threshold])
    return np.union1d(values, [threshold // 2])

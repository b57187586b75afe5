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
from optimizer.placement.pairing_program import Pairings
from optimizer.placement.processes import seconds_left


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
    weights = np.array(load, dtype=np.float64) * GRID
    told: Ints = np.zeros(0, dtype=np.int64)
    counts: Ints | None = None
    for _ in range(effort.RULINGS):
        model = _Model(load, devices, threshold, told)
        if not model.possible:
            return Ruled(None, refused=model.overfull)
        counts, refused = model.solve(start, work=work, seed=seed, seconds=seconds_left(deadline))
        if counts is None or hottest(weights, counts) <= threshold:
            return Ruled(counts, refused)
        fresh = model.fresh_values(counts)
        if not len(fresh):
            break
        told = np.union1d(told, fresh)
    return Ruled(counts, refused=False)


class _Model(Pairings):
    def __init__(self, load: Sequence[int], devices: int, threshold: int, told: Ints) -> None:
        super().__init__(load, devices, threshold, told)
        if not self.possible:
            return
        self.model = cp_model.CpModel()
        self.y = [{int(count): self.model.new_bool_var("") for count in self.copies[row]} for row in self.inside]
        terms: list[list[tuple[cp_model.IntVar, int]]] = [[] for _ in range(len(self.values) + 1)]
        for expert, literals in enumerate(self.y):
            self.model.add_exactly_one(literals.values())
            for count, literal in literals.items():
                one, other = int(self.large[expert, count - 1]), int(self.small[expert, count - 1])
                if one != other:
                    terms[one].append((literal, count))
                    terms[other].append((literal, -count))
        everyone = [(literal, count) for literals in self.y for count, literal in literals.items()]
        self._equal(everyone, self.slots)
        before: list[tuple[cp_model.IntVar, int]] = []
        for here in terms[:-1]:
            running = self.model.new_int_var(-self.slots, 0, "")
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

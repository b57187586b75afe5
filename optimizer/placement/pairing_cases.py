"""Two slots a device: is there a placement within a threshold? Linear programs, case by case over copies of experts.

The first program's fractional counts, rounded and led on by tabu search, often answer before any case is looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optimizer.placement import effort
from optimizer.placement.counts import Ints, rounded
from optimizer.placement.pairing import GRID, cool_down, fold, hottest
from optimizer.placement.pairing_program import Counted, PairingProgram, Refuted
from optimizer.placement.processes import seconds_left

_WHOLE = 1e-6


@dataclass(frozen=True, slots=True)
class Decided:
    """Counts, or the witness that none are within a threshold, or neither."""

    counts: Ints | None
    witness: dict[str, Any] | None


class _Search:
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
        copies = int(np.floor(split + _WHOLE))
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
) -> Decided:  # fmt: skip
    """Look for counts whose copies pair up within ``threshold / GRID`` tokens.

    Counts that pair up by the program's values but not in truth bring the values that tell, and the search begins anew.

    Parameters
    ----------
    load
        Tokens of each expert.
    devices
        Devices, two slots each.
    threshold
        In tokens times ``GRID``; even, so that half of it can tell the large from the small.
    programs, steps, seed, deadline
        Most linear programs, steps of tabu search if the first program's counts are to be rounded, its random seed,
        and ``time.monotonic()`` at which to stop.
    """
    rng = np.random.default_rng((seed, threshold))
    weights = np.array(load, dtype=np.float64) * GRID
    extra: Ints = np.zeros(0, dtype=np.int64)
    solved = 0
    while True:
        program = PairingProgram(load, devices, threshold, extra)
        if not program.possible:
            return Decided(None, program.witness({"price": 0, "points": []}) if program.overfull else None)
        search = _Search(program, programs - solved, None if solved else steps, rng, deadline)
        cases = search.explore(program.low, program.high)
        solved += search.solved
        if cases is not None:
            return Decided(None, program.witness(cases))
        if search.found is None:
            return Decided(search.near, None)
        if hottest(weights, search.found) <= threshold:
            return Decided(search.found, None)
        fresh = program.fresh_values(search.found)
        if not len(fresh) or solved >= programs:
            return Decided(search.found, None)
        extra = np.union1d(extra, fresh)

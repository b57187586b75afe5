"""Devices of two slots: anneal the replica counts, then ask case by case whether anything cooler exists.

Every layer is asked again and again for counts a step cooler than the coolest known. An answer is a better placement
or the proof of a bound; where the work allowed gives neither, the step grows. The work allowed grows from pass to pass.
Where gaps remain and its word is taken, CP-SAT halves them, the widest first.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from optimizer.solve.placement.bounds import Witness
from optimizer.solve.placement.clock import seconds_left
from optimizer.solve.placement.pairing import anneal_counts, hottest_placed, paired
from optimizer.solve.placement.pairing_cases import decide
from optimizer.solve.placement.pairing_model import rule
from optimizer.solve.placement.pairing_program import GRID
from optimizer.solve.placement.processes import workers
from optimizer.solve.placement.replicas import Floats, Ints

_STEPS = 3000
_STEPS_PER_SLOT = 10
_ANNEAL_PART = 0.25
_PROGRAMS = (3, 20, 80)
_COARSE = 1e-3
_WIDER = 3
_SAFETY = 0.98
_PROVING_PART = 0.5
"""Part of the time after which what is left goes to CP-SAT."""

_ASKED = ((1e-3, 1.0), (1e-3, 4.0), (1e-3, 16.0), (1e-4, 16.0))
"""Gaps that CP-SAT is to close, in mean device loads, and its deterministic time for each question."""

_ASKED_AT_LEISURE = 1
"""How many of them where no deadline bounds the work."""


@dataclass(slots=True)
class _Layer:
    """One layer: coolest counts known, in tokens, and what is proved."""

    load: Sequence[int]
    devices: int
    counts: Ints
    best: float
    bound: float
    witness: Witness | None = None
    seed: int = 0
    trusted: bool = False
    """Whether the bound is CP-SAT's word."""

    @property
    def mean(self) -> float:
        return sum(self.load) / self.devices

    @property
    def gap(self) -> float:
        """In mean device loads."""
        return (self.best - self.bound) / self.mean

    def narrow(self, tolerance: float, programs: int, deadline: float | None) -> None:
        """Halve the gap, by something cooler or a proof, for as long as the work allowed is enough each time."""
        step = max(tolerance, min(_COARSE, self.gap)) if self.witness is None else max(tolerance, self.gap / 2)
        while seconds_left(deadline) > 0 and self.gap > tolerance:
            step = min(step, self.gap)
            if self._decided(step * _SAFETY, programs, deadline):
                step = max(tolerance, min(step, self.gap / 2))
            elif self.witness is None and step < self.gap:
                step *= _WIDER
            else:
                return

    def _decided(self, step: float, programs: int, deadline: float | None) -> bool:
        """Whether something cooler by so many mean device loads was found or refuted."""
        threshold = int((self.best - step * self.mean) * GRID) // 2 * 2
        if threshold <= self.bound * GRID or threshold >= self.best * GRID:
            return False
        decided = decide(self.load, self.devices, threshold, programs=programs, deadline=deadline)
        if decided.witness is not None:
            self.bound, self.witness = max(self.bound, threshold / GRID), decided.witness
            return True
        before = self.best
        self._adopt(decided.counts)
        return self.best < before

    def ask_solver(self, target: float, effort: float, deadline: float | None) -> None:
        """Let CP-SAT close the gap to the target; where it decides nothing, it is asked for wider steps."""
        step = target
        while self.gap > target and step < self.gap and seconds_left(deadline) > 0:
            threshold = int((self.best - step * _SAFETY * self.mean) * GRID) // 2 * 2
            if threshold <= self.bound * GRID or threshold >= self.best * GRID:
                return
            ruled = rule(
                self.load, self.devices, threshold, self.counts, effort=effort, seed=self.seed, deadline=deadline
            )
            if ruled.refused:
                self.bound, self.trusted = threshold / GRID, True
                return
            if self._adopt(ruled.counts) > threshold:
                step *= _WIDER

    def _adopt(self, counts: Ints | None) -> float:
        """Keep counts that are cooler; returns how hot they are, in tokens times ``GRID``."""
        if counts is None:
            return float("inf")
        value = hottest_placed(np.array(self.load, dtype=np.float64), counts)
        if value < self.best:
            self.counts, self.best = counts, value
        return value * GRID


def place_two_slots(
    loads: Sequence[Sequence[int]], weights: Floats, devices: int, floor: list[Fraction], *, goal: float, seed: int,
    deadline: float | None, solver_bounds: bool = False,
) -> tuple[Ints, dict[int, Witness], dict[int, Fraction]]:  # fmt: skip
    """Placement of every layer, better witnesses from linear programs, and better bounds on CP-SAT's word.

    Parameters
    ----------
    loads, weights
        Tokens ``[layer][expert]``, and the same in units of the mean device load.
    devices
        Devices, two slots each.
    floor
        Lower bound of each layer, max over mean.
    goal
        Gap in mean device loads at which a layer is done.
    seed, deadline
        As for ``anneal_counts``.
    solver_bounds
        Whether to take CP-SAT's word for bounds.
    """
    begun = time.monotonic()
    until = None if deadline is None else begun + _ANNEAL_PART * (deadline - begun)
    lowest = np.array([float(bound) for bound in floor])

    def anneal(rows: Ints) -> tuple[Ints, Floats]:
        return anneal_counts(
            weights[rows], devices, lowest[rows], goal=goal, steps=min(_STEPS, _STEPS_PER_SLOT * 2 * devices),
            seed=seed, deadline=until,
        )  # fmt: skip

    # Two parts whatever the machine, so that the same seed gives the same placement everywhere.
    parts = [np.arange(first, len(weights), 2) for first in range(min(2, len(weights)))]
    counts = np.empty(weights.shape, dtype=np.int64)
    with ThreadPoolExecutor(2) as pool:
        for rows, found in zip(parts, pool.map(anneal, parts), strict=True):
            counts[rows], _ = found
    layers = [
        _Layer(
            load,
            devices,
            counts[number],
            hottest_placed(np.array(load, dtype=np.float64), counts[number]),
            lowest[number] * sum(load) / devices,
            seed=seed,
        )
        for number, load in enumerate(loads)
    ]
    wanted = [layer for layer in layers if 2 * devices > len(layer.load) and max(layer.load) > 0]
    proving = None if deadline is None else begun + (_PROVING_PART if solver_bounds else 1.0) * (deadline - begun)
    with ThreadPoolExecutor(max(1, min(2, workers()))) as pool:
        for programs in _PROGRAMS:
            todo = sorted((layer for layer in wanted if layer.gap > goal), key=lambda layer: layer.gap)
            if programs == _PROGRAMS[0]:
                todo.reverse()
            list(pool.map(lambda layer, most=programs: layer.narrow(goal, most, proving), todo))
        # The gaps narrow together, so that whenever time ends the worst is as small as can be.
        asked = _ASKED if deadline is not None else _ASKED[:_ASKED_AT_LEISURE]
        for gap, effort in asked if solver_bounds else ():
            target = max(goal, gap)
            todo = sorted((layer for layer in wanted if layer.gap > target), key=lambda layer: -layer.gap)
            list(pool.map(lambda layer, least=target, most=effort: layer.ask_solver(least, most, deadline), todo))
    witnesses = {number: layer.witness for number, layer in enumerate(layers) if layer.witness is not None}
    ruled = {
        number: Fraction(int(layer.bound * GRID), GRID) * devices / sum(layer.load)
        for number, layer in enumerate(layers) if layer.trusted
    }  # fmt: skip
    return paired(weights, np.stack([layer.counts for layer in layers])), witnesses, ruled

"""Devices of two slots: linear programs say how cool a layer may be, their answers lead to counts that nearly are.

First the threshold below which the linear program refutes a layer is bracketed; then tabu search from the program's
rounded counts brings the layer down towards it. What stays open is asked case by case, each question for counts a step
cooler than the coolest known: an answer is a better placement or the proof of a bound. Where gaps remain and its word
is taken, CP-SAT narrows them, the widest first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from optimizer.placement.bounds import Witness
from optimizer.placement.clock import seconds_left
from optimizer.placement.pairing import hottest_placed, paired
from optimizer.placement.pairing_cases import decide
from optimizer.placement.pairing_model import rule
from optimizer.placement.pairing_program import GRID
from optimizer.placement.pairing_tabu import cool_down
from optimizer.placement.processes import each
from optimizer.placement.replicas import Floats, Ints, divisor_replicas

_BRACKET = 1e-3
"""Fineness to which the linear program's threshold is bracketed, in mean device loads."""

_STEPS = 100
"""Steps of tabu search for each threshold."""

_DEPTH, _DEEPER, _LESS_DEEP = 0.3, 1.3, 0.7
_DEEPEST, _SHALLOWEST = 0.8, 0.02
"""Part of a layer's gap that a search is to close: at first, after it did, after it did not, and its limits."""

_COOLINGS = 4
_PROGRAMS = (20, 80)
_COARSE = 1e-3
_WIDER = 3
_SAFETY = 0.98

_ASKED = ((1e-3, 1.0), (1e-3, 4.0), (1e-3, 16.0), (1e-4, 16.0))
"""Gaps that CP-SAT is to close, in mean device loads, and its deterministic time for each question."""

_ASKED_AT_LEISURE = 1
"""How many of them where no deadline bounds the work."""

_MANY_SLOTS = 4000
"""Slots over all layers from which they are shared among processes."""


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
    depth: float = _DEPTH
    asked: int = 0
    trusted: bool = False
    """Whether the bound is CP-SAT's word."""

    @property
    def mean(self) -> float:
        return sum(self.load) / self.devices

    @property
    def gap(self) -> float:
        """In mean device loads."""
        return (self.best - self.bound) / self.mean

    def bracket(self, goal: float, deadline: float | None) -> None:
        """Find the threshold below which the linear program refutes, and round what it does not refute."""
        free = self.best
        while free - self.bound > max(_BRACKET, goal) * self.mean and seconds_left(deadline) > 0:
            threshold = self._even((free + self.bound) / 2)
            if not self._decided(threshold, 1, 0, deadline, free):
                free = threshold / GRID
            free = min(free, self.best)

    def cool(self, goal: float, times: int, deadline: float | None) -> None:
        """Search for counts that close part of the gap, more of it after each success."""
        for _ in range(times):
            if self.gap <= goal or seconds_left(deadline) <= 0:
                return
            threshold = self._even(self.best - self.depth * self.gap * self.mean)
            close = self._decided(threshold, 1, _STEPS, deadline, self.best)
            self.depth = min(self.depth * _DEEPER, _DEEPEST) if close else max(self.depth * _LESS_DEEP, _SHALLOWEST)

    def narrow(self, goal: float, programs: int, deadline: float | None) -> None:
        """Halve the gap, by something cooler or a proof, for as long as the work allowed is enough each time."""
        step = max(goal, min(_COARSE, self.gap)) if self.witness is None else max(goal, self.gap / 2)
        while seconds_left(deadline) > 0 and self.gap > goal:
            step = min(step, self.gap)
            before = self.best
            close = self._decided(self._even(self.best - step * _SAFETY * self.mean), programs, None, deadline)
            if close or self.best < before:
                step = max(goal, min(step, self.gap / 2))
            elif self.witness is None and step < self.gap:
                step *= _WIDER
            else:
                return

    @staticmethod
    def _even(tokens: float) -> int:
        return int(tokens * GRID) // 2 * 2

    def _decided(
        self, threshold: int, programs: int, steps: int | None, deadline: float | None, most: float = 0.0
    ) -> bool:
        """Whether something within the threshold was found or refuted."""
        if threshold <= self.bound * GRID or threshold >= self.best * GRID:
            return False
        self.asked += 1
        decided = decide(
            self.load, self.devices, threshold, programs=programs, steps=steps, seed=self.seed + self.asked,
            most=int(most * GRID), deadline=deadline,
        )  # fmt: skip
        if decided.witness is not None:
            self.bound, self.witness = max(self.bound, decided.refuted / GRID), decided.witness
            return True
        counts = decided.counts
        if counts is None and steps:
            rng = np.random.default_rng((self.seed, self.asked))
            counts = cool_down(
                self.load, self.devices, threshold, self.counts, steps=steps, rng=rng, deadline=deadline
            )  # fmt: skip
        return self._adopt(counts) <= threshold

    def ask_solver(self, target: float, effort: float, deadline: float | None) -> None:
        """Let CP-SAT close the gap to the target; where it decides nothing, it is asked for wider steps."""
        step = target
        while self.gap > target and step < self.gap and seconds_left(deadline) > 0:
            threshold = self._even(self.best - step * _SAFETY * self.mean)
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
        Random seed, and ``time.monotonic()`` at which to stop.
    solver_bounds
        Whether to take CP-SAT's word for bounds.
    """
    counts = divisor_replicas(weights, 2 * devices, devices)
    layers = [
        _Layer(
            load,
            devices,
            counts[number],
            hottest_placed(np.array(load, dtype=np.float64), counts[number]),
            float(floor[number]) * sum(load) / devices,
            seed=seed,
        )
        for number, load in enumerate(loads)
    ]
    many = len(layers) * 2 * devices >= _MANY_SLOTS

    def work(step: Callable[..., None], target: float, until: float | None, *options: float) -> None:
        """Work on every layer that is above the target, the widest gap first."""
        todo = [
            number for number, layer in enumerate(layers)
            if 2 * devices > len(layer.load) and max(layer.load) > 0 and layer.gap > target
        ]  # fmt: skip
        todo.sort(key=lambda number: -layers[number].gap)
        parts: list[tuple[Any, ...]] = [(layers[number], target, *options, until) for number in todo]
        done = each(partial(_done, step), parts, deadline=until) if many else [_done(step, *part) for part in parts]
        for number, layer in zip(todo, done, strict=True):
            layers[number] = layer

    work(_Layer.bracket, goal, deadline)
    work(_Layer.cool, max(goal, _COARSE), deadline, _COOLINGS)
    asked = _ASKED if deadline is not None else _ASKED[:_ASKED_AT_LEISURE]
    for programs in _PROGRAMS:
        if deadline is None or not solver_bounds:
            work(_Layer.narrow, goal, deadline, programs)
    # The gaps narrow together, so that whenever time ends the worst is as small as can be.
    for gap, effort in asked if solver_bounds else ():
        target = max(goal, gap)
        work(_Layer.ask_solver, target, deadline, effort)
        work(_Layer.cool, target, deadline, _COOLINGS)
    witnesses = {number: layer.witness for number, layer in enumerate(layers) if layer.witness is not None}
    ruled = {
        number: Fraction(int(layer.bound * GRID), GRID) * devices / sum(layer.load)
        for number, layer in enumerate(layers) if layer.trusted
    }  # fmt: skip
    return paired(weights, np.stack([layer.counts for layer in layers])), witnesses, ruled


def _done(step: Callable[..., None], layer: _Layer, *options: float | None) -> _Layer:
    """The layer after a step of work, as a process gives it back."""
    step(layer, *options)
    return layer

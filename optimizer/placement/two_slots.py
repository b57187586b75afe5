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

from optimizer.placement import effort
from optimizer.placement.bounds import Witness, WitnessedBound
from optimizer.placement.counts import Ints, divisor_replicas
from optimizer.placement.layer_model import rule
from optimizer.placement.pairing import GRID, hottest_placed, paired
from optimizer.placement.pairing_program import decide
from optimizer.placement.processes import each, seconds_left
from optimizer.placement.question import Question

_SAFETY = 0.98


@dataclass(slots=True)
class _Layer:
    """One layer: coolest counts known, in tokens, and what is proved."""

    load: Sequence[int]
    devices: int
    counts: Ints
    best: float
    bound: float
    seed: int
    witness: Witness | None = None
    depth: float = 0.0
    """Part of the gap that the next tabu search is to close."""
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
        while free - self.bound > max(effort.BRACKET, goal) * self.mean and seconds_left(deadline) > 0:
            threshold = _even((free + self.bound) / 2)
            if not self._decided(threshold, 1, 0, deadline):
                free = threshold / GRID
            free = min(free, self.best)

    def cool(self, goal: float, deadline: float | None) -> None:
        """Search for counts that close part of the gap, more of it after each success."""
        for _ in range(effort.TABU_RUNS):
            if self.gap <= goal or seconds_left(deadline) <= 0:
                return
            threshold = _even(self.best - self.depth * self.gap * self.mean)
            if self._decided(threshold, 1, effort.TABU_STEPS, deadline):
                self.depth = min(self.depth * effort.DEEPER, effort.DEEPEST)
            else:
                self.depth = max(self.depth * effort.LESS_DEEP, effort.SHALLOWEST)

    def narrow(self, goal: float, programs: int, deadline: float | None) -> None:
        """Halve the gap, by something cooler or a proof, for as long as the work allowed is enough each time."""
        step = max(goal, min(effort.COARSE, self.gap)) if self.witness is None else max(goal, self.gap / 2)
        while seconds_left(deadline) > 0 and self.gap > goal:
            step = min(step, self.gap)
            before = self.best
            close = self._decided(_even(self.best - step * _SAFETY * self.mean), programs, None, deadline)
            if close or self.best < before:
                step = max(goal, min(step, self.gap / 2))
            elif self.witness is None and step < self.gap:
                step *= effort.WIDER
            else:
                return

    def _decided(self, threshold: int, programs: int, steps: int | None, deadline: float | None) -> bool:
        """Whether something within the threshold was found or refuted."""
        if threshold <= self.bound * GRID or threshold >= self.best * GRID:
            return False
        self.asked += 1
        decided = decide(
            self.load, self.devices, threshold, programs=programs, steps=steps, seed=self.seed + self.asked,
            deadline=deadline,
        )  # fmt: skip
        if decided.witness is not None:
            self.bound, self.witness = max(self.bound, threshold / GRID), decided.witness
            return True
        return self._adopt(decided.counts) <= threshold

    def ask_solver(self, target: float, work: float, deadline: float | None) -> None:
        """Let CP-SAT close the gap to the target; where it decides nothing, it is asked for wider steps."""
        step = target
        while self.gap > target and step < self.gap and seconds_left(deadline) > 0:
            threshold = _even(self.best - step * _SAFETY * self.mean)
            if threshold <= self.bound * GRID or threshold >= self.best * GRID:
                return
            ruled = rule(self.load, self.devices, threshold, self.counts, work=work, seed=self.seed, deadline=deadline)
            if ruled.refused:
                self.bound, self.trusted = threshold / GRID, True
                return
            if self._adopt(ruled.counts) > threshold:
                step *= effort.WIDER

    def _adopt(self, counts: Ints | None) -> float:
        """Keep counts that are cooler; returns how hot they are, in tokens times ``GRID``."""
        if counts is None:
            return float("inf")
        value = hottest_placed(np.array(self.load, dtype=np.float64), counts)
        if value < self.best:
            self.counts, self.best = counts, value
        return value * GRID


def _even(tokens: float) -> int:
    return int(tokens * GRID) // 2 * 2


def place_two_slots(question: Question, bounds: list[WitnessedBound], *, goal: float, deadline: float | None) -> Ints:
    """Placement of every layer, ``[layers, devices, 2]``; betters the bounds where loads are split evenly.

    Parameters
    ----------
    question
        Of one workload and two slots a device.
    bounds
        Of each layer, max over mean.
    goal
        Gap in mean device loads at which a layer is done.
    deadline
        ``time.monotonic()`` at which to stop.
    """
    devices, loads, weights = question.devices, question.loads[0], question.normalised()[:, 0]
    counts = divisor_replicas(weights, 2 * devices, devices)
    layers = []
    for load, copies, (bound, _) in zip(loads, counts, bounds, strict=True):
        best = hottest_placed(np.array(load, dtype=np.float64), copies)
        layers.append(
            _Layer(load, devices, copies, best, float(bound) * sum(load) / devices, question.seed, depth=effort.DEPTH)
        )
    trusting = question.solver_bounds and question.split == "even"

    def work(step: Callable[..., None], target: float, *options: float) -> None:
        """Work on every layer that is above the target, the widest gap first."""
        todo = [n for n, layer in enumerate(layers) if question.spare and max(layer.load) and layer.gap > target]
        todo.sort(key=lambda number: -layers[number].gap)
        parts: list[tuple[Any, ...]] = [(layers[number], target, *options, deadline) for number in todo]
        parallel = len(layers) * 2 * devices >= effort.SLOTS_A_PROCESS
        done = (
            each(partial(_done, step), parts, deadline=deadline) if parallel else [_done(step, *part) for part in parts]
        )
        for number, layer in zip(todo, done, strict=True):
            layers[number] = layer

    work(_Layer.bracket, goal)
    work(_Layer.cool, max(goal, effort.COARSE))
    for programs in effort.PROGRAMS if deadline is None or not trusting else ():
        work(_Layer.narrow, goal, programs)
    # The gaps narrow together, so that whenever time ends the worst is as small as can be.
    for gap, effort_allowed in effort.ASKED[: None if deadline is not None else 1] if trusting else ():
        work(_Layer.ask_solver, max(goal, gap), effort_allowed)
        work(_Layer.cool, max(goal, gap))
    for number, layer in enumerate(layers) if question.split == "even" else ():
        witness = layer.witness or bounds[number][1]
        bound = Fraction(witness["threshold"]) * devices / sum(layer.load) if layer.witness else bounds[number][0]
        if layer.trusted:
            ruled = Fraction(int(layer.bound * GRID), GRID) * devices / sum(layer.load)
            if ruled > bound:
                bound, witness = ruled, {"kind": "solver", "checked": witness}
        bounds[number] = bound, witness
    return paired(weights, np.stack([layer.counts for layer in layers]))


def _done(step: Callable[..., None], layer: _Layer, *options: float | None) -> _Layer:
    """The layer after a step of work, as a process gives it back."""
    step(layer, *options)
    return layer

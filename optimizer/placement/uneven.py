"""Slots that do not divide over the devices: some devices have one slot more, spread as evenly as possible.

Blank experts without load fill the missing slots, so that every device has as many; the placement of this layer is a
relaxation, whose bound holds. Where two blanks met on one device, they are made copies of one expert, which no device
holds twice, and the devices are balanced anew.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from optimizer.placement import effort
from optimizer.placement.counts import divisor_replicas, transferred
from optimizer.placement.descent import Search, deal, descend
from optimizer.placement.question import Question
from optimizer.placement.result import Devices, LayerPlacement, tuples


def padded(question: Question) -> Question:
    """The same without empty slots: each holds a blank expert of its own."""
    blanks = [0] * question.empty_slots
    return replace(question, loads=[[[*row, *blanks] for row in load] for load in question.loads], empty_slots=0)


def without_blanks(question: Question, index: int, layer: LayerPlacement, deadline: float | None) -> LayerPlacement:
    """The padded layer's bound, and its placement without blanks or, where these met, another; fuller devices first."""
    blanks = [sum(expert >= question.experts for expert in held) for held in layer.devices]
    if max(blanks) > 1 or sum(blanks) > question.empty_slots:
        return question.placed(index, layer, _searched(question, index, layer, deadline))
    return question.placed(index, layer, _stripped(layer.devices, question.experts))


def _stripped(devices: Sequence[Sequence[int]], experts: int) -> Devices:
    real = [tuple(sorted(expert for expert in held if expert < experts)) for held in devices]
    return tuple(sorted(real, key=lambda held: -len(held)))


def _searched(question: Question, index: int, layer: LayerPlacement, deadline: float | None) -> Devices:
    """Balance one layer with one blank expert of so many copies; over several workloads for their mean."""
    devices, blanks = question.devices, question.empty_slots
    weights = question.normalised(index).mean(axis=0)
    counts = divisor_replicas(weights[None], devices * question.slots - blanks, devices)[0]
    rng = np.random.default_rng(question.seed)
    tried = [counts] + [
        transferred(weights, counts, devices, rng.random((1 + number % effort.ATTEMPTS, 2)))
        for number in range(effort.UNEVEN_VARIANTS)
    ]
    copies = np.array([[*variant, blanks] for variant in tried])
    goal, coolest = float(layer.bound + question.tolerance / 2), layer.devices
    rounds, best = effort.ROUNDS_PER_SLOT * devices * question.slots, np.inf
    for some in (copies[:1], copies[1:]):
        loads = np.tile(np.append(weights, 0.0), (len(some), 1))
        search = Search.start(loads / some, deal(loads, some, devices))
        enough = np.full(len(some), goal)
        descend(search, np.ones(len(some)), enough, rounds=rounds, seed=question.seed, deadline=deadline)
        if search.best.min() < best:
            best, coolest = search.best.min(), tuples(search.best_held[search.best.argmin()])
        if best <= goal:
            break
    return _stripped(coolest, question.experts)

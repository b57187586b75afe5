"""Slots that do not divide over the devices: some devices have one slot more, spread as evenly as possible.

Blank experts without load fill the missing slots, so that every device has as many; the placement of this layer is a
relaxation, whose bound holds. Where two blanks met on one device, they are made copies of one expert, which no device
holds twice, and the devices are balanced anew.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from optimizer.placement import effort
from optimizer.placement.counts import divisor_replicas
from optimizer.placement.descent import Search, descend
from optimizer.placement.question import Layer, Question
from optimizer.placement.result import Devices, LayerPlacement, tuples


def padded(question: Question) -> Question:
    """The same without empty slots: each holds a blank expert of its own."""
    blanks = [0] * question.empty_slots
    return replace(question, loads=[[[*row, *blanks] for row in load] for load in question.loads], empty_slots=0)


def without_blanks(layer: Layer, padded: LayerPlacement) -> LayerPlacement:
    """The padded layer's bound, and its placement without blanks or, where these met, another; fuller devices first."""
    experts = layer.question.experts
    blanks = [sum(expert >= experts for expert in held) for held in padded.devices]
    met = max(blanks) > 1 or sum(blanks) > layer.question.empty_slots
    return layer.placed(padded, _stripped(_searched(layer, padded) if met else padded.devices, experts))


def _stripped(devices: Sequence[Sequence[int]], experts: int) -> Devices:
    real = [tuple(sorted(expert for expert in held if expert < experts)) for held in devices]
    return tuple(sorted(real, key=lambda held: -len(held)))


def _searched(layer: Layer, padded: LayerPlacement) -> Devices:
    """Balance one layer with one blank expert of so many copies; over several workloads for their mean."""
    question = layer.question
    devices, blanks = question.devices, question.empty_slots
    weights = layer.loads.mean(axis=0)
    counts = divisor_replicas(weights[None], devices * question.slots - blanks, devices)
    loads, copies = np.append(weights, 0.0)[None], np.append(counts, blanks)[None]
    search = Search.dealt(loads, copies, devices)
    descend(
        search, np.ones(1), np.array([float(padded.bound + question.tolerance / 2)]),
        rounds=effort.ROUNDS_PER_SLOT * devices * question.slots, seed=question.seed, deadline=layer.deadline,
    )  # fmt: skip
    return tuples(search.best_held[0])

"""Placed for freely split loads: exchanges judged by the linear program of the split, and bounds that hold for it."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from optimizer.certificate.balance import bound_of
from optimizer.figures.placement import moves, split_device_loads
from optimizer.figures.robust import aggregate
from optimizer.placement.bounds import counting_witness
from optimizer.placement.clock import seconds_left
from optimizer.placement.question import Question
from optimizer.placement.result import Devices, LayerPlacement
from optimizer.placement.split import Shares, free_shares

_TRIES = 150
_NEAR = 1e-6
_WORSE = 0.2
_FULL = 0.1
"""Share of exchanges with another of the hottest devices: without them 15 of 8,000 layers of three or four experts stay
5% above the optimum, with them none."""
_COUNTS = frozenset({"average", "count"})


def placed_for_free_split(
    question: Question, index: int, layer: LayerPlacement, deadline: float | None
) -> LayerPlacement:  # fmt: skip
    """The layer with a better placement for the free split where one is found, and its better bound.

    The linear program splits one workload, the heaviest; the others follow its parts. Groups kept on nodes, and budgets
    of moves, leave the placement as it is.
    """
    layer = _bounded(question, index, layer)
    free = question.hierarchy == "free" and question.max_moves is None
    if not free or layer.gap <= question.tolerance or question.devices * question.slots == question.experts:
        return layer
    rng = np.random.default_rng(question.seed)
    best, shares = layer.devices, layer.shares
    value = layer.max_over_mean
    here, here_shares, here_value = best, shares, value
    for turn in range(_TRIES):
        if value - layer.bound <= question.tolerance or seconds_left(deadline) <= 0 or here_shares is None:
            break
        tried = _changed(question, index, here, here_shares, rng)
        if tried is None:
            break
        parts, found = _split(question, index, tried)
        if found < value:
            best, shares, value = tried, parts, found
        # Some improvements take two exchanges, the first of which makes things worse.
        if float(found) <= float(here_value) * (1 + _WORSE * (1 - turn / _TRIES) * rng.random()):
            here, here_shares, here_value = tried, parts, found
    if value == layer.max_over_mean or shares is None:
        return layer
    moved = None if question.current is None else moves(question.current[index], best)
    workloads = tuple(_value(row, best, shares) for row in question.rows(index))
    return replace(layer, devices=best, shares=shares, max_over_mean=value, workloads=workloads, moves=moved)


def _bounded(question: Question, index: int, layer: LayerPlacement) -> LayerPlacement:
    """With the counting bound, which holds however loads are split."""
    parts, values = [], []
    for row in question.rows(index):
        witness = counting_witness(row, question.devices, question.slots)
        if witness["kind"] not in _COUNTS:
            return layer
        parts.append(witness)
        values.append(bound_of(row, question.devices, question.slots, witness))
    bound = aggregate(values, question.weights, question.robust, question.tail)
    if bound <= layer.bound:
        return layer
    return replace(layer, bound=bound, witness=parts[0] if len(parts) == 1 else {"kind": "scenario", "bounds": parts})


def _value(row: Sequence[int], devices: Devices, shares: Shares) -> Fraction:
    return max(split_device_loads(row, devices, shares)) * len(devices) / sum(row) if sum(row) else Fraction(1)


def _split(question: Question, index: int, devices: Devices) -> tuple[Shares, Fraction]:
    """The best split for the workload that it leaves hottest, and the objective over all."""
    rows = question.rows(index)
    best: tuple[Shares, Fraction] | None = None
    for row in rows:
        shares = free_shares(row, devices)
        values = [_value(other, devices, shares) for other in rows]
        value = aggregate(values, question.weights, question.robust, question.tail)
        if best is None or value < best[1]:
            best = shares, value
    if best is None:
        raise ValueError("no workload")
    return best


def _changed(
    question: Question, index: int, devices: Devices, shares: Shares, rng: np.random.Generator
) -> Devices | None:  # fmt: skip
    """Another placement: a copy of a hottest device changes places, or is copied in place of an idle copy."""
    rows = question.rows(index)
    heat = np.zeros(len(devices))
    for row in rows:
        loads = [float(load) for load in split_device_loads(row, devices, shares)]
        heat = np.maximum(heat, np.array(loads) / max(1, sum(row)))
    hot = np.nonzero(heat >= heat.max() * (1 - _NEAR))[0]
    cool = np.nonzero(heat < heat.max() * (1 - _NEAR))[0]
    if not len(cool):
        return None
    counts = [0] * question.experts
    for held in devices:
        for expert in held:
            counts[expert] += 1
    found = [list(held) for held in devices]
    for _ in range(_TRIES):
        # Which devices a split fills is one choice of many: another hot one may be the right partner too.
        one, two = int(rng.choice(hot)), int(rng.choice(hot if rng.random() < _FULL else cool))
        mine, theirs = (int(slot) for slot in rng.integers(question.slots, size=2))
        here, there = found[one][mine], found[two][theirs]
        if here in found[two]:
            continue
        if counts[there] > 1 and rng.random() < 0.5:
            found[two][theirs] = here
        elif there not in found[one]:
            found[one][mine], found[two][theirs] = there, here
        else:
            continue
        return tuple(tuple(sorted(held)) for held in found)
    return None

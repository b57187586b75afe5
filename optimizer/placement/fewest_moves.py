"""Fewest moves as the last objective: from the placement in service towards the balance found, no further than needed.

The frontier from the placement in service comes close to the balance with few moves; exchanges with the hottest device
do the rest. Then copies go back where they were while loads (and nodes visited) allow it. Small layers are
solved by CP-SAT. What was found without regard to moves stands where none of this needs fewer.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from optimizer.figures.placement import max_over_mean, moves
from optimizer.figures.robust import aggregate
from optimizer.placement.clock import seconds_left
from optimizer.placement.drift import bundles
from optimizer.placement.layer_model import fewest_moves
from optimizer.placement.question import Question
from optimizer.placement.rebalance import frontier
from optimizer.placement.replicas import Floats, Ints
from optimizer.placement.result import Devices, LayerPlacement

_ENDS = 3
_COOLINGS = 400
_BUNDLE = 3
_RETURNS = 400
_MARGIN = 1e-9

Fits = Callable[[Devices], bool]


def with_fewest_moves(
    question: Question, index: int, layer: LayerPlacement, near: int | None, deadline: float | None
) -> LayerPlacement:
    """The layer with fewer experts loaded anew at a balance within the tolerance of its bound, or no worse than found.

    Freely split loads are left as they are; where nodes of ``near`` devices hold what was brought together, copies only
    change devices within a node.
    """
    if question.current is None or question.split != "even" or layer.moves == 0:
        return layer
    rows, current = question.rows(index), question.current[index]
    limit = max(layer.max_over_mean, layer.bound + question.tolerance)

    def value(devices: Devices) -> Fraction:
        values = [max_over_mean(row, devices) for row in rows]
        return aggregate(values, question.weights, question.robust, question.tail)

    def fits(devices: Devices) -> bool:
        return value(devices) <= limit

    best, fewest = layer.devices, moves(current, layer.devices)
    kept = near if near is not None else question.node_size if question.hierarchy == "node" else None
    wide = question.hierarchy == "free" and question.max_moves is None and near is None
    for found in _candidates(question, index, layer.devices, limit, deadline) if wide else [layer.devices]:
        returned = _returned(question, index, found, limit, fits, kept or question.devices)
        count = moves(current, returned)
        if count < fewest and fits(returned):
            best, fewest = returned, count
    if fewest and layer.visits is None:
        exact = fewest_moves(question, index, limit, best)
        if exact is not None and moves(current, exact) < fewest and fits(exact):
            best, fewest = exact, moves(current, exact)
    return replace(
        layer, devices=best, max_over_mean=value(best), moves=fewest,
        workloads=tuple(max_over_mean(row, best) for row in rows),
    )  # fmt: skip


def _normalised(question: Question, index: int) -> Floats:
    loads = np.array(question.rows(index), dtype=np.float64)
    total = loads.sum(axis=1, keepdims=True)
    return loads * question.devices / np.where(total > 0, total, 1.0)


def _tuples(held: Ints) -> Devices:
    return tuple(tuple(sorted(map(int, slots))) for slots in held)


def _candidates(
    question: Question, index: int, found: Devices, limit: Fraction, deadline: float | None
) -> Iterator[Devices]:
    yield found
    if seconds_left(deadline) <= 0:
        return
    assert question.current is not None  # noqa: S101 - asked by who has it
    loads, current = _normalised(question, index), np.array(question.current[index])
    points = frontier(
        question.rows(index), loads, current, budget=current.size, goal=float(limit) - _MARGIN
    )  # fmt: skip
    yield from (_tuples(np.array(point.devices)) for point in points[-1:])
    if points[-1].max_over_mean <= limit:
        return
    for point in points[-_ENDS:]:
        cooled = _cooled(loads, np.array(point.devices), float(limit) - _MARGIN, current)
        if cooled is not None:
            yield _tuples(cooled)


def _cooled(loads: Floats, start: Ints, limit: float, current: Ints) -> Ints | None:
    """Exchange bundles of the hottest device with another, over and over, until no device is above the limit.

    Of the exchanges that end below the limit one with fewest moves, else the one that ends coolest, is made.
    """
    held = start.copy()
    count, slots = held.shape
    shares = loads / np.maximum(np.bincount(held.ravel(), minlength=loads.shape[1]), 1)
    old = np.zeros((count, loads.shape[1]), dtype=bool)
    old[np.arange(count)[:, None], current] = True
    for _ in range(_COOLINGS):
        load = shares[:, held].sum(axis=2)
        hot = int(load.max(axis=0).argmax())
        highest = load[:, hot].max()
        if highest <= limit:
            return held
        best: tuple[float, Ints, int, Ints] | None = None
        for size in range(1, min(_BUNDLE, slots) + 1):
            found = _exchange(shares, held, old, load, hot, limit, size)
            if best is None or found[0] < best[0]:
                best = found
            if best[0] < 0:
                break
        if best is None or best[0] >= highest - _MARGIN:
            return None
        _, mine, other, theirs = best
        held[hot, mine], held[other, theirs] = held[other, theirs], held[hot, mine]
    return None


def _exchange(
    shares: Floats, held: Ints, old: NDArray[np.bool_], load: Floats, hot: int, limit: float, size: int
) -> tuple[float, Ints, int, Ints]:
    """The best exchange of so many copies: its rank (below 0 where it ends below the limit), and what changes."""
    count, slots = held.shape
    inside = bundles(slots, size)
    mine, theirs = held[hot][inside], held[:, inside]
    new = ~old[np.arange(count)[:, None], held]
    step = shares[:, theirs].sum(axis=3)[:, None] - shares[:, mine].sum(axis=2)[:, :, None, None]
    top = np.maximum(load[:, hot][:, None, None, None] + step, load[:, None, :, None] - step).max(axis=0)
    member = np.zeros(old.shape, dtype=bool)
    member[np.arange(count)[:, None], held] = True
    doubled = np.any(member[hot, theirs], axis=2)[None] | np.any(member[:, mine], axis=2).T[:, :, None]
    arriving = np.sum(~old[hot, theirs], axis=2)[None] + np.sum(~old[:, mine], axis=2).T[:, :, None]
    leaving = new[hot][inside].sum(axis=1)[:, None, None] + new[:, inside].sum(axis=2)[None]
    rank = np.where(top <= limit, arriving - leaving - 10.0 * size, top)
    rank[np.broadcast_to(doubled, rank.shape)] = np.inf
    rank[:, hot] = np.inf
    one, other, two = np.unravel_index(int(rank.argmin()), rank.shape)
    return float(rank[one, other, two]), inside[one], int(other), inside[two]


def _returned(
    question: Question, index: int, devices: Devices, limit: Fraction, fits: Fits, node_size: int
) -> Devices:  # fmt: skip
    """Exchange copies within nodes while that brings some back and every device stays below the limit."""
    assert question.current is not None  # noqa: S101 - asked by who has it
    held = np.array(devices)
    count, slots = held.shape
    old = np.zeros((count, question.experts), dtype=bool)
    old[np.arange(count)[:, None], np.array(question.current[index])] = True
    shares = _normalised(question, index) / np.maximum(np.bincount(held.ravel(), minlength=question.experts), 1)
    home = np.repeat(np.arange(count), slots)
    node = home // node_size
    for _ in range(_RETURNS):
        flat = held.ravel()
        member = np.zeros((count, question.experts), dtype=bool)
        member[np.arange(count)[:, None], held] = True
        new = (~old[home, flat]).astype(np.int64)
        arriving = (~old[home][:, flat]).astype(np.int64)
        saved = new[:, None] + new[None, :] - arriving - arriving.T
        there = member[home][:, flat]
        allowed = (saved > 0) & ~there & ~there.T & (node[:, None] == node[None, :])
        worst = np.zeros(allowed.shape)
        for share in shares:
            own = share[flat]
            load = own.reshape(count, slots).sum(axis=1)[home]
            after = load[:, None] - own[:, None] + own[None, :]
            top = np.maximum(after, after.T)
            allowed &= top <= float(limit) - _MARGIN
            worst = np.maximum(worst, top)
        if not allowed.any():
            break
        place = int(np.where(allowed, worst - 10.0 * saved, np.inf).argmin())
        one, two = divmod(place, count * slots)
        held.flat[one], held.flat[two] = held.flat[two], held.flat[one]
    found = _tuples(held)
    return found if fits(found) else devices

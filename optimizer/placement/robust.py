"""Several workloads: one placement that is good under all of them.

Loads are vectors over workloads. Pairs of devices share out their copies anew, all layers at once, and single copies
make way for other experts, one layer at a time, both by the p-norm of the loads with growing ``p``: smooth where the
maximum is flat, and near the maximum in the end.
"""

import numpy as np

from optimizer.placement.aim import Aim
from optimizer.placement.clock import seconds_left
from optimizer.placement.construct import deal
from optimizer.placement.processes import each
from optimizer.placement.replicas import Floats, Ints, divisor_replicas
from optimizer.placement.steps import LayerState, replace, replace_change
from optimizer.placement.vectors import VectorSearch, raised, share_out_pairs

_POWERS = (8, 16, 32, 64)
_FIRST_ROUNDS = 24
_PAIR_ROUNDS = 24
_SWEEPS = 300
_SETTLING = 6
_FOCUS = 6
_VARIANTS = 6
_KICKS = 24
_STEPS = 3
_TRIES = 6


def balance_robustly(
    weights: Floats, aim: Aim, devices: int, slots: int, *, floor: Floats, goal: float, seed: int,
    deadline: float | None,
) -> Ints:  # fmt: skip
    """Placement of every layer under several workloads with the even split.

    Parameters
    ----------
    weights
        Loads in units of the mean device load, ``[layers, workloads, experts]``.
    aim
        Objective over workloads.
    devices, slots
        Devices, and slots of each.
    floor, goal
        Lower bound of each layer's objective, and the excess over it at which a layer is done.
    seed, deadline
        Of the random pairings; ``time.monotonic()`` at which to stop.

    Returns
    -------
    Ints
        Expert of each slot, ``[layers, devices, slots]``.
    """
    # Two parts whatever the machine, so that the same seed gives the same placement everywhere.
    parts = [np.arange(first, len(weights), 2) for first in range(min(2, len(weights)))]

    asked = [(weights[part], aim, devices, slots, floor[part], goal, seed, deadline) for part in parts]
    held = np.empty((len(weights), devices, slots), dtype=np.int64)
    for part, found in zip(parts, each(balance_part, asked, deadline=deadline), strict=True):
        held[part] = found
    return held


def balance_part(
    weights: Floats, aim: Aim, devices: int, slots: int, floor: Floats, goal: float, seed: int, deadline: float | None
) -> Ints:
    """Some of the layers; as for ``balance_robustly``."""
    rng = np.random.default_rng(seed)
    search = _first(weights, aim, devices, slots, rng)
    for sweep in range(min(_SWEEPS, 2 + devices * slots)):
        if seconds_left(deadline) <= 0:
            break
        gaps = search.best - floor
        open_layers = np.nonzero(gaps > goal)[0]
        if not len(open_layers):
            break
        if sweep < _SETTLING:
            power = _POWERS[min(sweep, len(_POWERS) - 1)]
            variants = open_layers
            held = [_replaced(weights[layer], search.best_held[layer], aim, power) for layer in variants]
        else:
            power = _POWERS[1 + sweep % 3]
            worst = open_layers[np.argsort(-gaps[open_layers], kind="stable")]
            focus = worst[: max(1, len(worst) // _FOCUS)] if sweep % 4 else worst
            variants = np.repeat(focus, _VARIANTS if sweep % 4 else 1)
            held = [_kicked(weights[layer], search.best_held[layer], aim, power, rng) for layer in variants]
        part = VectorSearch.start(weights[variants], np.stack(held), aim)
        for turn in range(_PAIR_ROUNDS):
            shuffle, positions = rng.permutation(devices), rng.permutation(slots)
            if seconds_left(deadline) <= 0:
                break
            now = power if turn < _PAIR_ROUNDS // 2 else _POWERS[-1]
            share_out_pairs(part, aim, now, shuffle, positions)
            part.note(aim)
        for index, layer in enumerate(variants.tolist()):
            if part.best[index] < search.best[layer]:
                search.best[layer] = part.best[index]
                search.best_held[layer] = part.best_held[index]
    return search.best_held


def _first(weights: Floats, aim: Aim, devices: int, slots: int, rng: np.random.Generator) -> VectorSearch:
    """Best of several replica vectors after a few rounds: by the worst workload, the mean, and between."""
    layers = len(weights)
    mixes = [weights.max(axis=1), weights.mean(axis=1), np.sqrt((weights**2).mean(axis=1))]
    held = np.concatenate([deal(mix, divisor_replicas(mix, devices * slots, devices), devices) for mix in mixes])
    search = VectorSearch.start(np.concatenate([weights] * len(mixes)), held, aim)
    for turn in range(_FIRST_ROUNDS):
        power = _POWERS[turn * len(_POWERS) // _FIRST_ROUNDS]
        share_out_pairs(search, aim, power, rng.permutation(devices), rng.permutation(slots))
        search.note(aim)
    chosen = search.best.reshape(len(mixes), layers).argmin(axis=0) * layers + np.arange(layers)
    return VectorSearch.start(weights, search.best_held[chosen], aim)


def _replaced(weights: Floats, held: Ints, aim: Aim, power: int) -> Ints:
    """Placement of one layer after a few replacements that lower the p-norm."""
    state = LayerState.of(weights, held)
    for _ in range(_STEPS):
        pull = aim.pull(state.load.T[None], power)[0]
        omega = pull[:, None] * np.maximum(state.load, 1e-6) ** (power - 2)
        slots, change = replace_change(state, omega)
        if change.size <= _TRIES:
            break
        before = _potential(state, pull, power)
        tries = np.argpartition(change, _TRIES, axis=None)[:_TRIES]
        for place in tries[np.argsort(change.flat[tries], kind="stable")].tolist():
            if not np.isfinite(change.flat[place]):
                continue
            kept = state.held.copy()
            slot, expert = divmod(place, change.shape[1])
            replace(state, int(slots[slot]), expert)
            if _potential(state, pull, power) < before:
                break
            state.held[:] = kept
            state.refresh()
        else:
            break
    return state.held


def _kicked(weights: Floats, held: Ints, aim: Aim, power: int, rng: np.random.Generator) -> Ints:
    """Placement of one layer after one or two replacements drawn from the most promising, good or not."""
    state = LayerState.of(weights, held)
    for _ in range(int(rng.integers(1, 3))):
        pull = aim.pull(state.load.T[None], power)[0]
        slots, change = replace_change(state, pull[:, None] * np.maximum(state.load, 1e-6) ** (power - 2))
        if change.size <= _KICKS:
            break
        promising = np.argpartition(change, _KICKS, axis=None)[:_KICKS]
        place = int(promising[np.argsort(change.flat[promising], kind="stable")][int(rng.integers(_KICKS))])
        if np.isfinite(change.flat[place]):
            slot, expert = divmod(place, change.shape[1])
            replace(state, int(slots[slot]), expert)
    return state.held


def _potential(state: LayerState, pull: Floats, power: int) -> float:
    return float((pull * raised(state.load, power).sum(axis=1)).sum())

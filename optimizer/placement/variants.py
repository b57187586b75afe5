"""Other replica counts for layers that stay too hot: a few copies change hands, and the search starts anew.

Several variants of every open layer are searched side by side; the best becomes the layer's placement.
"""

import numpy as np

from optimizer.placement.construct import deal
from optimizer.placement.descent import Search, descend
from optimizer.placement.replicas import Floats, Ints

_VARIANTS = 4
_TRANSFERS = 3
_FAR = 4.0


def transferred(weights: Floats, counts: Ints, devices: int, draws: Floats) -> Ints:
    """Replica counts after a few experts gave one copy each to another.

    Parameters
    ----------
    weights, counts
        Loads and copies of one layer.
    devices
        Most copies of an expert.
    draws
        ``[transfers, 2]`` in [0, 1): which expert gives, and how far down the order by share the taker stands.
    """
    changed = counts.copy()
    for give, take in draws:
        givers = np.nonzero(changed > 1)[0]
        if not len(givers):
            break
        by_share = np.argsort(-weights / changed, kind="stable")
        giver, taker = givers[int(give * len(givers))], by_share[int(take * take * len(by_share))]
        if giver != taker and changed[taker] < devices:
            changed[giver] -= 1
            changed[taker] += 1
    return changed


def try_variants(
    search: Search, weights: Floats, counts: Ints, floor: Floats, goal: Floats, *, attempts: int, rounds: int,
    seed: int, deadline: float | None, far: float = _FAR,
) -> None:  # fmt: skip
    """Look for better replica counts of the layers that are far from their goal; changes ``search`` in place.

    Parameters
    ----------
    search
        Placements found so far.
    weights, counts
        Loads and copies, ``[layers, experts]``.
    floor, goal
        Lower bound and good enough, ``[layers]``.
    attempts, rounds, seed, deadline
        Generations of variants, rounds of search for each, random seed, and when to stop.
    far
        Times its goal's excess from which a layer takes part.
    """
    devices, slots = search.held.shape[1:]
    if devices * slots == weights.shape[1]:
        return
    rng = np.random.default_rng(seed)
    for attempt in range(attempts):
        draws = rng.random((_VARIANTS, 1 + attempt % _TRANSFERS, 2))
        open_layers = np.nonzero(search.best > floor + far * (goal - floor))[0]
        if not len(open_layers):
            return
        rows = np.repeat(open_layers, _VARIANTS)
        tried = np.stack(
            [transferred(weights[row], counts[row], devices, draws[n % _VARIANTS]) for n, row in enumerate(rows)]
        )
        variant = Search.start(weights[rows] / tried, deal(weights[rows], tried, devices))
        done = descend(variant, floor[rows], goal[rows], rounds=rounds, seed=seed + attempt, deadline=deadline)
        if done == 0:
            return
        winner = variant.best.reshape(-1, _VARIANTS).argmin(axis=1) + np.arange(len(open_layers)) * _VARIANTS
        better = variant.best[winner] < search.best[open_layers]
        improved, source = open_layers[better], winner[better]
        counts[improved] = tried[source]
        search.adopt(improved, variant, source)

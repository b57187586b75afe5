"""Placement for several load samples by a shallow tree search over how the spare copies are split.

Follows the description of FlashLB (github.com/vllm-project/vllm-ascend, ``policy_flashlb``; vLLM pull requests 24069
and 37656): a tree of depth 4 and width 8 over the split of replicas, shares packed heaviest first by mean plus a
multiple of the standard deviation over the samples, two copies of an expert on one device forbidden. Written from that
description: experts fall by heat into as many tiers as the tree is deep; each level decides the copies of one tier, and
the widest beam of the best splits, each completed greedily and packed, goes on. Its incremental updates are left out.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Placement = list[list[int]]

DEPTH, WIDTH = 4, 8
DEVIATIONS = 1.0
"""Standard deviations above the mean (assumed: the best of several tried on DeepSeek-V3 loads)."""


def _filled(heat: Floats, counts: Ints, spare: int, open_to: Ints, most: int) -> Ints:
    """Spare copies one by one to the largest heat per copy among some experts."""
    filled = counts.copy()
    for _ in range(spare):
        shares = np.where(filled[open_to] < most, heat[open_to] / filled[open_to], -1.0)
        filled[open_to[int(shares.argmax())]] += 1
    return filled


def packed(samples: Floats, counts: Ints, devices: int, factor: float) -> tuple[Ints, Floats]:
    """Pack the shares of several splits side by side, heaviest first, each where mean plus deviation stays least.

    Parameters
    ----------
    samples
        Loads ``[samples, experts]``, each adding up to the devices.
    counts
        Copies of each expert, ``[splits, experts]``.
    devices, factor
        Devices, and the multiple of the standard deviation.

    Returns
    -------
    held, peak
        Expert of each slot ``[splits, devices, slots]``, and the hottest device averaged over samples.
    """
    splits, slots = len(counts), int(counts[0].sum())
    heat = samples.mean(axis=0) + factor * samples.std(axis=0)
    order = np.empty((splits, slots), dtype=np.int64)
    for split, own in enumerate(counts):
        ranked = np.argsort(-heat / own, kind="stable")
        order[split] = np.repeat(ranked, own[ranked])
    load = np.zeros((splits, devices, len(samples)))
    used = np.zeros((splits, devices), dtype=np.int64)
    member = np.zeros((splits, devices, samples.shape[1]), dtype=bool)
    held = np.empty((splits, devices, slots // devices), dtype=np.int64)
    rows = np.arange(splits)
    for place in range(slots):
        expert = order[:, place]
        share = (samples[:, expert] / counts[rows, expert]).T
        after = load + share[:, None, :]
        score = after.mean(axis=2) + factor * after.std(axis=2)
        score[member[rows, :, expert]] += 1e6
        score[used >= held.shape[2]] = np.inf
        chosen = score.argmin(axis=1)
        held[rows, chosen, used[rows, chosen]] = expert
        used[rows, chosen] += 1
        member[rows, chosen, expert] = True
        load[rows, chosen] = after[rows, chosen]
    return held, load.max(axis=1).mean(axis=1)


def flash(
    samples: Sequence[Sequence[float]], devices: int, slots: int, *, depth: int = DEPTH, width: int = WIDTH,
    factor: float = DEVIATIONS,
) -> Placement:  # fmt: skip
    """Placement of one layer for several samples, each first scaled to the same total."""
    loads = np.array(samples, dtype=np.float64)
    loads *= devices / np.maximum(loads.sum(axis=1, keepdims=True), 1e-12)
    heat = loads.mean(axis=0) + factor * loads.std(axis=0)
    experts = len(heat)
    tiers = np.array_split(np.argsort(-heat, kind="stable"), min(depth, experts))
    beam = [np.ones(experts, dtype=np.int64)]
    best: tuple[float, Ints] | None = None
    for level, tier in enumerate(tiers):
        later = np.concatenate([*tiers[level + 1 :], np.empty(0, dtype=np.int64)]).astype(np.int64)
        decided: list[Ints] = []
        for counts in beam:
            spare = devices * slots - int(counts.sum())
            usual = _filled(heat, counts, spare, np.concatenate([tier, later]), devices)
            middle = int((usual[tier] - counts[tier]).sum())
            for given in range(max(0, middle - width // 2), min(spare, middle + (width - 1) // 2) + 1):
                fits = given <= len(tier) * (devices - 1) and spare - given <= len(later) * (devices - 1)
                if fits:
                    decided.append(_filled(heat, counts, given, tier, devices))
        complete = np.array(
            [_filled(heat, own, devices * slots - int(own.sum()), later, devices) for own in decided]
        )  # fmt: skip
        held, peak = packed(loads, complete, devices, factor)
        ranked = np.argsort(peak, kind="stable")
        if best is None or peak[ranked[0]] < best[0]:
            best = float(peak[ranked[0]]), held[ranked[0]]
        beam = [decided[number] for number in ranked[:width]]
    assert best is not None, "at least one level"
    return [[int(expert) for expert in own] for own in best[1]]

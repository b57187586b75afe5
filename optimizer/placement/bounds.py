"""Lower bounds with their witnesses: the counting ones, quick enough to state the goal before the search begins."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from optimizer.certificate.balance import bound_of
from optimizer.placement.replicas import divisor_replicas

Witness = dict[str, Any]


def average_witness() -> Witness:
    """Witness of the mean."""
    return {"kind": "average"}


def counting_witness(load: Sequence[int], devices: int, slots_per_device: int) -> Witness:
    """Witness of the best counting bound of one layer: average, count, or topj without replicas.

    Parameters
    ----------
    load
        Tokens of each expert.
    devices, slots_per_device
        Devices, and slots of each.
    """
    total = sum(load)
    if total == 0:
        return average_witness()
    slots = devices * slots_per_device
    best, best_bound = average_witness(), Fraction(1)
    if slots == len(load):
        heaviest = _best_topj(load, slots_per_device)
        witness: Witness = {"kind": "topj", "heaviest": heaviest}
        bound = bound_of(load, devices, slots_per_device, witness)
        if bound > best_bound:
            best, best_bound = witness, bound
        return best
    if max(load) * devices <= total:
        return best
    counts = divisor_replicas(np.array([load], dtype=np.float64), slots, devices)[0]
    share = max(Fraction(weight, int(count)) for weight, count in zip(load, counts, strict=True))
    if share * devices > total:
        witness = {"kind": "count", "threshold": str(share)}
        needed = sum(int(weight // share) + 1 for weight in load)
        if needed > slots:
            return witness
    return best


def _best_topj(load: Sequence[int], slots_per_device: int) -> int:
    """The number of heaviest experts whose bound is largest, found in floats; any answer is a valid witness."""
    ascending = np.sort(np.array(load, dtype=np.float64))
    experts = len(load)
    prefix = np.concatenate([[0.0], np.cumsum(ascending)])
    heaviest = np.arange(1, experts + 1)[:, None]
    hosts = np.arange(1, experts // slots_per_device + 1)[None, :]
    lightest = np.clip(hosts * slots_per_device - heaviest, 0, None)
    sums = prefix[-1] - prefix[experts - heaviest] + prefix[lightest]
    possible = (hosts * slots_per_device >= heaviest) & (hosts <= heaviest)
    values = np.where(possible, sums / hosts, np.inf).min(axis=1)
    return int(values.argmax()) + 1


def bound_max_over_mean(load: Sequence[int], devices: int, slots_per_device: int) -> Fraction:
    """Quick valid lower bound on the hottest device over the mean, for any placement with the even split.

    Parameters
    ----------
    load
        Tokens of each expert of one layer.
    devices, slots_per_device
        Devices, and slots of each.

    Returns
    -------
    Fraction
        At least 1; 1 where the layer carries no load.
    """
    return bound_of(load, devices, slots_per_device, counting_witness(load, devices, slots_per_device))

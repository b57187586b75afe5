"""Moves that keep every device below the limit: bundles of nearly equal load change places between two devices.

Sorting all bundles (single copies, or pairs of copies of one device) of a layer shows at once which differ by so little
that both devices stay below the limit after an exchange; many such exchanges between different devices are made at
once. That is thousands of exchanges looked at for the price of one sort, and it moves the search over its plateau.
"""

import itertools
from functools import cache

import numpy as np

from optimizer.placement.replicas import Floats, Ints


@cache
def bundles(slots: int, size: int) -> Ints:
    """Ways to take so many of a device's slots, ``[ways, size]``."""
    return np.array(list(itertools.combinations(range(slots), size)), dtype=np.int64)


def drift(
    held: Ints, values: Floats, load: Floats, layers: Ints, limit: Floats, *, size: int, shift: int, draw: Floats
) -> None:
    """Exchange bundles that lie ``shift`` apart in the order by load, wherever both devices stay below the limit.

    Parameters
    ----------
    held, values, load
        Expert and share of each slot ``[all layers, devices, slots]`` and device loads; changed in place.
    layers, limit
        Layers to work on, and the limit of each.
    size
        Copies in a bundle.
    shift
        Distance in the order by load of the two bundles exchanged.
    draw
        Priorities in [0, 1), at least one for each bundle: which exchange a device takes part in if it could in many.
    """
    devices, slots = held.shape[1:]
    inside = bundles(slots, size)
    some = values[layers]
    bundle = some[:, :, inside].sum(axis=3).reshape(len(layers), -1)
    order = bundle.argsort(axis=1)
    ascending = np.take_along_axis(bundle, order, axis=1)
    step = ascending[:, shift:] - ascending[:, :-shift]
    light_device, heavy_device = order[:, :-shift] // len(inside), order[:, shift:] // len(inside)
    room = limit[:, None] - load[layers]
    before = np.take_along_axis(room, heavy_device, axis=1)
    fits = (step <= np.take_along_axis(room, light_device, axis=1)) & (light_device != heavy_device) & (step > 0)
    row, place = np.nonzero(fits)
    if not len(row):
        return
    layer = layers[row]
    one, two = light_device[row, place], heavy_device[row, place]
    from_one, from_two = inside[order[row, place] % len(inside)], inside[order[row, place + shift] % len(inside)]
    mine = held[layer[:, None], one[:, None], from_one]
    theirs = held[layer[:, None], two[:, None], from_two]
    doubled = (mine[:, :, None] == held[layer, two][:, None, :]).any(axis=(1, 2))
    doubled |= (theirs[:, :, None] == held[layer, one][:, None, :]).any(axis=(1, 2))
    priority = draw[place] + (before[row, place] < 0) - 4.0 * doubled
    keys = np.concatenate([layer * devices + one, layer * devices + two])
    by_priority = np.argsort(priority, kind="stable")
    winner = np.empty(held.shape[0] * devices, dtype=np.int64)
    # Of repeated indices the last assignment stands, so the highest priority wins each device.
    winner[keys.reshape(2, -1).T[by_priority].ravel()] = np.repeat(by_priority, 2)
    number = np.arange(len(row))
    chosen = np.nonzero((winner[keys[: len(row)]] == number) & (winner[keys[len(row) :]] == number) & ~doubled)[0]
    layer, one, two = layer[chosen], one[chosen], two[chosen]
    at_one = (layer[:, None], one[:, None], from_one[chosen])
    at_two = (layer[:, None], two[:, None], from_two[chosen])
    held[at_one], held[at_two] = theirs[chosen], mine[chosen]
    given, taken = values[at_one], values[at_two]
    values[at_one], values[at_two] = taken, given
    load[layer, one] = values[layer, one].sum(axis=1)
    load[layer, two] = values[layer, two].sum(axis=1)

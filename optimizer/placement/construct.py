"""A first placement for given replica counts: rows of shares dealt to devices, the largest share to the least load."""

import numpy as np

from optimizer.placement.replicas import Floats, Ints


def deal(weights: Floats, counts: Ints, devices: int) -> Ints:
    """Deal the copies out, one row of ``devices`` copies at a time, never two of one expert to a device.

    Copies of one expert lie side by side in the order by share, so only the first run of a row can have begun in the
    row before; its copies go to devices that do not hold the expert yet.

    Parameters
    ----------
    weights
        Load, ``[layers, experts]``.
    counts
        Copies of each expert, ``[layers, experts]``, at most ``devices`` each, every row adding up to the slots.
    devices
        Devices; divides the slots.

    Returns
    -------
    Ints
        Expert of each slot, ``[layers, devices, slots per device]``.
    """
    layers, _ = weights.shape
    per_device = int(counts[0].sum()) // devices
    shares = weights / counts
    order = np.argsort(-shares, axis=1, kind="stable")
    sorted_counts = np.take_along_axis(counts, order, axis=1)
    copies = np.stack([np.repeat(order[layer], sorted_counts[layer]) for layer in range(layers)])
    values = np.take_along_axis(shares, copies, axis=1)
    held = np.empty((layers, devices, per_device), dtype=np.int64)
    load = np.zeros((layers, devices))
    for row in range(per_device):
        here = slice(row * devices, (row + 1) * devices)
        carried = (held[:, :, :row] == copies[:, None, None, row * devices]).any(axis=2)
        by_load = np.lexsort((load, carried), axis=1)
        np.put_along_axis(held[:, :, row], by_load, copies[:, here], axis=1)
        np.put_along_axis(load, by_load, np.take_along_axis(load, by_load, axis=1) + values[:, here], axis=1)
    return held

"""Which device takes which set of experts, so that fewest must be loaded anew: an assignment problem."""

import numpy as np
from ortools.graph.python import linear_sum_assignment  # type: ignore[import-untyped]  # ortools ships no types for it

from optimizer.solve.placement.replicas import Ints


def align(held: Ints, current: Ints) -> Ints:
    """Renumber the devices of a placement to keep as many experts where they are as can be.

    Parameters
    ----------
    held, current
        Placement, and the placement in service, ``[devices, slots]``. Devices must be alike.

    Returns
    -------
    Ints
        ``held`` with its devices in another order.
    """
    devices = len(held)
    kept = (held[:, None, :, None] == current[None, :, None, :]).any(axis=3).sum(axis=2)
    solver = linear_sum_assignment.SimpleLinearSumAssignment()
    tails, heads = np.repeat(np.arange(devices), devices), np.tile(np.arange(devices), devices)
    solver.add_arcs_with_cost(tails, heads, held.shape[1] - kept.ravel())
    solver.solve()
    aligned = np.empty_like(held)
    for device in range(devices):
        aligned[solver.right_mate(device)] = held[device]
    return aligned

"""Which device takes which set of experts, so that fewest must be loaded anew: an assignment problem."""

import numpy as np
from ortools.graph.python import linear_sum_assignment  # type: ignore[import-untyped]  # ortools ships no types for it

from optimizer.placement.replicas import Ints


def _assigned(cost: Ints) -> tuple[Ints, int]:
    """The cheapest way to give each row a column, and its cost."""
    size = len(cost)
    solver = linear_sum_assignment.SimpleLinearSumAssignment()
    tails, heads = np.repeat(np.arange(size), size), np.tile(np.arange(size), size)
    solver.add_arcs_with_cost(tails, heads, cost.ravel())
    solver.solve()
    return np.array([solver.right_mate(row) for row in range(size)], dtype=np.int64), int(solver.optimal_cost())


def _loaded(held: Ints, current: Ints) -> Ints:
    """Experts to be loaded if the device in service that the column names took the row's set."""
    kept = (held[:, None, :, None] == current[None, :, None, :]).any(axis=3).sum(axis=2)
    loaded: Ints = held.shape[1] - kept
    return loaded


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
    mate, _ = _assigned(_loaded(held, current))
    aligned = np.empty_like(held)
    aligned[mate] = held
    return aligned


def align_on_nodes(held: Ints, current: Ints, node_size: int) -> Ints:
    """The same where what shares a node must go on doing so: nodes change places, and devices within a node.

    An assignment of devices for each two nodes gives the costs of an assignment of nodes, so the order is the best of
    its kind. A last node with fewer devices keeps its place.
    """
    nodes = len(held) // node_size
    cut = nodes * node_size
    aligned = held.copy()
    if len(held) > cut:
        aligned[cut:] = align(held[cut:], current[cut:])
    new, old = held[:cut].reshape(nodes, node_size, -1), current[:cut].reshape(nodes, node_size, -1)
    each = [[_assigned(_loaded(mine, theirs)) for theirs in old] for mine in new]
    homes, _ = _assigned(np.array([[cost for _, cost in row] for row in each], dtype=np.int64))
    for node, home in enumerate(homes.tolist()):
        mate, _ = each[node][home]
        aligned[home * node_size + mate] = new[node]
    return aligned

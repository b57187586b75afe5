"""Few experts loaded anew: renumbered devices, the frontier of moves against balance, and fewest moves at a balance.

Steps from the placement in service are taken by the potential that they save for each expert loaded; the placements
passed on the way are the frontier. Exchanges with the hottest device go on to a balance that single steps miss; then
copies go back where they were while loads (and nodes visited) allow it. Small layers are solved by CP-SAT.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np
from ortools.graph.python import linear_sum_assignment  # type: ignore[import-untyped]  # ortools ships no types for it

from optimizer.figures.placement import moves
from optimizer.placement import effort
from optimizer.placement.counts import Floats, Ints
from optimizer.placement.exchange import LayerState, Marks, MovedExperts, Norm, best_swaps, members, take_best
from optimizer.placement.hierarchy import Start, starts_within
from optimizer.placement.layer_model import fewest_moves
from optimizer.placement.question import Layer, Question
from optimizer.placement.result import DeviceExperts, LayerPlacement, tuples

_MARGIN = 1e-9


@dataclass(frozen=True, slots=True)
class MovesPoint:
    """Fewest moves found for a balance."""

    moves: int
    max_over_mean: Fraction
    devices: DeviceExperts


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
    staying = (held[:, None, :, None] == current[None, :, None, :]).any(axis=3).sum(axis=2)
    loaded: Ints = held.shape[1] - staying
    return loaded


def align_on_nodes(held: Ints, current: Ints, node_size: int) -> Ints:
    """Renumber nodes, and devices within a node, so that as many experts as can be stay where they are.

    An assignment of devices for each two nodes gives the costs of an assignment of nodes, so the order is the best of
    its kind. A last node with fewer devices keeps its place.

    Parameters
    ----------
    held, current
        Placement, and the placement in service, ``[devices, slots]``.
    node_size
        Devices of a node, which are alike, as nodes are.
    """
    nodes = len(held) // node_size
    cut = nodes * node_size
    aligned = held.copy()
    if len(held) > cut:
        mate, _ = _assigned(_loaded(held[cut:], current[cut:]))
        aligned[cut + mate] = held[cut:]
    new, old = held[:cut].reshape(nodes, node_size, -1), current[:cut].reshape(nodes, node_size, -1)
    matches = [[_assigned(_loaded(mine, theirs)) for theirs in old] for mine in new]
    homes, _ = _assigned(np.array([[cost for _, cost in row] for row in matches], dtype=np.int64))
    for node, home in enumerate(homes.tolist()):
        mate, _ = matches[node][home]
        aligned[home * node_size + mate] = new[node]
    return aligned


def within_budget(question: Question, *, goal: float, deadline: float | None) -> Ints:
    """Placement of every layer within the budget of moves, ``[layers, devices, slots]``.

    Raises
    ------
    SpecError
        As `frontier`.
    """
    layers = (Layer(question, number, deadline) for number in range(question.layers))
    return np.stack([np.array(frontier(layer, question.max_moves or 0, goal=goal)[-1].devices) for layer in layers])


def frontier(layer: Layer, budget: int, *, goal: float) -> list[MovesPoint]:
    """Placements on the way from the one in service, each with fewer moves and worse balance than the next.

    Parameters
    ----------
    layer
        With a placement in service; the first point is it, repaired where it was not valid, with groups on their nodes.
    budget
        Most experts loaded anew.
    goal
        Hottest device over the mean at which to stop.

    Raises
    ------
    SpecError
        No valid placement found is within the budget.
    """
    points = [point for start in starts_within(layer, budget) for point in _way(layer, start, budget, goal)]
    undominated: list[MovesPoint] = []
    for point in sorted(points, key=lambda point: (point.moves, point.max_over_mean)):
        if not undominated or point.max_over_mean < undominated[-1].max_over_mean:
            undominated.append(point)
    return undominated


def _moved(layer: Layer) -> MovedExperts:
    return MovedExperts(members(np.array(layer.service, dtype=np.int64), layer.question.experts))


def _way(layer: Layer, start: Start, budget: int, goal: float) -> list[MovesPoint]:
    """Placements passed from a start, those alone that are cooler than all with fewer moves."""
    price, state = _moved(layer), LayerState.of(layer.loads, start.held, start.forbidden)
    passed = {int(price.value(state)): (float(state.load.max()), state.held.copy())}
    node = np.arange(layer.question.devices) // layer.question.kept_within
    for power in effort.MOVE_POWERS:
        while state.load.max() > goal and layer.seconds_left > 0:
            # Nodes share no copies: only what cools the hottest is worth a move.
            pull = (node == node[state.load.max(axis=0).argmax()]).astype(np.float64)[None]
            if not take_best(state, Norm(power, pull), effort.MOVE_TRIES, price, budget - price.value(state)):
                break
            count, hottest = int(price.value(state)), float(state.load.max())
            if count not in passed or hottest < passed[count][0]:
                passed[count] = hottest, state.held.copy()
    points: list[MovesPoint] = []
    coolest = np.inf
    for count, (hottest, held) in sorted(passed.items(), key=lambda item: item[0]):
        if hottest < coolest:
            coolest, devices = hottest, tuples(held)
            points.append(MovesPoint(count, layer.value(devices), devices))
    return points


def with_fewest_moves(layer: Layer, placement: LayerPlacement) -> LayerPlacement:
    """The layer with fewer experts loaded anew at a balance within the tolerance of its bound, or no worse than found.

    Freely split loads are left as they are; where nodes hold what was brought together, copies only change devices
    within a node.
    """
    question, nearness, fewest = layer.question, layer.question.nearness, placement.moves
    if not fewest or question.split != "even" or layer.seconds_left <= 0:
        return placement
    limit = max(placement.max_over_mean, placement.bound + question.tolerance)
    node_size = question.kept_within if nearness is None else nearness.node_size
    best = placement.devices
    wide = question.hierarchy == "free" and question.max_moves is None and nearness is None
    for candidate in _candidates(layer, best, limit) if wide else [best]:
        returned = _returned(layer, np.array(candidate), float(limit) - _MARGIN, node_size)
        count = moves(layer.service, returned)
        if count < fewest and layer.value(returned) <= limit:
            best, fewest = returned, count
    if fewest and placement.visits is None:
        exact = fewest_moves(layer, limit, best)
        if exact is not None and moves(layer.service, exact) < fewest and layer.value(exact) <= limit:
            best = exact
    return layer.placed(placement, best)


def _candidates(layer: Layer, devices: DeviceExperts, limit: Fraction) -> Iterator[DeviceExperts]:
    """What was found without regard to moves, and what is reached from the placement in service."""
    yield devices
    goal = float(limit) - _MARGIN
    points = frontier(layer, layer.question.devices * layer.question.slots, goal=goal)
    yield points[-1].devices
    if points[-1].max_over_mean > limit:
        for point in points[-effort.COOLED_POINTS :]:
            cooled = _cooled(layer, np.array(point.devices), goal)
            if cooled is not None:
                yield tuples(cooled)


def _cooled(layer: Layer, start: Ints, limit: float) -> Ints | None:
    """Exchange bundles of the hottest device with another, over and over, until no device is above the limit.

    Of the exchanges that end below the limit one with fewest moves, else the one that ends coolest, is made.
    """
    state, away = LayerState.of(layer.loads, start), ~_moved(layer).service
    while layer.seconds_left > 0:
        hot = int(state.load.max(axis=0).argmax())
        highest = state.load[:, hot].max()
        if highest <= limit:
            return state.held
        best: tuple[float, Ints, Ints] | None = None
        for size in range(1, min(effort.BUNDLE, start.shape[1]) + 1):
            exchange = _exchange(state, away, hot, limit, size)
            if best is None or exchange[0] < best[0]:
                best = exchange
            if best[0] < 0:
                break
        if best is None or best[0] >= highest - _MARGIN:
            return None
        for mine, theirs in zip(best[1].tolist(), best[2].tolist(), strict=True):
            state.swap(mine, theirs)
    return None


def _exchange(state: LayerState, away: Marks, hot: int, limit: float, size: int) -> tuple[float, Ints, Ints]:
    """The best exchange of so many copies: its rank (below 0 where it ends below the limit), and the slots."""
    held = state.held
    devices, slots = held.shape
    ways = np.array(list(combinations(range(slots), size)), dtype=np.int64)
    shares, member = state.weights / state.counts, state.on > 0
    mine, theirs = held[hot][ways], held[:, ways]
    new = away[np.arange(devices)[:, None], held]
    step = shares[:, theirs].sum(axis=3)[:, None] - shares[:, mine].sum(axis=2)[:, :, None, None]
    top = np.maximum(state.load[:, hot][:, None, None, None] + step, state.load[:, None, :, None] - step).max(axis=0)
    doubled = np.any(member[hot, theirs], axis=2)[None] | np.any(member[:, mine], axis=2).T[:, :, None]
    arriving = np.sum(away[hot, theirs], axis=2)[None] + np.sum(away[:, mine], axis=2).T[:, :, None]
    leaving = new[hot][ways].sum(axis=1)[:, None, None] + new[:, ways].sum(axis=2)[None]
    rank: Floats = np.where(top <= limit, arriving - leaving - 10.0 * size, top)
    rank[np.broadcast_to(doubled, rank.shape)] = np.inf
    rank[:, hot] = np.inf
    one, other, two = np.unravel_index(int(rank.argmin()), rank.shape)
    return float(rank[one, other, two]), hot * slots + ways[one], other * slots + ways[two]


def _returned(layer: Layer, held: Ints, limit: float, node_size: int) -> DeviceExperts:
    """Exchange copies within nodes while that brings some back and every device stays below the limit."""
    moved, state = _moved(layer), LayerState.of(layer.loads, held)
    most, node = np.full(state.load.shape, limit), state.home // node_size
    while layer.seconds_left > 0:
        steps = best_swaps(state, moved.swaps(state), 1, most, node[:, None] == node[None, :])
        if not steps:
            break
        steps[0].take(state)
    return tuples(state.held)

"""Groups kept within nodes: the best laying of groups on nodes is found exactly, and each node is placed by itself."""

from fractions import Fraction

import numpy as np

from optimizer.certificate.hierarchy import best_laying, node_bounds
from optimizer.placement.aim import Aim
from optimizer.placement.question import Question
from optimizer.placement.replicas import Ints
from optimizer.placement.robust import balance_robustly
from optimizer.placement.search import balance

Laying = tuple[tuple[int, ...], ...]


def layings(question: Question) -> list[tuple[Fraction, Laying]]:
    """Bound on max over mean of each layer under its worst workload, and the laying of groups on nodes that has it.

    Raises
    ------
    ValueError
        The question has no hierarchy.
    """
    if question.node_size is None or question.groups is None:
        raise ValueError("no nodes or groups")
    nodes = question.devices // question.node_size
    found = []
    for layer in range(question.layers):
        costs: dict[tuple[int, ...], Fraction] = {}
        for row in question.rows(layer):
            scale = Fraction(question.devices, sum(row) or 1)
            for chosen, bound in node_bounds(row, question.devices, question.slots, nodes, question.groups).items():
                costs[chosen] = max(costs.get(chosen, Fraction(0)), bound * scale)
        found.append(best_laying(costs, question.groups))
    return found


def balance_on_nodes(question: Question, chosen: list[tuple[Fraction, Laying]], *, goal: float, rounds: int,
                     deadline: float | None) -> Ints:  # fmt: skip
    """Placement of every layer for a laying of its groups; expert of each slot, ``[layers, devices, slots]``."""
    nodes = len(chosen[0][1])
    per_node = question.devices // nodes
    size = question.experts // (question.groups or 1)
    experts = np.array(
        [[group * size + place for group in node for place in range(size)] for _, laying in chosen for node in laying]
    )
    scale = np.array([max(float(bound), 1e-12) for bound, _ in chosen])
    loads = np.stack([question.normalised(workload) for workload in range(len(question.loads))], axis=1)
    loads = np.repeat(loads / scale[:, None, None], nodes, axis=0)
    loads = np.take_along_axis(loads, experts[:, None, :], axis=2)
    floor = np.ones(len(experts))
    if len(question.loads) == 1:
        held, _ = balance(
            loads[:, 0], floor, per_node, question.slots, goal=goal, rounds=rounds, seed=question.seed,
            deadline=deadline,
        )  # fmt: skip
    else:
        aim = Aim(question.robust, np.array([float(weight) for weight in question.weights]), float(question.tail))
        held = balance_robustly(
            loads, aim, per_node, question.slots, floor=floor, goal=goal, seed=question.seed, deadline=deadline
        )
    named = np.take_along_axis(experts[:, None, :], held.reshape(len(held), 1, -1), axis=2)
    return named.reshape(question.layers, question.devices, question.slots)

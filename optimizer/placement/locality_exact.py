"""One small layer as a CP-SAT model: the fewest nodes visited within a limit of balance, to the proved optimum.

Mathematics: on top of `limited`, ``v[e,n]`` says that node ``n`` holds expert ``e``, ``u[t,n]`` that group ``t`` visits
it, ``z[t,e,n] <= v[e,n], u[t,n]`` that it finds ``e`` there; ``sum_n z[t,e,n] >= 1``; minimise ``sum c_t u[t,n]``.
"""

from collections.abc import Sequence
from fractions import Fraction

from ortools.sat.python import cp_model

from optimizer.figures.locality import Group
from optimizer.placement.limited import Limited, Outcome
from optimizer.placement.question import Question
from optimizer.placement.result import Devices

_MOST_MEETINGS = 4000


def fewest_visits(
    question: Question, layer: int, groups: Sequence[Group], node_size: int, limit: Fraction, hint: Devices
) -> Outcome | None:
    """Solve one layer; nothing where the model would be large, or the objective over workloads is not linear.

    Parameters
    ----------
    question, layer, groups, node_size
        What to place, and what visits nodes.
    limit
        Largest value of the balance objective, max over mean.
    hint
        Placement to start from.
    """
    nodes = -(-question.devices // node_size)
    if sum(len(group) - 1 for group in groups) * nodes > _MOST_MEETINGS:
        return None
    built = Limited.post(question, layer, limit)
    return None if built is None else built.minimise(_visits(built, groups, node_size, nodes), hint)


def _visits(built: Limited, groups: Sequence[Group], node_size: int, nodes: int) -> cp_model.LinearExprT:
    """Post who finds what where; returns the nodes visited."""
    model, experts = built.model, range(built.question.experts)
    holds = {(e, n): model.new_bool_var("") for e in experts for n in range(nodes)}
    for (expert, node), literal in holds.items():
        here = [own for (e, _, device), own in built.lies.items() if e == expert and device // node_size == node]
        model.add(sum(here) >= literal)
    terms: list[cp_model.LinearExprT] = []
    for count, *chosen in groups:
        visits = [model.new_bool_var("") for _ in range(nodes)]
        for expert in chosen:
            found = [model.new_bool_var("") for _ in range(nodes)]
            model.add_at_least_one(found)
            for node in range(nodes):
                model.add_implication(found[node], visits[node])
                model.add_implication(found[node], holds[expert, node])
        terms += [count * visit for visit in visits]
    return sum(terms)

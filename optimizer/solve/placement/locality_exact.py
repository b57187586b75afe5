"""One small layer as a CP-SAT model: the fewest nodes visited within a limit of balance, to the proved optimum.

Mathematics: ``y[e,r]`` and ``x[e,r,g]`` as in `exact`; ``v[e,n]`` says that node ``n`` holds expert ``e``, ``u[t,n]``
that group ``t`` visits it, ``z[t,e,n] <= v[e,n], u[t,n]`` that it finds ``e`` there; ``sum_n z[t,e,n] >= 1``; minimise
``sum c_t u[t,n]`` subject to every device's load within the limit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ortools.sat.python import cp_model

from optimizer.figures.locality import Group
from optimizer.solve.placement.exact import MOST_LITERALS, literals
from optimizer.solve.placement.question import Question
from optimizer.solve.placement.result import Devices

_MOST_MEETINGS = 4000
_LARGEST = 1 << 60
_EFFORT = 2.0


@dataclass(frozen=True, slots=True)
class FewestVisits:
    """What CP-SAT found: a placement within the limit, and a bound on the nodes visited."""

    devices: Devices | None
    bound: int


def fewest_visits(
    question: Question, layer: int, groups: Sequence[Group], node_size: int, limit: Fraction, hint: Devices
) -> FewestVisits | None:
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
    rows = question.rows(layer)
    nodes = -(-question.devices // node_size)
    meetings = sum(len(group) - 1 for group in groups) * nodes
    if literals(question) > MOST_LITERALS or meetings > _MOST_MEETINGS or (
        len(rows) > 1 and question.robust != "worst"
    ):  # fmt: skip
        return None
    most = min(question.devices, 1 + question.devices * question.slots - question.experts)
    scale = math.lcm(*range(1, most + 1))
    if any(scale * sum(row) * limit.numerator * question.devices >= _LARGEST for row in rows):
        return None
    model = cp_model.CpModel()
    counts = [(expert, copies) for expert in range(question.experts) for copies in range(1, most + 1)]
    y = {key: model.new_bool_var("") for key in counts}
    x = {(*key, device): model.new_bool_var("") for key in counts for device in range(question.devices)}
    for expert in range(question.experts):
        model.add_exactly_one(y[expert, copies] for copies in range(1, most + 1))
    for key in counts:
        model.add(sum(x[*key, device] for device in range(question.devices)) == key[1] * y[key])
    for device in range(question.devices):
        model.add(sum(x[*key, device] for key in counts) == question.slots)
        for row in rows:
            # devices * load <= limit * total, both sides times scale and the limit's denominator
            load = sum(row[e] * (scale // copies) * x[e, copies, device] for e, copies in counts)
            top = scale * sum(row) * limit / question.devices
            model.add(load <= math.floor(top))
    if question.current is not None and question.max_moves is not None:
        held = [set(experts) for experts in question.current[layer]]
        arriving = [literal for (e, _, device), literal in x.items() if e not in held[device]]
        model.add(sum(arriving) <= question.max_moves)
    total = _post_visits(model, x, groups, question, node_size, nodes)
    model.minimize(total)
    on = [{expert: len([held for held in hint if expert in held]) for expert in range(question.experts)}]
    for expert, copies in counts:
        model.add_hint(y[expert, copies], on[0][expert] == copies)
        for device in range(question.devices):
            model.add_hint(x[expert, copies, device], on[0][expert] == copies and expert in hint[device])
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = question.seed
    solver.parameters.max_deterministic_time = _EFFORT
    status = solver.solve(model)
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return None
    bound = math.ceil(solver.best_objective_bound - 1e-6)
    devices = tuple(
        tuple(sorted(e for e, copies in counts if solver.value(x[e, copies, device])))
        for device in range(question.devices)
    )
    return FewestVisits(devices, bound)


def _post_visits(
    model: cp_model.CpModel, x: dict[tuple[int, int, int], cp_model.IntVar], groups: Sequence[Group],
    question: Question, node_size: int, nodes: int,
) -> cp_model.LinearExprT:  # fmt: skip
    """Post who finds what where; returns the nodes visited."""
    holds = {(e, n): model.new_bool_var("") for e in range(question.experts) for n in range(nodes)}
    for (expert, node), literal in holds.items():
        here = [own for (e, _, device), own in x.items() if e == expert and device // node_size == node]
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

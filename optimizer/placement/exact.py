"""One small layer as a CP-SAT model: replicas, slots, nodes and moves at once, to the proved optimum.

Mathematics: ``y[e,r]`` says that expert ``e`` has ``r`` copies, ``x[e,r,g]`` that one of them is on device ``g``;
``sum_r y = 1``, ``sum_g x[e,r,g] = r y[e,r]``, ``sum_{e,r} x[e,r,g] = k``; minimise ``z >= sum w_e / r x[e,r,g]``,
loads scaled to integers by the least common multiple of the counts. Where devices are alike, the heaviest expert's
copies lie on the first devices. On full layers construction and exchanges are far better; this closes small ones.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ortools.sat.python import cp_model

from optimizer.placement.question import Question
from optimizer.placement.result import Devices

MOST_LITERALS = 600
_LARGEST = 1 << 50


@dataclass(frozen=True, slots=True)
class ExactAnswer:
    """What CP-SAT found: a placement (if any better than none), and a bound on the objective, max over mean."""

    devices: Devices | None
    bound: Fraction


def literals(question: Question) -> int:
    """Size of the model of one layer, in literals of ``x``."""
    copies = _most_copies(question)
    return question.experts * copies * question.devices


def _most_copies(question: Question) -> int:
    widest = question.node_size if question.hierarchy == "node" and question.node_size else question.devices
    return min(widest, 1 + question.devices * question.slots - question.experts)


def solve_exactly(
    question: Question, layer: int, hint: Devices, *, time_limit_s: float, effort: float = 0.5
) -> ExactAnswer | None:
    """Solve one layer; ``None`` where the model would be too large, its numbers too long, or the objective is cvar.

    Parameters
    ----------
    question, layer
        What to place.
    hint
        Placement to start from.
    time_limit_s
        Seconds.
    effort
        Limit in CP-SAT's deterministic time, so that the answer does not depend on the machine's speed.
    """
    rows = question.rows(layer)
    if literals(question) > MOST_LITERALS or question.robust == "cvar" or not all(map(sum, rows)):
        return None
    most = _most_copies(question)
    scale = math.lcm(*range(1, most + 1))
    totals = math.lcm(*map(sum, rows))
    factors = [totals // sum(row) for row in rows]
    if scale * totals * question.devices >= _LARGEST:
        return None
    model = cp_model.CpModel()
    x = {
        (expert, copies, device): model.new_bool_var("")
        for expert in range(question.experts)
        for copies in range(1, most + 1)
        for device in range(question.devices)
    }
    y = {
        (expert, copies): model.new_bool_var("") for expert in range(question.experts) for copies in range(1, most + 1)
    }
    for expert in range(question.experts):
        model.add_exactly_one(y[expert, copies] for copies in range(1, most + 1))
        for copies in range(1, most + 1):
            placed = [x[expert, copies, device] for device in range(question.devices)]
            model.add(sum(placed) == copies * y[expert, copies])
    for device in range(question.devices):
        model.add(sum(x[expert, copies, device] for expert, copies in y) == question.slots)
    _post_nodes(model, x, question)
    _post_moves(model, x, question, layer)
    if question.hierarchy == "free" and question.current is None:
        heaviest = max(range(question.experts), key=lambda expert: rows[0][expert])
        for device in range(question.devices - 1):
            here = sum(x[heaviest, copies, device] for copies in range(1, most + 1))
            model.add(here >= sum(x[heaviest, copies, device + 1] for copies in range(1, most + 1)))
    objective = _post_load(model, x, y, question, rows, [factor * scale for factor in factors])
    _hint(model, x, y, hint)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = question.seed
    solver.parameters.max_time_in_seconds = max(time_limit_s, 0.01)
    solver.parameters.max_deterministic_time = effort
    status = solver.solve(model)
    unit = Fraction(question.devices, scale * totals) / objective
    bound = Fraction(math.ceil(solver.best_objective_bound - 1e-6)) * unit
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return ExactAnswer(None, bound)
    devices = tuple(
        tuple(expert for expert, copies in y if solver.value(x[expert, copies, device]))
        for device in range(question.devices)
    )
    return ExactAnswer(devices, Fraction(round(solver.objective_value)) * unit if status == cp_model.OPTIMAL else bound)


Literals = dict[tuple[int, int, int], cp_model.IntVar]
Counts = dict[tuple[int, int], cp_model.IntVar]


def _post_load(
    model: cp_model.CpModel, x: Literals, y: Counts, question: Question, rows: Sequence[Sequence[int]],
    factors: Sequence[int],
) -> int:  # fmt: skip
    """Post the objective; returns what one unit of max over mean is multiplied by, beyond the scale."""
    tops = []
    for row, factor in zip(rows, factors, strict=True):
        top = model.new_int_var(0, sum(row) * factor, "")
        for device in range(question.devices):
            shares = [row[expert] * (factor // copies) * x[expert, copies, device] for expert, copies in y]
            model.add(sum(shares) <= top)
        tops.append(top)
    if question.robust == "worst":
        worst = model.new_int_var(0, max(sum(row) * factor for row, factor in zip(rows, factors, strict=True)), "")
        for top in tops:
            model.add(worst >= top)
        model.minimize(worst)
        return 1
    common = math.lcm(*(weight.denominator for weight in question.weights))
    model.minimize(sum(int(weight * common) * top for weight, top in zip(question.weights, tops, strict=True)))
    return common


def _post_nodes(model: cp_model.CpModel, x: Literals, question: Question) -> None:
    """Each group on one node, equally many groups on each."""
    if question.hierarchy != "node" or question.node_size is None or question.groups is None:
        return
    nodes, size = question.devices // question.node_size, question.experts // question.groups
    home = {(group, node): model.new_bool_var("") for group in range(question.groups) for node in range(nodes)}
    for group in range(question.groups):
        model.add_exactly_one(home[group, node] for node in range(nodes))
    for node in range(nodes):
        model.add(sum(home[group, node] for group in range(question.groups)) * nodes == question.groups)
    if question.current is None:
        model.add(home[0, 0] == 1)
    for (expert, _copies, device), literal in x.items():
        model.add_implication(literal, home[expert // size, device // question.node_size])


def _post_moves(model: cp_model.CpModel, x: Literals, question: Question, layer: int) -> None:
    """At most so many experts on devices that do not hold them yet."""
    if question.current is None or question.max_moves is None:
        return
    held = [set(experts) for experts in question.current[layer]]
    model.add(
        sum(literal for (expert, _, device), literal in x.items() if expert not in held[device]) <= question.max_moves
    )


def _hint(model: cp_model.CpModel, x: Literals, y: Counts, hint: Devices) -> None:
    counts: dict[int, int] = {}
    for held in hint:
        for expert in held:
            counts[expert] = counts.get(expert, 0) + 1
    for (expert, copies), literal in y.items():
        model.add_hint(literal, counts.get(expert) == copies)
    for (expert, copies, device), literal in x.items():
        model.add_hint(literal, counts.get(expert) == copies and expert in hint[device])

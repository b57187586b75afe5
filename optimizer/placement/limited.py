"""One small layer within a limit of balance as a CP-SAT model, for whatever comes after balance.

Mathematics: ``y[e,r]`` and ``x[e,r,g]`` as in `exact`; the load of every device is at most the limit, under every
workload, in integers scaled by the least common multiple of the counts.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from ortools.sat.python import cp_model

from optimizer.placement.exact import MOST_LITERALS, literals
from optimizer.placement.question import Question
from optimizer.placement.result import Devices

_LARGEST = 1 << 60
_EFFORT = 2.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A placement within the limit, and a bound on what was minimised."""

    devices: Devices
    bound: int


@dataclass(frozen=True, slots=True)
class Limited:
    """The model, and its literals by expert, copies and device."""

    question: Question
    layer: int
    model: cp_model.CpModel
    copies: dict[tuple[int, int], cp_model.IntVar]
    lies: dict[tuple[int, int, int], cp_model.IntVar]

    @classmethod
    def post(cls, question: Question, layer: int, limit: Fraction) -> "Limited | None":
        """The model; nothing where it would be large, or the objective over workloads does not limit each."""
        rows = question.rows(layer)
        if literals(question) > MOST_LITERALS or (len(rows) > 1 and question.robust != "worst"):
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
                load = sum(row[e] * (scale // copies) * x[e, copies, device] for e, copies in counts)
                model.add(load <= math.floor(scale * sum(row) * limit / question.devices))
        built = cls(question, layer, model, y, x)
        if question.current is not None and question.max_moves is not None:
            model.add(built.arriving() <= question.max_moves)
        if question.hierarchy == "node":
            built.keep_groups()
        return built

    def arriving(self) -> cp_model.LinearExprT:
        """Experts on devices that do not hold them in service."""
        if self.question.current is None:
            return 0
        held = [set(experts) for experts in self.question.current[self.layer]]
        return sum(literal for (e, _, device), literal in self.lies.items() if e not in held[device])

    def keep_groups(self) -> None:
        """Each group on one node, equally many on each."""
        question = self.question
        if question.node_size is None or question.groups is None:
            return
        nodes, size = question.devices // question.node_size, question.experts // question.groups
        home = [[self.model.new_bool_var("") for _ in range(nodes)] for _ in range(question.groups)]
        for own in home:
            self.model.add_exactly_one(own)
        for node in range(nodes):
            self.model.add(sum(own[node] for own in home) * nodes == question.groups)
        for (expert, _, device), literal in self.lies.items():
            self.model.add_implication(literal, home[expert // size][device // question.node_size])

    def minimise(self, total: cp_model.LinearExprT, hint: Devices) -> Outcome | None:
        """Solve from a hint; nothing where no placement was found."""
        self.model.minimize(total)
        on = [sum(expert in held for held in hint) for expert in range(self.question.experts)]
        for (expert, copies), literal in self.copies.items():
            self.model.add_hint(literal, on[expert] == copies)
        for (expert, copies, device), literal in self.lies.items():
            self.model.add_hint(literal, on[expert] == copies and expert in hint[device])
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = self.question.seed
        solver.parameters.max_deterministic_time = _EFFORT
        if solver.solve(self.model) not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            return None
        devices = tuple(
            tuple(sorted(e for e, copies in self.copies if solver.value(self.lies[e, copies, device])))
            for device in range(self.question.devices)
        )
        return Outcome(devices, math.ceil(solver.best_objective_bound - 1e-6))

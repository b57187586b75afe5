"""One small layer as a CP-SAT model: copies, slots, nodes, moves and visits at once, each family posted once.

Mathematics: ``y[e,r]`` says that expert ``e`` has ``r`` copies, ``x[e,r,g]`` that one of them is on device ``g``;
``sum_r y = 1``, ``sum_g x[e,r,g] = r y[e,r]``, ``sum_{e,r} x[e,r,g]`` is the slots of ``g``. The load of a device is
``sum w_e / r x[e,r,g]``, in integers scaled by the least common multiple of the counts. What is minimised: the hottest
device; or, within a limit on it, the experts loaded anew or the nodes visited. On full layers construction and
exchanges are far better; this closes small ones.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from ortools.sat.python import cp_model

from optimizer.figures.locality import Group
from optimizer.placement import effort
from optimizer.placement.processes import seconds_left
from optimizer.placement.question import Question
from optimizer.placement.result import Devices, LayerPlacement

_LARGEST = 1 << 50
"""Scaled loads stay below it, well inside CP-SAT's integers."""


class LayerModel:
    """Copies on devices; what else is asked is posted by its family's method.

    Parameters
    ----------
    experts
        Number of experts.
    slots
        Slots of each device.
    most
        Most copies of an expert.
    """

    def __init__(self, experts: int, slots: Sequence[int], most: int) -> None:
        self.model = cp_model.CpModel()
        self.experts, self.slots = experts, slots
        self.scale = math.lcm(*range(1, most + 1))
        self.copies = {
            (expert, copies): self.model.new_bool_var("") for expert in range(experts) for copies in range(1, most + 1)
        }
        self.lies = {
            (expert, copies, device): self.model.new_bool_var("")
            for expert, copies in self.copies
            for device in range(len(slots))
        }
        for expert in range(experts):
            self.model.add_exactly_one(self.copies[expert, copies] for copies in range(1, most + 1))
        for (expert, copies), literal in self.copies.items():
            self.model.add(sum(self.lies[expert, copies, g] for g in range(len(slots))) == copies * literal)
        for device, room in enumerate(slots):
            self.model.add(sum(self.lies[expert, copies, device] for expert, copies in self.copies) == room)

    @classmethod
    def of(cls, question: Question, layer: int) -> LayerModel | None:
        """The model of a layer with its nodes and moves; nothing where it would be large, or its numbers long."""
        full = question.devices - question.empty_slots
        slots = [question.slots] * full + [question.slots - 1] * question.empty_slots
        most = min(question.kept_within, 1 + question.spare)
        totals = math.lcm(*(sum(row) or 1 for row in question.rows(layer)))
        longest = math.lcm(*range(1, most + 1)) * totals * question.devices
        if question.robust != "worst":
            longest *= math.lcm(question.tail.denominator, *(weight.denominator for weight in question.weights))
        if question.experts * most * question.devices > effort.MODEL_LITERALS or longest >= _LARGEST:
            return None
        built = cls(question.experts, slots, most)
        if question.hierarchy == "node":
            built.keep_groups(question)
        if question.current is not None and question.max_moves is not None:
            built.model.add(built.arriving(question.current[layer]) <= question.max_moves)
        return built

    def keep_groups(self, question: Question) -> None:
        """Each group on one node, equally many on each."""
        if question.node_size is None or question.groups is None:
            return
        nodes, size = question.devices // question.node_size, question.experts // question.groups
        home = [[self.model.new_bool_var("") for _ in range(nodes)] for _ in range(question.groups)]
        for own in home:
            self.model.add_exactly_one(own)
        for node in range(nodes):
            self.model.add(sum(own[node] for own in home) * nodes == question.groups)
        if question.current is None:
            self.model.add(home[0][0] == 1)  # nodes are alike
        for (expert, _, device), literal in self.lies.items():
            self.model.add_implication(literal, home[expert // size][device // question.node_size])

    def arriving(self, current: Sequence[Sequence[int]]) -> cp_model.LinearExprT:
        """Experts on devices that do not hold them in service."""
        held = [set(experts) for experts in current]
        return sum(literal for (expert, _, device), literal in self.lies.items() if expert not in held[device])

    def order_devices(self, expert: int) -> None:
        """Copies of an expert on the first devices, where devices are alike."""
        here = [
            sum(literal for (own, _, at), literal in self.lies.items() if own == expert and at == device)
            for device in range(len(self.slots))
        ]
        for one, other in itertools.pairwise(here):
            self.model.add(one >= other)

    def loads(self, row: Sequence[int], factor: int = 1) -> list[cp_model.LinearExprT]:
        """Load of each device, in tokens times `scale` and the factor."""
        return [
            sum(row[e] * (factor * self.scale // copies) * self.lies[e, copies, device] for e, copies in self.copies)
            for device in range(len(self.slots))
        ]

    def limit_loads(self, rows: Sequence[Sequence[int]], limit: Fraction) -> None:
        """No device above the limit, max over mean, under any workload."""
        for row in rows:
            most = math.floor(self.scale * sum(row) * limit / len(self.slots))
            for load in self.loads(row):
                self.model.add(load <= most)

    def hottest(self, question: Question, rows: Sequence[Sequence[int]]) -> tuple[cp_model.LinearExprT, Fraction]:
        """The objective over the workloads' hottest devices, and the max over mean that one unit of it is."""
        totals = math.lcm(*map(sum, rows))
        unit = Fraction(len(self.slots), self.scale * totals)

        def load(name: str) -> cp_model.IntVar:
            return self.model.new_int_var(0, self.scale * totals, name)

        tops = []
        for row in rows:
            tops.append(load("hottest"))
            for on_device in self.loads(row, totals // sum(row)):
                self.model.add(on_device <= tops[-1])
        if question.robust == "worst":
            worst = load("worst")
            self.model.add_max_equality(worst, tops)
            return worst, unit
        common = math.lcm(question.tail.denominator, *(weight.denominator for weight in question.weights))
        parts = [int(weight * common) for weight in question.weights]
        if question.robust == "mean":
            return sum(part * top for part, top in zip(parts, tops, strict=True)), unit / common
        # The mean of the worst tail: least over a level of level + excess above it / tail (Rockafellar and Uryasev).
        level, excess = load("level"), [load("excess") for _ in tops]
        for over, top in zip(excess, tops, strict=True):
            self.model.add(over >= top - level)
        total = int(question.tail * common) * level + sum(p * over for p, over in zip(parts, excess, strict=True))
        return total, unit / (common * question.tail)

    def visits(self, groups: Sequence[Group], node_size: int) -> cp_model.LinearExprT:
        """Nodes that the groups visit: ``v[e,n]`` holds, ``u[t,n]`` visits, ``z[t,e,n] <= v[e,n], u[t,n]`` finds."""
        nodes = range(-(-len(self.slots) // node_size))
        holds = {(e, n): self.model.new_bool_var("") for e in range(self.experts) for n in nodes}
        for (expert, node), literal in holds.items():
            here = [own for (e, _, at), own in self.lies.items() if e == expert and at // node_size == node]
            self.model.add(sum(here) >= literal)
        terms: list[cp_model.LinearExprT] = []
        for count, *chosen in groups:
            seen = [self.model.new_bool_var("") for _ in nodes]
            for expert in chosen:
                visited = [self.model.new_bool_var("") for _ in nodes]
                self.model.add_at_least_one(visited)
                for node in nodes:
                    self.model.add_implication(visited[node], seen[node])
                    self.model.add_implication(visited[node], holds[expert, node])
            terms += [count * visit for visit in seen]
        return sum(terms)

    def minimise(
        self, total: cp_model.LinearExprT, hint: Devices, *, work: float, seed: int, seconds: float
    ) -> tuple[Devices | None, int]:
        """Solve from a placement: another one, if any was found in the effort, and a bound on the total."""
        self.model.minimize(total)
        on = [sum(expert in held for held in hint) for expert in range(self.experts)]
        for (expert, copies), literal in self.copies.items():
            self.model.add_hint(literal, on[expert] == copies)
        for (expert, copies, device), literal in self.lies.items():
            self.model.add_hint(literal, on[expert] == copies and expert in hint[device])
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = seed
        solver.parameters.max_deterministic_time = work
        solver.parameters.max_time_in_seconds = min(max(seconds, 0.01), 1e9)
        status = solver.solve(self.model)
        bound = math.ceil(solver.best_objective_bound - 1e-6)
        if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            return None, bound
        devices = tuple(
            tuple(sorted(e for e, copies in self.copies if solver.value(self.lies[e, copies, device])))
            for device in range(len(self.slots))
        )
        return devices, bound


def balanced(question: Question, index: int, layer: LayerPlacement, deadline: float | None) -> LayerPlacement:
    """The layer with the best balance that CP-SAT finds, and with its bound; as it is where large, proved or empty."""
    rows = question.rows(index)
    closed = layer.gap <= question.tolerance or seconds_left(deadline) <= 0
    if closed or question.split != "even" or not all(map(sum, rows)):
        return layer
    built = LayerModel.of(question, index)
    if built is None:
        return layer
    if question.hierarchy == "free" and question.current is None and not question.empty_slots:
        built.order_devices(max(range(question.experts), key=lambda expert: rows[0][expert]))
    total, unit = built.hottest(question, rows)
    seconds = seconds_left(deadline)
    devices, units = built.minimise(
        total, layer.devices, work=effort.BALANCE_EFFORT, seed=question.seed, seconds=seconds
    )
    if units * unit > layer.bound:
        known = layer.witness.get("checked", layer.witness)
        layer = replace(layer, bound=units * unit, witness={"kind": "solver", "checked": known})
    if devices is not None and question.value(index, devices) < layer.max_over_mean:
        layer = question.placed(index, layer, devices)
    return layer


def _within(question: Question, layer: int, limit: Fraction) -> LayerModel | None:
    """The model with every device within a limit; nothing where the objective over workloads does not limit each."""
    rows = question.rows(layer)
    if len(rows) > 1 and question.robust != "worst":
        return None
    built = LayerModel.of(question, layer)
    if built is not None:
        built.limit_loads(rows, limit)
    return built


def fewest_moves(question: Question, layer: int, limit: Fraction, hint: Devices, *, seconds: float) -> Devices | None:
    """Placement within a limit of max over mean that loads fewest experts anew; nothing where none was found."""
    built = _within(question, layer, limit)
    if built is None or question.current is None:
        return None
    total = built.arriving(question.current[layer])
    return built.minimise(total, hint, work=effort.WITHIN_EFFORT, seed=question.seed, seconds=seconds)[0]


def fewest_visits(
    question: Question, layer: int, groups: Sequence[Group], node_size: int, limit: Fraction, hint: Devices, *,
    seconds: float,
) -> tuple[Devices | None, int] | None:  # fmt: skip
    """Placement within a limit of max over mean whose groups visit fewest nodes, if found, with a bound; or nothing."""
    nodes = -(-question.devices // node_size)
    if sum(len(group) - 1 for group in groups) * nodes > effort.MODEL_MEETINGS:
        return None
    built = _within(question, layer, limit)
    if built is None:
        return None
    total = built.visits(groups, node_size)
    return built.minimise(total, hint, work=effort.WITHIN_EFFORT, seed=question.seed, seconds=seconds)

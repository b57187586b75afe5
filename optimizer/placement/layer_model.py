"""One layer as a CP-SAT model: its copies, and families of constraints, each posted once.

Mathematics: ``y[e,r]`` says that expert ``e`` has ``r`` copies, ``sum_r y = 1``. On devices, ``x[e,r,g]`` says that one
of them is on device ``g``; ``sum_g x[e,r,g] = r y[e,r]``, ``sum_{e,r} x[e,r,g]`` is the slots of ``g``. The load of a
device is ``sum w_e / r x[e,r,g]``, in integers scaled by the least common multiple of the counts. What is minimised:
the hottest device; or, within a limit on it, the experts loaded anew or the nodes visited. On full layers construction
and exchanges are far better; this closes small ones. Of two slots a device no ``x`` is needed: `PairedCopies`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from ortools.sat.python import cp_model

from optimizer.figures.locality import TokenGroup
from optimizer.placement import effort
from optimizer.placement.counts import Ints
from optimizer.placement.pairing import PairingAnswer, Pairings, refined
from optimizer.placement.processes import seconds_left
from optimizer.placement.question import Layer, Question
from optimizer.placement.result import DeviceExperts, LayerPlacement

_LARGEST = 1 << 50
"""Scaled loads stay below it, well inside CP-SAT's integers."""


class Copies:
    """Copies of each expert, one of those that it may have.

    Parameters
    ----------
    options
        Counts that each expert may have.
    """

    def __init__(self, options: Sequence[Iterable[int]]) -> None:
        self.model = cp_model.CpModel()
        self.copies = {
            (expert, copies): self.model.new_bool_var("") for expert, counts in enumerate(options) for copies in counts
        }
        for expert, counts in enumerate(options):
            self.model.add_exactly_one(self.copies[expert, copies] for copies in counts)

    def solved(
        self, hint: Sequence[int], *, work: float, seed: int, seconds: float, **parameters: int
    ) -> tuple[cp_model.CpSolver, int]:
        """The solver and its status after so much deterministic time, from copies as a hint."""
        for (expert, copies), literal in self.copies.items():
            self.model.add_hint(literal, hint[expert] == copies)
        solver = cp_model.CpSolver()
        parameters |= {"num_workers": 1, "random_seed": seed}
        for name, value in parameters.items():
            setattr(solver.parameters, name, value)
        solver.parameters.max_deterministic_time = work
        solver.parameters.max_time_in_seconds = min(max(seconds, 0.01), 1e9)
        return solver, int(solver.solve(self.model))


class PairedCopies(Copies):
    """Copies that pair up on devices of two slots within a threshold.

    ``sum r y[e,r] = 2 G``; for each value ``v`` at most as many copies are larger than ``T - v`` as are smaller than
    ``v`` (see `Pairings`), as a running total over the values. Few values make the question easier, so a refusal
    stands. Linear relaxations with cuts and learned clauses close in a second what case by case takes thousands of
    linear programs; its refusals are CP-SAT's word, without a witness.
    """

    def __init__(self, pairings: Pairings) -> None:
        super().__init__([pairings.copies[row].tolist() for row in pairings.inside])
        terms: list[list[tuple[cp_model.IntVar, int]]] = [[] for _ in range(len(pairings.values) + 1)]
        for (expert, copies), literal in self.copies.items():
            large, small = int(pairings.large[expert, copies - 1]), int(pairings.small[expert, copies - 1])
            if large != small:
                terms[large].append((literal, copies))
                terms[small].append((literal, -copies))
        self._equal([(literal, copies) for (_, copies), literal in self.copies.items()], pairings.slots)
        before: list[tuple[cp_model.IntVar, int]] = []
        for here in terms[:-1]:
            running = self.model.new_int_var(-pairings.slots, 0, "")
            self._equal([*here, *before, (running, -1)], 0)
            before = [(running, 1)]

    def _equal(self, terms: Sequence[tuple[cp_model.IntVar, int]], total: int) -> None:
        literals, factors = [literal for literal, _ in terms], [factor for _, factor in terms]
        self.model.add(cp_model.LinearExpr.weighted_sum(literals, factors) == total)


def rule(
    load: Sequence[int], devices: int, threshold: int, start: Ints, *, work: float, seed: int, deadline: float | None
) -> PairingAnswer:
    """Let CP-SAT look for counts whose copies pair up within ``threshold / GRID`` tokens, or refuse the threshold.

    Parameters
    ----------
    load, devices, threshold
        As `Pairings` has them.
    start
        Counts to hint at.
    work, seed, deadline
        Limit in CP-SAT's deterministic time, random seed, and ``time.monotonic()`` at which to stop.
    """

    def ask(values: Ints) -> tuple[Pairings, PairingAnswer]:
        pairings = Pairings(load, devices, threshold, values)
        if not pairings.possible:
            return pairings, PairingAnswer(None, refused=pairings.overfull)
        built = PairedCopies(pairings)
        # Probing and symmetry cost more on these models than they save: ten times the whole solve.
        solver, status = built.solved(
            start.tolist(), work=work, seed=seed, seconds=seconds_left(deadline), linearization_level=2,
            cp_model_probing_level=0, symmetry_level=0,
        )  # fmt: skip
        if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            return pairings, PairingAnswer(None, refused=status == cp_model.INFEASIBLE)
        chosen = [copies for (_, copies), literal in built.copies.items() if solver.boolean_value(literal)]
        return pairings, PairingAnswer(np.array(chosen, dtype=np.int64))

    return refined(threshold, ask, effort.RULINGS)


class LayerModel(Copies):
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
        super().__init__([range(1, most + 1)] * experts)
        self.experts, self.slots = experts, slots
        self.scale = math.lcm(*range(1, most + 1))
        self.lies = {
            (expert, copies, device): self.model.new_bool_var("")
            for expert, copies in self.copies
            for device in range(len(slots))
        }
        for (expert, copies), literal in self.copies.items():
            self.model.add(sum(self.lies[expert, copies, g] for g in range(len(slots))) == copies * literal)
        for device, room in enumerate(slots):
            self.model.add(sum(self.lies[expert, copies, device] for expert, copies in self.copies) == room)

    @classmethod
    def of(cls, layer: Layer) -> LayerModel | None:
        """The model of a layer with its nodes and moves; nothing where it would be large, or its numbers long."""
        question = layer.question
        full = question.devices - question.empty_slots
        slots = [question.slots] * full + [question.slots - 1] * question.empty_slots
        most = min(question.kept_within, 1 + question.spare)
        totals = math.lcm(*(sum(row) or 1 for row in layer.rows))
        longest = math.lcm(*range(1, most + 1)) * totals * question.devices
        if question.robust != "worst":
            longest *= math.lcm(question.tail.denominator, *(weight.denominator for weight in question.weights))
        if question.experts * most * question.devices > effort.MODEL_LITERALS or longest >= _LARGEST:
            return None
        built = cls(question.experts, slots, most)
        if question.hierarchy == "node":
            built.keep_groups(question)
        if question.max_moves is not None:
            built.model.add(built.arriving(layer.service) <= question.max_moves)
        return built

    @classmethod
    def within(cls, layer: Layer, limit: Fraction) -> LayerModel | None:
        """With every device within a limit; nothing where the objective over workloads does not limit each."""
        built = cls.of(layer) if len(layer.rows) == 1 or layer.question.robust == "worst" else None
        if built is not None:
            built.limit_loads(layer.rows, limit)
        return built

    def keep_groups(self, question: Question) -> None:
        """Each group on one node, equally many on each."""
        if question.node_size is None or question.groups is None:
            return
        nodes, size = question.devices // question.node_size, question.experts // question.groups
        home = [[self.model.new_bool_var("") for _ in range(nodes)] for _ in range(question.groups)]
        for group_nodes in home:
            self.model.add_exactly_one(group_nodes)
        for node in range(nodes):
            self.model.add(sum(group_nodes[node] for group_nodes in home) * nodes == question.groups)
        if question.current is None:
            self.model.add(home[0][0] == 1)  # nodes are alike
        for (expert, _, device), literal in self.lies.items():
            self.model.add_implication(literal, home[expert // size][device // question.node_size])

    def arriving(self, service: DeviceExperts) -> cp_model.LinearExprT:
        """Experts on devices that do not hold them in service."""
        held = [set(experts) for experts in service]
        return sum(literal for (expert, _, device), literal in self.lies.items() if expert not in held[device])

    def order_devices(self, expert: int) -> None:
        """Copies of an expert on the first devices, where devices are alike."""
        copies = [
            sum(literal for (laid, _, at), literal in self.lies.items() if laid == expert and at == device)
            for device in range(len(self.slots))
        ]
        for before, after in itertools.pairwise(copies):
            self.model.add(before >= after)

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

    def visits(self, groups: Sequence[TokenGroup], node_size: int) -> cp_model.LinearExprT:
        """Nodes that the groups visit: ``v[e,n]`` holds, ``u[t,n]`` visits, ``z[t,e,n] <= v[e,n], u[t,n]`` finds."""
        nodes = range(-(-len(self.slots) // node_size))
        holds = {(e, n): self.model.new_bool_var("") for e in range(self.experts) for n in nodes}
        for (expert, node), literal in holds.items():
            copies = [lies for (e, _, at), lies in self.lies.items() if e == expert and at // node_size == node]
            self.model.add(sum(copies) >= literal)
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
        self, total: cp_model.LinearExprT, hint: DeviceExperts, layer: Layer, *, work: float
    ) -> tuple[DeviceExperts | None, int]:
        """Solve from a placement: another one, if any was found in the effort, and a bound on the total."""
        self.model.minimize(total)
        on = [sum(expert in held for held in hint) for expert in range(self.experts)]
        for (expert, copies, device), literal in self.lies.items():
            self.model.add_hint(literal, on[expert] == copies and expert in hint[device])
        solver, status = self.solved(on, work=work, seed=layer.question.seed, seconds=layer.seconds_left)
        bound = math.ceil(solver.best_objective_bound - 1e-6)
        if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            return None, bound
        devices = tuple(
            tuple(sorted(e for e, copies in self.copies if solver.value(self.lies[e, copies, device])))
            for device in range(len(self.slots))
        )
        return devices, bound


def balanced(layer: Layer, placement: LayerPlacement) -> LayerPlacement:
    """The layer with the best balance that CP-SAT finds, and with its bound; as it is where large, proved or empty."""
    question, rows = layer.question, layer.rows
    closed = placement.gap <= question.tolerance or layer.seconds_left <= 0
    if closed or question.split != "even" or not all(map(sum, rows)):
        return placement
    built = LayerModel.of(layer)
    if built is None:
        return placement
    if question.hierarchy == "free" and question.current is None and not question.empty_slots:
        built.order_devices(max(range(question.experts), key=lambda expert: rows[0][expert]))
    total, unit = built.hottest(question, rows)
    devices, units = built.minimise(total, placement.devices, layer, work=effort.BALANCE_EFFORT)
    if units * unit > placement.bound:
        checked = placement.witness.get("checked", placement.witness)
        placement = replace(placement, bound=units * unit, witness={"kind": "solver", "checked": checked})
    if devices is not None and layer.value(devices) < placement.max_over_mean:
        placement = layer.placed(placement, devices)
    return placement


def fewest_moves(layer: Layer, limit: Fraction, hint: DeviceExperts) -> DeviceExperts | None:
    """Placement within a limit of max over mean that loads fewest experts anew; nothing where none was found."""
    built = LayerModel.within(layer, limit)
    if built is None:
        return None
    return built.minimise(built.arriving(layer.service), hint, layer, work=effort.WITHIN_EFFORT)[0]


def fewest_visits(
    layer: Layer, groups: Sequence[TokenGroup], node_size: int, limit: Fraction, hint: DeviceExperts
) -> tuple[DeviceExperts | None, int] | None:
    """Placement within a limit of max over mean whose groups visit fewest nodes, if found, with a bound; or nothing."""
    nodes = -(-layer.question.devices // node_size)
    if sum(len(group) - 1 for group in groups) * nodes > effort.MODEL_MEETINGS:
        return None
    built = LayerModel.within(layer, limit)
    if built is None:
        return None
    return built.minimise(built.visits(groups, node_size), hint, layer, work=effort.WITHIN_EFFORT)

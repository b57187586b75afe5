"""Expert placement where the degrees are decided: before and after, what an unseen load costs, moves, and prices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.domain.tabled import Tabled
from optimizer.errors import Fault, SpecError
from optimizer.figures.locality import nodes_visited
from optimizer.figures.placement import (
    CVAR_TAIL,
    Devices,
    aggregate,
    linear_placement,
    max_over_mean,
    moves,
    noise_table,
    split_device_loads,
)
from optimizer.figures.placement_bounds.balance import bound_of
from optimizer.figures.skew import StageMesh, load_weights
from optimizer.placement import LayerPlacement, PlacementResult
from optimizer.placement.bounds import Witness, counting_witness
from optimizer.placement.moves import MovesPoint, frontier
from optimizer.placement.question import Layer
from optimizer.readers.loads import ExpertLoad
from optimizer.solve.joint import nearness_on, place_on, question_on

SCHEMA = "shardproof/placement/1"
_MOST_SLOTS_TRIED = 4


@dataclass(frozen=True, slots=True)
class Balance:
    """Hottest device over the mean, of each layer, and its mean and worst over layers."""

    layers: tuple[Fraction, ...]

    @property
    def mean(self) -> Fraction:
        """Mean over layers."""
        return sum(self.layers, Fraction(0)) / len(self.layers)

    @property
    def worst(self) -> Fraction:
        """Worst layer."""
        return max(self.layers)

    def to_json(self) -> dict[str, Any]:
        """Mean, worst and each layer."""
        return {"mean": float(self.mean), "worst": float(self.worst), "layers": [float(v) for v in self.layers]}


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A load that the placement was not made for: before, after, and the bound on a placement made for it alone.

    Attributes
    ----------
    witnesses
        Of each layer's bound.
    """

    load: ExpertLoad
    before: Balance
    after: Balance
    bound: Balance
    witnesses: tuple[Witness, ...]

    @property
    def name(self) -> str:
        """Name of the load."""
        return self.load.name

    def to_json(self) -> dict[str, Any]:
        """With the load, so that its balance can be checked."""
        return {
            "name": self.name,
            "load": [list(row) for row in self.load.rows],
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "bound": self.bound.to_json(),
            "witnesses": list(self.witnesses),
        }


@dataclass(frozen=True, slots=True)
class Moved:
    """Best balance found with at most so many experts of a layer loaded anew, by layer and in all."""

    budget: int
    moves: int
    balance: Balance

    def to_json(self) -> dict[str, Any]:
        """Moves with the balance over layers."""
        return {
            "budget": self.budget, "moves": self.moves, "mean": float(self.balance.mean),
            "worst": float(self.balance.worst),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Price:
    """Balance under one choice: mean over layers and worst layer, with their bounds."""

    choice: int | str
    mean: Fraction
    worst: Fraction
    mean_bound: Fraction
    worst_bound: Fraction

    @classmethod
    def of(cls, choice: int | str, result: PlacementResult) -> Price:
        """Price that a result shows."""
        count = len(result.layers)
        return cls(
            choice,
            sum((layer.max_over_mean for layer in result.layers), Fraction(0)) / count,
            result.max_over_mean,
            sum((layer.bound for layer in result.layers), Fraction(0)) / count,
            result.bound,
        )

    def to_json(self) -> dict[str, int | str | float]:
        """The choice with its balance and bounds."""
        return {
            "choice": self.choice, "mean": float(self.mean), "worst": float(self.worst),
            "mean_bound": float(self.mean_bound), "worst_bound": float(self.worst_bound),
        }  # fmt: skip


@dataclass(frozen=True, slots=True, repr=False)
class Decided(Tabled):
    """Placement on a decided expert mesh; its table has a row for each MoE layer.

    Attributes
    ----------
    before
        The placement in service, or else the order of expert ids in which engines lay experts out.
    """

    problem: Problem
    mesh: StageMesh
    placed: PlacementResult
    before: tuple[Devices, ...]

    columns = ("layer", "before", "after", "bound", "gap", "proved")

    @property
    def headline(self) -> str:
        """The answer in one line."""
        return f"{self.status}: hottest device {float(self.placed.max_over_mean):.5f} × mean in the worst layer"

    def rows(self) -> list[dict[str, Any]]:
        """Hottest device over the mean, before and after, its proved bound, and whether they are as good as equal."""
        tolerance = self.placed.tolerance
        return [
            {"layer": layer.layer, "before": float(was), "after": float(layer.max_over_mean),
             "bound": float(layer.bound), "gap": float(layer.gap), "proved": layer.proved(tolerance)}
            for layer, was in zip(self.placed.layers, self.objective_before().layers, strict=True)
        ]  # fmt: skip

    @property
    def before_name(self) -> str:
        """What `before` is."""
        return "in service" if self.problem.current_placement is not None else "linear"

    @property
    def uneven(self) -> bool:
        """Whether some devices have a slot more than others."""
        return self.mesh[0] * self.placed.slots_per_device != sum(map(len, self.placed.layers[0].devices))

    @property
    def status(self) -> str:
        """`optimal` where every layer is proved within the tolerance, else `feasible`."""
        return "optimal" if self.placed.proved else "feasible"

    def balance_before(self, workload: int) -> Balance:
        """Of the placement before, under one load."""
        rows = self.problem.expert_loads[workload].rows
        return Balance(tuple(max_over_mean(row, devices) for row, devices in zip(rows, self.before, strict=True)))

    def balance_after(self, workload: int) -> Balance:
        """Of the new placement, under one load."""
        return Balance(tuple(layer.workloads[workload] for layer in self.placed.layers))

    def objective_before(self) -> Balance:
        """Of the placement before, over all loads as the problem's `robust` puts them together."""
        by_load = [self.balance_before(number).layers for number in range(len(self.problem.expert_loads))]
        experts = self.problem.experts
        robust, weights = experts.robust if experts else "worst", load_weights(self.problem)
        return Balance(tuple(aggregate(values, weights, robust, CVAR_TAIL) for values in zip(*by_load, strict=True)))

    def nodes_before(self) -> list[float] | None:
        """Nodes that a group of co-activated experts visited before, on average, by layer; nothing if not measured."""
        nearness = nearness_on(self.problem, self.mesh[0])
        if nearness is None or self.problem.model.moe is None:
            return None
        experts = self.problem.model.moe.experts
        return [
            nodes_visited(groups, devices, experts, nearness.node_size) / max(1, sum(group[0] for group in groups))
            for groups, devices in zip(nearness.groups, self.before, strict=True)
        ]

    def noise(self, step_tokens: int | None = None) -> list[tuple[float, float]]:
        """Activations of a device in one step of one layer, and the imbalance that drawing them leaves (`figures`)."""
        moe = self.problem.model.moe
        return noise_table(self.mesh[0], 0 if moe is None else moe.top_k, step_tokens)

    def held_out(self, load: ExpertLoad) -> HeldOut:
        """What a load costs that the placement has not seen."""
        devices, slots = self.mesh[0], self.placed.slots_per_device
        pairs = list(zip(load.rows, self.placed.layers, strict=True))
        witnesses = tuple(counting_witness(row, devices, slots) for row in load.rows)
        bounds = (bound_of(row, devices, slots, witness) for row, witness in zip(load.rows, witnesses, strict=True))
        return HeldOut(
            load,
            Balance(tuple(max_over_mean(row, placed) for row, placed in zip(load.rows, self.before, strict=True))),
            Balance(tuple(_under(row, layer) for row, layer in pairs)),
            Balance(tuple(bounds)),
            witnesses,
        )

    def to_json(
        self,
        *,
        step_tokens: int | None = None,
        held_out: Sequence[HeldOut] = (),
        moved: Sequence[Moved] = (),
        prices: Sequence[tuple[str, Price]] = (),
    ) -> dict[str, Any]:
        """``shardproof/placement/1``: all that its checker needs, the problem with its loads included."""
        problem = self.problem
        before = zip(self.placed.layers, self.before, self.objective_before().layers, strict=True)
        were = self.nodes_before()
        return {
            "schema": SCHEMA,
            "problem": problem.model_dump(mode="json") | {"digest": problem.digest},
            "status": self.status,
            "model": problem.model.name,
            "model_layers": problem.model.layer_count,
            "ep": self.mesh[0],
            "redundant": self.mesh[1],
            "slots_per_device": self.placed.slots_per_device,
            "max_over_mean": float(self.placed.max_over_mean),
            "bound": float(self.placed.bound),
            "gap": float(self.placed.gap),
            "before": {
                "name": self.before_name,
                "layers": [
                    {
                        "layer": layer.layer,
                        "devices": [list(experts) for experts in devices],
                        "max_over_mean": float(value),
                    }
                    | ({} if were is None else {"nodes_visited": were[number]})
                    for number, (layer, devices, value) in enumerate(before)
                ],
            },
            **({} if problem.coactivation is None else {"coactivation": problem.coactivation.model_dump(mode="json")}),
            "placement": self.placed.to_json(),
            "certificate": self.placed.certificate,
            "loads": [{"name": load.name, "load": [list(row) for row in load.rows]} for load in problem.expert_loads],
            "wall_s": self.placed.wall_s,
            "step_tokens": step_tokens,
            "noise": [{"activations": n, "max_over_mean": floor} for n, floor in self.noise(step_tokens)],
            "hold_out": [load.to_json() for load in held_out],
            "frontier": [budget.to_json() for budget in moved],
            "prices": [{"varied": name} | price.to_json() for name, price in prices],
        }


def _under(row: Sequence[int], layer: LayerPlacement) -> Fraction:
    if layer.shares is None or not sum(row):
        return max_over_mean(row, layer.devices)
    return max(split_device_loads(row, layer.devices, layer.shares)) * len(layer.devices) / sum(row)


def decided_mesh(problem: Problem) -> StageMesh:
    """The one expert mesh that the problem leaves.

    Raises
    ------
    SpecError
        There are several, or its slots cannot be placed.
    """
    moe, experts = problem.model.moe, problem.experts
    if moe is None:
        raise SpecError(f"{problem.model.name} has no experts to place")
    if experts is None or not problem.expert_loads:
        raise SpecError("experts.load: measured loads are needed, or a profile such as zipf:0.8 (--expert-load)")
    degrees, slots = problem.search.ep, experts.redundant_slots
    if problem.current_mesh is not None and (degrees is None or problem.current_mesh[0] in degrees):
        ep, redundant = problem.current_mesh
        if slots == (0,) or redundant in slots:
            return problem.current_mesh
    if degrees is None or len(degrees) != 1:
        raise SpecError("search.ep: one EP degree is wanted (--ep N); `shardproof solve` chooses among several")
    if len(slots) != 1:
        raise SpecError(
            "experts.redundant_slots: one number is wanted (--redundant-slots N); `shardproof solve` chooses among "
            "several"
        )
    ep, redundant = degrees[0], slots[0]
    total = moe.experts + redundant
    named = {"hierarchy": experts.hierarchy != "free", "split": experts.split != "even",
             "coactivation": experts.coactivation is not None}  # fmt: skip
    if total % ep and any(named.values()):
        less, more = redundant - total % ep, redundant + ep - total % ep
        fits = f"{less} or {more}" if less >= 0 else str(more)
        raise SpecError(
            f"experts.redundant_slots: {moe.experts} experts + {redundant} redundant = {total} slots do not divide "
            f"over ep={ep}, which {', '.join(name for name, stated in named.items() if stated)} needs; "
            f"{fits} redundant would"
        )
    return ep, redundant


def place_decided(problem: Problem, time_limit_s: float | None = None) -> Decided:
    """Place the experts on the one expert mesh that the problem leaves.

    Raises
    ------
    SpecError
        As `decided_mesh`, the engine lays out no experts so, or the placement in service is on another mesh.
    """
    mesh = decided_mesh(problem)
    ep, redundant = mesh
    _accepted(problem, ep, redundant)
    moe = problem.model.moe
    assert moe is not None  # noqa: S101 - by decided_mesh
    before: tuple[Devices, ...]
    if problem.current_placement is not None:
        if problem.current_mesh != mesh:
            there = f"ep={problem.current_mesh[0]}, {problem.current_mesh[1]} redundant" if problem.current_mesh else ""
            raise SpecError(f"experts.current: is on {there} slots, not on ep={ep}, {redundant} redundant slots")
        before = problem.current_placement
    else:
        slots = -(-(moe.experts + redundant) // ep)
        linear = linear_placement(moe.experts, ep, slots, empty_slots=slots * ep - moe.experts - redundant)
        before = (linear,) * problem.model.moe_layer_count
    return Decided(problem, mesh, place_on(problem, mesh, time_limit_s, solver_bounds=True), before)


def _accepted(problem: Problem, ep: int, redundant: int) -> None:
    """Refuse experts that a named engine does not lay out so; rules on degrees that are left open are not asked."""
    if problem.engine.members:
        return
    search = problem.search
    stated = {"tp": search.tp, "cp": search.cp, "etp": search.etp, "pp": search.pp}
    known = {axis: values[0] for axis, values in stated.items() if values is not None and len(values) == 1}
    degrees = dict.fromkeys(stated, 1) | known
    shape = Shape(**degrees, ep=ep, redundant=redundant, overlap=False)
    refusals = list(problem.engine.of({"ep", "redundant", *known}).refusals(problem, shape))
    if refusals:
        raise SpecError(*(Fault(None, None, None, "--engine", sentence) for _, sentence in refusals))


def moves_frontier(decided: Decided) -> list[Moved]:
    """Balance for each budget of moves a layer, doubling, from the placement before.

    The best found; exact where nothing moves, and where the balance is that of the placement, whose bound holds for
    every budget.
    """
    problem = decided.problem
    question = replace(question_on(problem, decided.mesh, decided.before), max_moves=None)
    budget, goal = question.devices * question.slots, 1 + float(question.tolerance)
    layers = [frontier(Layer(question, index), budget, goal=goal) for index in range(question.layers)]
    layers = [
        _with_end(points, devices, layer)
        for points, devices, layer in zip(layers, decided.before, decided.placed.layers, strict=True)
    ]
    most = max(points[-1].moves for points in layers)
    budgets = [0, *(1 << n for n in range(most.bit_length()) if 1 << n < most), *([most] if most else [])]
    moved = []
    for budget in budgets:
        chosen = [[point for point in points if point.moves <= max(budget, points[0].moves)][-1] for points in layers]
        balance = Balance(tuple(point.max_over_mean for point in chosen))
        moved.append(Moved(budget, sum(point.moves for point in chosen), balance))
    return moved


def _with_end(points: list[MovesPoint], before: Devices, placed: LayerPlacement) -> list[MovesPoint]:
    """The frontier up to the balance of the placement found, with the fewest moves that it was found with."""
    end = MovesPoint(moves(before, placed.devices), placed.max_over_mean, placed.devices)
    useful = [point for point in points if point.moves < end.moves or point.max_over_mean < end.max_over_mean]
    if any(point.moves <= end.moves and point.max_over_mean <= end.max_over_mean for point in useful):
        return useful
    return sorted([*useful, end], key=lambda point: point.moves)


def prices(decided: Decided, time_limit_s: float | None = None) -> Iterator[tuple[str, Price]]:
    """What each choice about the placement costs: balance and its bound under each, all loads as the problem has them.

    Yields the name of what is varied with the price of one choice: hierarchy, redundant slots, EP degree, split.

    Parameters
    ----------
    time_limit_s
        Seconds for each placement.
    """
    problem, (ep, redundant) = decided.problem, decided.mesh
    moe, experts = problem.model.moe, problem.experts
    assert moe is not None  # noqa: S101 - by decided_mesh
    assert experts is not None  # noqa: S101 - the same

    def price(choice: int | str, mesh: StageMesh, **changes: object) -> Price:
        free = {"max_moves": None, "coactivation": None, "balance_allowance": None} | changes
        varied = problem.changed(
            experts=experts.model_copy(update=free), current_placement=None, coactivation=None
        )  # fmt: skip
        return Price.of(choice, place_on(varied, mesh, time_limit_s))

    domains = {"node": problem.hardware.devices_per_node, "rack": problem.hardware.devices_per_rack}
    hierarchies = []
    for hierarchy, size in domains.items():
        nodes = ep // min(size or ep, ep)
        on_whole_domains = ep % min(size or ep, ep) == 0 and nodes > 1 and moe.group_count % nodes == 0
        if on_whole_domains and decided.placed.slots_per_device <= moe.experts // nodes:
            hierarchies.append(hierarchy)
    for hierarchy in ["free", *hierarchies] if hierarchies else []:
        yield "hierarchy", price(hierarchy, decided.mesh, hierarchy=hierarchy)
    first = -moe.experts % ep
    for number in sorted({first, redundant} | {redundant + ep * n for n in range(-1, _MOST_SLOTS_TRIED - 1)}):
        if number >= first and (moe.experts + number) // ep <= moe.experts:
            yield "redundant slots", price(number, (ep, number))
    for degree in sorted({max(1, ep // 2), ep, 2 * ep}):
        rounded = -(-(moe.experts + redundant) // degree) * degree - moe.experts
        if (moe.experts + rounded) // degree <= moe.experts:
            yield "ep", price(degree, (degree, rounded), hierarchy="free")
    for split in ("even", "free"):
        yield "split", price(split, decided.mesh, split=split)

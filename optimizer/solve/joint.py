"""Degrees, batch, redundant slots and expert placement in one optimum: logic-based Benders decomposition.

The master (`Search`) prices every expert mesh at the imbalance that is known of it: at first a bound that no placement
goes below (`figures.skew`). The sub-problem (`placement.place`) places the experts on the mesh of the master's best
layout; its imbalance, and the bound it proves, replace the first bound. When the master's best is on a placed mesh, no
other layout can be better; with the proved bounds in place of the placements' values the same search bounds the gap.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from optimizer.certificate.placed import groups_of
from optimizer.certificate.statement import allowance_of
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.objective import Scored, best_layout, key
from optimizer.figures.placement import Devices
from optimizer.figures.skew import Skews, StageMesh, load_weights
from optimizer.search.search import Found, Progress, Search
from optimizer.solve.result import proved_bound

if TYPE_CHECKING:
    # its solver takes longer to load than most searches: what places loads it
    from optimizer.placement import Nearness, PlacementResult, Question

_LEAST_S = 0.1
"""Seconds that a placement is given where none are left."""


@dataclass
class Joint:
    """What the decomposition ended with.

    Attributes
    ----------
    search, outcome
        The last master and what it found.
    placements
        Placement of every expert mesh that was ever the master's choice.
    bound
        The best objective value that any layout could have with the best placement, exact; None where nothing fits.
    """

    search: Search
    outcome: Found
    placements: dict[StageMesh, PlacementResult]
    bound: Fraction | None

    def of(self, scored: Scored) -> PlacementResult:
        """The placement of a layout's expert mesh."""
        return self.placements[mesh_of(scored)]


def mesh_of(scored: Scored) -> StageMesh:
    """Ep and redundant slots of a layout."""
    return scored.layout.ep, scored.layout.redundant_slots


def proved_skews(problem: Problem, placements: Mapping[StageMesh, PlacementResult]) -> Skews:
    """Balance that no placement goes below: what was proved where experts were placed."""
    return Skews(problem, {mesh: [layer.bound for layer in placed.layers] for mesh, placed in placements.items()})


def solve_jointly(
    problem: Problem, *, wanted: int = 1, deadline: float | None = None, progress: Progress | None = None
) -> Joint:
    """Alternate master and placement until the best layout's experts are placed.

    Once the deadline has passed, or the user has interrupted, the best layout on a placed mesh is taken; one mesh is
    placed in any case.

    Parameters
    ----------
    wanted, deadline, progress
        As in `Search`.
    """
    placements: dict[StageMesh, PlacementResult] = {}
    known: dict[Shape, Scored] = {}
    stopped = False
    while True:
        values = {mesh: [layer.max_over_mean for layer in p.layers] for mesh, p in placements.items()}
        search = Search(problem, wanted=wanted, deadline=deadline, progress=progress, skews=Skews(problem, values))
        search.best.update(known)
        try:
            outcome = search.run()
            wanting = [m for m in dict.fromkeys(mesh_of(s) for s in outcome.best) if m not in placements]
            late = deadline is not None and time.monotonic() > deadline
            if not wanting or (late and placements):
                break
            for number, mesh in enumerate(wanting[:1] if late else wanting):
                if progress is not None:
                    progress("placement", number, len(wanting))
                remaining_s = None if deadline is None else max(_LEAST_S, deadline - time.monotonic())
                placements[mesh] = place_on(problem, mesh, remaining_s)
        except KeyboardInterrupt:
            if stopped:
                raise
            stopped, deadline = True, time.monotonic()
        known = _repriced(problem, search, placements)
    if wanting:
        outcome = _placed_only(problem, search, outcome, placements)
    bounded = Search(problem, wanted=wanted, deadline=deadline, skews=proved_skews(problem, placements)).run()
    if not outcome.best and bounded.best:
        outcome = replace(outcome, complete=False)  # with a better placement something may fit
    return Joint(search, outcome, placements, proved_bound(problem, bounded) if outcome.best else None)


def _repriced(problem: Problem, search: Search, placements: Mapping[StageMesh, PlacementResult]) -> dict[Shape, Scored]:
    """Layouts of a master on placed meshes, at the balance that their placements have."""
    values = {mesh: [layer.max_over_mean for layer in placed.layers] for mesh, placed in placements.items()}
    fresh = Search(problem, skews=Skews(problem, values))
    by_shape = {}
    for shape, scored in search.best.items():
        if (shape.ep, shape.redundant) in placements:
            costs, memory = fresh.costs.of(shape), fresh.memory.memory(shape)
            again = best_layout(problem, shape, scored.layout.prefill_chunk, costs, memory)
            if again is not None:
                by_shape[shape] = again
    return by_shape


def _placed_only(
    problem: Problem, search: Search, outcome: Found, placements: Mapping[StageMesh, PlacementResult]
) -> Found:
    """Only what is on placed meshes; the others were priced at a bound."""
    search.best = {shape: s for shape, s in search.best.items() if mesh_of(s) in placements}
    ranked = sorted(search.best.values(), key=lambda s: key(problem, s))[: search.wanted]
    return replace(outcome, best=ranked, complete=outcome.complete and bool(ranked))


def place_on(
    problem: Problem, mesh: StageMesh, time_limit_s: float | None = None, *, solver_bounds: bool = False
) -> PlacementResult:
    """Place the experts of every layer on the ranks of one expert mesh, starting from what is in service there.

    ``solver_bounds`` takes CP-SAT's word for bounds that nothing else proves; a layout's certificate does without.
    """
    from optimizer.placement import place  # noqa: PLC0415 - see above

    current = problem.current_placement if problem.current_mesh == mesh else None
    return place(question_on(problem, mesh, current, solver_bounds=solver_bounds), time_limit_s=time_limit_s)


def question_on(
    problem: Problem, mesh: StageMesh, current: Sequence[Devices] | None = None, *, solver_bounds: bool = False
) -> Question:
    """What `place_on` asks of an expert mesh, from a placement in service."""
    from optimizer.placement import Question  # noqa: PLC0415 - see above

    ep, redundant = mesh
    moe, experts = problem.model.moe, problem.experts
    assert moe is not None  # noqa: S101 - loads belong to a model with experts
    slots = moe.experts + redundant
    question = Question(
        [load.rows for load in problem.expert_loads],
        ep,
        -(-slots // ep),
        robust=experts.robust if experts else "worst",
        weights=load_weights(problem),
        seed=problem.seed,
        empty_slots=-slots % ep,
        layer_ids=problem.model.moe_layers,
        names=[load.name for load in problem.expert_loads],
    )
    if question.empty_slots:
        return question
    size = problem.group_domain(ep)
    return replace(
        question,
        node_size=size,
        groups=None if size is None else moe.group_count,
        hierarchy="free" if size is None else "node",
        current=current,
        max_moves=experts.max_moves if experts and current is not None else None,
        split=experts.split if experts else "even",
        solver_bounds=solver_bounds,
        nearness=nearness_on(problem, ep),
    )


def nearness_on(problem: Problem, ep: int) -> Nearness | None:
    """Co-activated experts and the nodes of an expert mesh, where the problem has them."""
    from optimizer.placement import Nearness  # noqa: PLC0415 - see above

    coactivation, groups = problem.coactivation, groups_of(problem)
    if coactivation is None or groups is None:
        return None
    size = min(problem.hardware.devices_per_node, ep)
    return Nearness(coactivation.measure, size, groups, allowance_of(problem))


def trusted_layers(placed: PlacementResult, ep: int) -> list[str]:
    """Layers whose bound rests on the solver's word, as the checker names them."""
    return [
        f"placement of layer {layer.layer} on ep={ep}"
        for layer in placed.layers
        if layer.witness.get("kind") == "solver"
    ]

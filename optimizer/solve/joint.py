"""Degrees, batch, redundant slots and expert placement in one optimum: logic-based Benders decomposition.

The master (`Search`) prices every expert mesh at the imbalance that is known of it: at first a bound that no placement
goes below (`figures.skew`). The sub-problem (`placement.place`) places the experts on the mesh of the master's best
layout; its imbalance, and the bound it proves, replace the first bound. When the master's best is on a placed mesh, no
other layout can be better; with the proved bounds in place of the placements' values the same search bounds the gap.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction

from optimizer.figures.objective import Scored
from optimizer.figures.skew import Mesh, Skews, load_weights
from optimizer.solve.placement import PlacementResult, place
from optimizer.solve.search import Found, Progress, Search
from optimizer.spec.problem import Problem


@dataclass
class Joint:
    """What the decomposition ended with.

    Attributes
    ----------
    search, found
        The last master and what it found.
    placements
        Placement of every expert mesh that was ever the master's choice.
    bound
        The best objective value that any layout could have with the best placement, exact; None where nothing fits.
    """

    search: Search
    found: Found
    placements: dict[Mesh, PlacementResult]
    bound: Fraction | None

    def of(self, scored: Scored) -> PlacementResult:
        """The placement of a layout's expert mesh."""
        return self.placements[mesh_of(self.search, scored)]


def mesh_of(search: Search, scored: Scored) -> Mesh:
    """Ep and redundant slots of a layout."""
    return scored.layout.ep, search.redundant_of(scored)


def solve_jointly(
    problem: Problem, *, wanted: int = 1, deadline: float | None = None, progress: Progress | None = None
) -> Joint:
    """Alternate master and placement until the best layout's experts are placed.

    Parameters
    ----------
    wanted, deadline, progress
        As in `Search`.
    """
    placements: dict[Mesh, PlacementResult] = {}
    while True:
        values = {mesh: [layer.max_over_mean for layer in p.layers] for mesh, p in placements.items()}
        search = Search(problem, wanted=wanted, deadline=deadline, progress=progress, skews=Skews(problem, values))
        found = search.run()
        open_meshes = [m for m in dict.fromkeys(mesh_of(search, s) for s in found.best) if m not in placements]
        late = deadline is not None and time.monotonic() > deadline
        if not open_meshes or (late and placements and found.best and mesh_of(search, found.best[0]) in placements):
            break
        for number, mesh in enumerate(open_meshes):
            if progress is not None:
                progress("placement", number, len(open_meshes))
            left = None if deadline is None else max(0.1, deadline - time.monotonic())
            placements[mesh] = place_on(problem, mesh, left)
    return Joint(search, found, placements, _bound(problem, found, placements, deadline, wanted))


def place_on(problem: Problem, mesh: Mesh, time_limit_s: float | None = None) -> PlacementResult:
    """Place the experts of every layer on the ranks of one expert mesh, starting from what is in service there."""
    ep, redundant = mesh
    moe, own = problem.model.moe, problem.experts
    assert moe is not None  # noqa: S101 - loads belong to a model with experts
    names = problem.model.layer_names
    current = problem.current_placement if problem.current_mesh == mesh else None
    return place(
        [load.rows for load in problem.expert_loads],
        ep,
        (moe.experts + redundant) // ep,
        node_size=min(problem.hardware.devices_per_node, ep) if own and own.hierarchy == "node" else None,
        groups=moe.group_count if own and own.hierarchy == "node" else None,
        hierarchy=own.hierarchy if own else "free",
        robust=own.robust if own else "worst",
        weights=load_weights(problem),
        current=current,
        max_moves=own.max_moves if own and current is not None else None,
        split=own.split if own else "even",
        time_limit_s=time_limit_s,
        seed=problem.seed,
        layer_ids=[i for i, name in enumerate(names) if problem.model.blocks[name].moe is not None],
        names=[load.name for load in problem.expert_loads],
    )


def _bound(
    problem: Problem,
    found: Found,
    placements: dict[Mesh, PlacementResult],
    deadline: float | None,
    wanted: int,
) -> Fraction | None:
    if not found.best or not found.complete:
        return None
    values = {mesh: [layer.bound for layer in p.layers] for mesh, p in placements.items()}
    bounded = Search(problem, wanted=wanted, deadline=deadline, skews=Skews(problem, values)).run()
    return bounded.best[0].value if bounded.best and bounded.complete else None


def relative_gap(value: Fraction, bound: Fraction) -> Fraction:
    """|bound − value| ÷ |value|."""
    return abs(bound - value) / abs(value) if value else Fraction(0)


def trusted_layers(placed: PlacementResult, ep: int) -> list[str]:
    """Layers whose bound rests on the solver's word, as the checker names them."""
    return [
        f"placement of layer {layer.layer} on ep={ep}"
        for layer in placed.layers
        if layer.witness.get("kind") == "solver"
    ]

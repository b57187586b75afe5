"""A stated layout against the lattice and every constraint, priced by the reference."""

from __future__ import annotations

from itertools import accumulate

from optimizer.certificate.decision import replicas_allowed
from optimizer.certificate.meshes import MeshCount
from optimizer.certificate.verdict import Rejected, brief
from optimizer.domain.lattice import LARGEST_BATCH
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.costs import CostBook, Costs
from optimizer.figures.memory import Memory, MemoryBook
from optimizer.figures.rates import effective_rates
from optimizer.figures.serving import Evaluation, evaluate
from optimizer.figures.skew import Skews
from optimizer.verify.constraints import violations


class Books:
    """Coefficients of the shapes of a problem, each worked out once."""

    def __init__(self, problem: Problem) -> None:
        self._costs, self._memory = CostBook(problem, effective_rates(problem.priced_hardware)), MemoryBook(problem)
        self._known: dict[Shape, tuple[Costs, Memory]] = {}

    def of(self, shape: Shape) -> tuple[Costs, Memory]:
        """Time and byte coefficients."""
        if shape not in self._known:
            self._known[shape] = self._costs.of(shape), self._memory.memory(shape)
        return self._known[shape]


def check_stages(layout: Layout, layers: int, item: str) -> None:
    """Reject a layout that does not say which layers each of its stages holds, however evident that is."""
    edges = list(accumulate((stage.layers for stage in layout.stages or ()), initial=0))
    if [stage.first_layer for stage in layout.stages or ()] != edges[:-1] or edges[-1] != layers:
        raise Rejected(item, "stages do not cover the layers one after the other")


def evaluated(
    problem: Problem,
    lattice: MeshCount,
    layout: Layout,
    item: str,
    reached: Skews | None = None,
    *,
    full: bool = False,
    waits: bool = True,
    books: Books | None = None,
) -> Evaluation:
    """A layout of the lattice, priced; every constraint kept.

    Parameters
    ----------
    item
        Where the layout stands.
    reached
        Balance of the placements that the document holds.
    full
        With the whole batch in flight, whatever the load.
    waits
        Whether the wait for a free place counts among what breaks a limit.
    books
        Coefficients of shapes, where many layouts are priced; of balanced experts.

    Raises
    ------
    Rejected
        It is not in the lattice, breaks a constraint, or is on experts that are not placed.
    """
    axes = lattice.axes
    if layout.redundant_slots not in axes.redundant:
        raise Rejected(item, f"{brief(layout.redundant_slots)} redundant slots were not asked for")
    shape = layout.shape
    if not lattice.has(shape):
        degrees = f"tp={shape.tp}, cp={shape.cp}, etp={shape.etp}, ep={shape.ep}"
        overlap = f", overlap={shape.overlap_name}" if shape.overlap else ""
        raise Rejected(item, f"{degrees}{overlap} are not in the lattice")
    if shape.pp not in axes.pp or layout.prefill_chunk not in axes.chunks or layout.batch > LARGEST_BATCH:
        raise Rejected(
            item, f"pp={shape.pp}, chunk={layout.prefill_chunk}, batch={layout.batch} are not in the lattice"
        )
    if not replicas_allowed(problem, shape, layout.replicas):
        raise Rejected(item, f"{layout.replicas} replicas of {shape.devices} devices on {problem.devices}")
    check_stages(layout, problem.model.layer_count, item)
    if problem.expert_loads and (reached is None or (shape.ep, shape.redundant) not in reached.placed):
        raise Rejected(item, f"no placement of {shape.redundant} redundant slots on ep={shape.ep}")
    skew = None if reached is None else reached.of(shape)
    costs, memory = (None, None) if books is None else books.of(shape)
    evaluation = evaluate(problem, layout, imbalance=skew, full=full, costs=costs, memory=memory)
    broken = violations(problem, layout, evaluation, imbalance=skew, waits=waits)
    if broken:
        raise Rejected(item, str(broken[0]))
    return evaluation

"""Whether anything fits, and the best by an objective: the two questions that explanations are made of."""

from __future__ import annotations

from optimizer.domain.problem import Problem
from optimizer.figures.bounds import asks_too_soon
from optimizer.figures.objective import Scored
from optimizer.search.lattice import Meshes
from optimizer.search.rows import Rows
from optimizer.search.search import Search


class _FoundError(Exception):
    def __init__(self, scored: Scored) -> None:
        super().__init__()
        self.scored = scored


class _First(Search):
    """A search that stops at the first layout that keeps every limit."""

    def _decide_row(self, found: Meshes, rows: Rows, i: int) -> Scored | None:
        scored = super()._decide_row(found, rows, i)
        if scored is not None:
            raise _FoundError(scored)
        return None


def fits(problem: Problem) -> Scored | None:
    """Some layout that keeps every limit; None is a proof that there is none."""
    if asks_too_soon(problem):
        return None
    easiest = problem.model_copy(update={"objective": "throughput_per_device"})
    # Nearly all that fits has a layout without context parallelism, or with as much as a power of two; those lattices
    # are small parts of the whole.
    coarse = ((1,), tuple(1 << n for n in range(1, problem.devices.bit_length())))
    for cp in (*coarse, None) if problem.search.cp is None else (problem.search.cp,):
        try:
            _First(easiest.model_copy(update={"search": easiest.search.model_copy(update={"cp": cp})})).run()
        except _FoundError as found:
            return found.scored
    return None


def fits_as_predicted(problem: Problem) -> bool:
    """Whether some layout keeps limits on times by the prediction that no layout keeps at the confidence asked."""
    limits = problem.limits
    if limits.confidence is None or not limits.on_times:
        return False
    return fits(problem.changed(limits=limits.model_copy(update={"confidence": None}))) is not None


def optimum(problem: Problem, objective: str) -> Scored | None:
    """The best layout by an objective."""
    best = Search(problem.model_copy(update={"objective": objective})).run().best
    return best[0] if best else None

"""What each choice of redundant slots costs or brings in the objective: the problem solved anew for each, exactly."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from optimizer.domain.problem import Problem
from optimizer.solve import solve
from optimizer.solve.result import Result


@dataclass(frozen=True, slots=True)
class SlotPrice:
    """The optimum with exactly so many redundant slots."""

    redundant: int
    result: Result

    def to_json(self) -> dict[str, object]:
        """Redundant slots, status, objective with its bound and gap, and the layout's degrees."""
        document = self.result.to_json()
        layout = document["layout"]
        if layout is not None:
            layout = {name: value for name, value in layout.items() if name not in {"placement", "stages"}}
        return {
            "redundant_slots": self.redundant,
            "status": document["status"],
            "objective": document["objective"] | {"name": self.result.problem.objective_row.unit},
            "layout": layout,
        }


def slot_prices(problem: Problem, *, time_limit_s: float | None = None) -> Iterator[SlotPrice]:
    """The optimum for each number of redundant slots that the problem allows, all else open.

    Parameters
    ----------
    time_limit_s
        Seconds for all together.
    """
    experts = problem.experts
    if experts is None:
        return
    deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
    for number in sorted(set(experts.redundant_slots)):
        only = problem.changed(experts=experts.model_copy(update={"redundant_slots": (number,)}))
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        yield SlotPrice(number, solve(only, time_limit_s=left))

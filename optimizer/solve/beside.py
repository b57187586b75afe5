"""What is told beside an answer: devices left idle, and what each choice of redundant slots costs or brings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from optimizer.domain.layout import Layout
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.figures.objective import Scored
from optimizer.figures.topology import replicas_that_fit
from optimizer.search.search import Search
from optimizer.solve import solve
from optimizer.solve.result import Solved


@dataclass(frozen=True)
class Idle:
    """Devices without work.

    Attributes
    ----------
    devices
        How many.
    wanting
        Devices more that would hold another replica of the layout; None where the problem's `search` fixes how many.
    busier
        The layout of most throughput, where it uses more devices; None where nothing that uses more serves more.
    """

    devices: int
    wanting: int | None
    busier: Scored | None


def idle(problem: Problem, layout: Layout, time_limit_s: float | None = None) -> Idle | None:
    """What would use the devices that a problem's best layout leaves idle; None where it leaves none.

    Parameters
    ----------
    time_limit_s
        Seconds after which the busiest layout so far is told.
    """
    if layout.devices >= problem.devices:
        return None
    busier = None
    if problem.scale.measure is not Measure.REQUESTS and not problem.expert_loads:
        deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
        best = Search(problem.changed(objective="throughput"), deadline=deadline).run().best
        busier = next((scored for scored in best if scored.layout.devices > layout.devices), None)
    return Idle(problem.devices - layout.devices, _wanting(problem, layout.shape.devices), busier)


def _wanting(problem: Problem, replica: int) -> int | None:
    if any(degrees is not None for degrees in (problem.search.dp, problem.search.edp, problem.search.devices)):
        return None
    sizes = tuple(tier.size for tier in problem.hardware.tiers)
    fitting, wanted = replicas_that_fit(sizes, problem.devices, replica), problem.devices + 1
    while replicas_that_fit(sizes, wanted, replica) <= fitting:
        wanted += 1
    return wanted - problem.devices


@dataclass(frozen=True, slots=True)
class SlotPrice:
    """The optimum with exactly so many redundant slots."""

    redundant: int
    result: Solved

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
        remaining_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        yield SlotPrice(number, solve(only, time_limit_s=remaining_s))

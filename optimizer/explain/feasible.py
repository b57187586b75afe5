"""Whether anything fits, the best by an objective, limits that cost it something, what more hardware would bring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.limit_table import Limit, limits_of, with_memory
from optimizer.domain.problem import Problem
from optimizer.figures.bounds import asks_too_soon
from optimizer.figures.objective import Scored, better
from optimizer.search.lattice import Meshes
from optimizer.search.rows import Rows
from optimizer.search.search import Search
from optimizer.solve.places import waits, within_places

MORE = Fraction(11, 10)


class _FoundError(Exception):
    def __init__(self, scored: Scored) -> None:
        super().__init__()
        self.scored = scored


class _First(Search):
    """A search that stops at the first layout that keeps every limit."""

    def _decide_row(self, meshes: Meshes, rows: Rows, i: int) -> Scored | None:
        scored = super()._decide_row(meshes, rows, i)
        if scored is not None:
            raise _FoundError(scored)
        return None


def fits(problem: Problem) -> Scored | None:
    """Some layout that keeps every limit; None is a proof that there is none, the wait for a free place aside."""
    some = fits_but_for_waits(problem)
    # what serves most has its requests wait least for a place
    return optimum(problem, "throughput") if some is not None and waits(problem) else some


def fits_but_for_waits(problem: Problem) -> Scored | None:
    """Some layout that keeps every limit but for the wait for a free place; None is a proof that there is none."""
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
    """The best layout by an objective; where requests wait for a place, the best found that has places enough."""
    asked = problem.changed(objective=objective)
    best = next(iter(Search(asked).run().best), None)
    return None if best is None else within_places(asked, best)


@dataclass(frozen=True)
class Binding:
    """A limit without which the optimum would be better."""

    limit: Limit
    scored: Scored


@dataclass(frozen=True)
class WhatIf:
    """The optimum with something more."""

    change: str
    scored: Scored | None


def _with_hardware(problem: Problem, hardware: HardwareSpec) -> Problem:
    return problem.model_copy(update={"hardware": hardware})


def binding(problem: Problem, best: Scored) -> Iterator[Binding]:
    """Limits that bind: each dropped alone and solved again. Devices and memory are left to `what_if`."""
    for limit in limits_of(problem):
        if limit.name in ("devices", "memory") or (limit.name == "request_rate" and problem.objective_row.needs_rate):
            continue
        best_without = optimum(limit.drop(problem), problem.objective)
        if best_without is not None and better(problem, best_without.value, best.value):
            yield Binding(limit, best_without)


def what_if(problem: Problem) -> Iterator[WhatIf]:
    """Exact optima with one more device, one more node, 10% more memory, memory bandwidth or links."""
    hardware, node = problem.hardware, problem.hardware.devices_per_node
    device = hardware.device
    tried: list[tuple[str, Problem]] = [
        ("one more device", problem.model_copy(update={"devices": problem.devices + 1}))
    ]
    if node > 1:
        tried.append(("one more node", problem.model_copy(update={"devices": problem.devices + node})))
    tried.append(("10% more memory", with_memory(problem, int(device.exposed_memory * MORE))))
    faster = device.model_copy(update={"bandwidth": int(device.bandwidth * MORE)})
    tried.append(("10% more memory bandwidth", _with_hardware(problem, hardware.model_copy(update={"device": faster}))))
    links = tuple(t.model_copy(update={"bandwidth": int(t.bandwidth * MORE)}) for t in hardware.tiers)
    tried.append(("10% more link bandwidth", _with_hardware(problem, hardware.model_copy(update={"tiers": links}))))
    peaks = {name: int(peak * MORE) for name, peak in device.peak.items()}
    quicker = device.model_copy(update={"peak": peaks})
    tried.append(("10% more compute", _with_hardware(problem, hardware.model_copy(update={"device": quicker}))))
    for change, changed in tried:
        yield WhatIf(change, optimum(changed, problem.objective))

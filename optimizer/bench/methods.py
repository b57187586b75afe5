"""The methods of a benchmark by name: the search and its baselines, each a function that a fresh process can run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from optimizer.bench.baselines import brute_force, greedy_placement
from optimizer.bench.baselines.planners import powers_of_two, random_search, rule_of_thumb
from optimizer.bench.pricing import BudgetedPricer, PricedLayout
from optimizer.domain.problem import Problem

SOLVE: Final = "solve"
PROGRAM: Final = "cp_sat"
PEER: Final = "aiconfigurator"


@dataclass(frozen=True)
class Settings:
    """What a run is about.

    Attributes
    ----------
    evaluations
        Layouts that each baseline may price.
    time_limit_s
        Of the search; None: until proved.
    aiconfigurator
        Program to run as a peer; None: not run.
    patience_s
        Seconds after which any method's process is ended.
    """

    evaluations: int = 10_000
    time_limit_s: float | None = None
    aiconfigurator: str | None = None
    patience_s: float = 900.0


@dataclass(frozen=True)
class Outcome:
    """What a method answered."""

    status: str
    value: Fraction | None = None
    bound: float | None = None
    gap: float | None = None
    candidates: int = 0
    work: dict[str, int] = field(default_factory=dict)
    wall_s: float = 0.0
    check_s: float | None = None
    certificate: str | None = None
    layout: dict[str, Any] | None = None
    note: str = ""

    def objective(self, problem: Problem) -> dict[str, Any]:
        """``objective`` of a record."""
        exact = None if self.value is None else f"{self.value.numerator}/{self.value.denominator}"
        value = None if self.value is None else float(self.value)
        return {"name": problem.objective_row.unit, "value": value, "bound": self.bound, "exact": exact}


def search(problem: Problem, settings: Settings) -> Outcome:
    """Solve, and check the certificate."""
    from optimizer.certificate import certify  # noqa: PLC0415 - only this method needs it
    from optimizer.solve import solve  # noqa: PLC0415 - only this method loads the solver

    begun = time.perf_counter()
    result = solve(problem, time_limit_s=settings.time_limit_s)
    wall_s = time.perf_counter() - begun
    document = result.to_json()
    check = certify(document) if result.certificate else None
    verdict = None
    if check is not None:
        verdict = "accepted" if check.accepted else f"rejected: {check.item}: {check.reason}"
    tally, objective = result.tally, document["objective"]
    return Outcome(
        status=result.status,
        value=result.best.value if result.best else None,
        bound=objective["bound"],
        gap=objective["gap"],
        candidates=tally.points,
        work={"rows_priced": tally.priced, "decided_exactly": tally.exact},
        wall_s=wall_s,
        check_s=check.wall_s if check else None,
        certificate=verdict,
        layout=document["layout"],
    )


def _answered(
    pricer: BudgetedPricer, priced: PricedLayout | None, *, exhaustive: bool = False, note: str = ""
) -> Outcome:
    empty = "infeasible" if exhaustive else "unknown"
    layout = None
    if priced is not None:
        layout = priced.layout.model_dump(mode="json", exclude_none=True) | {"devices": priced.layout.devices}
    return Outcome(
        status=empty if priced is None else "optimal" if exhaustive else "feasible",
        value=None if priced is None else priced.value,
        candidates=pricer.evaluations,
        work={"evaluations": pricer.evaluations},
        layout=layout,
        note=note,
    )


def _plain(
    propose: Callable[[Problem, BudgetedPricer], PricedLayout | None],
) -> Callable[[Problem, Settings], Outcome | None]:
    def method(problem: Problem, settings: Settings) -> Outcome:
        pricer = BudgetedPricer(problem, settings.evaluations)
        return _answered(pricer, propose(problem, pricer))

    return method


def brute(problem: Problem, settings: Settings) -> Outcome | None:
    """Every layout; None where there are too many."""
    pricer = BudgetedPricer(problem, settings.evaluations)
    answer = brute_force.propose(problem, pricer)
    if answer is None:
        return None
    priced, complete = answer
    return _answered(pricer, priced, exhaustive=complete, note="" if complete else "even stages only")


def declared(problem: Problem, settings: Settings) -> Outcome | None:
    """The problem as one CP-SAT program; None where that would be too large."""
    from optimizer.errors import SpecError  # noqa: PLC0415 - beside it
    from optimizer.solve.declared import solve_declared  # noqa: PLC0415 - only this method loads the solver

    begun = time.perf_counter()
    try:
        result = solve_declared(problem, time_limit_s=settings.time_limit_s)
    except SpecError:
        return None
    document = result.to_json()
    return Outcome(
        status=result.status, value=result.best.value if result.best else None, bound=document["objective"]["bound"],
        gap=document["objective"]["gap"], candidates=result.tally.points, work={"rounds": result.tally.exact},
        wall_s=time.perf_counter() - begun, layout=document["layout"],
    )  # fmt: skip


def placement(problem: Problem, settings: Settings) -> Outcome | None:
    """Greedy placement on the powers-of-two grid; None without measured loads."""
    if not problem.expert_loads:
        return None
    pricer = BudgetedPricer(problem, settings.evaluations, greedy_placement.pack)
    return _answered(pricer, powers_of_two(problem, pricer))


def peer(problem: Problem, settings: Settings) -> Outcome | None:
    """AIConfigurator; None where it is not installed or does not know the model or the hardware."""
    from optimizer.bench.baselines import aiconfigurator  # noqa: PLC0415 - only this method needs it

    if settings.aiconfigurator is None:
        return None
    question = aiconfigurator.question(problem)
    if question is None:
        return None
    pricer = BudgetedPricer(problem, settings.evaluations)
    program, patience_s = settings.aiconfigurator, settings.patience_s
    try:
        priced, note, wall_s = aiconfigurator.propose(problem, pricer, question, program, patience_s)
    except aiconfigurator.NotAskable:
        return None
    outcome = _answered(pricer, priced, note=note)
    return Outcome(**(outcome.__dict__ | {"wall_s": wall_s}))


METHODS: Final[dict[str, Callable[[Problem, Settings], Outcome | None]]] = {
    SOLVE: search,
    PROGRAM: declared,
    "brute_force": brute,
    "rule_of_thumb": _plain(rule_of_thumb),
    "powers_of_two": _plain(powers_of_two),
    "random_search": _plain(random_search),
    "greedy_placement": placement,
    PEER: peer,
}
"""In the order of the table."""


def run_method(problem: Problem, method: str, settings: Settings) -> Outcome | None:
    """Run one method on a problem; None where the method does not apply."""
    begun = time.perf_counter()
    outcome = METHODS[method](problem, settings)
    if outcome is None or outcome.wall_s:
        return outcome
    return Outcome(**(outcome.__dict__ | {"wall_s": time.perf_counter() - begun}))

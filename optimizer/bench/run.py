"""Runs methods on scenarios, each in a process of its own, and tells how the search fares beside its baselines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from fractions import Fraction

from optimizer import __version__
from optimizer.bench.isolate import Alone, run_alone
from optimizer.bench.methods import METHODS, PEER, SOLVE, Outcome, Settings, run_method
from optimizer.bench.record import Record
from optimizer.bench.scenarios import Scenario
from optimizer.bench.store import Store
from optimizer.domain.problem import Problem
from optimizer.errors import Fault, SpecError
from optimizer.readers.messages import nearest
from optimizer.readers.read import read_problem

__all__ = ["Settings", "installed_peer", "margin", "named_methods", "run"]

TellRecord = Callable[[str, str, Record | None], None]
"""Called before and after each method, with scenario, method, and afterwards the record."""


def installed_peer() -> str | None:
    """AIConfigurator's program, where it is installed."""
    return shutil.which(PEER)


def named_methods(names: Sequence[str]) -> tuple[str, ...]:
    """Methods by name, the search first, in the order of the table.

    Raises
    ------
    SpecError
        No such method.
    """
    for name in names:
        if name not in METHODS:
            message = f"{name!r} is no method: {', '.join(METHODS)}"
            raise SpecError(Fault(None, None, None, None, message, nearest(name, list(METHODS))))
    return tuple(name for name in METHODS if name in names or name == SOLVE)


def margin(problem: Problem, ours: Fraction | None, theirs: Fraction | None) -> float | None:
    """How many times better the search's value is than a baseline's; below 1 the baseline wins.

    None where one of them has no value, or the ratio has no meaning (zero).
    """
    if ours is None or theirs is None:
        return None
    best, worse = (ours, theirs) if problem.objective_row.maximised else (theirs, ours)
    if ours == theirs:
        return 1.0
    return float(best / worse) if worse > 0 and best > 0 else None


def _record(scenario: Scenario, method: str, problem: Problem, run_result: Alone) -> Record | None:
    outcome: Outcome | None = run_result.result
    if run_result.failure is not None:
        outcome = Outcome("failed", note=run_result.failure)
    if outcome is None:
        return None
    return Record(
        scenario=scenario.name, method=method, status=outcome.status, objective=outcome.objective(problem),
        gap=outcome.gap, candidates=outcome.candidates, wall_s=outcome.wall_s, peak_bytes=run_result.peak_bytes,
        certificate=outcome.certificate, work=outcome.work, check_s=outcome.check_s, layout=outcome.layout,
        digest=problem.digest, note=outcome.note,
    )  # fmt: skip


def run(
    chosen: Sequence[Scenario],
    methods: Sequence[str],
    settings: Settings,
    *,
    store: Store | None = None,
    tell: TellRecord | None = None,
) -> Iterator[Record]:
    """Records in order: of each scenario the search's first, then the baselines' with their margins.

    Parameters
    ----------
    store
        History; records of an interrupted run of the same question are taken from it.
    """
    question = json.dumps([[s.name for s in chosen], list(methods), asdict(settings)])
    number = store.open_run(question, __version__) if store is not None else 0
    for scenario in chosen:
        problem = read_problem(scenario.path)
        optimum: Fraction | None = None
        for method in methods:
            record = store.get(number, scenario.name, method, problem.digest) if store is not None else None
            if record is None or record.status == "failed":
                if tell is not None:
                    tell(scenario.name, method, None)
                alone = run_alone(run_method, problem, method, settings, limit_s=settings.patience_s)
                record = _record(scenario, method, problem, alone)
                if record is None:
                    continue
            if method == SOLVE:
                optimum = record.exact
            else:
                record = replace(record, margin=margin(problem, optimum, record.exact))
            if store is not None:
                store.put(number, record)
            if tell is not None:
                tell(scenario.name, method, record)
            yield record
    if store is not None:
        store.finish(number)

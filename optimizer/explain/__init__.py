"""Why nothing fits, and what would; or what holds back what does. Every number comes from an exact solve."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from optimizer.domain.limit_table import Limit, LimitValue, limits_of, told
from optimizer.domain.problem import Problem
from optimizer.explain.changes import Explained
from optimizer.explain.conflict import Conflict, JointRelaxation, conflict, joint
from optimizer.explain.feasible import Binding, WhatIf, binding, fits, optimum, what_if
from optimizer.explain.relax import Relaxation, precisions, relax
from optimizer.figures.objective import Scored
from optimizer.search.search import Progress

__all__ = ["Explanation", "brief", "explain"]


@dataclass(frozen=True, repr=False)
class Explanation(Explained):
    """An explanation of a problem; what does not apply is empty.

    Attributes
    ----------
    conflict
        A minimal set of limits that nothing keeps together.
    relaxations
        Smallest changes of single limits, all others kept, each of which makes something fit.
    hopeless
        Limits that no change of theirs alone helps.
    joint
        One factor by which all numbers of the conflict relaxed make something fit.
    binding, what_if
        Of a feasible problem.
    stopped
        Interrupted: the conflict is proved, of the changes some may be missing.
    """

    problem: Problem
    best: Scored | None
    conflict: Conflict | None = None
    relaxations: tuple[Relaxation, ...] = ()
    hopeless: tuple[str, ...] = ()
    joint: JointRelaxation | None = None
    binding: tuple[Binding, ...] = ()
    what_if: tuple[WhatIf, ...] = ()
    stopped: bool = False

    @property
    def status(self) -> str:
        """`feasible` or `infeasible`."""
        return "infeasible" if self.best is None else "feasible"

    def to_json(self) -> dict[str, Any]:
        """``shardproof/explain/1``."""
        document: dict[str, Any] = {
            "schema": "shardproof/explain/1",
            "status": self.status,
            "problem": {"name": self.problem.name, "digest": self.problem.digest},
            "conflict": _members(self.problem, self.conflict),
            "relaxations": [_relaxation(r) for r in self.relaxations],
        }
        if self.best is None:
            document["hopeless"] = list(self.hopeless)
            if self.stopped:
                document["stopped"] = True
            document["joint"] = None if self.joint is None else _joint(self.joint)
            return document
        value = self.best.value
        document["objective"] = {"name": self.problem.objective_row.unit, "value": float(value)}
        document["layout"] = self.best.layout.to_json()
        document["binding"] = [
            _entry(self.problem, b.limit) | {"without": float(b.scored.value), "gain": _gain(b.scored.value, value)}
            | {"layout": b.scored.layout.to_json()}
            for b in self.binding
        ]  # fmt: skip
        document["what_if"] = [
            {
                "change": w.change,
                "value": None if w.scored is None else float(w.scored.value),
                "gain": None if w.scored is None else _gain(w.scored.value, value),
                "layout": None if w.scored is None else w.scored.layout.to_json(),
            }
            for w in self.what_if
        ]
        return document


def _gain(new: Fraction, old: Fraction) -> float | None:
    """Relative change; None from zero."""
    return None if old == 0 else float(new / old - 1)


def _exact(value: LimitValue) -> str | None:
    """A fraction in full, where a JSON number rounds it."""
    return f"{value.numerator}/{value.denominator}" if isinstance(value, Fraction) and value.denominator > 1 else None


def _entry(problem: Problem, limit: Limit) -> dict[str, Any]:
    return {"limit": limit.name, "value": told(limit.of(problem)), "unit": limit.unit}


def _members(problem: Problem, conflict: Conflict | None) -> list[dict[str, Any]]:
    if conflict is None:
        return []
    return [
        _entry(problem, m.limit) | {"without": None if m.without is None else m.without.layout.to_json()}
        for m in conflict.members
    ]


def _relaxation(relaxation: Relaxation) -> dict[str, Any]:
    document: dict[str, Any] = {
        "limit": relaxation.limit, "from": told(relaxation.old), "to": told(relaxation.new, relaxation.old),
        "unit": relaxation.unit, "layout": relaxation.scored.layout.to_json(),
    }  # fmt: skip
    exact = _exact(relaxation.new)
    if exact is not None:
        document["to_exact"] = exact
    if relaxation.note is not None:
        document["note"] = relaxation.note
    return document


def _joint(relaxation: JointRelaxation) -> dict[str, Any]:
    return {
        "factor": float(relaxation.factor),
        "fails_at": float(relaxation.below),
        "weights": "equal: the largest relative change is as small as it can be",
        "changes": [{"limit": n, "from": told(a), "to": told(b, a), "unit": u} for n, a, b, u in relaxation.changes],
        "layout": relaxation.scored.layout.to_json(),
    }


def explain(problem: Problem, progress: Progress | None = None) -> Explanation:
    """Explain a problem.

    Parameters
    ----------
    progress
        Called with a phase's name, what is done and what there is.

    Interrupted after the conflict, it returns the changes found so far.
    """
    best = optimum(problem, problem.objective)
    if best is not None:
        return Explanation(problem, best, binding=tuple(binding(problem, best)), what_if=tuple(what_if(problem)))
    in_conflict = conflict(problem, progress)
    limits = limits_of(problem)
    relaxations: list[Relaxation] = []
    hopeless: list[str] = []
    together, stopped = None, False
    try:
        for done, limit in enumerate(limits):
            changes = [] if fits(limit.drop(problem)) is None else list(relax(problem, limit))
            relaxations += changes
            if not changes:
                hopeless.append(limit.name)
            if progress is not None:
                progress("relaxations", done + 1, len(limits))
        relaxations += precisions(problem)
        together = joint(problem, in_conflict)
    except KeyboardInterrupt:
        stopped = True
    return Explanation(problem, None, in_conflict, tuple(relaxations), tuple(hopeless), together, stopped=stopped)


def brief(problem: Problem, progress: Progress | None = None) -> list[dict[str, Any]]:
    """The conflict of an infeasible problem in short: limits by name and number."""
    return [_entry(problem, member.limit) for member in conflict(problem, progress).members]

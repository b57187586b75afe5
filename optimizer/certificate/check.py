"""The checker of results: accepts one only if everything it claims follows from its problem.

Nothing here comes from the search. In order: the document's form, its problem, the lattice's counts, the layout against
every constraint, every figure for equality, and that no layout of the lattice beats the claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from optimizer.certificate.conflict import check_conflict
from optimizer.certificate.front import check_front
from optimizer.certificate.meshes import MeshCount, lattice
from optimizer.certificate.optimality import prove
from optimizer.certificate.placed import placement_of, placements
from optimizer.certificate.priced import evaluated
from optimizer.certificate.question import bind
from optimizer.certificate.reading import TOLD, certificate_of, keys, layout_of, problem_of, rational
from optimizer.certificate.statement import exact, figures_statement, relative_gap, sealed, slack, tolerance_of
from optimizer.certificate.thresholds import check_uncertainty
from optimizer.certificate.verdict import Check, Rejected, brief, count, equal, number
from optimizer.domain.lattice import axes
from optimizer.domain.layout import Layout
from optimizer.domain.margins import accuracy
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.domain.uncertainty import tied
from optimizer.figures.derivation import figures_json
from optimizer.figures.objective import better, objective_of
from optimizer.figures.serving import Evaluation, evaluate
from optimizer.figures.skew import Skews

_Tied = tuple[Fraction, int] | None
"""Requests/s, and the devices that none reaches them below."""

_TALLIES = ("dismissed_by_bound", "priced", "decided_exactly")
_SEARCH = frozenset({"candidates", "excluded", "wall_s", *_TALLIES})


@dataclass(frozen=True)
class _Case:
    """A result whose form and problem are in order; `reached` is the balance that its placements have."""

    problem: Problem
    result: dict[str, Any]
    claim: dict[str, Any]
    lattice: MeshCount
    reached: Skews
    check: Check


def check_result(result: dict[str, Any], check: Check, asked: Problem | None) -> None:
    """Check a result (``shardproof/result/1``).

    Raises
    ------
    Rejected
        At the first part that does not follow.
    """
    claim = certificate_of(result)
    problem = problem_of(result["problem"])
    equal("certificate.problem_digest", claim["problem_digest"], problem.digest)
    check.checked += ["form", "problem digest"]
    bind(problem, asked, check)
    meshes = lattice(problem, axes(problem))
    equal("certificate.lattice", claim["lattice"], meshes.to_json())
    check.status, check.lattice = claim["kind"], meshes.to_json()
    _counts(result, meshes, check)
    equal("certificate.tolerance", claim["tolerance"], exact(tolerance_of(problem)))
    reached, bounds = placements(problem, claim, check)
    case = _Case(problem, result, claim, meshes, reached, check)
    trusted: list[str] = []
    if claim["kind"] == "infeasible":
        _nothing_fits(case)
        _prove(case, None, {}, bounds)
        check_conflict(problem, result["conflict"], check)
    else:
        best, value = _layout(case)
        bound = _bound(case, value)
        listed = _top(case, best.shape, value)
        if claim["kind"] == "feasible":
            if bound is not None:
                _prove(case, bound, {}, bounds)
        elif bound is not None:
            trusted = _prove_top(case, bound, listed, bounds, _tied(case.problem, best))
        _beside(case)
    check.solver_trusted += trusted
    equal("certificate.solver_trusted", claim["solver_trusted"], check.solver_trusted)
    equal("certificate.digest", claim["digest"], sealed(claim)["digest"])


def _beside(case: _Case) -> None:
    """What was asked beside the layout: the frontier, and how much hangs on the efficiencies."""
    if "pareto" in case.result:
        check_front(case.problem, case.lattice, case.result["pareto"], case.check)
    if "accuracy" in case.result:
        expected = accuracy(case.problem.margin, case.result["figures"], case.problem.asked)
        equal("accuracy", case.result["accuracy"], expected)
    if "ties" in case.result:
        _ties(case)
    if "uncertainty" in case.result:
        check_uncertainty(case.problem, case.lattice, case.result["uncertainty"], case.check)


def _counts(result: dict[str, Any], meshes: MeshCount, check: Check) -> None:
    """Candidates and what excluded them, as the result's search states them; its times and tallies are its own."""
    depths_and_chunks = len(meshes.axes.pp) * len(meshes.axes.chunks)
    check.candidates = (meshes.count + sum(meshes.excluded.values())) * depths_and_chunks
    stated = keys("search", result["search"], _SEARCH)
    for name in _TALLIES:
        count(f"search.{name}", stated[name])
    number("search.wall_s", stated["wall_s"])
    check.not_checked += sorted(result.keys() & TOLD) + [f"search.{name}" for name in (*_TALLIES, "wall_s")]
    equal("search.candidates", stated["candidates"], check.candidates)
    excluded = {family: count * depths_and_chunks for family, count in meshes.excluded.items()}
    equal("search.excluded", stated["excluded"], excluded)
    check.checked.append("lattice: axes and counts")


def _nothing_fits(case: _Case) -> None:
    name = case.problem.objective_row.unit
    for item, stated, expected in (
        ("layout", case.result["layout"], None),
        ("figures", case.result["figures"], None),
        ("objective", case.result["objective"], {"name": name, "value": None, "bound": None, "gap": None}),
        ("certificate.layout", case.claim["layout"], None),
        ("certificate.redundant", case.claim["redundant"], 0),
        ("certificate.figures", case.claim["figures"], None),
        ("certificate.objective", case.claim["objective"], {"name": name, "value": None, "bound": None}),
        ("certificate.top", case.claim["top"], []),
    ):
        equal(item, stated, expected)
    case.check.objective = dict(case.result["objective"])


def _layout(case: _Case) -> tuple[Evaluation, Fraction]:
    """The claimed layout against every constraint and every claimed figure; its exact objective value."""
    result, claim = case.result, case.claim
    layout = layout_of("certificate.layout", claim)
    evaluation = _evaluated(case, layout, "certificate.layout")
    placement = placement_of(claim, layout)
    equal("layout", result["layout"], layout.to_json() | {"placement": placement})
    case.check.checked.append("layout: every constraint")
    equal("certificate.figures", claim["figures"], figures_statement(evaluation))
    equal("figures", result["figures"], figures_json(case.problem, layout, evaluation))
    case.check.checked.append("figures: equal")
    return evaluation, objective_of(case.problem, evaluation)


def _evaluated(case: _Case, layout: Layout, item: str) -> Evaluation:
    return evaluated(case.problem, case.lattice, layout, item, case.reached)


def _bound(case: _Case, value: Fraction) -> Fraction | None:
    """The claimed value, bound and gap, wherever they are written; None where a feasible layout claims no bound."""
    name = case.problem.objective_row.unit
    stated = keys("certificate.objective", case.claim["objective"], frozenset({"name", "value", "bound"}))
    equal("certificate.objective.name", stated["name"], name)
    equal("certificate.objective.value", stated["value"], exact(value))
    if stated["bound"] is None and case.claim["kind"] == "feasible":
        written = {"name": name, "value": float(value), "bound": None, "gap": None}
        equal("objective", case.result["objective"], written)
        case.check.objective = dict(written)
        case.check.not_checked.append("objective.bound: none is stated")
        return None
    item = "certificate.objective.bound"
    bound = rational(item, stated["bound"])
    if better(case.problem, value, bound):
        raise Rejected(item, f"{brief(stated['bound'])} is worse than the layout's own {exact(value)}")
    gap = relative_gap(value, bound)
    if (gap <= tolerance_of(case.problem)) != (case.claim["kind"] == "optimal"):
        raise Rejected("status", f"a gap that does not go with status {case.claim['kind']!r}")
    try:
        written = {"name": name, "value": float(value), "bound": float(bound), "gap": float(gap)}
    except OverflowError:
        raise Rejected(item, "larger than any number") from None
    equal("objective", case.result["objective"], written)
    case.check.objective = dict(written)
    return bound


def _top(case: _Case, best: Shape, value: Fraction) -> dict[Shape, Fraction]:
    """Layouts listed after the best: feasible, in order, distinct; values by degrees, the best among them."""
    entries, listed = case.claim["top"], {best: value}
    if not isinstance(entries, list):
        raise Rejected("certificate.top", "not a list")
    written = [{"layout": case.claim["layout"], "value": float(value)}]
    for place, entry in enumerate(entries):
        item = f"certificate.top[{place}]"
        keys(item, entry, frozenset({"layout", "redundant", "value"}))
        layout = layout_of(item + ".layout", entry)
        evaluation = _evaluated(case, layout, item)
        next_value = objective_of(case.problem, evaluation)
        equal(item + ".value", entry["value"], exact(next_value))
        if better(case.problem, next_value, value):
            raise Rejected(item, "better than the one before it")
        if evaluation.shape in listed:
            raise Rejected(item, "degrees listed before")
        listed[evaluation.shape] = value = next_value
        written.append({"layout": entry["layout"], "value": float(next_value)})
    if entries:
        equal("top", case.result["top"], written)
        case.check.checked.append("top: feasible, in order, distinct")
    return listed


def _ties(case: _Case) -> None:
    """Layouts said to be too near to the best to tell apart: feasible, as many devices, and as near as that."""
    best = layout_of("certificate.layout", case.claim)
    value = rational("certificate.objective.value", case.claim["objective"]["value"])
    entries = case.result["ties"]
    if not isinstance(entries, list):
        raise Rejected("ties", "not a list")
    seen = {best.shape}
    for place, entry in enumerate(entries):
        item = f"ties[{place}]"
        keys(item, entry, frozenset({"layout", "redundant", "value", "ratio"}))
        evaluation = _evaluated(case, layout_of(item + ".layout", entry), item)
        tied_value = objective_of(case.problem, evaluation)
        equal(item + ".value", entry["value"], float(tied_value))
        equal(item + ".ratio", entry["ratio"], float(tied_value / value))
        if evaluation.devices != best.devices or not tied(case.problem, tied_value, value) or evaluation.shape in seen:
            raise Rejected(item, "no tie: on other devices, further away, or listed before")
        seen.add(evaluation.shape)
    case.check.checked.append("ties: feasible, distinct, on as many devices, as near as stated")
    case.check.not_checked.append("ties: whether there are more")


def _tied(problem: Problem, best: Evaluation) -> _Tied:
    """The requests/s whose devices are the fewest; nothing where another measure, or a gap, decides."""
    decides = problem.scale.measure is Measure.REQUESTS and not tolerance_of(problem)
    return (best.request_capacity, best.devices) if decides else None


def _prove_top(case: _Case, bound: Fraction, listed: dict[Shape, Fraction], bounds: Skews, tied: _Tied) -> list[str]:
    """Nothing beats the bound, nor lies between the layouts that are listed; what of it rests on the search's word."""
    trusted = case.claim["solver_trusted"]
    if len(listed) > 1 and isinstance(trusted, list) and "top" in trusted:
        _prove(case, bound, {}, bounds)
        return ["top"]
    cuts = {shape: slack(case.problem, value, bound) for shape, value in listed.items()}
    _prove(case, list(cuts.values())[-1], cuts, bounds, tied)
    return []


def _prove(
    case: _Case, value: Fraction | None, listed: dict[Shape, Fraction], bounds: Skews, tied: _Tied = None
) -> None:
    proof = prove(case.problem, case.lattice, value, listed, bounds, tied)
    case.check.dismissed = dict(sorted(proof.dismissed.items()))
    if proof.counterexample is not None:
        met = proof.counterexample
        layout = met.layout
        imbalance = bounds.of(layout.shape)
        reached = objective_of(case.problem, evaluate(case.problem, layout, imbalance=imbalance))
        says = "fits" if value is None else f"is better: {exact(reached)}, claimed {exact(value)}"
        if tied is not None and met.goal.devices < tied[1]:
            says = f"is no worse on {layout.devices} devices than the layout claimed on {tied[1]}"
        raise Rejected("certificate.kind" if value is None else "certificate.objective", f"{layout.told} {says}")
    if value is None:
        says = "infeasibility: nothing in the lattice fits"
    elif case.claim["kind"] == "feasible":
        says = "bound: nothing in the lattice is better than it; the layout itself may not be the best"
    elif tolerance_of(case.problem):
        says = f"optimality: nothing in the lattice is better by more than {float(tolerance_of(case.problem)):.2%}"
    else:
        says = "optimality: nothing in the lattice is better" + (", or as good on fewer devices" if tied else "")
    case.check.checked.append(says)

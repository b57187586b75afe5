"""The checker: accepts a result only if everything it claims follows from its problem.

Nothing here comes from the search. In order: the document's form, the problem's digest, the layout against every
constraint, every figure for equality, the lattice's counts, and that no layout of the lattice beats the claim.
"""

from __future__ import annotations

import re
import time
from fractions import Fraction
from typing import Any

from pydantic import ValidationError

from optimizer.certificate.meshes import Lattice, lattice
from optimizer.certificate.optimality import prove
from optimizer.certificate.placed import placement_of, placements
from optimizer.certificate.statement import SCHEMA, exact, figures_statement, layout_json, tolerance_of
from optimizer.certificate.verdict import Check, Rejected, brief, equal
from optimizer.figures.derivation import figures_json
from optimizer.figures.objective import UNITS, better, objective_value
from optimizer.figures.operating_point import Point
from optimizer.figures.serving import Evaluation, Timing, evaluate
from optimizer.figures.shape import Shape, shape_of
from optimizer.figures.skew import Skews
from optimizer.spec.lattice import axes
from optimizer.spec.layout import Layout
from optimizer.spec.problem import Problem
from optimizer.verify.constraints import violations

RESULT_SCHEMA = "shardproof/result/1"
_RATIONAL = re.compile(r"-?[0-9]+/[0-9]+")
_KINDS = {"optimal": "optimal", "infeasible": "infeasible", "feasible": "feasible"}
_KEYS = frozenset(
    {
        "schema", "kind", "problem_digest", "layout", "redundant", "objective", "tolerance", "figures", "lattice",
        "top", "placements", "solver_trusted",
    }
)  # fmt: skip


def certify(result: dict[str, Any]) -> Check:
    """Check a result document (``shardproof/result/1``) without the solver; whatever it holds, never raises."""
    started = time.monotonic()
    check = Check()
    try:
        _certify(result, check)
        check.accepted = True
    except Rejected as rejection:
        check.reason, check.item = rejection.reason, rejection.item
    check.wall_s = time.monotonic() - started
    return check


def _certify(result: dict[str, Any], check: Check) -> None:
    claim = _form(result)
    problem = _problem(result, claim)
    check.checked += ["form", "problem digest"]
    own = lattice(problem, axes(problem))
    equal("certificate.lattice", claim["lattice"], own.to_json())
    check.candidates = int(str(own.to_json()["points"]))
    check.checked.append("lattice: axes and counts")
    equal("certificate.tolerance", claim["tolerance"], exact(tolerance_of(problem)))
    balance, bounds = placements(problem, claim, check)
    value, listed = None, frozenset[Shape]()
    if claim["kind"] == "infeasible":
        _nothing_claimed(result, claim)
    else:
        value = _layout(problem, result, claim, balance, check)
        value = _bound(problem, result, claim, value)
        value, listed = _top(problem, claim, value, balance, check)
    trusted = ["bound"] if claim["kind"] == "feasible" and claim["objective"]["bound"] is None else []
    equal("certificate.solver_trusted", claim["solver_trusted"], trusted + check.solver_trusted)
    check.solver_trusted = trusted + check.solver_trusted
    if "bound" not in trusted:
        _prove(problem, own, value, listed, bounds, check)


def _form(result: dict[str, Any]) -> dict[str, Any]:
    if result.get("schema") != RESULT_SCHEMA:
        raise Rejected("schema", f"not a {RESULT_SCHEMA} document")
    claim = result.get("certificate")
    if not isinstance(claim, dict):
        raise Rejected("certificate", "missing")
    if claim.get("schema") != SCHEMA:
        raise Rejected("certificate.schema", f"not {SCHEMA}")
    if claim.keys() != _KEYS:
        odd = sorted(claim.keys() ^ _KEYS)
        raise Rejected("certificate", f"keys missing or unknown: {', '.join(odd)}")
    if claim["kind"] not in _KINDS or result.get("status") != _KINDS[claim["kind"]]:
        raise Rejected("status", f"status {result.get('status')!r} with a certificate of kind {claim['kind']!r}")
    return claim


def _problem(result: dict[str, Any], claim: dict[str, Any]) -> Problem:
    stated = result.get("problem")
    if not isinstance(stated, dict):
        raise Rejected("problem", "missing")
    try:
        problem = Problem.model_validate({k: v for k, v in stated.items() if k != "digest"})
    except (ValidationError, ValueError, OverflowError, RecursionError) as error:
        raise Rejected("problem", f"cannot be read: {str(error).splitlines()[0]}") from None
    for item, digest in (
        ("problem.digest", stated.get("digest")),
        ("certificate.problem_digest", claim["problem_digest"]),
    ):
        if digest != problem.digest:
            raise Rejected(item, f"the problem's digest is {problem.digest}")
    return problem


def _nothing_claimed(result: dict[str, Any], claim: dict[str, Any]) -> None:
    for item, value in (
        ("layout", result.get("layout")), ("figures", result.get("figures")), ("certificate.layout", claim["layout"]),
        ("certificate.figures", claim["figures"]), ("certificate.objective.value", claim["objective"].get("value")),
    ):  # fmt: skip
        if value is not None:
            raise Rejected(item, "present, though nothing is said to fit")
    if claim["top"]:
        raise Rejected("certificate.top", "layouts listed, though nothing is said to fit")


def _read_layout(item: str, stated: object) -> Layout:
    if not isinstance(stated, dict):
        raise Rejected(item, "missing")
    fields = {k: v for k, v in stated.items() if k in Layout.model_fields}
    try:
        layout = Layout.model_validate(fields)
    except (ValidationError, ValueError, OverflowError) as error:
        raise Rejected(item, f"cannot be read: {str(error).splitlines()[0]}") from None
    equal(item, stated, layout_json(layout))
    return layout


def _layout(problem: Problem, result: dict[str, Any], claim: dict[str, Any], balance: Skews, check: Check) -> Fraction:
    """The claimed layout against every constraint and every claimed figure; returns its exact objective value."""
    layout = _read_layout("certificate.layout", claim["layout"])
    own = result.get("layout")
    if not isinstance(own, dict):
        raise Rejected("layout", "missing")
    equal("layout", {k: v for k, v in own.items() if k != "placement"}, claim["layout"])
    equal("layout.placement", own.get("placement"), placement_of(claim, layout.ep, claim["redundant"]))
    evaluation = _evaluated(problem, layout, claim["redundant"], balance, "certificate.layout")
    check.checked.append("layout: every constraint")
    equal("certificate.figures", claim["figures"], figures_statement(evaluation))
    equal("figures", result.get("figures"), figures_json(problem, layout, evaluation))
    value = _value(problem, evaluation)
    check.checked.append("figures: equal")
    return value


def _bound(problem: Problem, result: dict[str, Any], claim: dict[str, Any], value: Fraction) -> Fraction:
    """The claimed objective, bound and gap, wherever they are written; returns the bound, or the value without one."""
    stated = claim["objective"]
    if not isinstance(stated, dict) or stated.keys() != {"name", "value", "bound"}:
        raise Rejected("certificate.objective", "needs a name, a value and a bound")
    equal("certificate.objective.name", stated["name"], UNITS[problem.objective])
    equal("certificate.objective.value", stated["value"], exact(value))
    outer = result.get("objective")
    if not isinstance(outer, dict):
        raise Rejected("objective", "missing")
    if stated["bound"] is None:
        if claim["kind"] == "optimal":
            raise Rejected("certificate.objective.bound", "missing, though the layout is said to be optimal")
        equal("objective.value", outer.get("value"), float(value))
        return value
    bound = _rational("certificate.objective.bound", stated["bound"])
    if better(problem, value, bound):
        raise Rejected(
            "certificate.objective.bound", f"{stated['bound']} is worse than the layout's own {exact(value)}"
        )
    gap = abs(bound - value) / abs(value) if value else Fraction(0)
    if (gap <= tolerance_of(problem)) != (claim["kind"] == "optimal"):
        raise Rejected("status", f"a relative gap of {float(gap):.3g} with status {claim['kind']!r}")
    written = {"name": UNITS[problem.objective], "value": float(value), "bound": float(bound), "gap": float(gap)}
    equal("objective", outer, written)
    return bound


def _rational(item: str, text: object) -> Fraction:
    if not isinstance(text, str) or len(text) > 10_000 or not _RATIONAL.fullmatch(text):
        raise Rejected(item, f"{brief(text)} is not a rational n/d")
    top, _, bottom = text.partition("/")
    if int(bottom) == 0 or text != exact(Fraction(int(top), int(bottom))):
        raise Rejected(item, f"{brief(text)} is not in lowest terms")
    return Fraction(int(top), int(bottom))


def _evaluated(problem: Problem, layout: Layout, redundant: object, balance: Skews, item: str) -> Evaluation:
    if type(redundant) is not int or redundant not in axes(problem).redundant:
        raise Rejected(item, f"{brief(redundant)} redundant slots were not asked for")
    shape = shape_of(layout, redundant)
    if layout.stages is None or len(layout.stages) != layout.pp:
        raise Rejected(item, "stages missing")
    if shape.stage_devices * layout.pp > problem.devices:
        raise Rejected(item, f"a replica of {shape.stage_devices * layout.pp} devices on {problem.devices}")
    if sum(s.layers for s in layout.stages) != problem.model.layer_count:
        raise Rejected(item, "stages do not cover the layers")
    if problem.expert_loads and (shape.ep, redundant) not in balance.placed:
        raise Rejected(item, f"no placement of {redundant} redundant slots on ep={shape.ep}")
    skew = balance.of(shape)
    evaluation = evaluate(problem, layout, redundant=redundant, imbalance=skew)
    found = violations(problem, layout, evaluation, imbalance=skew)
    if found:
        raise Rejected(item, str(found[0]))
    return evaluation


def _value(problem: Problem, evaluation: Evaluation) -> Fraction:
    """The objective of an evaluated layout."""
    own = evaluation
    timing = Timing(Fraction(0), own.ttft_s, own.tpot_s, own.queue_s, own.load, own.request_capacity / own.layout.dp)
    point = Point(own.layout.batch, own.cuts, max(own.stage_ticks), None, own.memory_bytes, timing)
    return objective_value(problem, own.shape, own.layout.replicas, point)


def _top(
    problem: Problem, claim: dict[str, Any], value: Fraction, balance: Skews, check: Check
) -> tuple[Fraction, frozenset[Shape]]:
    """Layouts listed after the best: feasible, in order, distinct; returns the last value and all their degrees."""
    entries = claim["top"]
    if not isinstance(entries, list):
        raise Rejected("certificate.top", "not a list")
    if not entries:
        return value, frozenset()
    listed = [shape_of(_read_layout("certificate.layout", claim["layout"]), claim["redundant"])]
    last = value
    for number, entry in enumerate(entries):
        item = f"certificate.top[{number}]"
        if not isinstance(entry, dict) or entry.keys() != {"layout", "redundant", "value"}:
            raise Rejected(item, "needs a layout, redundant slots and a value")
        layout = _read_layout(item + ".layout", entry["layout"])
        evaluation = _evaluated(problem, layout, entry["redundant"], balance, item)
        own = _value(problem, evaluation)
        equal(item + ".value", entry["value"], exact(own))
        if better(problem, own, last):
            raise Rejected(item, "better than the one before it")
        if evaluation.shape in listed:
            raise Rejected(item, "degrees listed before")
        listed.append(evaluation.shape)
        last = own
    check.checked.append("top: feasible, in order, distinct")
    return last, frozenset(listed)


def _prove(
    problem: Problem, own: Lattice, value: Fraction | None, listed: frozenset[Shape], bounds: Skews, check: Check
) -> None:
    proof = prove(problem, own, value, listed, bounds)
    check.dismissed = dict(sorted(proof.dismissed.items()))
    if proof.counterexample is not None:
        found = proof.counterexample.layout
        degrees = ", ".join(f"{n}={getattr(found, n)}" for n in ("tp", "cp", "dp", "pp", "etp", "ep", "edp", "batch"))
        says = "fits" if value is None else f"is better: {exact(proof.counterexample.value)} against {exact(value)}"
        raise Rejected("certificate.kind" if value is None else "certificate.objective", f"{degrees} {says}")
    check.checked.append(
        "optimality: nothing in the lattice is better" if value is not None else "infeasibility: nothing fits"
    )

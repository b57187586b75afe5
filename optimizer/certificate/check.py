"""The checker: accepts a result only if everything it claims follows from its problem.

Nothing here comes from the search. In order: the document's form, the problem's digest, the layout against every
constraint, every figure for equality, the lattice's counts, and that no layout of the lattice beats the claim.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from pydantic import ValidationError

from optimizer.certificate.meshes import Lattice, lattice
from optimizer.certificate.optimality import prove
from optimizer.certificate.statement import SCHEMA, exact, figures_statement, layout_json
from optimizer.figures.derivation import figures_json
from optimizer.figures.objective import UNITS, better, objective_value
from optimizer.figures.operating_point import Point
from optimizer.figures.serving import Evaluation, Timing, evaluate
from optimizer.figures.shape import Shape, shape_of
from optimizer.spec.lattice import axes
from optimizer.spec.layout import Layout
from optimizer.spec.problem import Problem
from optimizer.verify.constraints import violations

RESULT_SCHEMA = "shardproof/result/1"
_KINDS = {"optimal": "optimal", "infeasible": "infeasible", "feasible": "feasible"}
_KEYS = frozenset(
    {
        "schema", "kind", "problem_digest", "layout", "redundant", "objective", "figures", "lattice", "top",
        "solver_trusted",
    }
)  # fmt: skip


class Rejected(Exception):
    """A claim that does not follow, and the item that makes it."""

    def __init__(self, item: str, reason: str) -> None:
        super().__init__(f"{item}: {reason}")
        self.item, self.reason = item, reason


@dataclass
class Check:
    """The checker's answer; `to_json` is ``shardproof/check/1``."""

    accepted: bool = False
    reason: str | None = None
    item: str | None = None
    checked: list[str] = field(default_factory=list)
    solver_trusted: list[str] = field(default_factory=list)
    candidates: int = 0
    dismissed: dict[str, int] = field(default_factory=dict)
    wall_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """``shardproof/check/1``."""
        return {"schema": "shardproof/check/1", **self.__dict__}


def certify(result: dict[str, Any]) -> Check:
    """Check a result document (``shardproof/result/1``) without the solver; never raises on what a document may hold."""
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
    _equal("certificate.lattice", claim["lattice"], own.to_json())
    check.candidates = int(str(own.to_json()["points"]))
    check.checked.append("lattice: axes and counts")
    kind = claim["kind"]
    value, listed = None, frozenset[Shape]()
    if kind == "infeasible":
        _nothing_claimed(result, claim)
    else:
        value = _layout(problem, result, claim, check)
        value, listed = _top(problem, result, claim, value, check)
    check.solver_trusted = _trusted(claim, kind)
    if kind == "feasible":
        return
    _prove(problem, own, value, listed, check)


def _form(result: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(result, dict) or result.get("schema") != RESULT_SCHEMA:
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
    for item, digest in (("problem.digest", stated.get("digest")), ("certificate.problem_digest", claim["problem_digest"])):
        if digest != problem.digest:
            raise Rejected(item, f"the problem's digest is {problem.digest}")
    return problem


def _same(claimed: object, own: object) -> bool:
    """Equality of JSON values without Python's True == 1 and 1.0 == 1."""
    if isinstance(own, dict):
        return isinstance(claimed, dict) and claimed.keys() == own.keys() and all(_same(claimed[k], own[k]) for k in own)
    if isinstance(own, list | tuple):
        return isinstance(claimed, list) and len(claimed) == len(own) and all(map(_same, claimed, own))
    return type(claimed) is type(own) and claimed == own


def _equal(item: str, claimed: object, own: object) -> None:
    """Reject at the first part of `own` that differs."""
    if isinstance(own, dict) and isinstance(claimed, dict) and claimed.keys() == own.keys():
        for name, value in own.items():
            _equal(f"{item}.{name}", claimed[name], value)
        return
    if not _same(claimed, own):
        raise Rejected(item, f"is {_brief(claimed)}, should be {_brief(own)}")


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


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
    _equal(item, stated, layout_json(layout))
    return layout


def _layout(problem: Problem, result: dict[str, Any], claim: dict[str, Any], check: Check) -> Fraction:
    """The claimed layout against every constraint and every claimed figure; returns its exact objective value."""
    layout = _read_layout("certificate.layout", claim["layout"])
    redundant = claim["redundant"]
    if type(redundant) is not int or redundant not in axes(problem).redundant:
        raise Rejected("certificate.redundant", f"{_brief(redundant)} redundant slots were not asked for")
    own = result.get("layout")
    if not isinstance(own, dict):
        raise Rejected("layout", "missing")
    _equal("layout", {k: v for k, v in own.items() if k != "placement"}, claim["layout"])
    evaluation = _evaluated(problem, layout, redundant, "certificate.layout")
    check.checked.append("layout: every constraint")
    _equal("certificate.figures", claim["figures"], figures_statement(evaluation))
    _equal("figures", result.get("figures"), figures_json(problem, layout, evaluation))
    value = _value(problem, evaluation)
    _equal("certificate.objective", claim["objective"], {"name": UNITS[problem.objective], "value": exact(value)})
    stated = result.get("objective")
    if not isinstance(stated, dict):
        raise Rejected("objective", "missing")
    _equal("objective.name", stated.get("name"), UNITS[problem.objective])
    _equal("objective.value", stated.get("value"), float(value))
    if claim["kind"] == "optimal":
        _equal("objective", stated, {"name": UNITS[problem.objective], "value": float(value), "bound": float(value), "gap": 0.0})
    check.checked.append("figures: equal")
    return value


def _evaluated(problem: Problem, layout: Layout, redundant: int, item: str) -> Evaluation:
    shape = shape_of(layout, redundant)
    if layout.stages is None or len(layout.stages) != layout.pp:
        raise Rejected(item, "stages missing")
    if shape.stage_devices * layout.pp > problem.devices:
        raise Rejected(item, f"a replica of {shape.stage_devices * layout.pp} devices on {problem.devices}")
    if sum(s.layers for s in layout.stages) != problem.model.layer_count:
        raise Rejected(item, "stages do not cover the layers")
    evaluation = evaluate(problem, layout, redundant=redundant)
    found = violations(problem, layout, evaluation)
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
    problem: Problem, result: dict[str, Any], claim: dict[str, Any], value: Fraction, check: Check
) -> tuple[Fraction, frozenset[Shape]]:
    """Layouts listed after the best: feasible, in order, distinct; returns the last value and all their degrees."""
    listed = [shape_of(_read_layout("certificate.layout", claim["layout"]), claim["redundant"])]
    last = value
    entries = claim["top"]
    if not isinstance(entries, list):
        raise Rejected("certificate.top", "not a list")
    for number, entry in enumerate(entries):
        item = f"certificate.top[{number}]"
        if not isinstance(entry, dict) or entry.keys() != {"layout", "value"}:
            raise Rejected(item, "needs a layout and a value")
        layout = _read_layout(item + ".layout", entry["layout"])
        evaluation = _evaluated(problem, layout, claim["redundant"], item)
        own = _value(problem, evaluation)
        _equal(item + ".value", entry["value"], exact(own))
        if better(problem, own, last):
            raise Rejected(item, "better than the one before it")
        shape = evaluation.shape
        if shape in listed:
            raise Rejected(item, "degrees listed before")
        listed.append(shape)
        last = own
    if entries:
        check.checked.append("top: feasible, in order, distinct")
    return last, frozenset(listed) if entries else frozenset()


def _trusted(claim: dict[str, Any], kind: str) -> list[str]:
    own = ["bound"] if kind == "feasible" else []
    _equal("certificate.solver_trusted", claim["solver_trusted"], own)
    return own


def _prove(problem: Problem, own: Lattice, value: Fraction | None, listed: frozenset[Shape], check: Check) -> None:
    proof = prove(problem, own, value, listed)
    check.dismissed = dict(sorted(proof.dismissed.items()))
    if proof.counterexample is not None:
        found = proof.counterexample.layout
        degrees = ", ".join(f"{n}={getattr(found, n)}" for n in ("tp", "cp", "dp", "pp", "etp", "ep", "edp", "batch"))
        says = "fits" if value is None else f"is better: {exact(proof.counterexample.value)} against {exact(value)}"
        raise Rejected("certificate.kind" if value is None else "certificate.objective", f"{degrees} {says}")
    check.checked.append("optimality: nothing in the lattice is better" if value is not None else "infeasibility: nothing fits")


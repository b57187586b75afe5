"""What a result document says, read without belief: its keys, its problem, its layouts and its numbers."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from pydantic import ValidationError

from optimizer.certificate.statement import SCHEMA, exact
from optimizer.certificate.verdict import Rejected, brief, equal
from optimizer.domain.layout import Layout
from optimizer.domain.limit_table import check_bounds
from optimizer.domain.problem import Problem, at_no_rate

RESULT_SCHEMA = "shardproof/result/1"
KINDS = ("optimal", "infeasible", "feasible")
"""Kinds of certificate; each is the status of its result."""

_LONGEST = 4_000
"""Digits of a rational; Python reads no integer of more than 4,300."""
_RATIONAL = re.compile(r"-?[0-9]+/[0-9]+")
_QUOTIENT = re.compile(r"[0-9]+/[1-9][0-9]*")
_RESULT = frozenset({"schema", "status", "problem", "objective", "layout", "figures", "search", "certificate"})
_BESIDE = frozenset({"accuracy", "pareto", "ties", "uncertainty"})
"""What a result holds where it was asked for."""
TOLD = frozenset({"assumed", "command", "flags"})
"""What a result repeats of the line that asked for it; no figure follows from it."""
_CERTIFICATE = frozenset(
    {
        "schema", "kind", "problem_digest", "layout", "redundant", "objective", "tolerance", "figures", "lattice",
        "top", "placements", "solver_trusted", "digest",
    }
)  # fmt: skip


def keys(item: str, stated: object, wanted: frozenset[str]) -> dict[str, Any]:
    """A mapping of exactly these keys."""
    if not isinstance(stated, dict):
        raise Rejected(item, "missing")
    if stated.keys() != wanted:
        odd = ", ".join(sorted(brief(key) for key in stated.keys() ^ wanted))
        raise Rejected(item, f"keys missing or unknown: {odd}")
    return stated


def certificate_of(result: object) -> dict[str, Any]:
    """The certificate of a result whose form is in order."""
    if not isinstance(result, dict) or result.get("schema") != RESULT_SCHEMA:
        raise Rejected("schema", f"not a {RESULT_SCHEMA} document")
    claim = result.get("certificate")
    if claim == {} and result.get("status") == "unknown":
        raise Rejected("certificate", "none: an answer of status 'unknown' proves nothing")
    if not isinstance(claim, dict) or claim.get("schema") != SCHEMA:
        raise Rejected("certificate.schema", f"not {SCHEMA}")
    keys("certificate", claim, _CERTIFICATE)
    kind = claim["kind"]
    if kind not in KINDS or result.get("status") != kind:
        raise Rejected("status", f"status {brief(result.get('status'))} with a certificate of kind {brief(kind)}")
    optional = (
        {"conflict"} if kind == "infeasible" else ({"top"} if claim["top"] else set()) | (result.keys() & _BESIDE)
    )
    keys("result", result, _RESULT | optional | (result.keys() & TOLD))
    return claim


def problem_of(stated: object) -> Problem:
    """The problem that a document is about: written as `solve` writes it, with its digest."""
    if not isinstance(stated, dict):
        raise Rejected("problem", "missing")
    fields = {key: value for key, value in stated.items() if key != "digest"}
    try:
        problem = Problem.model_validate(_quotients(fields))
        check_bounds(problem)
        right = problem.digest
    except (ValidationError, ValueError, OverflowError, RecursionError) as error:
        raise Rejected("problem", f"cannot be read: {_first(error)}") from None
    equal("problem.digest", stated.get("digest"), right)
    equal("problem", fields, problem.model_dump(mode="json"))
    if (message := at_no_rate(problem.workload)) is not None:
        raise Rejected("problem", message)
    return problem


def _first(error: Exception) -> str:
    """What is wrong first, in one line."""
    return str(error.errors()[0]["msg"] if isinstance(error, ValidationError) else error).removeprefix("Value error, ")


def _quotients(stated: object) -> object:
    """Quotients longer than a person would write are numbers of a problem that a program made."""
    if isinstance(stated, dict):
        return {key: _quotients(value) for key, value in stated.items()}
    if isinstance(stated, list):
        return [_quotients(value) for value in stated]
    if isinstance(stated, str) and 64 < len(stated) <= _LONGEST and _QUOTIENT.fullmatch(stated):
        return Fraction(stated)
    return stated


def layout_of(item: str, entry: dict[str, Any], name: str = "layout") -> Layout:
    """The layout that an entry names, in full, with the counts that follow from its degrees and its redundant slots."""
    stated = entry[name]
    if not isinstance(stated, dict):
        raise Rejected(item, "missing")
    fields = {key: value for key, value in stated.items() if key in Layout.model_fields}
    fields["redundant_slots"] = entry["redundant"]
    try:
        layout = Layout.model_validate(fields)
    except (ValidationError, ValueError, OverflowError, RecursionError) as error:
        raise Rejected(item, f"cannot be read: {_first(error)}") from None
    equal(item, stated, layout.to_json())
    return layout


def rational(item: str, text: object) -> Fraction:
    """A rational ``n/d`` in lowest terms."""
    if not isinstance(text, str) or len(text) > _LONGEST or not _RATIONAL.fullmatch(text):
        raise Rejected(item, f"{brief(text)} is not a rational n/d")
    top, _, bottom = text.partition("/")
    if int(bottom) == 0 or text != exact(Fraction(int(top), int(bottom))):
        raise Rejected(item, f"{brief(text)} is not in lowest terms")
    return Fraction(int(top), int(bottom))

"""Result documents for the checker: what `solve` writes, and honest prices of claims that are false."""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

from optimizer.certificate import certify
from optimizer.certificate.meshes import lattice
from optimizer.certificate.statement import sealed, statement
from optimizer.domain.lattice import axes
from optimizer.domain.problem import Problem
from optimizer.errors import SpecError
from optimizer.figures.objective import Scored
from optimizer.figures.serving import evaluate
from optimizer.readers.document import load
from optimizer.search.search import Search
from optimizer.solve.result import Solved

Json = dict[str, Any]


def written(result: Solved) -> Json:
    """A result as it comes back from a file."""
    document: Json = json.loads(json.dumps(result.to_json()))
    return document


def claimed(
    problem: Problem,
    kind: str,
    best: Scored | None = None,
    *,
    bound: Fraction | None = None,
    others: tuple[Scored, ...] = (),
) -> Json:
    """A result that claims `kind` of a layout, all its figures right."""
    search = Search(problem)
    search.run()
    evaluation = None if best is None else evaluate(problem, best.layout)
    certificate = statement(
        problem, lattice(problem, axes(problem)).to_json(), kind, best, evaluation, bound=bound, top=others
    )
    return written(
        Solved(
            problem=problem, status=kind, best=best, evaluation=evaluation, bound=bound, tally=search.tally, wall_s=0.0,
            certificate=certificate, top=others,
        )
    )  # fmt: skip


def resealed(document: Json) -> Json:
    """The same with the certificate's digest set right again: what a forger would do."""
    changed = copy.deepcopy(document)
    changed["certificate"] = sealed(changed["certificate"])
    return changed


def answer(path: Path) -> str:
    """What the loader or the checker says of a file."""
    try:
        found = load(path).data
    except SpecError as error:
        return str(error.faults[0]).removeprefix(str(path) + ":")
    if not isinstance(found, dict):
        return "not a mapping"
    check = certify(found)
    assert not check.accepted
    return f"{check.item}: {check.reason}"

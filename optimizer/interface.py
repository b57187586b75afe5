"""The public interface for programs: the commands as functions of values, with the same words and the same errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.audit import AuditResult, audit_document
from optimizer.certificate import Check
from optimizer.certificate import certify as certify_document
from optimizer.cli.options import PROBLEM_OPTIONS, overrides_of
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.errors import SpecError
from optimizer.explain import Explanation
from optimizer.explain import explain as explain_problem
from optimizer.figures.derivation import derive
from optimizer.readers import read
from optimizer.readers.document import Document, load, load_text
from optimizer.readers.messages import nearest
from optimizer.readers.source import read_text
from optimizer.report.html import page
from optimizer.report.subject import read_subject
from optimizer.solve import solve as solve_problem
from optimizer.solve.decided import Decided, place_decided
from optimizer.solve.result import Result as Solved
from optimizer.verify import Verdict, judge, judge_layout
from optimizer.verify.claim_table import dimensions

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Layout", "Problem", "Result", "audit", "certify", "explain", "place", "read_problem", "solve", "verify",
]  # fmt: skip

Progress = Callable[[str, int, int], None]
"""Called with a phase's name, what is done, and what there is to do."""

_PAGE_HEIGHT_PX = 640


class Result(Solved):
    """The answer of `solve`: `status`, `layout`, `evaluation`, `bound`, `certificate`; a picture in a notebook."""

    def to_frame(self) -> pd.DataFrame:
        """The figures as a table: a row each, indexed by name, with `value`, `ideal` and `formula`.

        Values are in the base unit that ends the name (bytes, s, tokens/s). Empty where nothing fits.

        Raises
        ------
        ImportError
            Where pandas is not installed.
        """
        import pandas as pd  # noqa: PLC0415 - an optional library

        priced = self.layout is not None and self.evaluation is not None
        figures = derive(self.problem, self.layout, self.evaluation) if priced else {}  # type: ignore[arg-type]
        rows = [
            {
                "figure": name,
                "value": float(figure.value),
                "ideal": None if figure.bound is None else float(figure.bound),
                "formula": figure.formula,
            }
            for name, figure in figures.items()
        ]
        return pd.DataFrame(rows, columns=["figure", "value", "ideal", "formula"]).set_index("figure")

    def _repr_html_(self) -> str:
        """The page of `shardproof report`, in a frame of its own."""
        subject = read_subject(_written(self.to_json()), None)
        return (
            f'<iframe srcdoc="{escape(page(subject))}" title="{escape(self.problem.name)}" '
            f'style="width:100%;height:{_PAGE_HEIGHT_PX}px;border:0"></iframe>'
        )


def _written(data: Mapping[str, Any]) -> Document:
    """A document of values that were not read from a file."""
    return load_text(json.dumps(data, allow_nan=False), "<values>")


def read_problem(source: str | Path | Mapping[str, Any] | None = None, **options: object) -> Problem:
    """A problem from a file, a scenario of the catalog, a mapping, or options alone.

    Parameters
    ----------
    source
        A path, a scenario's name, or what a problem file would hold.
    options
        The options of ``shardproof solve``, by name and with an underscore for each hyphen
        (``isl=4096, ttft="5s", tp=[4, 8]``); they replace what `source` says.

    Raises
    ------
    SpecError
        Everything that is wrong, each with its place.
    TypeError
        An option that there is not.
    """
    known = [option.parameter for option in PROBLEM_OPTIONS]
    for name in options:
        if name not in known:
            near = nearest(name, known)
            raise TypeError(f"no option {name!r}" + (f"; did you mean {near!r}?" if near else ""))
    given = {name: _text(value) for name, value in options.items() if value is not None}
    if isinstance(source, Mapping):
        return read.problem_in(_written(source), (), overrides_of(given))
    return read.read_problem(source, overrides_of(given))


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _problem(given: Problem | str | Path | Mapping[str, Any]) -> Problem:
    return given if isinstance(given, Problem) else read_problem(given)


def solve(
    problem: Problem | str | Path | Mapping[str, Any],
    *,
    top: int = 1,
    time_limit_s: float | None = None,
    progress: Progress | None = None,
) -> Result:
    """The best layout of a problem, proved; or the proof that none fits.

    Parameters
    ----------
    problem
        A problem, or what `read_problem` reads one from.
    top
        How many layouts, distinct in their degrees, to return in order.
    time_limit_s
        Seconds after which the best layout so far is returned with a true bound.

    Raises
    ------
    SpecError
        Where the problem cannot be read.
    """
    found = solve_problem(_problem(problem), top=top, time_limit_s=time_limit_s, progress=progress)
    return Result(**{field.name: getattr(found, field.name) for field in fields(found)})


def verify(
    layout: Layout | Solved | str | Path | Mapping[str, Any],
    problem: Problem | str | Path | Mapping[str, Any] | None = None,
) -> Verdict:
    """Whether a layout is feasible, each violated constraint with its numbers, and a verdict on every claim.

    Parameters
    ----------
    layout
        A layout (with `problem`), a result, or a layout file, its path or what it would hold.
    problem
        The problem to judge by; in place of the one that a layout file names.

    Raises
    ------
    SpecError
        Everything that is wrong, each with its place.
    """
    if isinstance(layout, Layout):
        if problem is None:
            raise SpecError("a layout alone says nothing of its model and hardware: give `problem` as well")
        return judge_layout(_problem(problem), layout)
    if isinstance(layout, Solved):
        document = _written(layout.to_json())
    elif isinstance(layout, Mapping):
        document = _written(layout)
    else:
        document = load(layout)
    if problem is None or isinstance(problem, str | Path):
        return judge(read.layout_in(document, claims=dimensions, problem=problem))
    raise SpecError("a layout file is judged by the problem that it names, or by a problem file: give its path")


def certify(
    result: Solved | Decided | str | Path | Mapping[str, Any],
    problem: Problem | str | Path | Mapping[str, Any] | None = None,
) -> Check:
    """Whether everything that a result or a placement states follows from its problem; no solver is asked.

    Parameters
    ----------
    result
        What `solve` or `place` answered, its path or what it holds.
    problem
        The problem that it must be an answer to; whichever it states, where none is given.

    Raises
    ------
    SpecError
        Where the document cannot be read.
    """
    if isinstance(result, Solved | Decided):
        document = result.to_json()
    else:
        document = dict(result) if isinstance(result, Mapping) else load(result).data
    return certify_document(json.loads(json.dumps(document)), None if problem is None else _problem(problem))


def explain(problem: Problem | str | Path | Mapping[str, Any], *, progress: Progress | None = None) -> Explanation:
    """Why nothing fits, with the smallest change of each limit that would; or what binds, and what more would bring.

    Raises
    ------
    SpecError
        Where the problem cannot be read.
    """
    return explain_problem(_problem(problem), progress)


def place(problem: Problem | str | Path | Mapping[str, Any], *, time_limit_s: float | None = None) -> Decided:
    """Experts on devices where the degrees are decided (`search` pins them), with a proved bound for every layer.

    Raises
    ------
    SpecError
        Where the problem cannot be read, has no experts, or leaves degrees open.
    """
    return place_decided(_problem(problem), time_limit_s)


def audit(document: str | Path, problem: Problem | str | Path | Mapping[str, Any] | None = None) -> AuditResult:
    """The equations, figures and claims of a deployment document, judged line by line.

    Parameters
    ----------
    document
        A path, or the text itself where it has more than one line.
    problem
        What supplies that which the document lacks.

    Raises
    ------
    SpecError
        Where the document or the problem cannot be read.
    """
    given = None if problem is None else _problem(problem)
    if isinstance(document, str) and "\n" in document:
        return audit_document(document, "<text>", given)
    text, source = read_text(document)
    return audit_document(text, source, given)

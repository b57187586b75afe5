"""The public interface for programs: the commands as functions of values, with the same words and the same errors."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from html import escape
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.audit import AuditResult, audit_document
from optimizer.certificate import Check
from optimizer.certificate import certify as certify_document
from optimizer.cluster import SolvedFleet, mix, solve_cluster
from optimizer.cluster.stand import judge_document
from optimizer.domain.cluster import ALWAYS, Cluster
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.errors import Fault, SpecError
from optimizer.explain import Explanation, brief
from optimizer.explain import explain as explain_problem
from optimizer.explain.cluster import FleetExplanation, conflict_of, explain_cluster
from optimizer.readers import read
from optimizer.readers.cluster import cluster_in, is_cluster
from optimizer.readers.document import Document, load, load_text
from optimizer.readers.fleet import fleet_in, is_fleet_document
from optimizer.readers.messages import kind_of, nearest
from optimizer.readers.options import LONGEST_LIMIT_S, PROBLEM_OPTIONS, overrides_of
from optimizer.readers.source import read_text
from optimizer.readers.values import VALUES, plain_value
from optimizer.report.html import page
from optimizer.report.html_fleet import fleet_page
from optimizer.report.subject import read_subject
from optimizer.search.search import Progress
from optimizer.solve import solve as solve_problem
from optimizer.solve.decided import Decided, place_decided
from optimizer.solve.result import Solved
from optimizer.verify import LayoutVerdict, judge, judge_layout
from optimizer.verify.claim_table import dimensions
from optimizer.verify.proposed import FleetJudgement

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Cluster", "FleetResult", "Layout", "Problem", "Result", "SpecError", "audit", "certify", "explain", "place",
    "read_problem", "solve", "verify",
]  # fmt: skip

Asked = Problem | Cluster | Solved | SolvedFleet | str | Path | Mapping[str, Any]
"""A problem or a cluster, its path, its name in the catalog, or what its file would hold.

A mapping may hold paths, fractions, decimals, ranges, and numbers and arrays of NumPy.
"""

_PAGE_HEIGHT_PX = 640


class Result(Solved):
    """The answer of `solve`: `status`, `layout`, `evaluation`, `bound`, `certificate`; a picture in a notebook."""

    @property
    def figures(self) -> Mapping[str, Any]:
        """As `to_json` has them, in base units by name; empty where nothing fits."""
        figures: Mapping[str, Any] | None = self.to_json()["figures"]
        return figures or {}

    def to_frame(self) -> pd.DataFrame:
        """The figures as a table: a row each, indexed by name, with `value`, `ideal` and `formula`.

        Values are in the base unit that ends the name (bytes, s, tokens/s). Empty where nothing fits.

        Raises
        ------
        ImportError
            Where pandas is not installed.
        """
        import pandas as pd  # noqa: PLC0415 - an optional library

        rows = [
            {
                "figure": name,
                "value": float(figure.value),
                "ideal": None if figure.bound is None else float(figure.bound),
                "formula": figure.formula,
            }
            for name, figure in self.derived.items()
        ]
        return pd.DataFrame(rows, columns=["figure", "value", "ideal", "formula"]).set_index("figure")

    def __repr__(self) -> str:
        return _in_short(self.to_json(), self.problem.name)

    def _repr_html_(self) -> str:
        """The page of `shardproof report`, in a frame of its own."""
        return _frame(page(read_subject(_written(self.to_json()), None)), self.problem.name)


class FleetResult(SolvedFleet):
    """The answer of `solve` where several layouts stand side by side: `status`, `fleet`, `bound`, `certificate`."""

    @property
    def figures(self) -> Mapping[str, Any]:
        """Of each demand, by name: requests/s, capacity, times; empty where nothing fits."""
        fleet = self.to_json()["fleet"]
        return fleet["demands"] if fleet else {}

    @property
    def layout(self) -> None:
        """There are several: `fleet` has them."""
        return

    def to_json(self) -> dict[str, Any]:
        """``shardproof/result/1`` of a cluster; where nothing fits with the limits in conflict."""
        document = super().to_json()
        return document | (conflict_of(self.cluster, self.columns) if self.status == "infeasible" else {})

    def to_frame(self) -> pd.DataFrame:
        """The replicas as a table: a row for each kind and period, with what each serves and where they stand.

        Values are in the base unit that ends the name. Empty where nothing fits.

        Raises
        ------
        ImportError
            Where pandas is not installed.
        """
        import pandas as pd  # noqa: PLC0415 - an optional library

        fleet = self.to_json()["fleet"] or {"replicas": [], "periods": {}}
        rows = [
            {"period": period, **{name: replicas[name] for name in _OF_REPLICAS}, **replicas["figures"],
             "nodes": [[share["node"] for share in shares] for shares in replicas["nodes"]]}
            for period, stated in (fleet["periods"] or {ALWAYS: fleet}).items()
            for replicas in stated["replicas"]
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=None if rows else ["period", *_OF_REPLICAS, "nodes"])

    def __repr__(self) -> str:
        return _in_short(self.to_json(), self.cluster.name)

    def _repr_html_(self) -> str:
        """The page of `shardproof report`, in a frame of its own."""
        document = _written(self.to_json())
        return _frame(fleet_page(fleet_in(document, or_none=True), None), self.cluster.name)


_OF_REPLICAS = ("demand", "role", "pool", "name", "count", "devices", "requests_per_s", "share")


def _in_short(document: Mapping[str, Any], name: str) -> str:
    """Status and objective: the whole of a result is its JSON."""
    objective = document["objective"]
    value = "" if objective["value"] is None else f", {objective['name']} {objective['value']:,.6g}"
    return f"<{name}: {document['status']}{value}>"


def _frame(text: str, title: str) -> str:
    style = f"width:100%;height:{_PAGE_HEIGHT_PX}px;border:0"
    return f'<iframe srcdoc="{escape(text)}" title="{escape(title)}" style="{style}"></iframe>'


def _written(data: Mapping[str, Any]) -> Document:
    """A document of values that were not read from a file."""
    return load_text(json.dumps(plain_value(data)), VALUES)


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
    texts = {name: _text(value) for name, value in options.items() if value is not None}
    with _by_argument():
        if isinstance(source, Mapping):
            return read.problem_in(_written(source), (), overrides_of(texts))
        if source is not None and not isinstance(source, str | Path):
            raise _unlike("source", source, "a path, a scenario's name, or what a problem file holds")
        return read.read_problem(source, overrides_of(texts))


@contextmanager
def _by_argument() -> Iterator[None]:
    """Name the argument in place of the option of the command line, in what is wrong with it."""
    try:
        yield
    except SpecError as error:
        names: dict[str | None, str | None] = {option.flag: option.parameter for option in PROBLEM_OPTIONS}
        faults = (replace(fault, field=names.get(fault.field, fault.field)) for fault in error.faults)
        raise SpecError(*faults) from None


def _unlike(argument: str, value: object, wanted: str) -> SpecError:
    """What an argument is that it cannot be; of a value of no document its type."""
    plain = value is None or isinstance(value, str | bool | int | float)
    kind = "None" if value is None else kind_of(value) if plain else f"a value of type {type(value).__name__}"
    return SpecError(Fault(None, None, None, argument, f"{wanted} is wanted, not {kind}"))


def _text(value: object) -> str:
    array = getattr(value, "tolist", None)
    value = array() if callable(array) else value
    return ",".join(map(str, value)) if isinstance(value, list | tuple | range) else str(value)


def _problem(source: Problem | str | Path | Mapping[str, Any]) -> Problem:
    if isinstance(source, Problem):
        return source
    if not isinstance(source, str | Path | Mapping):
        raise _unlike("problem", source, "a problem, its path, a scenario's name, or what its file holds")
    return read_problem(source)


def _question(source: Asked) -> Problem | Cluster:
    if isinstance(source, Problem | Cluster):
        return source
    if isinstance(source, Solved | SolvedFleet):
        return source.problem if isinstance(source, Solved) else source.cluster
    if isinstance(source, Mapping):
        return cluster_in(_written(source)) if is_cluster(source) else read_problem(source)
    if not isinstance(source, str | Path):
        raise _unlike("problem", source, "a problem or cluster, its path, its catalog name, or what its file holds")
    return read.read_question(source)


def _loaded(source: object, argument: str, wanted: str) -> Document:
    """The document at a path."""
    if not isinstance(source, str | Path):
        raise _unlike(argument, source, f"{wanted}, its path, or what its file holds,")
    return load(source)


def solve(
    problem: Asked, *, top: int = 1, time_limit_s: float | None = None, progress: Progress | None = None
) -> Result | FleetResult:
    """The best layout of a problem, or the best fleet of a cluster, proved; or the proof that none fits.

    Where several kinds of layout side by side serve more than the best one does (objective `throughput`, `max_kinds`
    above 1, ``top=1``), the answer to a problem is a fleet too.

    Parameters
    ----------
    problem
        A problem, or a cluster with `pools` and `demands`; or what one is read from.
    top
        How many layouts of a problem, distinct in their degrees, to return in order.
    time_limit_s
        Seconds after which the best layout so far is returned with a true bound.

    Raises
    ------
    SpecError
        Where the problem cannot be read.
    """
    _check_limit(time_limit_s)
    if not _is(Integral, top) or top < 1:
        raise _unlike("top", top, "a whole number of at least 1 layout")
    started = time.monotonic()
    asked = _question(problem)
    if isinstance(asked, Cluster):
        if top != 1:
            raise SpecError("top: a cluster has one best fleet")
        return _fleet(solve_cluster(asked, time_limit_s=time_limit_s))
    solved = solve_problem(asked, top=top, time_limit_s=time_limit_s, progress=progress)
    if top == 1 and solved.status == "optimal" and solved.best is not None:
        remaining_s = None if time_limit_s is None else max(0.0, time_limit_s - solved.wall_s)
        mixed = mix(asked, solved.best.value, time_limit_s=remaining_s)
        if mixed is not None:
            return _fleet(mixed)
    answer = {field.name: getattr(solved, field.name) for field in fields(solved)}
    if solved.status == "infeasible":
        answer["conflict"] = _conflict(asked, None if time_limit_s is None else started + time_limit_s, progress)
    return Result(**answer)


def _conflict(problem: Problem, deadline: float | None, progress: Progress | None) -> list[dict[str, Any]]:
    """The limits that conflict; none where time runs out before they are known."""

    def watch(phase: str, done: int, total: int) -> None:
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError
        if progress is not None:
            progress(phase, done, total)

    try:
        return brief(problem, watch)
    except TimeoutError:
        return []


def _is(kind: type, value: object) -> bool:
    """Whether a value is a number of a kind, NumPy's among them; the truth values are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _check_limit(seconds: float | None) -> None:
    if seconds is not None and not (_is(Real, seconds) and 0 <= seconds <= LONGEST_LIMIT_S):
        raise _unlike("time_limit_s", seconds, f"a number of seconds from 0 to {LONGEST_LIMIT_S:,}")


def _fleet(solved: SolvedFleet) -> FleetResult:
    return FleetResult(**{field.name: getattr(solved, field.name) for field in fields(solved)})


def verify(
    layout: Layout | Solved | SolvedFleet | str | Path | Mapping[str, Any],
    problem: Problem | str | Path | Mapping[str, Any] | None = None,
) -> LayoutVerdict | FleetJudgement:
    """Whether a layout or fleet is feasible, each violated constraint with its numbers, and a verdict on every claim.

    Parameters
    ----------
    layout
        A layout (with `problem`), a result, or a layout or fleet file, its path or what it would hold.
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
    if isinstance(layout, Solved | SolvedFleet):
        document = _written(layout.to_json())
    elif isinstance(layout, Mapping):
        document = _written(layout)
    else:
        document = _loaded(layout, "layout", "a layout, a result or a fleet")
    if not is_fleet_document(document.data):
        question = None if problem is None else _problem(problem)
        return judge(read.layout_in(document, claims=dimensions, problem=question))
    if problem is None or isinstance(problem, str | Path):
        return judge_document(document, None if problem is None else str(problem))
    raise SpecError("problem: a fleet is judged by the cluster that it states, or by a cluster file: give its path")


def certify(
    result: Solved | SolvedFleet | Decided | str | Path | Mapping[str, Any],
    problem: Asked | None = None,
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
    if isinstance(result, Solved | SolvedFleet | Decided):
        document = json.loads(json.dumps(result.to_json()))
    else:
        document = plain_value(result) if isinstance(result, Mapping) else _loaded(result, "result", "a result").data
    return certify_document(document, None if problem is None else _question(problem))


def explain(problem: Asked, *, progress: Progress | None = None) -> Explanation | FleetExplanation:
    """Why nothing fits, with the smallest change of each limit that would; or what binds, and what more would bring.

    Parameters
    ----------
    problem
        A problem, or a cluster with `pools` and `demands`; or what one is read from.

    Raises
    ------
    SpecError
        Where the problem cannot be read.
    """
    question = _question(problem)
    if isinstance(question, Cluster):
        return FleetExplanation(explain_cluster(question))
    return explain_problem(question, progress)


def place(problem: Problem | str | Path | Mapping[str, Any], *, time_limit_s: float | None = None) -> Decided:
    """Experts on devices where the degrees are decided (`search` pins them), with a proved bound for every layer.

    Parameters
    ----------
    problem
        A problem with measured loads of experts; or what one is read from.
    time_limit_s
        Seconds for the search, all of them where gaps remain; a fixed amount of work where none is given.

    Raises
    ------
    SpecError
        Where the problem cannot be read, has no experts, or leaves degrees open.
    """
    _check_limit(time_limit_s)
    with _by_argument():
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
    asked = None if problem is None else _problem(problem)
    if isinstance(document, str) and "\n" in document:
        return audit_document(document, "<text>", asked)
    if not isinstance(document, str | Path):
        raise _unlike("document", document, "a path, or the text itself,")
    text, source = read_text(document)
    return audit_document(text, source, asked)

"""`explain`: why nothing fits, and the smallest change of each limit that would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from optimizer.cli.options import From, Json, Pools, ProblemSource, takes_a_problem
from optimizer.cli.output import emit, emit_json, end_progress, heading, paint, progress_line, table
from optimizer.units import amount

if TYPE_CHECKING:
    from optimizer.domain.problem import Problem
    from optimizer.readers.launch.problem import Posed


@takes_a_problem
def command(problem: ProblemSource, json: Json = False, from_: From = None, pool: Pools = None) -> int:
    """Say why nothing fits: a minimal set of limits in conflict, and the smallest change to each that would fit.

    With --from, why the layout of a launch command does not.
    """
    question = problem.question(pool or ()) if from_ is None else _of_launch(problem.posed(from_, pool or ()))
    from optimizer.domain.problem import Problem  # noqa: PLC0415 - the specs load when a command runs
    from optimizer.explain import explain  # noqa: PLC0415 - loads NumPy and the solver
    from optimizer.verify.structure import why_not  # noqa: PLC0415 - the same

    if isinstance(question, Problem):
        document: dict[str, Any] = explain(question, progress_line(quiet=json)).to_json()
        over = ""
        end_progress()
    else:
        from optimizer.domain.fleet import over_hours  # noqa: PLC0415 - beside the solver
        from optimizer.explain.cluster import explain_cluster  # noqa: PLC0415 - loads the solver

        document, over = explain_cluster(question), over_hours(question)
    if json:
        emit_json(document)
    else:
        show(document, over)
        if isinstance(question, Problem):
            _of_times(question, document)
            for reason in why_not(question):
                emit(reason)
    return 1 if document["status"] == "infeasible" else 0


def _of_times(problem: Problem, document: dict[str, Any]) -> None:
    """How sure limits on times are."""
    from optimizer.explain.feasible import fits_as_predicted  # noqa: PLC0415 - loads NumPy
    from optimizer.figures.accuracy_text import confidence_text  # noqa: PLC0415 - the same

    confidence = confidence_text(problem)
    if confidence is None:
        return
    emit()
    emit(f"Limits on times are {confidence}.")
    if document["status"] == "infeasible" and fits_as_predicted(problem):
        emit("By the prediction alone all could be kept: --confidence none.")


def _of_launch(posed: Posed) -> Problem:
    """The problem of a launch, its degrees kept."""
    from optimizer.readers.launch.problem import with_degrees  # noqa: PLC0415 - for a launch command alone

    return with_degrees(posed)


def conflict_heading(members: Sequence[object]) -> str:
    """What is true of a minimal conflict: any of its members less one can be kept, the problem's other limits aside."""
    if len(members) == 1:
        return "Nothing keeps this limit, whatever the others"
    return "Nothing keeps all of these limits; leave out any one and the rest of this list can be kept"


def show(document: dict[str, Any], over: str = "") -> None:
    """Print an explanation; `over` says what the objective's value is over."""
    infeasible = document["status"] == "infeasible"
    emit(paint(document["status"], "bold", "red" if infeasible else "green"))
    if document["conflict"]:
        heading(conflict_heading(document["conflict"]))
        rows = [[item["limit"], amount(item.get("value"), item.get("unit"))] for item in document["conflict"]]
        table(["limit", "value"], rows, right=(1,))
    if document.get("unserved"):
        emit()
        for sentence in document["unserved"]:
            emit(sentence)
    if document["relaxations"]:
        heading("The smallest change to each that would fit, all else kept")
        _changes(document["relaxations"])
    if document.get("stopped"):
        emit()
        emit("interrupted: the conflict is proved; changes that were not yet looked at are missing")
    if document.get("hopeless"):
        emit()
        emit(f"no change helps alone: {', '.join(document['hopeless'])}")
    if document.get("joint"):
        _joint(document["joint"])
    if infeasible:
        return
    layout = document.get("layout")
    if layout is None:
        _bound_fleet(document, over)
        return
    degrees = " ".join(f"{name}={layout[name]}" for name in ("tp", "cp", "dp", "pp", "etp", "ep", "edp", "batch"))
    degrees += " two-batch overlap" if layout.get("overlap") == "two_batch" else ""
    emit(f"{_objective(document)}: {degrees}")
    if document["binding"]:
        heading("Limits that bind: without each alone")
        rows = [
            [item["limit"], amount(item["value"], item.get("unit")), amount(item["without"], None), _gain(item["gain"])]
            for item in document["binding"]
        ]
        table(["limit", "value", "objective", "change"], rows, right=(1, 2, 3))
    heading("What more would bring")
    rows = [[item["change"], amount(item["value"], None), _gain(item["gain"])] for item in document["what_if"]]
    table(["change", "objective", "change"], rows, right=(1, 2))


def _objective(document: dict[str, Any]) -> str:
    """The objective as `solve` has it."""
    from optimizer.figures.objective_text import objective_text  # noqa: PLC0415 - the specs load when a command runs

    return objective_text(document["objective"]["name"], document["objective"]["value"])


def _bound_fleet(document: dict[str, Any], over: str) -> None:
    emit(f"{_objective(document)}{over}")
    if document["binding"]:
        heading("Limits that bind: without each alone")
        rows = [[b["limit"], amount(b["value"], b["unit"]), amount(b["without"], None)] for b in document["binding"]]
        table(["limit", "value", "objective"], rows, right=(1, 2))


def _gain(value: float | None) -> str:
    return "" if value is None else f"{value:+.2%}"


def _joint(relaxation: dict[str, Any]) -> None:
    heading(f"The least change of all numbers together: each by a factor of {relaxation['factor']:.4g}")
    _changes(relaxation["changes"])


def _changes(listed: list[dict[str, Any]]) -> None:
    rows = [
        [
            change["limit"],
            amount(change["from"], change.get("unit")),
            amount(change["to"], change.get("unit"), change["from"]),
        ]
        for listed_change in listed
        for change in _by_period(listed_change)
    ]
    table(["limit", "from", "to"], rows, right=(1, 2))


def _by_period(change: dict[str, Any]) -> list[dict[str, Any]]:
    """A change of a demand's rate as the file has it: of every period that it changes."""
    demand = change["limit"].removeprefix("demands.").removesuffix(".request_rate")
    periods = change.get("periods", {})
    return [change | rates | {"limit": f"periods.{name}.rates.{demand}"} for name, rates in periods.items()] or [change]

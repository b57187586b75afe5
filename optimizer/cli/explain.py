"""`explain`: why nothing fits, and the smallest change of each limit that would."""

from __future__ import annotations

from typing import Any

from optimizer.cli.options import Json, ProblemSource, takes_a_problem
from optimizer.cli.output import emit, emit_json, heading, paint, table


@takes_a_problem
def command(problem: ProblemSource, json: Json = False) -> int:
    """Say why nothing fits: a minimal set of limits in conflict, and the smallest change to each that would fit."""
    question = problem()
    from optimizer.explain import explain  # noqa: PLC0415 - loads NumPy and the solver

    document: dict[str, Any] = explain(question).to_json()
    if json:
        emit_json(document)
    else:
        show(document)
    return 1 if document["status"] == "infeasible" else 0


def _number(value: object) -> str:
    return f"{value:,.6g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def show(document: dict[str, Any]) -> None:
    """Print an explanation."""
    infeasible = document["status"] == "infeasible"
    emit(paint(document["status"], "bold", "red" if infeasible else "green"))
    if document["conflict"]:
        heading("These limits cannot be kept together; without any one of them something fits")
        rows = [[item["limit"], _number(item.get("value")), item.get("unit") or ""] for item in document["conflict"]]
        table(["limit", "value", ""], rows, right=(1,))
    if document["relaxations"]:
        heading("The smallest change to each that would fit, all else kept")
        rows = [
            [item["limit"], _number(item["from"]), _number(item["to"]), item.get("unit") or ""]
            for item in document["relaxations"]
        ]
        table(["limit", "from", "to", ""], rows, right=(1, 2))
    if document.get("hopeless"):
        emit()
        emit(f"no change helps alone: {', '.join(document['hopeless'])}")
    if document.get("joint"):
        _joint(document["joint"])
    if infeasible:
        return
    layout = document["layout"]
    degrees = " ".join(f"{name}={layout[name]}" for name in ("tp", "cp", "dp", "pp", "etp", "ep", "edp", "batch"))
    emit(f"{document['objective']['name']} {_number(document['objective']['value'])}: {degrees}")
    if document["binding"]:
        heading("Limits that bind: without each alone")
        rows = [
            [
                item["limit"],
                _number(item["value"]),
                item.get("unit") or "",
                _number(item["without"]),
                _gain(item["gain"]),
            ]
            for item in document["binding"]
        ]
        table(["limit", "value", "", "objective", "change"], rows, right=(1, 3, 4))
    heading("What more would bring")
    rows = [[item["change"], _number(item["value"]), _gain(item["gain"])] for item in document["what_if"]]
    table(["change", "objective", "change"], rows, right=(1, 2))


def _gain(value: float | None) -> str:
    return "" if value is None else f"{value:+.2%}"


def _joint(found: dict[str, Any]) -> None:
    heading("The cheapest change of all of them together")
    for name, value in found.items():
        if not isinstance(value, dict | list):
            emit(f"{name.replace('_', ' ')}: {_number(value)}")
    for change in found.get("changes", ()):
        emit(f"  {change['limit']}: {_number(change['from'])} to {_number(change['to'])} {change.get('unit') or ''}")

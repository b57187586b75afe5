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

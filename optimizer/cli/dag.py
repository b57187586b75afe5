"""The deployment graph of a result: written in one of three forms, or a given one checked against it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from optimizer.cli.output import emit, emit_json, json_text, say

if TYPE_CHECKING:
    from optimizer.report.subject import Subject


class Form(StrEnum):
    """Forms of the graph."""

    JSON = "json"
    DOT = "dot"
    SVG = "svg"


def draw(subject: Subject, form: Form, out: str | None) -> int:
    """Write the graph to ``out``, or to standard output; it passes its own check."""
    from optimizer.readers.output import write_whole  # noqa: PLC0415 - the same
    from optimizer.report.dag_draw import to_dot, to_svg  # noqa: PLC0415 - loads when it is asked for
    from optimizer.report.dag_traffic import dag_of  # noqa: PLC0415 - the same

    dag = dag_of(subject)
    made = {
        Form.JSON: lambda: json_text(dag.to_json()) + "\n",
        Form.DOT: lambda: to_dot(dag),
        Form.SVG: lambda: to_svg(dag),
    }
    text = made[form]()
    if out is None:
        emit(text.rstrip("\n"))
    else:
        write_whole(out, text)
        say(f"wrote {out} ({dag.degrees.devices} devices)")
    return 0


def check(subject: Subject, path: str, *, json: bool) -> int:
    """Judge the graph in ``path``: acyclic, every device once, the layout's groups, transfers and bytes."""
    from optimizer.readers.document import load  # noqa: PLC0415 - the same
    from optimizer.report.dag_check import check_dag  # noqa: PLC0415 - loads when it is asked for
    from optimizer.report.dag_traffic import dag_of, meshes_of  # noqa: PLC0415 - the same

    document = load(path)
    if not isinstance(document.data, dict):
        raise document.error("a graph is wanted: an object with `nodes` and `edges`")
    meshes = meshes_of(subject)
    objections = check_dag(document.data, meshes, dag_of(subject))
    if json:
        emit_json({
            "schema": "shardproof/dag-check/1", "accepted": not objections, "devices": meshes.devices,
            "objections": objections,
        })  # fmt: skip
    else:
        for objection in objections:
            emit(f"  {objection}")
        emit(f"{document.source}: " + ("rejected" if objections else f"accepted: {meshes.devices} devices, each once"))
    return 1 if objections else 0

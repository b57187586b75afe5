"""`report`: one page about a result that needs nothing else; or the graph of its deployment, written or checked."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.options import Json
from optimizer.cli.output import emit, emit_json, json_text, say
from optimizer.errors import Fault, SpecError

if TYPE_CHECKING:
    from optimizer.certificate import Check
    from optimizer.readers.document import Document


def command(
    result: Annotated[str, typer.Argument(help="What `solve --out` wrote, or `-` for standard input.")],
    json: Json = False,
    out: Annotated[
        str | None,
        typer.Option(help="Page to write; RESULT with .html in place of .json unless given.", metavar="FILE"),
    ] = None,
    check: Annotated[bool, typer.Option(help="Check the certificate for the page.")] = True,
    dag: Annotated[
        Form | None, typer.Option(help="Write the graph of every device, group and collective in place of the page.")
    ] = None,
    check_dag: Annotated[
        str | None, typer.Option(help="Judge this graph (node-link JSON) against the layout.", metavar="FILE")
    ] = None,
    map_: Annotated[
        str | None,
        typer.Option(
            "--map", help="Of a cluster: write which rank each device is, node by node (JSON).", metavar="FILE"
        ),
    ] = None,
    launch: Annotated[
        list[str] | None,
        typer.Option(help="Launch command or file to show on the page; may be repeated.", metavar="FILE"),
    ] = None,
) -> int:
    """Write one self-contained HTML page: layout, memory, time, candidates, figures with derivations, certificate."""
    from optimizer.certificate import certify  # noqa: PLC0415 - loads when the command runs
    from optimizer.readers.document import load  # noqa: PLC0415 - the same
    from optimizer.readers.fleet import is_fleet_document  # noqa: PLC0415 - the same
    from optimizer.readers.output import write_whole  # noqa: PLC0415 - the same
    from optimizer.readers.source import read_text  # noqa: PLC0415 - the same
    from optimizer.report.html import page  # noqa: PLC0415 - the same
    from optimizer.report.subject import read_subject  # noqa: PLC0415 - the same

    document = load(result)
    path = out or ("report.html" if result == "-" else str(Path(result).with_suffix(".html")))
    if is_fleet_document(document.data):
        single = {"--dag": dag, "--check-dag": check_dag, "--launch": launch}
        stray = [name for name, option in single.items() if option]
        if stray:
            raise SpecError(*(Fault(None, None, None, name, "is of one layout, and this is a fleet") for name in stray))
        return _fleet(document, path, map_, check=check, as_json=json)
    if map_ is not None:
        raise SpecError(Fault(None, None, None, "--map", "is of a fleet; `export` writes that of one layout"))
    plain = read_subject(document, None)
    if dag is not None or check_dag is not None:
        return draw(plain, dag, out) if dag is not None else check_graph(plain, str(check_dag), json=json)
    subject = read_subject(document, certify(document.data) if check else None)
    launched = {Path(name).name: read_text(name)[0] for name in launch or ()}
    try:
        text = page(subject, launched)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        if (subject.check or certify(document.data)).accepted:
            raise  # what the solver wrote can be drawn
        raise document.error(f"is no result as `shardproof solve --out` writes it: {error}") from None
    write_whole(path, text)
    return _wrote(path, text, subject.check, as_json=json)


def _fleet(document: Document, path: str, map_: str | None, *, check: bool, as_json: bool) -> int:
    from optimizer.certificate import certify  # noqa: PLC0415 - loads when the command runs
    from optimizer.readers.fleet import fleet_in  # noqa: PLC0415 - the same
    from optimizer.readers.output import write_whole  # noqa: PLC0415 - the same
    from optimizer.report.html_fleet import fleet_page, rank_map  # noqa: PLC0415 - the same

    fleet = fleet_in(document, or_none=True)
    if map_ is not None and not fleet.periods:
        raise SpecError(Fault(None, None, None, "--map", f"there is no fleet: its status is {document.data['status']}"))
    checked = certify(document.data) if check and fleet.is_result else None
    text = fleet_page(fleet, checked)
    write_whole(path, text)
    if map_ is not None:
        write_whole(map_, json_text(rank_map(fleet)) + "\n")
    return _wrote(path, text, checked, as_json=as_json)


def _wrote(path: str, text: str, check: Check | None, *, as_json: bool) -> int:
    accepted = None if check is None else check.accepted
    if as_json:
        emit_json({"schema": "shardproof/report/1", "path": path, "bytes": len(text.encode()), "accepted": accepted})
    else:
        emit(f"wrote {path} ({len(text.encode()) / 1000:,.0f} kB)")
    return 1 if accepted is False else 0


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
    from optimizer.report.dag import dag_of  # noqa: PLC0415 - the same
    from optimizer.report.dag_draw import to_dot, to_svg  # noqa: PLC0415 - loads when it is asked for

    dag = dag_of(subject)
    writers = {
        Form.JSON: lambda: json_text(dag.to_json()) + "\n",
        Form.DOT: lambda: to_dot(dag),
        Form.SVG: lambda: to_svg(dag),
    }
    text = writers[form]()
    if out is None:
        emit(text.rstrip("\n"))
    else:
        write_whole(out, text)
        say(f"wrote {out} ({dag.degrees.devices} devices)")
    return 0


def check_graph(subject: Subject, path: str, *, json: bool) -> int:
    """Judge the graph in ``path``: acyclic, every device once, the layout's groups, transfers and bytes."""
    from optimizer.readers.document import load  # noqa: PLC0415 - the same
    from optimizer.report.dag import dag_of, meshes_of  # noqa: PLC0415 - the same
    from optimizer.report.dag_check import check_dag  # noqa: PLC0415 - loads when it is asked for

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

"""`report`: one page about a result that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.dag import Form, draw
from optimizer.cli.dag import check as check_graph
from optimizer.cli.options import Json
from optimizer.cli.output import emit, emit_json


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
    launch: Annotated[
        list[str] | None,
        typer.Option(help="Launch command or file to show on the page; may be repeated.", metavar="FILE"),
    ] = None,
) -> int:
    """Write one self-contained HTML page: layout, memory, time, candidates, figures with derivations, certificate."""
    from optimizer.certificate import certify  # noqa: PLC0415 - loads when the command runs
    from optimizer.readers.document import load  # noqa: PLC0415 - the same
    from optimizer.readers.output import write_whole  # noqa: PLC0415 - the same
    from optimizer.readers.source import read_text  # noqa: PLC0415 - the same
    from optimizer.report.html import page  # noqa: PLC0415 - the same
    from optimizer.report.subject import read_subject  # noqa: PLC0415 - the same

    document = load(result)
    plain = read_subject(document, None)
    if dag is not None or check_dag is not None:
        return draw(plain, dag, out) if dag is not None else check_graph(plain, str(check_dag), json=json)
    subject = read_subject(document, certify(document.data) if check else None)
    path = out or ("report.html" if result == "-" else str(Path(result).with_suffix(".html")))
    launched = {Path(name).name: read_text(name)[0] for name in launch or ()}
    try:
        text = page(subject, launched)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        if (subject.check or certify(document.data)).accepted:
            raise  # what the solver wrote can be drawn
        raise document.error(f"is no result as `shardproof solve --out` writes it: {error}") from None
    write_whole(path, text)
    accepted = None if subject.check is None else subject.check.accepted
    if json:
        emit_json({"schema": "shardproof/report/1", "path": path, "bytes": len(text.encode()), "accepted": accepted})
    else:
        emit(f"wrote {path} ({len(text.encode()) / 1000:,.0f} kB)")
    return 1 if accepted is False else 0

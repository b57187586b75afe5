"""`audit`: judge a deployment document line by line."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from optimizer.cli.options import Json
from optimizer.cli.output import emit, emit_json, heading, paint, table

_STYLES = {"holds": "green", "fails": "red", "impossible": "red", "ambiguous": "yellow", "unsupported": "dim"}


def command(
    document: Annotated[str, typer.Argument(help="Markdown or text, or `-` for standard input.")],
    json: Json = False,
    problem: Annotated[
        str | None,
        typer.Option(help="Problem file that supplies or overrides what the document lacks.", metavar="FILE"),
    ] = None,
) -> int:
    """Judge the equations, figures and claims of a deployment document, with line numbers."""
    from optimizer.audit.audit import audit_document  # noqa: PLC0415 - loads when the command runs
    from optimizer.spec.document import load  # noqa: PLC0415 - the same
    from optimizer.spec.source import read_text  # noqa: PLC0415 - the same

    text, source = read_text(document)
    given = None if problem is None else load(problem).data
    result = audit_document(text, source, given if isinstance(given, dict) else None)
    if json:
        emit_json(result.to_json())
    else:
        show(result.to_json())
    return int(result.exit_status)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.6g}"
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


def show(found: dict[str, Any]) -> None:
    """Print an audit."""
    counts: dict[str, int] = {}
    for item in (*found["equations"], *found["claims"]):
        counts[item["verdict"]] = counts.get(item["verdict"], 0) + 1
    emit(
        ", ".join(f"{paint(f'{number} {name}', _STYLES[name])}" for name, number in counts.items())
        or "nothing to judge"
    )
    _items("Equations", found["equations"], ("line", "verdict", "text", "stated", "evaluated"))
    _items("Claims", found["claims"], ("line", "verdict", "name", "claimed", "derived", "substituted"))
    if found["contradictions"]:
        heading("Contradictions")
        for item in found["contradictions"]:
            lines = ", ".join(map(str, item["lines"]))
            emit(f"  line{'s' * (len(item['lines']) > 1)} {lines}: {paint(item['explanation'], 'red')}")
    for name in ("missing", "assumed"):
        if found[name]:
            heading(name.capitalize())
            for item in found[name]:
                emit(f"  {item}")


def _items(title: str, items: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if not items:
        return
    heading(title)
    rows = [[_cell(item.get(column)) for column in columns] for item in items]
    styles = [_STYLES[item["verdict"]] for item in items]
    table(columns, rows, right=(0,), styles=styles)

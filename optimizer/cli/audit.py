"""`audit`: judge a deployment document line by line."""

from __future__ import annotations

from json import JSONEncoder
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from optimizer.cli.options import Json
from optimizer.cli.output import coloured, emit, say
from optimizer.errors import Fault, SpecError

if TYPE_CHECKING:
    from optimizer.audit.result import AuditResult
    from optimizer.domain.problem import Problem

_ENCODER: Final = JSONEncoder(ensure_ascii=False, allow_nan=False)


def command(
    document: Annotated[str, typer.Argument(help="Markdown or text, or `-` for standard input.")],
    json: Json = False,
    problem: Annotated[
        str | None,
        typer.Option(help="Problem file or scenario that supplies what the document lacks.", metavar="FILE"),
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="Print only the corrected figures, as a Markdown table to paste.")
    ] = False,
) -> int:
    """Judge the equations, figures and claims of a deployment document, with line numbers.

    An equation that fails and that the document itself calls wrong does not count towards exit status 1.
    """
    from optimizer.audit.audit import without_collector  # noqa: PLC0415 - loads when the command runs

    with without_collector():
        return _run(document, problem, json=json, table=table)


def _run(document: str, problem: str | None, *, json: bool, table: bool) -> int:
    from optimizer.audit.audit import audit_document  # noqa: PLC0415 - loads when the command runs
    from optimizer.readers.source import read_text  # noqa: PLC0415 - the same

    if document == problem == "-":
        raise SpecError(Fault(None, None, None, "--problem", "the document is read from standard input already"))
    asked = None if problem is None else _problem(problem)
    text, source = read_text(document)
    result = audit_document(text, source, asked)
    if json:
        emit(_one_entry_a_line(result.to_json()))
    elif table:
        _paste(result)
    else:
        show(result)
    return int(result.exit_status)


def _problem(path: str) -> Problem:
    from optimizer.readers.read import read_problem  # noqa: PLC0415 - the catalog loads only for a problem

    return read_problem(path)


def _paste(result: AuditResult) -> None:
    from optimizer.audit.annotate import corrected_table, summary  # noqa: PLC0415 - as the rest of the audit

    if rows := corrected_table(result):
        emit(rows)
    say(summary(result))


def show(result: AuditResult) -> None:
    """Print an audit: every judged line with its verdicts, what disagrees, what is missing, and a summary."""
    from optimizer.audit.annotate import annotated  # noqa: PLC0415 - loads when the command runs

    emit("\n".join(annotated(result, coloured=coloured())))


def _one_entry_a_line(document: dict[str, Any]) -> str:
    """JSON with every entry of a list on a line of its own: a long audit has 100,000 of them."""
    return "{\n" + ",\n".join(f"  {_compact(key)}: {_value(value)}" for key, value in document.items()) + "\n}"


def _value(value: object) -> str:
    if not isinstance(value, list) or not value:
        return _compact(value)
    return "[\n" + ",\n".join(f"    {_compact(item)}" for item in value) + "\n  ]"


def _compact(value: object) -> str:
    return _ENCODER.encode(value)

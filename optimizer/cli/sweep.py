"""`sweep`: thousands of problems into one table."""

from __future__ import annotations

import json as text_json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.options import JsonLines, time_limit_option
from optimizer.cli.output import emit, is_terminal, say
from optimizer.errors import StoppedError

if TYPE_CHECKING:
    from optimizer.sweep.answer import Answer
    from optimizer.sweep.run import InterruptedSweepError


def command(
    grid: Annotated[str, typer.Argument(help="Grid file, or `-` for standard input.")],
    json: JsonLines = False,
    out: Annotated[
        list[str] | None,
        typer.Option(help="Write the table: CSV, or Parquet by its name; may be repeated. Else CSV on stdout."),
    ] = None,
    journal: Annotated[
        str | None,
        typer.Option(help="Finished problems; a sweep goes on from it. Beside the first --out unless given."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what the journal has.")] = False,
    backend: Annotated[str, typer.Option(help="loky (this machine), dask or ray.", metavar="NAME")] = "loky",
    address: Annotated[str | None, typer.Option(help="Of a Dask or Ray cluster that runs already.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Worker processes; one for each core unless given.", min=1)] = None,
    time_limit: Annotated[float | None, time_limit_option("Seconds for each problem.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Check every certificate as well.")] = False,
) -> int:
    """Solve every problem of a grid on all cores or on a cluster."""
    from optimizer.sweep.answer import ANSWERED  # noqa: PLC0415 - loads when the command runs
    from optimizer.sweep.grid import read_grid  # noqa: PLC0415 - the same
    from optimizer.sweep.run import InterruptedSweepError, Options, sweep  # noqa: PLC0415 - the same
    from optimizer.sweep.table import csv_text, header, rows, write_table  # noqa: PLC0415 - the same

    question = read_grid(grid)
    journal_path = Path(journal) if journal is not None else Path(f"{out[0]}.jsonl") if out else None
    if fresh and journal_path is not None:
        journal_path.unlink(missing_ok=True)
    options = Options(backend, jobs, address, time_limit, check, journal_path)
    begun = time.perf_counter()
    stopped: InterruptedSweepError | None = None
    try:
        answers = sweep(question, options, _progress())
    except InterruptedSweepError as stop:
        answers, stopped = stop.rows, stop
    if is_terminal(sys.stderr):
        sys.stderr.write("\r\x1b[K")
    for path in out or ():
        write_table(path, question, answers)
        say(f"wrote {path}")
    head, body = header(question), rows(question, answers)
    if json:
        for row in body:
            emit(text_json.dumps(dict(zip(head, row, strict=True))))
    elif not out:
        emit(csv_text(head, body).removesuffix("\n"))
    lost = [row for row in answers.values() if row["status"] not in ANSWERED]
    say(f"{len(answers):,} problems in {time.perf_counter() - begun:.1f} s, {len(lost):,} without an answer")
    for message in list(dict.fromkeys(str(row["error"]).splitlines()[0] for row in lost))[:10]:
        say(f"  {message}")
    if stopped is not None:
        raise StoppedError(_unfinished(stopped, len(question.cells), journal_path))
    return 1 if lost else 0


def _unfinished(stop: InterruptedSweepError, problems: int, journal: Path | None) -> str:
    resumption = f"the same command goes on from {journal}" if journal is not None else "--journal FILE would keep them"
    return f"{stop}: {len(stop.rows):,} of {problems:,} problems are answered; {resumption}"


def _progress() -> Callable[[int, int, Answer], None] | None:
    """One line on standard error that is written over; nothing where nobody watches."""
    if not is_terminal(sys.stderr):
        return None
    begun, first = time.perf_counter(), [0]

    def tell(done: int, of: int, _: Answer) -> None:
        first[0] = first[0] or done - 1
        rate = (done - first[0]) / (time.perf_counter() - begun)
        sys.stderr.write(f"\r\x1b[K{done:,} of {of:,} problems, {rate:.1f}/s, {(of - done) / rate:,.0f} s left")
        sys.stderr.flush()

    return tell

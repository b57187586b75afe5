"""`bench`: the scenario set beside baselines that the same reference prices."""

from __future__ import annotations

import json as text_json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.options import JsonLines, time_limit_option
from optimizer.cli.output import emit, is_terminal, say
from optimizer.errors import StoppedError

if TYPE_CHECKING:
    from optimizer.bench.record import Record


def command(
    sets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SET]...", help="Sets (smoke, core, scale, …), scenarios or problem files."),
    ] = None,
    json: JsonLines = False,
    out: Annotated[str | None, typer.Option(help="Write the JSON lines to a file.", metavar="FILE")] = None,
    markdown: Annotated[str | None, typer.Option(help="Write the Markdown table to a file.", metavar="FILE")] = None,
    compare: Annotated[
        str | None, typer.Option(help="Say what got worse since these JSON lines.", metavar="OLD.jsonl")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="History; an interrupted run goes on where it stopped.", metavar="FILE.db")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Baselines to run, of those listed below; none: the search alone.", metavar="A,B")
    ] = None,
    evaluations: Annotated[int, typer.Option(help="Layouts that each baseline may price.", min=1)] = 10_000,
    time_limit: Annotated[float | None, time_limit_option("Seconds for each search.")] = None,
    peers: Annotated[bool, typer.Option(help="Run AIConfigurator too, where it is installed.")] = True,
) -> int:
    """Solve a set of scenarios, check every certificate, and set baselines beside the answers."""
    from optimizer.bench.compare import read_records, regressions  # noqa: PLC0415 - loads when the command runs
    from optimizer.bench.methods import METHODS  # noqa: PLC0415 - the same
    from optimizer.bench.run import Settings, installed_peer, named_methods, run  # noqa: PLC0415 - the same
    from optimizer.bench.scenarios import scenarios  # noqa: PLC0415 - the same
    from optimizer.bench.store import Store  # noqa: PLC0415 - the same
    from optimizer.bench.table import beaten, unproved  # noqa: PLC0415 - the same
    from optimizer.bench.table import markdown as table  # noqa: PLC0415 - the same
    from optimizer.readers.output import write_whole  # noqa: PLC0415 - the same

    chosen = scenarios(*(sets or ["core"]))
    old = read_records(compare) if compare is not None else []
    wanted = list(METHODS) if methods is None else [name for name in methods.split(",") if name not in ("", "none")]
    settings = Settings(evaluations, time_limit, installed_peer() if peers else None)
    records = []
    history = Store(store) if store is not None else None
    stopped: str | None = None
    try:
        for record in run(chosen, named_methods(wanted), settings, store=history, tell=_tell):
            records.append(record)
            if json:
                emit(text_json.dumps(record.to_json()))
                sys.stdout.flush()
    except KeyboardInterrupt as stop:
        stopped = str(stop) or "interrupted"
    if out is not None:
        write_whole(out, "".join(text_json.dumps(record.to_json()) + "\n" for record in records))
        say(f"wrote {out}")
    if markdown is not None:
        write_whole(markdown, table(records))
        say(f"wrote {markdown}")
    if not json:
        emit(table(records))
    if stopped is not None:
        resumption = (
            f"the same command goes on from {store}" if store is not None else "--store FILE.db would keep them"
        )
        raise StoppedError(f"{stopped}: {len(records)} records are there; {resumption}")
    worse = regressions(old, records)
    for regression in worse:
        say(f"worse: {regression}")
    if compare is not None and not worse:
        say(f"nothing got worse since {compare}")
    lost = [*unproved(records), *beaten(records)]
    for record in lost:
        say(_complaint(record))
    return 1 if lost or any(regression.answer for regression in worse) else 0


def _complaint(record: Record) -> str:
    if record.method == "solve":
        detail = record.note or record.certificate or "no certificate"
        return f"{record.scenario}: {record.status}, {detail}"
    return f"{record.scenario}: {record.method} beats the search ({record.margin or 0:.6g})"


def _tell(scenario: str, method: str, record: Record | None) -> None:
    """One line on standard error that is written over; nothing where nobody watches."""
    if is_terminal(sys.stderr):
        done = "" if record is None else f" {record.status} in {record.wall_s:.2f} s"
        sys.stderr.write(f"\r\x1b[K{scenario} {method}{done}")
        sys.stderr.flush()
        if record is not None:
            sys.stderr.write("\r\x1b[K")

"""`solve`: the best layout, proved."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.options import Json, ProblemSource, takes_a_problem
from optimizer.cli.output import emit, emit_json, heading, is_terminal, json_text, paint, say, table

if TYPE_CHECKING:
    from optimizer.solve.result import Result
    from optimizer.spec.problem import Problem

_GOOD = frozenset({"optimal", "feasible"})


@takes_a_problem
def command(
    problem: ProblemSource,
    json: Json = False,
    out: Annotated[str | None, typer.Option(help="Write the result to a file.", metavar="FILE")] = None,
    top: Annotated[int, typer.Option(help="Number of layouts to list, best first.", min=1, max=1000)] = 1,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds after which the best layout so far is given.", min=0.0)
    ] = None,
    slot_prices: Annotated[
        bool, typer.Option("--slot-prices", help="Solve for each number of redundant expert slots as well.")
    ] = False,
) -> int:
    """Find the best layout of a model on hardware under limits, with a proof that nothing beats it."""
    question = problem()
    from optimizer.solve import solve  # noqa: PLC0415 - loads NumPy and the solver
    from optimizer.spec.output import write_whole  # noqa: PLC0415 - beside it

    result = solve(question, time_limit_s=time_limit, top=top, progress=_progress(quiet=json))
    _end_progress()
    if out is not None:
        write_whole(out, json_text(result.to_json()) + "\n")
        say(f"wrote {out}")
    priced = []
    if slot_prices:
        from optimizer.solve.slot_prices import slot_prices as each  # noqa: PLC0415 - beside the solver

        priced = [price.to_json() for price in each(question, time_limit_s=time_limit)]
    if json:
        emit_json(result.to_json() | ({"slot_prices": priced} if slot_prices else {}))
    else:
        show(question, result)
        if priced:
            from optimizer.cli.placement_view import show_slot_prices  # noqa: PLC0415 - needs rich

            show_slot_prices(priced)
    return int(result.exit_status)


def _progress(*, quiet: bool) -> Callable[[str, int, int], None] | None:
    """One line on standard error that is written over; nothing where nobody watches."""
    if quiet or not is_terminal(sys.stderr):
        return None

    def tell(phase: str, done: int, of: int) -> None:
        sys.stderr.write(f"\r\x1b[K{phase}: {done:,} of {of:,}")
        sys.stderr.flush()

    return tell


def _end_progress() -> None:
    if is_terminal(sys.stderr):
        sys.stderr.write("\r\x1b[K")


def show(problem: Problem, result: Result) -> None:
    """Print a result."""
    from optimizer.cli import present  # noqa: PLC0415 - needs the figures
    from optimizer.figures.derivation import derive  # noqa: PLC0415 - the same

    document = result.to_json()
    objective, status = document["objective"], document["status"]
    value = "" if objective["value"] is None else f": {present.plain_name(objective['name'])} {objective['value']:,.6g}"
    proof = "" if status != "feasible" else f" (bound {objective['bound']:,.6g}, gap {objective['gap']:.2%})"
    present.verdict_line(status + value + proof, good=status in _GOOD)
    if result.layout is not None:
        emit(f"layout   {present.layout_line(result.layout, experts=problem.model.moe is not None)}")
    emit(f"problem  {present.problem_line(problem)}")
    if result.layout is not None and result.evaluation is not None:
        present.figure_table(derive(problem, result.layout, result.evaluation))
        present.memory_table(problem, result.evaluation)
        present.time_table(problem, result.evaluation)
        if result.placement is not None:
            from optimizer.cli.placement_view import summary  # noqa: PLC0415 - needs rich

            summary(problem, result.placement)
        if result.top:
            _top(problem, result)
    elif status == "infeasible":
        for limit in document.get("conflict", ()):
            emit(f"  {paint(_limit(limit), 'red')}")
        emit("`shardproof explain` says what would have to give way.")
    search = document["search"]
    emit()
    emit(paint(f"{search['candidates']:,} candidates in {search['wall_s']:.2f} s", "dim"))


def _limit(limit: dict[str, object]) -> str:
    return " ".join(str(limit[key]) for key in ("limit", "value", "unit") if limit.get(key) is not None)


def _top(problem: Problem, result: Result) -> None:
    from optimizer.cli import present  # noqa: PLC0415 - needs the figures

    heading(f"The best {1 + len(result.top)} layouts")
    best = [scored for scored in (result.best, *result.top) if scored is not None]
    experts = problem.model.moe is not None
    rows = [
        [f"{number}.", f"{float(scored.value):,.6g}", present.layout_line(scored.layout, experts=experts)]
        for number, scored in enumerate(best, 1)
    ]
    table(["", problem.objective.replace("_", " "), "layout"], rows, right=(0, 1))

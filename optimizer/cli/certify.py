"""`certify`: check what `solve` or `place` wrote, without the solver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.options import Json
from optimizer.cli.output import emit, emit_json, paint

if TYPE_CHECKING:
    from optimizer.certificate import Check


def command(
    result: Annotated[str, typer.Argument(help="What `solve` or `place` wrote with --out, or `-` for standard input.")],
    json: Json = False,
    problem: Annotated[
        str | None,
        typer.Option(help="Problem file or scenario that the result must be an answer to.", metavar="FILE"),
    ] = None,
) -> int:
    """Check that everything a result claims follows from its problem; what cannot be checked is named."""
    from optimizer.certificate import certify  # noqa: PLC0415 - loads when the command runs
    from optimizer.readers.document import load  # noqa: PLC0415 - the same
    from optimizer.readers.messages import kind_of  # noqa: PLC0415 - the same
    from optimizer.readers.read import read_question  # noqa: PLC0415 - the same

    asked = None if problem is None else read_question(problem)
    document = load(result)
    if not isinstance(document.data, dict):
        raise document.error(f"a result is wanted (a mapping), not {kind_of(document.data)}")
    check = certify(document.data, asked)
    if json:
        emit_json(check.to_json())
    else:
        _show(check)
    return 0 if check.accepted else 1


def _show(check: Check) -> None:
    emit(paint(check.headline, "bold", "green" if check.accepted else "red"))
    over = ""
    if check.asked is not None:
        from optimizer.cli.present import problem_line  # noqa: PLC0415 - needs the figures
        from optimizer.domain.fleet import over_hours  # noqa: PLC0415 - loads when the command runs
        from optimizer.domain.problem import Problem  # noqa: PLC0415 - the same

        problem = check.asked
        emit(f"  problem         {problem_line(problem) if isinstance(problem, Problem) else problem.name}")
        emit(f"  digest          {check.asked.digest}")
        over = "" if isinstance(problem, Problem) else over_hours(problem)
    if check.accepted and check.objective is not None:
        emit(f"  objective       {_objective(check.objective, over)}")
    if check.accepted and check.lattice is not None:
        emit(f"  lattice         {_lattice(check.lattice)}")
    for row in check.rows():
        emit(f"  {row['standing']:14}  {row['part']}")
    emit(paint(f"{check.candidates:,} candidates in {check.wall_s:.2f} s", "dim"))


def _objective(objective: dict[str, Any], over: str) -> str:
    value, bound, gap = objective["value"], objective["bound"], objective["gap"]
    if not isinstance(value, float):
        return f"{objective['name']}: no layout has one"
    bounded = f"{bound:,.6g}, gap {gap:.2%}" if bound is not None and gap is not None else "none claimed"
    return f"{objective['name']} {value:,.6g}{over}; bound {bounded}"


def _lattice(lattice: dict[str, object]) -> str:
    """Axes in short: the values of each, or how many there are and between what."""
    axes = lattice["axes"]
    parts = []
    for name, values in axes.items() if isinstance(axes, dict) else ():
        known = [value for value in values if value is not None]
        if len(known) > _FEW:
            parts.append(f"{name} {len(known)} values {known[0]}-{known[-1]}")
        elif known and (name != "redundant" or known != [0]):
            parts.append(f"{name} {','.join(map(str, known))}")
    return "; ".join(parts)


_FEW = 8
"""Values of an axis that are listed one by one."""

"""`verify`: whether a layout is feasible, and whether what is claimed of it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.options import Json
from optimizer.cli.output import emit, emit_json, heading, paint, table

if TYPE_CHECKING:
    from optimizer.verify.claims import JudgedClaim
    from optimizer.verify.verdict import Verdict

_STYLES = {"holds": "green", "fails": "red", "impossible": "red", "ambiguous": "yellow", "unsupported": "dim"}


def command(
    layout: Annotated[str, typer.Argument(help="Layout file, `-` for standard input, or what `solve --out` wrote.")],
    json: Json = False,
    problem: Annotated[
        str | None, typer.Option(help="Problem file to use in place of the one that LAYOUT names.", metavar="FILE")
    ] = None,
    derivations: Annotated[
        bool, typer.Option("--derivations", help="Print the formula of every figure with its numbers put in.")
    ] = False,
) -> int:
    """Judge a layout: feasible, or each violated constraint with its numbers; a verdict on every claim."""
    from optimizer.readers.read import read_layout  # noqa: PLC0415 - the specs load when the command runs
    from optimizer.verify import judge  # noqa: PLC0415 - the same
    from optimizer.verify.claim_table import dimensions  # noqa: PLC0415 - the same

    verdict = judge(read_layout(layout, claims=dimensions, problem=problem))
    if json:
        emit_json(verdict.to_json())
    else:
        show(verdict, derivations=derivations)
    return int(verdict.exit_status)


def show(verdict: Verdict, *, derivations: bool = False) -> None:
    """Print a verdict."""
    from optimizer.cli import present  # noqa: PLC0415 - needs the figures

    problem = verdict.problem
    found = len(verdict.violations)
    answer = "feasible" if verdict.feasible else f"infeasible: {found} violated constraint{'s' * (found > 1)}"
    present.verdict_line(answer, good=verdict.feasible)
    for violation in verdict.violations:
        emit(f"  {paint(str(violation), 'red')}")
    experts = problem.model.moe is not None
    emit(f"layout   {present.layout_line(verdict.layout, experts=experts, of=problem.devices)}")
    emit(f"problem  {present.problem_line(problem)}")
    for axis in verdict.outside_lattice:
        emit(f"lattice  {axis} is none that `solve` looks at")
    if verdict.evaluation is not None:
        names = list(verdict.figures) if derivations else present.SHOWN
        present.figure_table(verdict.figures, names, derivations=derivations)
        present.memory_table(problem, verdict.evaluation)
        present.time_table(problem, verdict.evaluation, verdict.imbalance)
    if verdict.claims:
        show_claims(verdict.claims)


def show_claims(claims: tuple[JudgedClaim, ...]) -> None:
    """Print every claim with its verdict and arithmetic."""
    heading("Claims")
    rows, styles = [], []
    for judged in claims:
        ratio = judged.ratio
        derived = "" if judged.figure is None else judged.figure.result_text
        rows.append(
            [
                str(judged.verdict),
                judged.claim.name,
                judged.claim.text,
                derived,
                "" if ratio is None else f"{float(ratio):.4g}",
            ]
        )
        styles.append(_STYLES[judged.verdict])
    table(["verdict", "claim", "claimed", "derived", "ratio"], rows, right=(2, 3, 4), styles=styles)
    for judged in claims:
        if judged.verdict == "holds":
            continue
        emit()
        emit(f"  {judged.claim.name}: {judged.note}")
        for reading in judged.readings:
            mark = "=" if reading.holds else "≠"
            figure = reading.figure
            chain = " = ".join(part for part in (figure.formula, figure.substituted, figure.result_text) if part)
            emit(f"    {mark} {reading.name}: {chain}")

"""`verify`: whether a layout is feasible, and whether what is claimed of it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.options import From, Json, ProblemSource, takes_problem_options
from optimizer.cli.output import emit, emit_json, paint, prose
from optimizer.errors import Fault, SpecError
from optimizer.readers.options import PROBLEM_OPTIONS

if TYPE_CHECKING:
    from optimizer.readers.launch.problem import Posed
    from optimizer.verify.verdict import LayoutVerdict


@takes_problem_options
def command(
    source: ProblemSource,
    layout: Annotated[
        str | None,
        typer.Argument(help="Layout or fleet file, `-` for standard input, or what `solve --out` wrote."),
    ] = None,
    json: Json = False,
    problem: Annotated[
        str | None, typer.Option(help="Problem file to use in place of the one that LAYOUT names.", metavar="FILE")
    ] = None,
    derivations: Annotated[
        bool, typer.Option("--derivations", help="Print the formula of every figure with its numbers put in.")
    ] = False,
    from_: From = None,
) -> int:
    """Judge a layout, or a fleet of a cluster: feasible, or each violated constraint; a verdict on every claim.

    With --from a launch command is judged: which layout it is, whether it fits, and which flags would be better.
    """
    if from_ is not None:
        if layout is not None or problem is not None:
            raise SpecError(Fault(None, None, None, "--from", "stands in place of a layout file and its problem"))
        return _launched(source.posed(from_), json=json, derivations=derivations)
    if layout is None:
        raise SpecError(
            Fault(None, None, None, "LAYOUT", "missing argument: a layout file, or a launch command with --from")
        )
    stray = next((option.flag for option in PROBLEM_OPTIONS if source.values.get(option.parameter) is not None), None)
    if stray is not None:
        raise SpecError(Fault(None, None, None, stray, "goes with --from; a layout file's problem is its own"))
    from optimizer.readers.document import load  # noqa: PLC0415 - the specs load when the command runs
    from optimizer.readers.fleet import is_fleet_document  # noqa: PLC0415 - the same
    from optimizer.readers.read import layout_in  # noqa: PLC0415 - the same
    from optimizer.verify import judge  # noqa: PLC0415 - the same
    from optimizer.verify.claim_table import dimensions  # noqa: PLC0415 - the same

    document = load(layout)
    if is_fleet_document(document.data):
        from optimizer.cli.cluster import verify_and_show  # noqa: PLC0415 - only for a fleet

        return verify_and_show(document, problem, as_json=json, derivations=derivations)
    verdict = judge(layout_in(document, claims=dimensions, problem=problem))
    if json:
        emit_json(verdict.to_json())
    else:
        show(verdict, derivations=derivations)
    return int(verdict.exit_status)


def _launched(posed: Posed, *, json: bool, derivations: bool) -> int:
    from optimizer.cli.launch import better, show_better, show_command  # noqa: PLC0415 - needs the figures
    from optimizer.verify.launch import judge_launch  # noqa: PLC0415 - the same

    judged = judge_launch(posed)
    result, flags = (None, None) if posed.launch.training else better(judged)
    if json:
        emit_json(judged.to_json() | {"better": flags})
    else:
        show(judged.verdict, derivations=derivations)
        show_command(posed, judged.verdict.layout, judged.assumed)
        for text in judged.not_checked:
            emit(f"not checked: {text}")
        if result is not None:
            show_better(flags, result)
    return int(judged.verdict.exit_status)


def show(verdict: LayoutVerdict, *, derivations: bool = False) -> None:
    """Print a verdict."""
    from optimizer.cli import present  # noqa: PLC0415 - needs the figures

    problem = verdict.problem
    present.verdict_line(verdict.headline, good=verdict.fits == "yes")
    for text in verdict.doubts:
        emit(f"  {paint(text, 'yellow')}")
    for violation in verdict.violations:
        emit(f"  {paint(str(violation), 'red')}")
    experts = problem.model.moe is not None
    prose(f"layout   {present.layout_line(verdict.layout, experts=experts, of=problem.devices)}")
    prose(f"problem  {present.problem_line(problem)}")
    present.limits_line(problem)
    for axis in verdict.outside_lattice:
        prose(f"lattice  {axis} is none that `solve` looks at")
    if verdict.evaluation is not None:
        names = list(verdict.figures) if derivations else present.SHOWN
        present.figure_table(verdict.figures, names, derivations=derivations)
        if verdict.evaluation.endless:
            load = float(verdict.evaluation.load)
            prose(f"TTFT and latency: none: load {load:.4g}, and from 1 on requests wait longer and longer")
        present.accuracy_lines(verdict.accuracy or {}, problem)
        present.memory_table(problem, verdict.evaluation)
        present.time_table(problem, verdict.evaluation, verdict.imbalance)
    if verdict.claims:
        present.claim_table(verdict.claims)

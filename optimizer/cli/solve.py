"""`solve`: the best layout, proved."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from optimizer.cli.options import (
    From,
    Json,
    Pools,
    ProblemSource,
    TimeLimit,
    TimePassedError,
    takes_a_problem,
    time_limit_option,
)
from optimizer.cli.output import (
    emit,
    emit_json,
    end_progress,
    heading,
    json_text,
    paint,
    progress_line,
    prose,
    say,
    table,
)
from optimizer.errors import Fault, SpecError
from optimizer.readers.messages import shown
from optimizer.readers.options import named_parts
from optimizer.units import Dimension, QuantityError, amount, named, parse_quantity

if TYPE_CHECKING:
    from optimizer.domain.problem import Problem
    from optimizer.readers.launch.problem import Posed
    from optimizer.solve.result import Solved

Method = Literal["branch-and-bound", "cp-sat"]
_GOOD = frozenset({"optimal", "feasible"})
_LISTED = 20
"""Points of a frontier that a terminal is shown; the file has all."""


@takes_a_problem
def command(
    problem: ProblemSource,
    json: Json = False,
    pool: Pools = None,
    out: Annotated[str | None, typer.Option(help="Write the result to a file.", metavar="FILE")] = None,
    top: Annotated[int, typer.Option(help="Number of layouts to list, best first.", min=1, max=1000)] = 1,
    time_limit: Annotated[
        float | None, time_limit_option("Seconds after which the best layout so far is given.")
    ] = None,
    pareto: Annotated[
        str | None,
        typer.Option(help="Two or three objectives, comma between: all layouts that nothing beats.", metavar="A,B[,C]"),
    ] = None,
    uncertainty: Annotated[
        str | None,
        typer.Option(
            help="How wrong efficiencies may be, such as 20% or hbm=10%,links=30%: the layout of least regret.",
            metavar="SHARE",
        ),
    ] = None,
    slot_prices: Annotated[
        bool, typer.Option("--slot-prices", help="Solve for each number of redundant expert slots as well.")
    ] = False,
    method: Annotated[
        Method, typer.Option(help="What searches: cp-sat is the problem as one CP-SAT program, for small problems.")
    ] = "branch-and-bound",
    vipr: Annotated[
        str | None, typer.Option(help="Write the derivation of a fleet's bound as a VIPR file.", metavar="FILE")
    ] = None,
    from_: From = None,
) -> int:
    """Find the best layout of a model on hardware under limits, with a proof that nothing beats it.

    With --from, on the devices of a launch command: the flags that would have to change are listed.
    """
    posed = None if from_ is None else problem.posed(from_, pool or ())
    question = problem.question(pool or ()) if posed is None else _served(posed)
    from optimizer.domain.problem import Problem  # noqa: PLC0415 - the specs load when a command runs
    from optimizer.readers.output import write_whole  # noqa: PLC0415 - beside it

    if not isinstance(question, Problem):
        from optimizer.cli.cluster import solve_and_show  # noqa: PLC0415 - loads the solver

        single = {
            "--top": top > 1, "--pareto": pareto, "--uncertainty": uncertainty, "--slot-prices": slot_prices,
            "--method": method != "branch-and-bound",
        }  # fmt: skip
        return solve_and_show(question, [n for n, on in single.items() if on], out, vipr, time_limit, as_json=json)
    box = None if uncertainty is None else _box_of(question, uncertainty)
    axes = None if pareto is None else _frontier_of(question, pareto)
    watch, limit = progress_line(quiet=json), TimeLimit(time_limit)
    result = _solved(question, method, top, time_limit, watch)
    single_layout = posed is not None or top > 1 or pareto or uncertainty or slot_prices or method != "branch-and-bound"
    mixed = None if single_layout else _mixed(question, result, limit, out, vipr, as_json=json)
    if mixed is not None:
        return mixed
    if vipr is not None:
        say("no VIPR file: one kind of layout is best, which is proved over the lattice, not by an integer program")
    document = result.answer()
    with _left_out_late(limit, "the answer stands; what was asked beside it is left out"):
        _beside(question, result, document, axes, box, watch)
    end_progress()
    if posed is None and problem.assumed:
        document["assumed"] = list(problem.assumed)
    if posed is not None:
        from optimizer.cli.launch import changed_flags, command_json  # noqa: PLC0415 - for a launch command alone

        document |= {"command": command_json(posed.launch), "assumed": list(posed.assumed)}
        document["flags"] = changed_flags(posed, question, result)
    if out is not None:
        write_whole(out, json_text(document) + "\n")
        say(f"wrote {out}")
    priced = _slot_prices(question, limit) if slot_prices else []
    if json:
        emit_json(document | ({"slot_prices": priced} if slot_prices else {}))
    else:
        show(question, result, document, limit)
        if posed is not None:
            from optimizer.cli.launch import show_flags  # noqa: PLC0415 - for a launch command alone

            heading("Flags of the command that change")
            show_flags(document["flags"])
        if priced:
            from optimizer.cli.placement_view import show_slot_prices  # noqa: PLC0415 - needs rich

            show_slot_prices(priced)
    return int(result.exit_status)


def _solved(
    problem: Problem, method: Method, top: int, time_limit: float | None, watch: Callable[[str, int, int], None] | None
) -> Solved:
    if method == "branch-and-bound":
        from optimizer.solve import solve  # noqa: PLC0415 - loads NumPy and the solver

        return solve(problem, time_limit_s=time_limit, top=top, progress=watch)
    if top > 1:
        raise SpecError(Fault(None, None, None, "--top", "--method cp-sat finds the best layout alone"))
    from optimizer.solve.declared import solve_declared  # noqa: PLC0415 - loads CP-SAT

    return solve_declared(problem, time_limit_s=time_limit)


def _mixed(
    problem: Problem, result: Solved, limit: TimeLimit, out: str | None, vipr: str | None, *, as_json: bool
) -> int | None:
    """Several kinds of layout side by side, given where they serve more; None where one kind is best."""
    from optimizer.domain.mixture import as_cluster  # noqa: PLC0415 - after the search

    if result.status != "optimal" or result.best is None or as_cluster(problem) is None:
        return None
    from optimizer.cluster import mix  # noqa: PLC0415 - loads the solver

    mixed = None
    with _left_out_late(limit, "the answer with one kind of layout stands; whether several serve more is left out"):
        mixed = mix(problem, result.best.value, time_limit_s=limit.left())
    if mixed is None:
        return None
    from optimizer.cli.cluster import give  # noqa: PLC0415 - for fleets alone

    end_progress()
    return give(mixed, out, vipr, as_json=as_json, alone=result.best.value)


@contextmanager
def _left_out_late(limit: TimeLimit, what: str) -> Iterator[None]:
    """Say what is left out where the user interrupts, or the time limit passes."""
    try:
        with limit.kept():
            yield
    except KeyboardInterrupt:
        end_progress()
        say(f"interrupted: {what}")
    except TimePassedError:
        end_progress()
        say(f"--time-limit {limit.seconds:g} has passed: {what}")


def _beside(
    problem: Problem,
    result: Solved,
    document: dict[str, Any],
    axes: list[str] | None,
    box: Mapping[str, Fraction] | None,
    watch: Callable[[str, int, int], None] | None,
) -> None:
    """Add to a result what is found after it: its conflict, its frontier, what uncertain efficiencies would change."""
    if result.status == "infeasible":
        from optimizer.explain import brief  # noqa: PLC0415 - beside the solver

        document["conflict"] = []
        document["conflict"] = brief(problem, watch)
    elif result.layout is not None:
        if axes is not None:
            document["pareto"] = frontier_json(problem, axes, watch)
        if box is not None:
            from optimizer.search.regret import robust  # noqa: PLC0415 - beside the solver

            answer = robust(problem, box, watch)
            document["uncertainty"] = None if answer is None else answer.to_json()


def _slot_prices(problem: Problem, limit: TimeLimit) -> list[dict[str, Any]]:
    from optimizer.solve.beside import slot_prices  # noqa: PLC0415 - beside the solver

    return [price.to_json() for price in slot_prices(problem, time_limit_s=limit.left())]


def _served(posed: Posed) -> Problem:
    from optimizer.readers.launch.problem import served  # noqa: PLC0415 - for a launch command alone

    return served(posed)


def uncertain_share(text: str) -> Fraction | dict[str, Fraction]:
    """``20%`` for every efficiency, or ``hbm=10%,links=30%`` for those named.

    Raises
    ------
    SpecError
        Where a share cannot be read, or is stated beside one of all efficiencies, or twice.
    """
    parts = named_parts(text, "--uncertainty")
    named = {}
    for name, share in parts:
        if not share and not re.search(r"\d", name):
            message = f"{shown(name)}: how much of it? Write {shown(name or 'hbm')[1:-1]}=10%, or 10% for all"
            raise SpecError(Fault(None, None, None, "--uncertainty", message))
        if not share and len(parts) > 1:
            message = f"{shown(name)} is of every efficiency: give it alone, or each by its name"
            raise SpecError(Fault(None, None, None, "--uncertainty", message))
        try:
            value = parse_quantity(share or name, Dimension.RATIO, largest=1)
        except QuantityError as error:
            raise SpecError(Fault(None, None, None, "--uncertainty", str(error), error.suggestion)) from None
        if not share:
            return value
        named[name] = value
    return named


@contextmanager
def _of_option(option: str) -> Iterator[None]:
    """Name the option in faults that have no place."""
    try:
        yield
    except SpecError as error:
        raise SpecError(*(replace(fault, field=fault.field or option) for fault in error.faults)) from None


def _box_of(problem: Problem, text: str) -> Mapping[str, Fraction]:
    """Efficiencies of ``--uncertainty``, refused before anything is solved."""
    from optimizer.search.regret import uncertainty_box  # noqa: PLC0415 - loads NumPy

    with _of_option("--uncertainty"):
        return uncertainty_box(problem, uncertain_share(text))


def _frontier_of(problem: Problem, text: str) -> list[str]:
    """Objectives of ``--pareto``, refused before anything is solved."""
    from optimizer.search.frontier import check_objectives  # noqa: PLC0415 - loads NumPy

    axes = [name.strip() for name in text.split(",")]
    with _of_option("--pareto"):
        check_objectives(problem, axes)
    return axes


def frontier_json(
    problem: Problem, objectives: list[str], progress: Callable[[str, int, int], None] | None
) -> dict[str, Any]:
    """The frontier of a result: objectives by name with unit, and for each point its values and its layout."""
    from optimizer.domain.layout import slotted  # noqa: PLC0415 - beside the solver
    from optimizer.domain.objectives import OBJECTIVES  # noqa: PLC0415 - the same
    from optimizer.search.frontier import frontier  # noqa: PLC0415 - loads NumPy

    points = frontier(problem, objectives, progress)
    return {
        "objectives": [OBJECTIVES[name].unit for name in objectives],
        "points": [{"values": [float(v) for v in p.values]} | slotted(p.layout) for p in points],
    }


def show(problem: Problem, result: Solved, document: dict[str, Any], limit: TimeLimit | None = None) -> None:
    """Print a result."""
    limit = limit or TimeLimit(None)
    from optimizer.cli import present  # noqa: PLC0415 - needs the figures
    from optimizer.domain.lattice import holds  # noqa: PLC0415 - the same
    from optimizer.figures.objective_text import objective_text  # noqa: PLC0415 - the same
    from optimizer.verify.placement import placed_experts  # noqa: PLC0415 - the same

    objective, status = document["objective"], document["status"]
    value = "" if objective["value"] is None else f": {objective_text(objective['name'], objective['value'])}"
    bound = objective["bound"]
    stated = "no bound yet" if bound is None else f"bound {bound:,.6g}, gap {objective['gap']:.2%}"
    proof = f" ({stated})" if status == "feasible" else ""
    present.verdict_line(status + value + proof, good=status in _GOOD)
    if result.waiting:
        prose(
            "a layout keeps every limit, but its requests wait too long for a free place, and none was found whose do "
            "not; that there is none is not proved"
        )
    if result.layout is not None:
        experts = problem.model.moe is not None
        prose(f"layout   {present.layout_line(result.layout, experts=experts, of=problem.devices)}")
        _idle(problem, result, limit.left())
    prose(f"problem  {present.problem_line(problem)}")
    present.limits_line(problem)
    if document.get("assumed"):
        prose(f"assumed  {'; '.join(document['assumed'])}")
    prose(f"lattice  {holds(problem)}")
    if result.layout is not None and result.evaluation is not None:
        present.figure_table(result.derived)
        present.accuracy_lines(document["accuracy"], problem)
        present.memory_table(problem, result.evaluation)
        placed = None if result.placement is None else placed_experts(problem, result.layout, result.placement)
        present.time_table(problem, result.evaluation, placed.imbalance if placed else None)
        if result.placement is not None:
            from optimizer.cli.placement_view import summary  # noqa: PLC0415 - needs rich

            summary(problem, result.placement)
        if result.top:
            _top(problem, result)
        if document.get("ties"):
            _ties(problem, document["ties"])
        if document.get("pareto"):
            _frontier(problem, document["pareto"])
        if document.get("uncertainty"):
            _uncertainty(document["uncertainty"])
    elif status == "infeasible":
        _conflict(problem, document["conflict"], limit)
    search = document["search"]
    emit()
    emit(paint(f"{search['candidates']:,} candidates in {search['wall_s']:.2f} s", "dim"))


def _conflict(problem: Problem, members: Sequence[dict[str, Any]], limit: TimeLimit) -> None:
    """Limits that nothing keeps together, and what would help."""
    from optimizer.cli.explain import conflict_heading  # noqa: PLC0415 - only where nothing fits
    from optimizer.explain.feasible import fits_as_predicted  # noqa: PLC0415 - the same
    from optimizer.verify.structure import why_not  # noqa: PLC0415 - the same

    if members:
        emit(conflict_heading(members) + ":")
    for member in members:
        emit(f"  {paint(_limit(member), 'red')}")
    for reason in why_not(problem):
        prose(reason)
    predicted = False
    with _left_out_late(limit, "whether the prediction alone could be kept is left out"):
        predicted = fits_as_predicted(problem)
    if predicted:
        emit("By the prediction alone all could be kept: --confidence none.")
    emit("`shardproof explain` says how little each would have to change.")


def _idle(problem: Problem, result: Solved, time_limit_s: float | None) -> None:
    """Devices left over, and what would use them."""
    from optimizer.cli import present  # noqa: PLC0415 - needs the figures
    from optimizer.figures.objective_text import objective_text  # noqa: PLC0415 - the same
    from optimizer.solve.beside import idle  # noqa: PLC0415 - beside the solver

    left_idle = None if result.layout is None else idle(problem, result.layout, time_limit_s)
    if left_idle is None:
        return
    uses = []
    if left_idle.busier is not None:
        value = objective_text("throughput_tokens_per_s", float(left_idle.busier.throughput))
        uses.append(f"--objective throughput would use {left_idle.busier.layout.devices:,} devices: {value}")
    elif problem.objective == "throughput" and result.status == "optimal":
        uses.append("no layout that keeps the limits serves more with them")
    if left_idle.wanting is not None:
        uses.append(f"{left_idle.wanting:,} more would hold another replica")
    prose(f"idle     {present.counted(left_idle.devices, 'device')}: {'; '.join(uses) or 'as the search asks'}")


def _frontier(problem: Problem, pareto: dict[str, Any]) -> None:
    from optimizer.cli import present  # noqa: PLC0415 - needs the figures
    from optimizer.domain.layout import Layout  # noqa: PLC0415 - the same

    points, experts = pareto["points"], problem.model.moe is not None
    shown = (
        points if len(points) <= _LISTED else [points[i * (len(points) - 1) // (_LISTED - 1)] for i in range(_LISTED)]
    )
    heading(
        f"{len(points):,} layouts that nothing beats in all of these"
        + (f"; {len(shown)} of them" if shown is not points else "")
    )
    rows = []
    for point in shown:
        layout = Layout.model_validate({k: v for k, v in point["layout"].items() if k in Layout.model_fields})
        rows.append([*(f"{value:,.6g}" for value in point["values"]), present.layout_line(layout, experts=experts)])
    names = [named(name)[0] for name in pareto["objectives"]]
    table([*names, "layout"], rows, right=range(len(names)))


def _uncertainty(uncertainty: dict[str, Any]) -> None:
    heading("If the efficiencies are wrong")
    nominal, least = uncertainty["nominal"]["worst_regret"], uncertainty["robust"]["worst_regret"]
    if uncertainty["same"]:
        emit(
            f"this layout has the least worst regret, {least:.2%}"
            if least is not None
            else "no layout keeps every limit"
        )
    else:
        worst = "misses a limit" if nominal is None else f"loses up to {nominal:.2%}"
        robust = uncertainty["robust"]["layout"]
        degrees = " ".join(f"{name}={robust[name]}" for name in ("tp", "cp", "dp", "pp", "etp", "ep", "edp"))
        degrees += " two-batch overlap" if robust.get("overlap") == "two_batch" else ""
        emit(f"this layout {worst}; {degrees} loses at most " + ("unknown" if least is None else f"{least:.2%}"))
    emit(paint(f"proved over {uncertainty['proved_over']}", "dim"))
    rows = [
        [
            t["efficiency"],
            t["direction"],
            f"none at × {t['holds_at']:.4g}" if t["changes_at"] is None else f"× {t['changes_at']:.4g}",
        ]
        for t in uncertainty["thresholds"]
    ]
    table(["efficiency", "", "another layout is better from"], rows)


def _limit(limit: dict[str, Any]) -> str:
    return f"{limit['limit']} {amount(limit.get('value'), limit.get('unit'))}"


def _ties(problem: Problem, ties: list[dict[str, Any]]) -> None:
    """Layouts that the model's error cannot tell from the best."""
    from optimizer.cli import present  # noqa: PLC0415 - needs the figures
    from optimizer.domain.layout import Layout  # noqa: PLC0415 - the same
    from optimizer.domain.uncertainty import TIES  # noqa: PLC0415 - the same

    apart = float(TIES[problem.scale.measure])
    heading(f"Ties: within {apart:.0%} of it on as many devices, where runs have been in the other order; measure them")
    rows = []
    for tie in ties:
        layout = Layout.model_validate({k: v for k, v in tie["layout"].items() if k in Layout.model_fields})
        line = present.layout_line(layout, experts=problem.model.moe is not None)
        rows.append([f"{tie['value']:,.6g}", f"{tie['ratio'] - 1:+.1%}", line])
    table([problem.objective.replace("_", " "), "", "layout"], rows, right=(0, 1))


def _top(problem: Problem, result: Solved) -> None:
    from optimizer.cli import present  # noqa: PLC0415 - needs the figures

    heading(f"The best {1 + len(result.top)} layouts")
    best = [scored for scored in (result.best, *result.top) if scored is not None]
    experts = problem.model.moe is not None
    rows = [
        [f"{number}.", f"{float(scored.value):,.6g}", present.layout_line(scored.layout, experts=experts)]
        for number, scored in enumerate(best, 1)
    ]
    table(["", problem.objective.replace("_", " "), "layout"], rows, right=(0, 1))

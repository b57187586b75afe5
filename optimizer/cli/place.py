"""`place`: experts on devices where the degrees are decided, with device load before and after."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.options import Json, ProblemSource, takes_a_problem, time_limit_option
from optimizer.cli.output import emit_json, json_text, say
from optimizer.errors import SpecError
from optimizer.readers.source import is_file

if TYPE_CHECKING:
    from optimizer.domain.problem import Problem

_STAND_INS = {"hardware": "h100-sxm-8", "isl": "1", "osl": "2"}
"""What a placement does not depend on, but a problem must say."""


def _filled(file: str | None, values: dict[str, str | None]) -> dict[str, str | None]:
    """Values of the options, with what a placement does not depend on filled in."""
    if file is not None:
        return values
    if values.get("hierarchy") in {"node", "rack"} and values.get("hardware") is None:
        raise SpecError(f"--hierarchy: {values['hierarchy']} needs --hardware, which tells its devices")
    if values.get("coactivation") is not None and values.get("hardware") is None:
        raise SpecError("--coactivation: nodes visited need --hardware, which tells the devices of a node")
    stated = {name: text for name, text in values.items() if text is not None}
    width = stated.get("ep", "")
    stand_ins = _STAND_INS | ({} if "nodes" in stated else {"devices": width if width.isdigit() else "1"})
    return values | {name: text for name, text in stand_ins.items() if name not in stated}


@partial(takes_a_problem, prepare=_filled)
def command(
    problem: ProblemSource,
    json: Json = False,
    out: Annotated[str | None, typer.Option(help="Write the placement to a file.", metavar="FILE")] = None,
    hold_out: Annotated[
        list[str] | None, typer.Option("--hold-out", help="Load to judge by, not to place for.", metavar="FILE")
    ] = None,
    frontier: Annotated[bool, typer.Option("--frontier", help="Moves against balance, from what was before.")] = False,
    prices: Annotated[bool, typer.Option("--prices", help="What each choice about the placement costs.")] = False,
    step_tokens: Annotated[
        int | None, typer.Option(help="Tokens of one step over all devices, for its sampling noise.", min=1)
    ] = None,
    time_limit: Annotated[
        float | None,
        time_limit_option("Seconds for the search, all of them where gaps remain; a fixed amount of work without it."),
    ] = None,
) -> int:
    """Place experts on devices for measured loads, degrees being decided, with a proved bound for every layer."""
    question = problem()
    from optimizer.readers.output import write_whole  # noqa: PLC0415 - beside it
    from optimizer.solve import decided  # noqa: PLC0415 - loads NumPy and the solver

    unseen = [_unseen(question, file) for file in hold_out or ()]
    answer = decided.place_decided(question, time_limit)
    if answer.uneven and (frontier or prices):
        raise SpecError("--frontier and --prices need slots that divide over the devices")
    held_out = [answer.held_out(load) for load in unseen]
    rebalanced = prices and question.current_placement is not None
    points = decided.moves_frontier(answer) if frontier or rebalanced else []
    priced = list(decided.prices(answer, time_limit)) if prices else []
    document = answer.to_json(step_tokens=step_tokens, held_out=held_out, moved=points, prices=priced)
    if out is not None:
        write_whole(out, json_text(document) + "\n")
        say(f"wrote {out}")
    if json:
        emit_json(document)
        return 0
    from optimizer.cli import placement_view  # noqa: PLC0415 - needs rich

    placement_view.show(answer, step_tokens=step_tokens, held_out=held_out)
    if points:
        placement_view.show_frontier(points, answer.placed.bound)
    if priced:
        placement_view.show_prices(priced)
    return 0


def _unseen(problem: Problem, file: str) -> Any:  # noqa: ANN401 - ExpertLoad, whose module loads when needed
    from optimizer.readers.loads import read_load  # noqa: PLC0415 - the specs load when the command runs

    model = problem.model
    if model.moe is None:
        raise SpecError(f"{model.name} has no experts to place")
    load = read_load(file, layers=model.moe_layer_count, experts=model.moe.experts, seed=problem.seed)
    return replace(load, name=Path(file).stem) if is_file(file) else load

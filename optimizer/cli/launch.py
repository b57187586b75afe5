"""What `verify`, `solve` and `explain` add for a launch command: how it was read, what is better, what changes."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from optimizer.cli.output import emit, heading, paint, table

if TYPE_CHECKING:
    from optimizer.domain.layout import Layout
    from optimizer.domain.problem import Problem
    from optimizer.readers.launch.launch import Launch
    from optimizer.readers.launch.problem import Posed
    from optimizer.solve.result import Solved
    from optimizer.verify.launch import LaunchVerdict

_NODE: Final = frozenset(
    {"node_rank", "headless", "dp_start", "dp_rank", "address", "port", "model", "config_file", ""}
)
"""Fields that tell a node or a place from another, and no layout from another."""


def command_json(launch: Launch) -> dict[str, Any]:
    """``command`` of a document: engine, version, flags, and those that no figure depends on."""
    return {
        "engine": launch.engine, "version": launch.version, "flags": launch.flags,
        "ignored": [item.to_json() for item in launch.ignored],
    }  # fmt: skip


def better(judged: LaunchVerdict) -> tuple[Solved, dict[str, Any] | None]:
    """The best layout on the same devices, and how to get there; None where the launch is as good."""
    from optimizer.figures.objective import better as beats  # noqa: PLC0415 - the same
    from optimizer.solve import solve  # noqa: PLC0415 - loads NumPy and the solver

    problem, verdict = judged.posed.problem, judged.verdict
    result = solve(problem)
    if result.best is None:
        return result, None
    figure = verdict.figures.get(problem.objective_row.unit)
    value = Fraction(figure.value) if figure is not None and verdict.feasible else None
    if value is not None and not beats(problem, result.best.value, value):
        return result, None

    return result, {
        "objective": {
            "name": problem.objective_row.unit,
            "value": float(result.best.value),
            "launch": None if value is None else float(value),
        },
        "layout": result.best.layout.to_json(),
        "flags": changed_flags(judged.posed, problem, result),
    }


def changed_flags(posed: Posed, problem: Problem, result: Solved) -> list[dict[str, str | None]]:
    """Flags of a launch that differ from those of the best layout: name, its value there and here; None: not given."""
    from optimizer.errors import SpecError  # noqa: PLC0415 - an engine may not run the answer
    from optimizer.export.launch import export  # noqa: PLC0415 - writes what is compared
    from optimizer.export.plan import ExportPlan  # noqa: PLC0415 - the same
    from optimizer.readers.launch.flags import table as flags_of  # noqa: PLC0415 - the same
    from optimizer.readers.launch.rules import page_of  # noqa: PLC0415 - the same

    launch = posed.launch
    if result.layout is None or result.evaluation is None:
        return []
    answer = ExportPlan(
        problem, result.layout, result.evaluation, model=launch.model, page=page_of(launch, problem)
    )  # flags that stay say how chunks are paged
    try:
        exported = export(answer, launch.engine, launch.version)
    except SpecError:
        return []
    wanted = dict(exported.plan.arguments) | {
        name: _plain(value) for name, value in _flat(exported.plan.yaml) if name in flags_of(launch.engine).names
    }
    first = exported.commands[0].words
    names = flags_of(launch.engine).names
    for index, word in enumerate(first):
        if word in {"--nnodes", "--data-parallel-size-local"} and word in names:
            wanted[word] = first[index + 1]
    options = {option.flag.carries: option for option in launch.given if option.flag.carries not in _NODE}
    used = {item.flag for item in launch.ignored}
    changes: list[dict[str, str | None]] = []
    for name, value in wanted.items():
        option = options.pop(names[name].carries, None)
        if names[name].carries == "max_model_len" and launch.operating.fits_length:
            continue
        if option is None or not _same(option.text if option.values else None, value):
            changes.append({"flag": name, "from": None if option is None else option.text, "to": value or "true"})
    dropped = [option for option in options.values() if option.flag.carries in _LAYOUT and option.name not in used]
    return [*changes, *({"flag": option.flag.name, "from": option.text, "to": None} for option in dropped)]


_LAYOUT: Final = frozenset(
    {
        "tp", "pp", "dp", "cp", "dcp", "ep", "etp", "edp", "expert_parallel", "attention_dp", "dp_attention",
        "dp_local", "nodes", "eplb", "eplb_config", "redundant_slots", "all2all", "pp_partition", "overlap",
    }
)  # fmt: skip
"""Fields that a better layout may do without."""


def _flat(data: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in data.items():
        flat.extend(_flat(value, f"{before}{key}.") if isinstance(value, dict) else [(f"{before}{key}", value)])
    return flat


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _same(stated: str | None, wanted: str | None) -> bool:
    if stated == wanted or (stated or "true") == (wanted or "true"):
        return True
    try:
        return Fraction(stated or "") == Fraction(wanted or "")
    except ValueError:
        return False


def show_command(posed: Posed, layout: Layout, assumed: tuple[str, ...] = ()) -> None:
    """Print how a command was read, and what was taken for granted (by default what the problem says)."""
    launch = posed.launch
    version = f" {launch.version}" if launch.version else ""
    nodes = f", {launch.nodes} nodes" if launch.nodes else ""
    per_node = posed.problem.hardware.devices_per_node
    if launch.devices_of_node == per_node < launch.devices:
        nodes += f", {per_node} device{'s' if per_node > 1 else ''} of each"
    emit(f"command  {launch.engine}{version}: {launch.model or 'model not named'}, {layout.devices} devices{nodes}")
    if launch.dcp > 1:
        note = f"decode context parallelism {launch.dcp}: splits the cache within tp"
        emit(paint(f"  {note}; its exchange of partial results takes no time here", "yellow"))
    if assumed or posed.assumed:
        emit(paint(f"  assumed: {'; '.join(assumed or posed.assumed)}", "dim"))
    named = [str(item) for item in launch.ignored]
    if named:
        emit(paint(f"  no figure depends on: {', '.join(named)}", "dim"))


def show_better(better: dict[str, Any] | None, result: Solved) -> None:
    """Print the better layout and the flags to change."""
    from optimizer.cli import present  # noqa: PLC0415 - needs the figures
    from optimizer.figures.objective_text import objective_text  # noqa: PLC0415 - the same

    if result.layout is None:
        heading("No layout fits on these devices")
        emit("`shardproof explain --from …` says what would have to change.")
        return
    if better is None:
        heading("Nothing on these devices is better")
        return
    goal = better["objective"]
    told = partial(objective_text, goal["name"])
    ours = "" if goal["launch"] is None else f"; this launch: {told(goal['launch'])}"
    heading(f"Better on the same devices: {told(goal['value'])}{ours}")
    emit(f"  {present.layout_line(result.layout, experts=result.problem.model.moe is not None)}")
    show_flags(better["flags"])


def show_flags(flags: list[dict[str, str | None]]) -> None:
    """Print changed flags as a difference."""
    rows = [[item["flag"] or "", item["from"] or "", item["to"] or ""] for item in flags]
    if rows:
        table(["flag", "now", "better"], rows)

"""Expert placements as people read them: a summary, a heat map of device load before and after, and prices."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from io import StringIO
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from optimizer.cli.output import coloured, emit, heading, paint, table
from optimizer.figures.placement import Devices, linear_placement, max_over_mean
from optimizer.report.experts import heat_row, relative_loads

if TYPE_CHECKING:
    from optimizer.domain.problem import Problem
    from optimizer.solve.decided import Decided, HeldOut, Moved, Price

_CELLS = 48


def _number(value: float | Fraction) -> str:
    return f"{float(value):.4f}"


def summary(problem: Problem, placement: dict[str, Any]) -> None:
    """Print the placement of a solve's result in a few lines."""
    layers, moe = placement["layers"], problem.model.moe
    if moe is None:
        return
    heading("Expert placement")
    devices = len(layers[0]["devices"])
    slots = placement["slots_per_device"]
    linear = linear_placement(moe.experts, devices, slots)
    rows = []
    for number, load in enumerate(problem.expert_loads):
        after = placement["workloads"][number]["max_over_mean"]
        before = [max_over_mean(row, linear) for row in load.rows]
        rows.append(_balances(load.name, before, after))
    table(["load", "linear: mean", "worst layer", "placed: mean", "worst layer"], rows, right=range(1, 5))
    proved = sum(layer["proved"] for layer in layers)
    emit(
        f"  {moe.experts} experts in {slots} slots on each of {devices} devices"
        f" ({slots * devices - moe.experts} redundant); hottest device ÷ mean"
    )
    worst = max(layer["gap"] for layer in layers)
    emit(f"  {proved} of {len(layers)} layers proved within {placement['tolerance']:g}; largest gap {worst:.2g}")
    if placement["moves"] is not None:
        emit(f"  {placement['moves']:,} experts to be loaded anew")


def _balances(name: str, before: Sequence[Fraction], after: Sequence[float]) -> list[str]:
    return [
        name, _number(sum(before, Fraction(0)) / len(before)), _number(max(before)),
        _number(sum(after) / len(after)), _number(max(after)),
    ]  # fmt: skip


def _binned(loads: Sequence[Fraction]) -> list[Fraction]:
    """Loads of devices, or of the hottest of each few neighbours where there are more than cells."""
    bin_size = -(-len(loads) // _CELLS)
    return [max(loads[first : first + bin_size]) for first in range(0, len(loads), bin_size)]


def _print(lines: Sequence[Text]) -> None:
    stream = StringIO()
    colours = coloured()
    console = Console(
        file=stream, width=400, highlight=False, force_terminal=colours, color_system="256" if colours else None
    )
    for line in lines:
        console.print(line, soft_wrap=True, end="\n")
    for text in stream.getvalue().splitlines():
        emit(text.rstrip())


def heat(rows: Sequence[Sequence[int]], before: Sequence[Devices], decided: Decided) -> None:
    """Print one line a layer: hottest device before and after, bound, gap, whether proved, and both rows of cells.

    Parameters
    ----------
    rows
        Tokens ``[layer][expert]`` of the load that is shown.
    before
        Experts of ``[layer][device]`` before.
    """
    tolerance = decided.placed.tolerance
    cells = len(_binned([Fraction(1)] * decided.mesh[0]))
    lines = [Text(f"layer  before   after   bound      gap  proved  {'before'.ljust(cells)}   after", style="bold")]
    worst = decided.objective_before().layers
    for row, old, layer, was in zip(rows, before, decided.placed.layers, worst, strict=True):
        numbers = f"{layer.layer:5d}  {float(was):6.3f}  {float(layer.max_over_mean):6.4f}  {float(layer.bound):6.4f}"
        proved = "yes" if layer.proved(tolerance) else "no"
        line = Text(f"{numbers}  {float(layer.gap):7.1e}  {proved:>6}  ")
        line += heat_row(_binned(relative_loads(row, old))) + Text(" | ")
        lines.append(line + heat_row(_binned(relative_loads(row, layer.devices))))
    _print(lines)


def show(decided: Decided, *, step_tokens: int | None, held_out: Sequence[HeldOut]) -> None:
    """Print a placement on a decided mesh."""
    problem, placed, (ep, redundant) = decided.problem, decided.placed, decided.mesh
    proved = sum(layer.proved(placed.tolerance) for layer in placed.layers)
    good = decided.status == "optimal"
    emit(paint(decided.headline, "bold", "green" if good else "yellow"))
    emit(
        f"{problem.model.name}: {proved} of {len(placed.layers)} layers proved within {float(placed.tolerance):g}, "
        f"largest gap {float(placed.gap):.2g}; ep={ep}, {redundant} redundant, "
        + (f"{placed.slots_per_device - 1} or " if decided.uneven else "")
        + f"{placed.slots_per_device} slots a device"
    )
    heading(f"Hottest device ÷ mean, before ({decided.before_name}) and after")
    rows = [
        _balances(load.name, decided.balance_before(n).layers, [float(v) for v in decided.balance_after(n).layers])
        for n, load in enumerate(problem.expert_loads)
    ]
    rows += [
        _balances(f"{unseen.name} (held out)", unseen.before.layers, [float(v) for v in unseen.after.layers])
        for unseen in held_out
    ]
    table(["load", "before: mean", "worst layer", "after: mean", "worst layer"], rows, right=range(1, 5))
    for unseen in held_out:
        cost = float(unseen.after.mean) / float(unseen.bound.mean) - 1
        emit(f"  {unseen.name}, unseen, costs at most {cost:.2%} over a placement made for it alone")
    worst = max(range(len(problem.expert_loads)), key=lambda n: decided.balance_after(n).worst)
    shown = problem.expert_loads[worst]
    heading(f"Device load by layer, {shown.name} (a full cell is twice the mean)")
    heat(shown.rows, decided.before, decided)
    _visits(decided)
    moved = placed.to_json()["moves"]
    if moved is not None:
        emit()
        emit(f"{moved:,} experts to be loaded anew, at most {max(layer.moves or 0 for layer in placed.layers)} a layer")
    _noise(decided, step_tokens)


def _visits(decided: Decided) -> None:
    before, coactivation = decided.nodes_before(), decided.problem.coactivation
    visits = [layer.visits for layer in decided.placed.layers if layer.visits is not None]
    if before is None or coactivation is None or not visits:
        return
    noun = "a token" if coactivation.measure == "tokens" else "two experts chosen together"
    heading(f"Nodes visited by {noun} (copies chosen for the fewest), {coactivation.name}")
    after, bounds = [v.nodes / max(1, v.groups) for v in visits], [v.bound / max(1, v.groups) for v in visits]
    rows = [
        [name, _number(sum(values) / len(values)), _number(max(values))]
        for name, values in (("before", before), ("after", after), ("no placement below", bounds))
    ]
    table(["", "mean", "worst layer"], rows, right=(1, 2))


def _noise(decided: Decided, step_tokens: int | None) -> None:
    heading("Imbalance of a step that no static placement removes (drawing tokens scatters)")
    rows = [[f"{float(number):,.0f}", f"{floor:.3f}"] for number, floor in decided.noise(step_tokens)]
    table(["expert activations a device and step", "expected hottest ÷ mean"], rows, right=(0, 1))


def show_frontier(points: Sequence[Moved], bound: Fraction) -> None:
    """Print moves against balance."""
    heading("Moves against balance (best found; no placement is below the bound)")
    rows = [
        [f"{p.budget:,}", f"{p.moves:,}", _number(p.balance.mean), _number(p.balance.worst), _number(bound)]
        for p in points
    ]
    table(["budget a layer", "moves in all", "mean", "worst layer", "bound"], rows, right=range(5))


def show_prices(priced: Sequence[tuple[str, Price]]) -> None:
    """Print what each choice about the placement costs."""
    heading("Prices: hottest device ÷ mean under each choice, and what no placement goes below")
    rows = [
        [name, str(p.choice), _number(p.mean), _number(p.worst), _number(p.mean_bound), _number(p.worst_bound)]
        for name, p in priced
    ]
    table(["varied", "choice", "mean", "worst layer", "bound of mean", "of worst"], rows, right=range(2, 6))


def show_slot_prices(prices: Sequence[dict[str, Any]]) -> None:
    """Print the optimum for each number of redundant slots, beside the best of them."""
    heading("The optimum for each number of redundant expert slots")
    rows = []
    for price in prices:
        objective, layout = price["objective"], price["layout"]
        value = "" if objective["value"] is None else f"{objective['value']:,.6g}"
        gap = "" if objective["gap"] is None else f"{objective['gap']:.2%}"
        degrees = "" if layout is None else " ".join(f"{n}={layout[n]}" for n in ("tp", "dp", "pp", "ep", "batch"))
        rows.append([f"{price['redundant_slots']:,}", price["status"], value, gap, degrees])
    goal = prices[0]["objective"]["name"].replace("_", " ")
    table(["redundant", "status", goal, "gap", "layout"], rows, right=(0, 2, 3))

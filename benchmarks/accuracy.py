"""How far this product's figures are from measured runs.

``python -m benchmarks.accuracy [TABLE.csv]`` prices the layout of every row and prints, by group, the error of TPOT,
TTFT and throughput, the regret of ranking layouts by the figures, and whether each physical bound is below its
measurement. Without a table it reads benchmarks/data/measured.csv, whose rows name their public source. ``--raw`` sets
no row aside and takes every label as it stands.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from statistics import mean, median

from benchmarks import percentiles
from benchmarks.measurements import Run, problem_of, read_hardware, read_runs
from optimizer.calibrate import Calibrated, calibrate
from optimizer.calibrate.sample import decoding, fitting_batch
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.domain.workload import PhaseName
from optimizer.figures.bounds import DECODE_AT_BATCH, throughput_bounds, ttft_bound
from optimizer.figures.rates import TICKS_PER_SECOND, Rates, effective_rates
from optimizer.figures.serving import BURST, Evaluation, evaluate
from optimizer.readers.runs import WrittenRun
from optimizer.readers.runs import read_runs as written_runs

OWN_TABLE = Path(__file__).with_name("data") / "measured.csv"
_LARGEST_BATCH = 2048
"""What trtllm-bench lets in at most, unless told otherwise."""
_QUEUED_PERCENT = 95
FIGURES = ("tpot_s", "ttft_s", "tokens_per_s")


@dataclass(frozen=True)
class Figures:
    """Figures of a run; None where its kind measures no such thing."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True)
class Compared:
    """A run, what the product says of it, and the physical bound."""

    run: Run
    predicted: Figures
    bound: Figures

    def ratio(self, name: str) -> float | None:
        """Predicted ÷ measured of a figure, where it was measured."""
        measured, predicted = getattr(self.run, name), getattr(self.predicted, name)
        return predicted / measured if measured and predicted else None

    def broken_bounds(self) -> list[str]:
        """Figures that were measured better than the bound allows."""
        found = []
        for name in FIGURES:
            measured, bound = getattr(self.run, name), getattr(self.bound, name)
            if measured and bound and (measured > bound if name == "tokens_per_s" else measured < bound):
                found.append(name)
        return found


def _price(run: Run, phase: PhaseName, rates: Rates, batch: int) -> Evaluation | None:
    problem = problem_of(run, phase, read_hardware(run.gpu))
    if problem is None:
        return None
    layout = run.layout.model_copy(update={"batch": batch})
    if phase == "prefill":
        layout = layout.model_copy(update={"prefill_chunk": run.isl})
    # static batches are of benchmarks of an engine's core: no server lets their requests wait
    return evaluate(problem, layout, rates=replace(rates, hosted=False))


def _most_tokens(problem: Problem, layout: Layout, batch: int) -> float:
    """Output tokens/s in all that the busiest resource allows at a batch: no schedule decodes faster."""
    bounds = throughput_bounds(problem, layout.model_copy(update={"batch": batch}))
    return next(float(bound.value) for bound in bounds if bound.reading == DECODE_AT_BATCH)


def _at(problem: Problem, layout: Layout, batch: int, rates: Rates) -> Evaluation:
    return evaluate(problem, layout.model_copy(update={"batch": batch}), rates=rates)


def _online(run: Run, rates: Rates) -> Compared | None:
    problem = problem_of(run, "aggregated", read_hardware(run.gpu))
    if problem is None or run.tpot_s is None or run.ttft_s is None:
        return None
    largest = fitting_batch(problem, run.layout, run.layout.batch)
    loop = _at(problem, run.layout, largest, rates)
    ttft_s = float(loop.ttft_s or 0) + _unstated(run, loop)
    batch = decoding(run.layout.batch, largest, run.osl, ttft_s, float(loop.tpot_s or 0))
    steady = _at(problem, run.layout, batch, rates)
    decoded = decoding(run.layout.batch, largest, run.osl, run.ttft_s, run.tpot_s)
    least_tpot_s = decoded * run.layout.dp / _most_tokens(problem, run.layout, decoded)
    least_ttft_s = float(ttft_bound(problem, run.layout).value)
    return Compared(run, Figures(ttft_s, float(steady.tpot_s or 0)), Figures(least_ttft_s, least_tpot_s))


def _unstated(run: Run, loop: Evaluation) -> float:
    """Seconds that requests waited for what a problem does not state: looks of the engine, waves of equal lengths."""
    looked = Fraction(run.polls - 1, 2) * max(loop.stage_ticks)
    ahead = (1 - BURST) * (loop.layout.batch - 1) / 2 if run.waves else Fraction(0)
    together = ahead * Fraction(loop.steps.pieces, loop.steps.together) * max(loop.mixed_ticks)
    return float((looked + together) / TICKS_PER_SECOND)


def _static(run: Run, rates: Rates) -> Figures | None:
    prefill, decode = (_price(run, phase, rates, run.layout.batch) for phase in ("prefill", "decode"))
    if prefill is None or decode is None:
        return None
    total = float(prefill.ttft_s or 0) + (run.osl - 1) * float(decode.tpot_s or 0)
    return Figures(tokens_per_s=run.osl * run.concurrency / total)


def _queued(run: Run, rates: Rates) -> Figures | None:
    """Throughput at the batch that memory holds at full length."""
    problem = problem_of(run, "aggregated", read_hardware(run.gpu))
    if problem is None:
        return None
    batch = fitting_batch(problem, run.layout, _LARGEST_BATCH, _QUEUED_PERCENT)
    found = evaluate(problem, run.layout.model_copy(update={"batch": batch}), rates=rates)
    return Figures(tokens_per_s=float(found.throughput))


def _first_token(run: Run, rates: Rates) -> Figures | None:
    found = _price(run, "prefill", rates, 1)
    return None if found is None else Figures(ttft_s=float(found.ttft_s or 0))


def _bound(run: Run) -> Figures | None:
    """Physical bounds of a run without arrivals; queued runs at the largest batch that the engine lets in."""
    if run.kind in {"queued", "static"}:
        problem = problem_of(run, "aggregated", read_hardware(run.gpu))
        batch = _LARGEST_BATCH if run.kind == "queued" else run.layout.batch
        return None if problem is None else Figures(tokens_per_s=_most_tokens(problem, run.layout, batch))
    problem = problem_of(run, "prefill", read_hardware(run.gpu))
    return None if problem is None else Figures(ttft_s=float(ttft_bound(problem, run.layout).value))


def compare(run: Run) -> Compared | None:
    """Predicted figures and bounds of a run, in the way its kind measured them; None without a catalog model."""
    rates = effective_rates(read_hardware(run.gpu))
    if run.kind == "online":
        return _online(run, rates)
    price = {"queued": _queued, "static": _static}.get(run.kind, _first_token)
    predicted, bound = price(run, rates), _bound(run)
    return Compared(run, predicted, bound) if predicted and bound else None


@dataclass(frozen=True)
class Errors:
    """Errors of a group: mean and median of |predicted ÷ measured − 1|, and the median of predicted ÷ measured − 1."""

    count: int
    mean: float
    median: float
    bias: float


def errors(ratios: Sequence[float]) -> Errors:
    """Errors of ratios predicted ÷ measured."""
    shares = [abs(ratio - 1) for ratio in ratios]
    return Errors(len(shares), mean(shares), median(shares), median(ratios) - 1)


@dataclass(frozen=True)
class Regret:
    """Choosing the layout with the best predicted figure, in runs of one release that differ by layout alone."""

    groups: int
    hits: int
    mean: float
    worst: float


def per_device(run: Run, figures: Figures | Run) -> float | None:
    """Output tokens/s and device, from a throughput or from TTFT and TPOT at a fixed concurrency."""
    if figures.tokens_per_s:
        return figures.tokens_per_s / run.devices
    if figures.tpot_s is None or figures.ttft_s is None or not run.concurrency:
        return None
    return run.concurrency * run.osl / (figures.ttft_s + (run.osl - 1) * figures.tpot_s) / run.devices


def regret(found: Iterable[Compared]) -> Regret:
    """Share of measured tokens/s and device that choosing by the figures loses."""
    groups: dict[tuple[object, ...], dict[tuple[int, ...], list[tuple[float, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for item in found:
        run, layout = item.run, item.run.layout
        measured, predicted = per_device(run, run), per_device(run, item.predicted)
        if measured is not None and predicted is not None:
            key = (run.kind, run.group, run.release, run.isl, run.osl, run.concurrency)
            groups[key][(layout.tp, layout.pp, layout.dp, layout.ep)].append((predicted, measured))
    losses = []
    for layouts in groups.values():
        if len(layouts) > 1:
            means = [(mean(p for p, _ in runs), mean(m for _, m in runs)) for runs in layouts.values()]
            losses.append(1 - max(means)[1] / max(measured for _, measured in means))
    if not losses:
        return Regret(0, 0, 0.0, 0.0)
    return Regret(len(losses), sum(loss == 0 for loss in losses), mean(losses), max(losses))


def _print_errors(title: str, groups: dict[str, list[float]]) -> None:
    print(f"\n{title:<44}{'runs':>6}{'mean':>9}{'median':>9}{'bias':>9}")
    everything = [ratio for ratios in groups.values() for ratio in ratios]
    for name, ratios in [*sorted(groups.items()), ("all", everything)]:
        found = errors(ratios)
        print(f"{name:<44}{found.count:>6}{found.mean:>9.1%}{found.median:>9.1%}{found.bias:>+9.1%}")


def kind_of_model(run: Run) -> str:
    """Dense model or mixture of experts."""
    problem = problem_of(run, "prefill", read_hardware(run.gpu))
    return "dense" if problem is None or problem.model.moe is None else "mixtures of experts"


def _print_classes(found: Sequence[Compared]) -> None:
    groups: dict[str, list[float]] = defaultdict(list)
    for item in found:
        for name in FIGURES:
            ratio = item.ratio(name)
            if ratio is not None:
                groups[f"{name}, {item.run.kind}, {kind_of_model(item.run)}"].append(ratio)
        ours, measured = per_device(item.run, item.predicted), per_device(item.run, item.run)
        if item.run.kind == "online" and ours and measured:
            groups[f"tokens_per_s, online, {kind_of_model(item.run)}"].append(ours / measured)
    _print_errors("by class", groups)


def report(found: Sequence[Compared]) -> int:
    """Print errors, regret and bounds; the number of bounds that a measurement broke."""
    _print_classes(found)
    for kind in dict.fromkeys(item.run.kind for item in found):
        for name in FIGURES:
            groups: dict[str, list[float]] = defaultdict(list)
            for item in found:
                ratio = item.ratio(name)
                if item.run.kind == kind and ratio is not None:
                    groups[item.run.group].append(ratio)
            if groups:
                _print_errors(f"{kind}: {name.removesuffix('_s')}", groups)
    ranked = regret(found)
    print(
        f"\nranking: best layout chosen in {ranked.hits} of {ranked.groups} groups, "
        f"mean regret {ranked.mean:.1%}, worst {ranked.worst:.1%}"
    )
    broken = [(item.run, name) for item in found for name in item.broken_bounds()]
    kept = sum(not item.broken_bounds() for item in found)
    print(f"bounds: {kept} of {len(found)} runs ({kept / max(1, len(found)):.2%}) are no better than physics allows")
    for run, name in broken:
        print(f"  {run.place}: {name.removesuffix('_s')} of {run.kind} run, {run.group} tp {run.layout.tp}")
    return len(broken)


def as_labelled(run: Run) -> Run:
    """A run as its row says it is, whatever else is known of it."""
    return replace(run, suspect="", polls=1, waves=False)


def calibrated(table: Path, *, raw: bool = False) -> list[Calibrated]:
    """Each device of a table with the factors of its own runs, as `shardproof calibrate` fits them.

    Parameters
    ----------
    raw
        Fit those that are set aside as well.
    """
    known = {run.place: run for run in read_runs(table) if run.kind == "online" and (raw or not run.suspect)}
    by_gpu: dict[str, list[WrittenRun]] = defaultdict(list)
    for run in written_runs([table]):
        own = known.get(f"{table.name}:{run.place.line}")
        if own is not None:
            by_gpu[own.gpu].append(replace(run, deployment={**run.deployment, "model": own.model}))
    return [calibrate(runs, {}, read_hardware(gpu), name=gpu, files=table.name) for gpu, runs in sorted(by_gpu.items())]


def report_calibrated(table: Path, *, raw: bool = False) -> None:
    """Print the errors of a model with factors for each group (model, format, device, engine) on runs left out."""
    found = calibrated(table, raw=raw)
    total = sum(own.to_json()["runs"] for own in found)
    groups = sum(group.calibration.model is not None for own in found for group in own.groups)
    print(f"\ncalibrated: {total} runs in {groups} groups of model, format, device and engine, mean errors")
    for figure in ("tpot_s", "ttft_s"):
        told = []
        for name in ("before", "after", "run_left_out", "layout_left_out"):
            errors = [(own.errors[figure][name], own.to_json()["runs"]) for own in found]
            known = [(error, count) for error, count in errors if error is not None]
            share = sum(error * count for error, count in known) / max(1, sum(count for _, count in known))
            told.append(f"{name.replace('_', ' ')} {share:.1%}")
        print(f"  {figure.removesuffix('_s')}: {', '.join(told)}")


def online_of_command(description: str | None, default: Path) -> list[Compared]:
    """Online runs of the table that the command line names, priced, without those that are set aside."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("table", nargs="?", type=Path, default=default)
    runs = [run for run in read_runs(parser.parse_args().table) if run.kind == "online" and not run.suspect]
    return [item for run in runs if (item := compare(run)) is not None]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?", type=Path, default=OWN_TABLE)
    parser.add_argument("--calibrate", action="store_true", help="also fit factors to each group, and leave runs out")
    parser.add_argument("--raw", action="store_true", help="set no row aside; take every label as it stands")
    given = parser.parse_args()
    if given.calibrate:
        report_calibrated(given.table, raw=given.raw)
    runs = list(read_runs(given.table))
    if given.raw:
        runs = [as_labelled(run) for run in runs]
    trusted = [run for run in runs if not run.suspect]
    found = [item for run in trusted if (item := compare(run)) is not None]
    print(
        f"{len(found)} runs priced; {len(runs) - len(trusted)} set aside as suspect; "
        f"{len(trusted) - len(found)} without a catalog model"
    )
    broken = report(found)
    if given.table == OWN_TABLE:
        percentiles.report()
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())

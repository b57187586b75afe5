"""Fit the launch time of an operation to measured TPOT, and say how it does on models it has not seen.

``python -m benchmarks.calibration TABLE.csv``. One constant for each architecture; everything else in the hardware
files comes from tables of single operations. The loss is the mean over groups (model, format, device, engine) of the
mean |log(predicted ÷ measured)|; groups of fewer than ten runs do not count. Held out: fitted without one model,
judged on it.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from statistics import mean

from benchmarks.accuracy import OWN_TABLE, errors
from benchmarks.measurements import Run, problem_of, read_hardware, read_runs
from optimizer.calibrate.sample import fitting_batch
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.figures.rates import effective_rates
from optimizer.figures.serving import evaluate

ARCHITECTURES = {"Hopper": ("H100", "H200"), "Blackwell": ("B200",)}
_LEAST_GROUP = 10
_SHORTEST_US, _LONGEST_US, _PRECISION_US = 1.0, 30.0, 0.1
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Sample:
    """An online run, with the sequences that were decoding by Little's law on its own times."""

    run: Run
    problem: Problem
    layout: Layout

    def ratio(self, launch_us: float) -> float:
        """Predicted ÷ measured TPOT where an operation takes `launch_us` to launch."""
        rates = replace(effective_rates(self.problem.hardware), launch=Fraction(round(launch_us * 1000), 10**9))
        found = evaluate(self.problem, self.layout, rates=rates)
        return float(found.tpot_s or 0) / (self.run.tpot_s or 1)


def samples(runs: Sequence[Run]) -> list[Sample]:
    """Distinct online runs whose batch fits in memory, of groups that are large enough."""
    found: dict[tuple[object, ...], Sample] = {}
    for run in runs:
        if run.kind != "online" or run.suspect or run.tpot_s is None or run.ttft_s is None:
            continue
        problem = problem_of(run, "aggregated", read_hardware(run.gpu))
        if problem is None:
            continue
        if fitting_batch(problem, run.layout, run.layout.batch) < run.layout.batch:
            continue
        decode_s = (run.osl - 1) * run.tpot_s
        decoding = max(1, round(run.layout.batch * decode_s / (run.ttft_s + decode_s)))
        key = (run.group, run.isl, run.osl, run.concurrency, run.layout, run.tpot_s)
        found[key] = Sample(run, problem, run.layout.model_copy(update={"batch": decoding}))
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in found.values():
        groups[sample.run.group].append(sample)
    return [sample for group in groups.values() if len(group) >= _LEAST_GROUP for sample in group]


def loss(chosen: Sequence[Sample], launch_us: float) -> float:
    """Mean over groups of the mean |log(predicted ÷ measured)|."""
    groups: dict[str, list[float]] = defaultdict(list)
    for sample in chosen:
        groups[sample.run.group].append(abs(math.log(sample.ratio(launch_us))))
    return mean(mean(group) for group in groups.values())


def golden_section(function: Callable[[float], float], low: float, high: float, precision: float) -> float:
    """Where a function of one minimum is least (Kiefer 1953)."""
    while high - low > precision:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, right) if function(left) < function(right) else (left, high)
    return (low + high) / 2


def fit(chosen: Sequence[Sample]) -> float:
    """Launch time in microseconds with the least loss."""
    return golden_section(lambda launch: loss(chosen, launch), _SHORTEST_US, _LONGEST_US, _PRECISION_US)


def report(found: Sequence[Sample]) -> None:
    """Print the constant of each architecture, and its errors within and out of sample."""
    print(f"{'TPOT':<34}{'launch':>9}{'runs':>6}{'mean':>8}{'median':>8}{'bias':>8}")

    def line(name: str, launch: float | None, ratios: Sequence[float]) -> None:
        error = errors(ratios)
        shown = "" if launch is None else f"{launch:.1f} us"
        print(f"{name:<34}{shown:>9}{error.count:>6}{error.mean:>8.1%}{error.median:>8.1%}{error.bias:>+8.1%}")

    for name, gpus in ARCHITECTURES.items():
        chosen = [sample for sample in found if sample.run.gpu in gpus]
        models = sorted({sample.run.model for sample in chosen})
        if not chosen:
            continue
        launch = fit(chosen)
        line(f"{name}, all models", launch, [sample.ratio(launch) for sample in chosen])
        if len(models) < 2:
            continue
        everything: list[float] = []
        for model in models:
            launch = fit([sample for sample in chosen if sample.run.model != model])
            ratios = [sample.ratio(launch) for sample in chosen if sample.run.model == model]
            everything += ratios
            line(f"  {model} held out", launch, ratios)
        line("  held out, together", None, everything)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?", type=Path, default=OWN_TABLE)
    report(samples(list(read_runs(parser.parse_args().table))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

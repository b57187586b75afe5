"""Few factors on the times of a device's operations, fitted to runs, and how they do on runs that they have not seen.

For a run i and a figure (TPOT, TTFT), log measured_i = log predicted_i(x) + e_i, where x are the logarithms of the
factors of `domain.calibration`. What is minimised is Σ ρ(e_i ÷ noise) + Σ (x_k ÷ prior_k)², ρ Huber's function: a ridge
towards the shipped model (x = 0), so that few runs move it little and what they do not tell stays as it was. The
prediction is linear in x around the shipped model, and once more around the first solution (a chord step of
Gauss-Newton), where its errors are evaluated exactly.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from optimizer.calibrate.sample import Sample, predicted
from optimizer.domain.calibration import FACTORS, Calibration, FactorName, Fitted
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.margins import SHARES, Margin, quantile

Floats = NDArray[np.floating[Any]]

PRIOR: Final[dict[FactorName, float]] = {"memory": 0.1, "compute": 0.1, "launch": 0.1, "links": 0.1, "waiting": 0.3}
"""How far a machine's factor is expected from 1, as a logarithm. Of 0.1, 0.2, 0.4 and 1 for the first four, 0.1 erred
least on layouts left out of 1,266 runs in 19 groups of model, format, device and engine: 11.7, 12.6, 14.2 and 15.5%."""
NOISE: Final = {"tpot_s": 0.1, "ttft_s": 0.25}
"""Standard deviation of log measured ÷ predicted within such a group once it is fitted (the same runs)."""
LEAST_RUNS: Final = 5
"""Runs of a group below which it is not fitted: as many as there are factors."""
SHIPPED_RUNS: Final = 10
"""Runs that the spread of the shipped class counts for beside a group's own."""

_OF_A_STEP: Final[tuple[FactorName, ...]] = ("memory", "compute", "launch", "links")
_OF_WAITING: Final[tuple[FactorName, ...]] = ("waiting",)
_HUBER = 1.5
_ROUNDS = 20
_STEP = 0.1
"""Change of a factor's logarithm by which sensitivities are measured."""
_SURE = 1.645
"""Standard deviations of a normal distribution on either side that hold 90%."""
_DIGITS = 4


@dataclass(frozen=True)
class FitRow:
    """One figure of one run: log measured ÷ predicted as shipped, and what each factor changes of the prediction."""

    sample: Sample
    figure: str
    shipped: float
    slopes: tuple[float, ...]


def _hardware(hardware: HardwareSpec, group: tuple[str, str, str], logs: Sequence[float]) -> HardwareSpec:
    """The hardware with a group of these factors."""
    factors = {name: _fitted(math.exp(log), 0.0) for name, log in zip(FACTORS, logs, strict=True)}
    engine, weights, model = group
    calibration = Calibration.model_validate(
        {"engine": engine, "weights": weights, "model": model, "runs": 1, "factors": factors, "source": "trial"}
    )
    return hardware.model_copy(update={"calibration": (calibration,)})


def _fitted(value: float, deviation: float) -> Fitted:
    def exact(number: float) -> Fraction:
        return Fraction(f"{number:.{_DIGITS}g}")

    spread = math.exp(_SURE * deviation)
    return Fitted(value=exact(value), low=exact(value / spread), high=exact(value * spread))


def rows_of(samples: Sequence[Sample]) -> list[FitRow]:
    """Both figures of each run with their sensitivities at the shipped model."""
    rows = []
    for sample in samples:
        plain = predicted(sample.problem, sample)
        steps = []
        for number in range(len(FACTORS)):
            logs = [_STEP if number == changed else 0.0 for changed in range(len(FACTORS))]
            steps.append(predicted(sample.on(_hardware(sample.problem.hardware, sample.group, logs)), sample))
        for figure, value in plain.items():
            slopes = tuple(math.log(step[figure] / value) / _STEP for step in steps)
            rows.append(FitRow(sample, figure, math.log(getattr(sample, figure) / value), slopes))
    return rows


def solve(slopes: Floats, wanted: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """The factors' logarithms of least loss and their covariance, by iteratively reweighted least squares."""
    prior: Floats = np.diag([1 / PRIOR[name] ** 2 for name in FACTORS])
    weights = noise**-2.0
    logs: Floats = np.zeros(slopes.shape[1])
    normal: Floats = prior
    for _ in range(_ROUNDS):
        normal = (slopes * weights[:, None]).T @ slopes + prior
        logs = np.linalg.solve(normal, (slopes * weights[:, None]).T @ wanted)
        off = np.abs(wanted - slopes @ logs) / noise
        weights = np.minimum(1, _HUBER / np.maximum(off, 1e-9)) / noise**2
    return logs, np.linalg.inv(normal)


@dataclass(frozen=True)
class Fit:
    """A group of runs with its factors.

    Attributes
    ----------
    logs, covariance
        Of the factors, in the order of `FACTORS`.
    residuals
        log measured ÷ predicted of each row at the factors.
    """

    rows: tuple[FitRow, ...]
    logs: Floats
    covariance: Floats
    residuals: Floats

    @cached_property
    def slopes(self) -> Floats:
        """Sensitivity of each row's prediction to each factor."""
        return np.array([row.slopes for row in self.rows])

    @cached_property
    def noise(self) -> Floats:
        """Standard deviation expected of each row."""
        return np.array([NOISE[row.figure] for row in self.rows])

    def factors(self) -> dict[FactorName, Fitted]:
        """The factors with the range that holds each with 90%."""
        deviations = np.sqrt(np.diag(self.covariance))
        determined = [any(row.slopes[number] for row in self.rows) for number in range(len(FACTORS))]
        return {
            name: _fitted(math.exp(float(log)), float(deviation))
            for name, log, deviation, known in zip(FACTORS, self.logs, deviations, determined, strict=True)
            if known
        }

    def left_out(self, part: Callable[[Sample], Hashable]) -> Floats:
        """Log measured ÷ predicted of each row, by the rows whose run is of another part; nan where there is none."""
        parts = [part(row.sample) for row in self.rows]
        wanted, residuals = self.residuals + self.slopes @ self.logs, np.full(len(self.rows), np.nan)
        for excluded in dict.fromkeys(parts):
            held_out = np.array([row_part == excluded for row_part in parts])
            if not held_out.all():
                logs, _ = solve(self.slopes[~held_out], wanted[~held_out], self.noise[~held_out])
                residuals[held_out] = wanted[held_out] - self.slopes[held_out] @ logs
        return residuals

    def error(self, logs: Floats, figure: str) -> float | None:
        """Mean |predicted ÷ measured − 1| of a figure; None where nothing is of it."""
        errors = [math.exp(-log) - 1 for log, row in zip(logs, self.rows, strict=True)
               if row.figure == figure and not math.isnan(log)]  # fmt: skip
        return sum(map(abs, errors)) / len(errors) if errors else None

    @property
    def shipped(self) -> Floats:
        """Log measured ÷ predicted of each row as shipped."""
        return np.array([row.shipped for row in self.rows])


def fit(rows: Sequence[FitRow]) -> Fit:
    """Factors of a group, and what they leave: none that err no less on runs left out than the model without them.

    Those of a step's parts are judged by TPOT, that of the waiting by TTFT.
    """
    free: tuple[FactorName, ...] = ()
    best = _fit(rows, free)
    for more, figure in ((_OF_A_STEP, "tpot_s"), (_OF_WAITING, "ttft_s")):
        trial = _fit(rows, (*free, *more))
        plain, better = (candidate.error(candidate.left_out(id), figure) for candidate in (best, trial))
        if plain is not None and better is not None and better < plain:
            best, free = trial, (*free, *more)
    return best


def _fit(group: Sequence[FitRow], free: tuple[FactorName, ...]) -> Fit:
    """Some factors of a group, the others as shipped."""
    rows = [
        replace(
            row, slopes=tuple(slope if name in free else 0.0 for name, slope in zip(FACTORS, row.slopes, strict=True))
        )
        for row in group
    ]
    slopes, shipped = np.array([row.slopes for row in rows]), np.array([row.shipped for row in rows])
    noise = np.array([NOISE[row.figure] for row in rows])
    logs, _ = solve(slopes, shipped, noise)
    residuals = _residuals(rows, logs)
    logs, covariance = solve(slopes, residuals + slopes @ logs, noise)
    return Fit(tuple(rows), logs, covariance, _residuals(rows, logs))


def _residuals(rows: Sequence[FitRow], logs: Floats) -> Floats:
    """Log measured ÷ predicted at factors, as the product will predict."""
    priced: dict[int, dict[str, float]] = {}
    for row in rows:
        if id(row.sample) not in priced:
            sample = row.sample
            hardware = _hardware(sample.problem.hardware, sample.group, [float(log) for log in logs])
            priced[id(sample)] = predicted(sample.on(hardware), sample)
    return np.array([math.log(getattr(row.sample, row.figure) / priced[id(row.sample)][row.figure]) for row in rows])


def quantiles(logs: Sequence[float], shipped: Sequence[float | Fraction]) -> tuple[Fraction, ...]:
    """Quantiles of measured ÷ predicted at `SHARES`, the class's own spread counted as `SHIPPED_RUNS` runs beside."""
    middle = math.log(quantile(shipped, 0.5))
    shares = [min(max((number + 0.5) / SHIPPED_RUNS, SHARES[0]), SHARES[-1]) for number in range(SHIPPED_RUNS)]
    ratios = np.exp(sorted([*logs, *(math.log(quantile(shipped, share)) - middle for share in shares)]))
    return tuple(Fraction(f"{np.quantile(ratios, share):.{_DIGITS}g}") for share in SHARES)


def calibration_of(fitted: Fit, shipped: Margin, source: str, *, model: str | None, residuals: Floats) -> Calibration:
    """The group as a hardware holds it.

    Parameters
    ----------
    residuals
        log measured ÷ predicted of each row by the others: what intervals come from.
    """
    engine, weights, _ = fitted.rows[0].sample.group
    spread: dict[str, tuple[Fraction, ...] | None] = {}
    for figure in NOISE:
        logs = [
            log for log, row in zip(residuals, fitted.rows, strict=True) if row.figure == figure and not math.isnan(log)
        ]
        spread[figure] = quantiles(logs, getattr(shipped, figure)) if logs else None
    return Calibration(
        engine=engine, weights=weights, model=model, runs=len({id(row.sample) for row in fitted.rows}),
        factors=fitted.factors(), tpot_s=spread["tpot_s"], ttft_s=spread["ttft_s"], source=source,
    )  # fmt: skip


def grouped(rows: Sequence[FitRow], key: Callable[[Sample], Hashable]) -> dict[Hashable, list[FitRow]]:
    """Rows by a key of their run."""
    groups: dict[Hashable, list[FitRow]] = defaultdict(list)
    for row in rows:
        groups[key(row.sample)].append(row)
    return groups

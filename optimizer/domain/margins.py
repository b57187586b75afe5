"""How far measured times lie from predicted ones, and the limit that a prediction has to keep for a measurement to.

A measured time is at most `quantile(p)` times the predicted one in a share p of the runs of a class, where the group
they are of (model, format, device, engine) has not been seen. A limit kept with probability p is one that the
prediction times that quantile keeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

ANY = "any"
SHARES = (0.05, 0.5, 0.8, 0.9, 0.95)
"""Shares of runs whose quantiles a row has; the first and the last hold 90% between them, which intervals are of."""
DEFAULT_CONFIDENCE = Fraction(4, 5)
"""Share of runs that keep limits on TTFT and TPOT where a problem asks for none.

The least multiple of 10% at which at most 15% of the choices of `python -m benchmarks.margins` break a limit as
measured: 12.2% one of both, 8.9% one on TPOT alone, 13.3% one on TTFT alone; by the prediction 29%, 19% and 39%.
"""
SOURCE = (
    "1,145 closed-loop runs of aiconfigurator-core 0.12.0 silicon_sample.csv on H100, H200 and B200, by "
    "`python -m benchmarks.margins TABLE.csv` on 2026-11-30"
)


@dataclass(frozen=True)
class Margin:
    """Quantiles of measured ÷ predicted at `SHARES`, of one class of runs.

    Attributes
    ----------
    moe, engine
        Whether the model has experts (None: either), and the engine's name.
    runs
        How many were measured.
    calibrated
        Of a calibrated hardware: the group that the runs are of.
    source
        Where the runs come from.
    """

    moe: bool | None
    engine: str
    runs: int
    tpot_s: tuple[float | Fraction, ...]
    ttft_s: tuple[float | Fraction, ...]
    calibrated: str = ""
    source: str = SOURCE

    @property
    def title(self) -> str:
        """The class in words."""
        if self.calibrated:
            return f"{self.calibrated}, calibrated"
        if self.moe is None:
            return "all models and engines"
        return f"{'mixtures of experts' if self.moe else 'dense models'} on {self.engine}"


def quantile(values: Sequence[float | Fraction], share: float) -> Fraction:
    """The quantile at a share, linear between those of the table.

    Raises
    ------
    ValueError
        The share is beyond what the table tells.
    """
    if not SHARES[0] <= share <= SHARES[-1]:
        message = f"a confidence of {share:.4g} is not between {SHARES[0]} and {SHARES[-1]}, of which runs tell"
        raise ValueError(message)
    above = next(i for i, known in enumerate(SHARES) if known >= share)
    if SHARES[above] == share:
        return Fraction(str(values[above]))
    low, high = (Fraction(str(known)) for known in values[above - 1 : above + 1])
    start, stop = (Fraction(str(known)) for known in SHARES[above - 1 : above + 1])
    return low + (high - low) * (Fraction(str(share)) - start) / (stop - start)


MARGINS = tuple(
    Margin(*row)
    for row in (
        (None, "any", 1145, (0.699, 1.016, 1.175, 1.282, 1.365), (0.66, 1.146, 1.554, 1.862, 2.143)),
        (True, "sglang", 44, (0.836, 0.949, 1.085, 2.295, 2.497), (0.802, 1.037, 1.276, 2.021, 2.118)),
        (False, "trtllm", 390, (0.779, 1.031, 1.179, 1.295, 1.362), (0.65, 1.16, 1.673, 1.943, 2.179)),
        (True, "trtllm", 224, (0.677, 1.016, 1.245, 1.351, 1.426), (0.561, 1.241, 1.661, 2.053, 2.448)),
        (False, "vllm", 270, (0.835, 1.043, 1.168, 1.28, 1.397), (0.762, 1.105, 1.422, 1.738, 1.904)),
        (True, "vllm", 133, (0.719, 0.994, 1.152, 1.218, 1.226), (0.741, 1.208, 1.387, 1.557, 1.638)),
    )
)
"""Rows of `SOURCE`: experts, engine, runs, quantiles of TPOT, of TTFT. The first stands for every class without one."""


def margin_of(*, moe: bool, engine: str) -> Margin:
    """The row of a class, or that of all runs where it has none."""
    return next((row for row in MARGINS if (row.moe, row.engine) == (moe, engine)), MARGINS[0])


def share_within(values: Sequence[float | Fraction], ratio: Fraction) -> float:
    """Share of runs measured at most `ratio` times the predicted time, as `quantile` tells it, within `SHARES`."""
    known = [Fraction(str(value)) for value in values]
    above = next((i for i, quantile_value in enumerate(known) if quantile_value >= ratio), None)
    if above is None or above == 0:
        return SHARES[-1 if above is None else 0]
    low, high = known[above - 1], known[above]
    start, stop = SHARES[above - 1], SHARES[above]
    return start + (stop - start) * float((ratio - low) / (high - low))


def accuracy(
    margin: Margin, figures: Mapping[str, Any], asked: Mapping[str, Fraction] | None = None
) -> dict[str, object]:
    """What a result says of its times: the class, and intervals that hold 90% of what the class measured.

    Throughput is that of the batch in flight ÷ TPOT, and errs as that does.

    Parameters
    ----------
    figures
        `ttft_s`, `tpot_s` and `throughput_tokens_per_s` as predicted.
    asked
        Limits on `ttft` and `tpot` in seconds; `kept` is the share of runs that would keep each.
    """
    document: dict[str, object] = {"class": margin.title, "runs": margin.runs, "source": margin.source}
    shares = {}
    for name, values in (("ttft", margin.ttft_s), ("tpot", margin.tpot_s)):
        value = figures.get(f"{name}_s")
        if value is not None:
            document[f"{name}_interval_s"] = [value * float(values[0]), value * float(values[-1])]
            limit = (asked or {}).get(name)
            if limit is not None and value > 0:
                shares[name] = share_within(values, limit / Fraction(value))
    served = figures.get("throughput_tokens_per_s")
    if served is not None and figures.get("tpot_s") is not None:
        slow, fast = float(margin.tpot_s[-1]), float(margin.tpot_s[0])
        document["throughput_interval_tokens_per_s"] = [served / slow, served / fast]
    return document | ({"kept": shares} if shares else {})

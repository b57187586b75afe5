"""How far to trust predicted times, in words."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from optimizer.domain.limit_table import bounds_of
from optimizer.domain.limits import LATENCIES, Limits
from optimizer.domain.margins import DEFAULT_CONFIDENCE, SHARES
from optimizer.domain.problem import Problem
from optimizer.figures.derivation_figure import shown
from optimizer.units import Dimension

_INTERVALS = (
    ("TTFT", "ttft_interval_s", Dimension.SECONDS),
    ("TPOT", "tpot_interval_s", Dimension.SECONDS),
    ("throughput", "throughput_interval_tokens_per_s", Dimension.TOKENS_PER_SECOND),
)


def confidence_text(problem: Problem) -> str | None:
    """How sure limits on times are, and how to ask otherwise; None where no time is limited."""
    limited = {limit.timed(problem) for limit, _ in bounds_of(problem)}
    named = [name for name in LATENCIES if name in limited]
    if not named:
        return None
    if problem.limits.confidence is None:
        default = f"{float(DEFAULT_CONFIDENCE):.0%}"
        return f"{kept_how(problem.limits)}; --confidence {default} asks it of so many measured runs"
    margins = " and ".join(f"{name.upper()} × {float(problem.sure[name]):.4g}" for name in named)
    runs = "the engine that errs least" if problem.engine.members else problem.margin.title
    return (
        f"{kept_how(problem.limits)}: predicted {margins}, by measured runs of {runs} "
        "(--confidence asks for another share; none: the prediction alone)"
    )


def kept_how(limits: Limits) -> str:
    """By what limits on times are kept."""
    share = limits.confidence
    return "kept by predicted times alone" if share is None else f"kept at {float(share):.0%} confidence"


def accuracy_text(accuracy: Mapping[str, Any], problem: Problem) -> list[str]:
    """How far measured times lie from the predicted ones, and how many runs keep the limits; each a sentence."""
    intervals = [
        f"{title} {shown(Fraction(low), dimension)} to {shown(Fraction(high), dimension)}"
        for title, key, dimension in _INTERVALS
        for low, high in ([accuracy[key]] if key in accuracy else [])
    ]
    lines = (
        [f"as measured in 90% of {accuracy['runs']:,} runs ({accuracy['class']}): {', '.join(intervals)}"]
        if intervals
        else []
    )
    # a limit at a confidence is kept by the engine that errs least where any will do, not by the runs of all
    if accuracy.get("kept") and not (problem.engine.members and problem.limits.confidence is not None):
        shares = " and ".join(f"{name.upper()} in {_share(share)}" for name, share in accuracy["kept"].items())
        lines.append(f"runs of that class keep the limit on {shares}")
    return lines


def _share(share: float) -> str:
    low, high = SHARES[0], SHARES[-1]
    return f"{share:.0%} or more" if share >= high else f"{share:.0%} or fewer" if share <= low else f"{share:.0%}"

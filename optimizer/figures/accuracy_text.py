"""How far to trust predicted times, in words."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from optimizer.domain.margins import SHARES
from optimizer.figures.derivation_figure import shown
from optimizer.units import Dimension

_INTERVALS = (
    ("TTFT", "ttft_interval_s", Dimension.SECONDS),
    ("TPOT", "tpot_interval_s", Dimension.SECONDS),
    ("throughput", "throughput_interval_tokens_per_s", Dimension.TOKENS_PER_SECOND),
)


def accuracy_text(found: Mapping[str, Any], sure: Fraction | None = None) -> list[str]:
    """How far measured times lie from the predicted ones, and how many runs keep the limits; each a sentence."""
    told = [
        f"{title} {shown(Fraction(low), dimension)} to {shown(Fraction(high), dimension)}"
        for title, key, dimension in _INTERVALS
        for low, high in ([found[key]] if key in found else [])
    ]
    lines = [f"as measured in 90% of {found['runs']:,} runs ({found['class']}): {', '.join(told)}"] if told else []
    if found.get("kept"):
        kept = " and ".join(f"{name.upper()} in {_share(share)}" for name, share in found["kept"].items())
        hint = "" if sure is not None else "; --confidence 90% asks for nine of ten"
        lines.append(f"runs of that class keep the limit on {kept}{hint}")
    return lines


def _share(share: float) -> str:
    low, high = SHARES[0], SHARES[-1]
    return f"{share:.0%} or more" if share >= high else f"{share:.0%} or fewer" if share <= low else f"{share:.0%}"

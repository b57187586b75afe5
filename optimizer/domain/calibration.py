"""What a person's own runs say of a device: few factors on the times of its operations, with what is left over."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Literal, get_args

from pydantic import Field

from optimizer.domain.base import Spec
from optimizer.domain.margins import SHARES, Margin
from optimizer.domain.precision import FormatName
from optimizer.domain.quantity import Factor

FactorName = Literal["memory", "compute", "launch", "links", "waiting"]
FACTORS: tuple[FactorName, ...] = get_args(FactorName)
"""What times are multiplied by: streaming weights and cache; arithmetic; starting an operation; communication, latency
included; the engine's own overhead of a request and the steps that it lets one wait."""


class Fitted(Spec):
    """A factor and the range that holds it with 90%."""

    value: Factor
    low: Factor
    high: Factor


Quantiles = Annotated[tuple[Factor, ...], Field(min_length=len(SHARES), max_length=len(SHARES), strict=False)]


class Calibration(Spec):
    """One engine, weight format and model on a device.

    Attributes
    ----------
    engine, weights
        Engine, and format of the weights (of the experts' where there are any).
    model
        The model's name; None: models that have no row of their own.
    runs
        How many were measured.
    factors
        Times as predicted ÷ times as shipped, by part.
    tpot_s, ttft_s
        Quantiles of measured ÷ predicted at `SHARES`, each run predicted by the others; None: not measured.
    source
        Where the runs come from, and what fitted them.
    """

    engine: str = Field(min_length=1)
    weights: FormatName
    model: str | None = None
    runs: int = Field(ge=1)
    factors: dict[FactorName, Fitted]
    tpot_s: Quantiles | None = None
    ttft_s: Quantiles | None = None
    source: str = Field(min_length=1)

    @property
    def title(self) -> str:
        """The group in words."""
        return f"{self.model or 'other models'} in {self.weights} on {self.engine}"

    @property
    def multiples(self) -> Mapping[FactorName, Fraction]:
        """What multiplies each part's time."""
        return {name: fitted.value for name, fitted in self.factors.items()}

    def margin(self, shipped: Margin) -> Margin:
        """How far the group's runs lie from what is predicted; where it measured none of a figure, as shipped."""
        return Margin(
            moe=shipped.moe, engine=self.engine, runs=self.runs, tpot_s=self.tpot_s or shipped.tpot_s,
            ttft_s=self.ttft_s or shipped.ttft_s, calibrated=self.title, source=self.source,
        )  # fmt: skip

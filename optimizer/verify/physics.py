"""Beyond a physical bound: the resource, the factor, and the batching and phase of each reading.

A claim is impossible only where it passes the bound under every reading; one that fails at batch 1 alone is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.figures.bounds import COMPUTE, HBM, Bound, throughput_bounds, tpot_bound, ttft_bound
from optimizer.figures.derivation_figure import shown
from optimizer.readers.claims import Claim
from optimizer.units import Dimension, plain
from optimizer.verify.claim_table import ANY_TIER, ClaimKind, Physics


@dataclass(frozen=True, slots=True)
class PhysicalLimit:
    """A physical bound that a claim passes.

    Attributes
    ----------
    factor
        How many times the resource would have to be faster (or larger); above 1.
    """

    reading: str
    value: Fraction
    dimension: Dimension
    resource: str
    factor: Fraction
    formula: str
    substituted: str

    def __str__(self) -> str:
        value = shown(self.value, self.dimension)
        return (
            f"{self.reading}: {self.resource} allows {value} ({self.substituted}), a factor of {float(self.factor):.4g}"
        )

    def to_json(self) -> dict[str, Any]:
        """One entry of ``bounds``."""
        return {
            "reading": self.reading,
            "bound": plain(self.value),
            "resource": self.resource,
            "factor": plain(self.factor),
            "formula": self.formula,
            "substituted": self.substituted,
        }


def _most(claim: Claim, bounds: list[Bound]) -> tuple[PhysicalLimit, ...]:
    """Limits where the claim, less its tolerance, is more than every bound; else nothing."""
    if not bounds or any(claim.least <= bound.value for bound in bounds):
        return ()
    return tuple(_limit(claim, bound, claim.least / bound.value) for bound in bounds if bound.value > 0)


def _least(claim: Claim, bounds: list[Bound]) -> tuple[PhysicalLimit, ...]:
    """Limits where the claim, plus its tolerance, is less than every bound; else nothing."""
    if not bounds or any(claim.most >= bound.value for bound in bounds):
        return ()
    return tuple(_limit(claim, bound, bound.value / claim.most) for bound in bounds if claim.most > 0)


def _limit(claim: Claim, bound: Bound, factor: Fraction) -> PhysicalLimit:
    return PhysicalLimit(
        bound.reading, bound.value, claim.dimension, bound.resource, factor, bound.formula, bound.substituted
    )


def _scaled(bounds: tuple[Bound, ...], divisor: int, unit: str) -> list[Bound]:
    return [
        Bound(
            bound.reading,
            bound.value / divisor,
            bound.resource,
            f"{bound.formula}, ÷ {unit}",
            f"{bound.substituted} ÷ {divisor:,}",
        )
        for bound in bounds
    ]


def _requests(problem: Problem, layout: Layout) -> list[Bound]:
    """Requests/s: what the phase computes, on all devices, at its best; a role has no bound from the other's work."""
    work = problem.workload
    bounds = throughput_bounds(problem, layout)
    decode = tuple(bound for bound in bounds if bound.reading != "prefill" and work.decodes)
    prefill = tuple(bound for bound in bounds if bound.reading == "prefill" and work.prompts)
    readings = _scaled(decode, max(1, work.output_tokens - 1), "output tokens after the first")
    readings = [max(readings, key=lambda bound: bound.value)] if readings else []
    return readings + _scaled(prefill, work.input_tokens, "input tokens")


def _request_alone(problem: Problem, layout: Layout) -> Bound:
    """Shortest latency of a request that has the devices to itself: of the part that the phase computes."""
    work = problem.workload
    if not work.decodes:
        return ttft_bound(problem, layout)
    later, token = work.output_tokens - 1, tpot_bound(problem, layout)
    seconds = shown(token.value, Dimension.SECONDS)
    if not work.prompts:
        formula = "(output tokens − 1) · TPOT bound"
        return Bound("one request alone", later * token.value, token.resource, formula, f"{later:,} · {seconds}")
    first = ttft_bound(problem, layout)
    return Bound(
        "one request alone",
        first.value + later * token.value,
        token.resource,
        "TTFT bound + (output tokens − 1) · TPOT bound",
        f"{shown(first.value, Dimension.SECONDS)} + {later:,} · {seconds}",
    )


def _link(problem: Problem, name: str) -> Bound:
    """Rated bandwidth, both directions together, of the named tier, of the fastest one, or of the outermost."""
    tiers = problem.hardware.tiers
    named = [tier for tier in tiers if tier.name == name]
    tier = max(tiers, key=lambda link: link.bandwidth) if name == ANY_TIER else (named or tiers)[-1]
    text = f"2 · {shown(tier.bandwidth, Dimension.BYTES_PER_SECOND)}"
    formula = "2 · rated bandwidth of a direction"
    return Bound("any phase, both directions", 2 * Fraction(tier.bandwidth), f"link {tier.name!r}", formula, text)


def physical_limits(claim: Claim, kind: ClaimKind, problem: Problem, layout: Layout) -> tuple[PhysicalLimit, ...]:
    """Bounds that a claim passes under every reading; nothing where one reading allows it."""
    device, physics = problem.hardware.device, kind.physics
    if physics is Physics.THROUGHPUT:
        return _most(claim, list(throughput_bounds(problem, layout)))
    if physics is Physics.THROUGHPUT_PER_DEVICE:
        bounds = throughput_bounds(problem, layout)
        # A figure said to be of one device may be that of all together.
        return _most(claim, _scaled(bounds, layout.devices, "devices"))
    if physics is Physics.REQUESTS:
        return _most(claim, [min(_requests(problem, layout), key=lambda bound: bound.value)])
    if physics is Physics.TTFT:
        return _least(claim, [ttft_bound(problem, layout)])
    if physics is Physics.TPOT:
        return _least(claim, [tpot_bound(problem, layout)])
    if physics is Physics.LATENCY:
        return _least(claim, [_request_alone(problem, layout)])
    if physics is Physics.SHARE:
        return _most(claim, [Bound("any phase and batch", Fraction(1), "the device", "all of it", "all of it")])
    if physics is Physics.FLOPS:
        peak = Fraction(max(device.peak.values()))
        name = max(device.peak, key=lambda number: device.peak[number])
        return _most(claim, [Bound("any phase", peak, COMPUTE, f"rated {name} peak", shown(peak, Dimension.FLOPS))])
    if physics is Physics.LINK:
        return _most(claim, [_link(problem, kind.tier)])
    if physics is Physics.HBM:
        rated = Fraction(device.bandwidth)
        text = shown(rated, Dimension.BYTES_PER_SECOND)
        return _most(claim, [Bound("any phase", rated, HBM, "rated bandwidth", text)])
    return ()

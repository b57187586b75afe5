"""Requests of many lengths as a few nested buckets, each priced at lengths that cover all that it holds.

A replica of a bucket also takes every request that is shorter in both, so that buckets are nested: each is within the
next. Then a fleet serves a rate if, and only if, for every bucket the replicas of it and of longer ones serve all that
is as long (Hall's condition for nested supplies). A request is never priced shorter than it is: limits are kept, and
what that costs on average is `Traffic.input_rounding` and `output_rounding`.

Which buckets, of the `most` there may be: those with the least mean Σ covered input ÷ mean input + covered output ÷
mean output, by dynamic programming over corners at the quantiles of `_QUANTILES`. The longest bucket covers everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Annotated

from pydantic import Field, field_validator

from optimizer.domain.base import Spec
from optimizer.domain.limits import AsTuple
from optimizer.domain.quantity import Multiple, PositiveRatio, PositiveSeconds, Rate, Ratio

MOST_BUCKETS = 16
DEFAULT_BUCKETS = 6
"""More make columns, which take seconds each, and round little less: on the Azure 2023 conversation trace 4, 6 and 12
buckets round input up by 68%, 55% and 35% and output by 96%, 69% and 58%."""
_QUANTILES = (*(Fraction(k, 16) for k in range(1, 16)), *(1 - Fraction(1, 2**k) for k in range(5, 12)))
"""Shares of all requests at which a bucket may end, besides the longest: sixteenths, and a finer tail."""


class Bucket(Spec):
    """Requests of at most these lengths that no smaller bucket takes, and their share of all."""

    input_tokens: int = Field(ge=1)
    output_tokens: int = Field(ge=1)
    share: PositiveRatio

    @property
    def name(self) -> str:
        """Its lengths."""
        return f"{self.input_tokens}x{self.output_tokens}"


class Arrivals(Spec):
    """When requests of a trace came, window by window.

    Attributes
    ----------
    mean_per_s, peak_per_s
        Requests/s over all windows, and in the busiest.
    served_per_s
        Requests/s of the window at the stated quantile (nearest rank): what is to be served.
    dispersion
        Variance ÷ mean of the requests in a window; Poisson arrivals have 1.
    """

    window_s: PositiveSeconds
    windows: int = Field(ge=1)
    quantile: PositiveRatio
    mean_per_s: Rate
    peak_per_s: Rate
    served_per_s: Rate
    dispersion: Multiple


class PeriodTraffic(Spec):
    """What a trace says of one period of the day: its rate, bursts and lengths.

    Attributes
    ----------
    shares
        Of the period's requests, those of each bucket; empty where it has none.
    """

    arrivals: Arrivals
    shares: Annotated[tuple[Ratio, ...], AsTuple] = ()

    @field_validator("shares")
    @classmethod
    def _whole(cls, shares: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        if shares and sum(shares) != 1:
            message = "shares do not add up to 1"
            raise ValueError(message)
        return shares

    @property
    def as_long(self) -> tuple[Fraction, ...]:
        """Share of the period's requests that are of each bucket or a longer one."""
        return tuple(accumulate(reversed(self.shares)))[::-1]


class Traffic(Spec):
    """What a histogram or trace says besides its buckets.

    Attributes
    ----------
    file_digest
        SHA-256 of the file.
    requests
        How many there were, or the sum of weights.
    input_rounding, output_rounding
        Share by which the mean input and output that are priced exceed those of the requests.
    prefix_share
        Share of prompt blocks that came before, had nothing been evicted; None where the trace has no block hashes.
    """

    file_digest: str
    requests: Multiple
    mean_input_tokens: Multiple
    mean_output_tokens: Multiple
    input_rounding: Multiple
    output_rounding: Multiple
    arrivals: Arrivals | None = None
    prefix_share: Ratio | None = None


@dataclass(frozen=True)
class Lengths:
    """Requests of nearly the same lengths: the longest of them, and how many."""

    input_tokens: int
    output_tokens: int
    requests: int


def check_nested(buckets: Sequence[Bucket]) -> None:
    """Refuse buckets that are not nested, or whose shares are not 1 together.

    Raises
    ------
    ValueError
        So.
    """
    for one, other in pairwise(buckets):
        if not (one.input_tokens <= other.input_tokens and one.output_tokens <= other.output_tokens):
            message = f"buckets: {one.name} is not within {other.name}"
            raise ValueError(message)
    if len({bucket.name for bucket in buckets}) != len(buckets):
        message = "buckets: one stands there twice"
        raise ValueError(message)
    if buckets and sum((bucket.share for bucket in buckets), Fraction(0)) != 1:
        message = "buckets: their shares do not add up to 1"
        raise ValueError(message)


def nested_buckets(lengths: Sequence[Lengths], most: int) -> tuple[Bucket, ...]:
    """At most so many nested buckets, of the least mean rounding."""
    total = sum(length.requests for length in lengths)
    inputs = _ends([(length.input_tokens, length.requests) for length in lengths], total)
    outputs = _ends([(length.output_tokens, length.requests) for length in lengths], total)
    inside = _inside(lengths, inputs, outputs)
    of_input = sum(length.input_tokens * length.requests for length in lengths)
    of_output = sum(length.output_tokens * length.requests for length in lengths)
    # a request's cost in a box, × both means × requests: whole numbers
    cost = [[x * of_output + y * of_input for y in outputs] for x in inputs]
    boxes = [(a, b) for a in range(len(inputs)) for b in range(len(outputs)) if inside[a][b]]
    best: dict[tuple[int, int], tuple[int, tuple[tuple[int, int], ...]]] = {
        (a, b): (cost[a][b] * inside[a][b], ((a, b),)) for a, b in boxes
    }
    for _ in range(most - 1):
        longer = dict(best)
        for a, b in boxes:
            for smaller, (spent, path) in best.items():
                if smaller != (a, b) and smaller[0] <= a and smaller[1] <= b:
                    added = inside[a][b] - inside[smaller[0]][smaller[1]]
                    path_cost = spent + cost[a][b] * added
                    if added and path_cost < longer[a, b][0]:
                        longer[a, b] = (path_cost, (*path, (a, b)))
        if longer == best:
            break
        best = longer
    _, path = best[len(inputs) - 1, len(outputs) - 1]
    return _shrunk(lengths, [(inputs[a], outputs[b]) for a, b in path], total)


def _ends(weighted: list[tuple[int, int]], total: int) -> list[int]:
    """Lengths at the quantiles, by nearest rank, and the longest; all of them where they are no more than that."""
    distinct = sorted({length for length, _ in weighted})
    if len(distinct) <= len(_QUANTILES):
        return distinct
    weighted.sort()
    ends, requests_so_far, at = [], 0, 0
    for length, requests in weighted:
        requests_so_far += requests
        while at < len(_QUANTILES) and requests_so_far * _QUANTILES[at].denominator >= _QUANTILES[at].numerator * total:
            ends.append(length)
            at += 1
    return sorted({*ends, weighted[-1][0]})


def _inside(lengths: Sequence[Lengths], inputs: Sequence[int], outputs: Sequence[int]) -> list[list[int]]:
    """Requests that are in the box up to each corner."""
    counts = [[0] * len(outputs) for _ in inputs]
    row = {x: next(a for a, end in enumerate(inputs) if x <= end) for x in {length.input_tokens for length in lengths}}
    column = {
        y: next(b for b, end in enumerate(outputs) if y <= end) for y in {length.output_tokens for length in lengths}
    }
    for length in lengths:
        counts[row[length.input_tokens]][column[length.output_tokens]] += length.requests
    for a in range(len(inputs)):
        for b in range(len(outputs)):
            counts[a][b] += (counts[a - 1][b] if a else 0) + (counts[a][b - 1] if b else 0)
            counts[a][b] -= counts[a - 1][b - 1] if a and b else 0
    return counts


def _shrunk(lengths: Sequence[Lengths], corners: Sequence[tuple[int, int]], total: int) -> tuple[Bucket, ...]:
    """Buckets at the longest lengths that their boxes hold."""
    buckets: list[Bucket] = []
    shorter = 0
    for x, y in corners:
        within = [length for length in lengths if length.input_tokens <= x and length.output_tokens <= y]
        requests = sum(length.requests for length in within)
        buckets.append(
            Bucket(
                input_tokens=max(length.input_tokens for length in within),
                output_tokens=max(length.output_tokens for length in within),
                share=Fraction(requests - shorter, total),
            )
        )  # fmt: skip
        shorter = requests
    return tuple(buckets)

"""The `lengths` of a demand: its buckets, and the rate that is to be served of a trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from pathlib import Path

from optimizer.domain.buckets import Arrivals, Bucket, PeriodTraffic, Traffic, nested_buckets
from optimizer.errors import Fault, SpecError
from optimizer.readers.servegen import is_clients, read_clients
from optimizer.readers.traces import MOST_STEPS, Observed, periods_of, read_requests

DEFAULT_WINDOW_S = Fraction(60)
"""Seconds of a window: as long as a queue of a replica at high load takes to settle."""
_STEPS = 60
"""Steps of a window, so that windows begin with the first request."""
_FEWEST_OUTPUT = 2
"""Output tokens at least of a request whose time between tokens counts: shorter ones are priced as long."""


@dataclass(frozen=True)
class Day:
    """A trace by period of the day, from the periods of which it has a whole window; `dated`: by the clock."""

    periods: Mapping[int, PeriodTraffic]
    dated: bool


def read_lengths(
    path: Path,
    *,
    most: int,
    window_s: Fraction | None,
    quantile: Fraction,
    with_decode: bool,
    with_rate: bool,
    context: int | None = None,
    period_s: Fraction | None = None,
) -> tuple[tuple[Bucket, ...], Traffic, Day | None]:
    """Buckets of a file, what it says of the traffic, and of its periods, where they are asked for and it has times.

    Parameters
    ----------
    most
        Buckets at most.
    window_s, quantile
        Windows of a trace, and the share of them whose rate is to be served.
    with_decode
        Whether requests are decoded too.
    with_rate
        Whether the file's own rate is wanted; a trace shorter than a window has none.
    context
        Tokens of a request, prompt and output, that the model can hold; None where that is not known.
    period_s
        Seconds of a period of the day.

    Raises
    ------
    SpecError
        With the line and column of what cannot be read; where a request is longer than the context.
    """
    if is_clients(path):
        observed = read_clients(path, period_s)
        window = observed.step_s if window_s is None else window_s
        _periods(path, period_s, window, observed.step_s)
    else:
        window = DEFAULT_WINDOW_S if window_s is None else window_s
        observed = read_requests(path, window / _STEPS, _periods(path, period_s, window, window / _STEPS))
    if context is not None and observed.longest > context:
        message = (
            f"has a request of {observed.longest} tokens, more than the {context} that the model can hold: leave it out"
        )
        raise SpecError(Fault(str(path), None, None, None, message))
    steps = window / observed.step_s
    if steps.denominator != 1:
        message = (
            f"a window of {float(window):g} s is not whole windows of {float(observed.step_s):g} s, which this has"
        )
        raise SpecError(Fault(str(path), None, None, None, message))
    arrivals = None if observed.arrivals is None else _arrivals(str(path), observed, int(steps), window, quantile)
    if arrivals is None and observed.arrivals is not None and with_rate:
        message = f"spans less than a window of {float(window):g} s: state a shorter window, or a request_rate"
        raise SpecError(Fault(str(path), None, None, None, message))
    lengths = observed.lengths
    if with_decode:
        lengths = [replace(length, output_tokens=max(length.output_tokens, _FEWEST_OUTPUT)) for length in lengths]
    buckets = nested_buckets(lengths, most)
    mean_input, mean_output = (
        Fraction(observed.input_tokens, observed.requests),
        Fraction(observed.output_tokens, observed.requests),
    )
    traffic = Traffic(
        file_digest=observed.digest,
        requests=observed.requests * observed.unit,
        mean_input_tokens=mean_input,
        mean_output_tokens=mean_output,
        input_rounding=_beyond(mean_input, [(b.share, b.input_tokens) for b in buckets]),
        output_rounding=_beyond(mean_output, [(b.share, b.output_tokens) for b in buckets]),
        arrivals=arrivals,
        prefix_share=Fraction(observed.seen_blocks, observed.blocks) if observed.blocks else None,
    )
    return buckets, traffic, _day(str(path), observed, int(steps), window, quantile, buckets)


def _periods(path: Path, period_s: Fraction | None, window_s: Fraction, step_s: Fraction) -> tuple[int, int] | None:
    """Periods in steps, of whole windows."""
    if period_s is not None and (period_s / window_s).denominator != 1:
        message = f"a period of {float(period_s):g} s is not whole windows of {float(window_s):g} s"
        raise SpecError(Fault(str(path), None, None, None, message))
    return None if period_s is None else periods_of(period_s, step_s, str(path))


def _day(
    source: str, observed: Observed, steps: int, window_s: Fraction, quantile: Fraction, buckets: Sequence[Bucket]
) -> Day | None:
    """Windows of the day's clock, those that the trace spans whole, by the period that they are in."""
    if observed.period is None or observed.arrivals is None:
        return None
    counts, counts_of_period = observed.arrivals, dict[int, list[int]]()
    first = min(counts) if observed.dated else min(0, *counts)
    windows = range(-(-first // steps), (max(counts) + 1) // steps)
    if len(windows) > MOST_STEPS:
        message = f"spans {len(windows):,} windows, more than {MOST_STEPS:,}: state a longer window"
        raise SpecError(Fault(source, None, None, None, message))
    came: dict[int, int] = {}
    for step, requests in counts.items():
        came[step // steps] = came.get(step // steps, 0) + requests
    for window in windows:
        counts_of_period.setdefault(observed.period_of(window * steps), []).append(came.get(window, 0))
    shares = _shares(observed, buckets)
    return Day(
        {
            part: PeriodTraffic(
                arrivals=_counted(window_counts, observed.unit, window_s, quantile), shares=shares.get(part, ())
            )
            for part, window_counts in sorted(counts_of_period.items())
        },
        observed.dated,
    )


def _shares(observed: Observed, buckets: Sequence[Bucket]) -> dict[int, tuple[Fraction, ...]]:
    """Share of each bucket among the requests of each period."""
    requests_by_bucket: dict[int, list[int]] = {}
    of_cell: dict[tuple[int, int], int] = {}
    for key, (prompt, output, _) in observed.cells.items():
        fits = (
            n for n, bucket in enumerate(buckets) if prompt <= bucket.input_tokens and output <= bucket.output_tokens
        )
        of_cell[key] = next(fits)
    for (part, key), requests in observed.parts.items():
        requests_by_bucket.setdefault(part, [0] * len(buckets))[of_cell[key]] += requests
    return {
        part: tuple(Fraction(count, sum(counts)) for count in counts)
        for part, counts in requests_by_bucket.items()
        if sum(counts)
    }


def _beyond(mean: Fraction, priced: Sequence[tuple[Fraction, int]]) -> Fraction:
    return sum((share * tokens for share, tokens in priced), Fraction(0)) / mean - 1


def _arrivals(source: str, observed: Observed, steps: int, window_s: Fraction, quantile: Fraction) -> Arrivals | None:
    """Whole windows from the first request on; None where there is none."""
    counts = observed.arrivals or {}
    first, last = min(counts), max(counts)
    number = (last - first + 1) // steps
    if not number:
        return None
    if number > MOST_STEPS:
        message = f"spans {number:,} windows of {float(window_s):g} s, more than {MOST_STEPS:,}: state a longer window"
        raise SpecError(Fault(source, None, None, None, message))
    window_counts = [0] * number
    for step, requests in counts.items():
        if (step - first) // steps < number:
            window_counts[(step - first) // steps] += requests
    return _counted(window_counts, observed.unit, window_s, quantile)


def _counted(counts: list[int], unit: Fraction, window_s: Fraction, quantile: Fraction) -> Arrivals:
    """What windows with so many requests each are."""
    counts, number = sorted(counts), len(counts)
    total, squares = sum(counts), sum(count * count for count in counts)
    mean = Fraction(total, number)
    variance = Fraction(squares, number) - mean * mean
    return Arrivals(
        window_s=window_s,
        windows=number,
        quantile=quantile,
        mean_per_s=mean * unit / window_s,
        peak_per_s=counts[-1] * unit / window_s,
        served_per_s=counts[ceil(quantile * number) - 1] * unit / window_s,
        dispersion=variance / mean * unit if mean else Fraction(0),
    )

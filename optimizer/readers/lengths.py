"""The `lengths` of a demand: its buckets, and the rate that is to be served of a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil
from pathlib import Path

from optimizer.domain.buckets import Arrivals, Bucket, Traffic, nested_buckets
from optimizer.errors import Fault, SpecError
from optimizer.readers.servegen import is_clients, read_clients
from optimizer.readers.traces import MOST_STEPS, Observed, read_requests

DEFAULT_WINDOW_S = Fraction(60)
"""Seconds of a window: as long as a queue of a replica at high load takes to settle."""
_STEPS = 60
"""Steps of a window, so that windows begin with the first request."""
_FEWEST_OUTPUT = 2
"""Output tokens at least of a request whose time between tokens counts: shorter ones are priced as long."""


def read_lengths(
    path: Path,
    *,
    most: int,
    window_s: Fraction | None,
    quantile: Fraction,
    with_decode: bool,
    with_rate: bool,
    context: int | None = None,
) -> tuple[tuple[Bucket, ...], Traffic]:
    """Buckets of a file, and what it says of the traffic.

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

    Raises
    ------
    SpecError
        With the line and column of what cannot be read; where a request is longer than the context.
    """
    if is_clients(path):
        observed = read_clients(path)
        window = observed.step_s if window_s is None else window_s
    else:
        window = DEFAULT_WINDOW_S if window_s is None else window_s
        observed = read_requests(path, window / _STEPS)
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
    given, made = (
        Fraction(observed.input_tokens, observed.requests),
        Fraction(observed.output_tokens, observed.requests),
    )
    return buckets, Traffic(
        file_digest=observed.digest,
        requests=observed.requests * observed.unit,
        mean_input_tokens=given,
        mean_output_tokens=made,
        input_rounding=_beyond(given, [(b.share, b.input_tokens) for b in buckets]),
        output_rounding=_beyond(made, [(b.share, b.output_tokens) for b in buckets]),
        arrivals=arrivals,
        prefix_share=Fraction(observed.seen_blocks, observed.blocks) if observed.blocks else None,
    )


def _beyond(mean: Fraction, priced: Sequence[tuple[Fraction, int]]) -> Fraction:
    return sum((share * tokens for share, tokens in priced), Fraction(0)) / mean - 1


def _arrivals(source: str, found: Observed, steps: int, window_s: Fraction, quantile: Fraction) -> Arrivals | None:
    """Whole windows from the first request on; None where there is none."""
    counts = found.arrivals or {}
    first, last = min(counts), max(counts)
    number = (last - first + 1) // steps
    if not number:
        return None
    if number > MOST_STEPS:
        message = f"spans {number:,} windows of {float(window_s):g} s, more than {MOST_STEPS:,}: state a longer window"
        raise SpecError(Fault(source, None, None, None, message))
    held = [0] * number
    for step, requests in counts.items():
        if (step - first) // steps < number:
            held[(step - first) // steps] += requests
    held.sort()
    total, squares = sum(held), sum(count * count for count in held)
    mean = Fraction(total, number)
    variance = Fraction(squares, number) - mean * mean
    return Arrivals(
        window_s=window_s,
        windows=number,
        quantile=quantile,
        mean_per_s=mean * found.unit / window_s,
        peak_per_s=held[-1] * found.unit / window_s,
        served_per_s=held[ceil(quantile * number) - 1] * found.unit / window_s,
        dispersion=variance / mean * found.unit if mean else Fraction(0),
    )

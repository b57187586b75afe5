"""ServeGen's clients: a folder of ``chunk-N-trace.csv`` and ``chunk-N-dataset.json`` (github.com/alibaba/ServeGen).

A client's trace has a row for each window: its start in seconds, requests/s, the coefficient of variation of its gaps,
and a distribution of them; its dataset has, by start, how often each number of input and of output tokens came. As its
own generator draws them, input and output are independent within a client; here over all its windows together.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path

from optimizer.errors import Fault, SpecError
from optimizer.readers.document import Document, load
from optimizer.readers.messages import shown
from optimizer.readers.source import csv_rows, read_text
from optimizer.readers.traces import LONGEST_TOKENS, Observed, class_of, periods_of

MOST_CLIENTS = 2_000
MOST_RATE = 10**9
_UNITS = 10**6
"""Requests are counted in millionths, rounded up: what may come at all is covered."""
_SHARE = re.compile(r"\s*(\d{1,9})(?:\.0)?:\s*([0-9.]+(?:[eE][+-]?\d+)?)\s*")
_SIDES = ("input_tokens", "output_tokens")

WindowRates = Mapping[int, float]
"""Requests/s by the start of each window, in seconds."""
LengthWeights = dict[int, tuple[int, float]]
"""The longest of each class of lengths, and requests of the class."""


def is_clients(path: Path) -> bool:
    """Whether a folder holds clients."""
    return path.is_dir() and next(path.glob("chunk-*-trace.csv"), None) is not None


def read_clients(path: Path, period_s: Fraction | None = None) -> Observed:
    """All clients of a folder.

    Parameters
    ----------
    period_s
        Seconds of a period of the day, where lengths are wanted by period too: each client's own at all times, in
        proportion to the requests that it has in the period.

    Raises
    ------
    SpecError
        Files that are missing or cannot be read, with their places.
    """
    traces = sorted(path.glob("chunk-*-trace.csv"))
    if len(traces) > MOST_CLIENTS:
        raise SpecError(Fault(str(path), None, None, None, f"has more than {MOST_CLIENTS:,} clients"))
    digest, clients = hashlib.sha256(), []
    for trace in traces:
        text, source = read_text(trace)
        digest.update(text.encode())
        clients.append(_rates(text, source))
    starts = sorted({start for rates in clients for start in rates})
    steps = {later - start for start, later in pairwise(starts)}
    if len(steps) != 1:
        raise SpecError(Fault(str(path), None, None, None, "its windows do not follow one another at one distance"))
    step = steps.pop()
    observed = Observed(Fraction(step), unit=Fraction(1, _UNITS))
    if period_s is not None:
        observed.period = periods_of(period_s, observed.step_s, str(path))
    arrivals = dict.fromkeys(range(len(starts)), 0)
    for trace, rates in zip(traces, clients, strict=True):
        came: dict[int, float] = {}
        for start, rate in rates.items():
            number = (start - starts[0]) // step
            arrivals[number] += ceil(rate * step * _UNITS)
            if observed.period is not None:
                came[observed.period_of(number)] = came.get(observed.period_of(number), 0.0) + rate
        document = load(trace.with_name(trace.name.replace("-trace.csv", "-dataset.json")))
        digest.update(document.text.encode())
        inputs, outputs = _lengths(document, rates, step)
        total = sum(requests for _, requests in inputs.values())
        for prompt, of_prompt in inputs.values():
            for output, of_output in outputs.values():
                observed.add(prompt, output, ceil(of_prompt * of_output / total * _UNITS))
                for part, rate in came.items() if total else ():
                    key = (part, (class_of(prompt), class_of(output)))
                    requests = ceil(of_prompt * of_output / total * _UNITS * rate / sum(came.values()))
                    observed.parts[key] = observed.parts.get(key, 0) + requests
    if not observed.requests:
        raise SpecError(Fault(str(path), None, None, None, "has no requests"))
    observed.arrivals, observed.digest = arrivals, f"sha256:{digest.hexdigest()}"
    return observed


def _rates(text: str, source: str) -> WindowRates:
    rates: dict[int, float] = {}
    for line, cells in csv_rows(text, source):
        values = []
        for column, cell in enumerate([*cells[:2], "", ""][:2], 1):
            try:
                value = float(cell or column - 2)  # a window without requests may be blank
            except ValueError:
                value = -1.0
            if not 0 <= value <= MOST_RATE or (column == 1 and value != int(value)):
                message = f"{shown(cell)} is no number from 0 to 10^9: a window's start and its requests/s are wanted"
                raise SpecError(Fault(source, line, column, None, message))
            values.append(value)
        rates[int(values[0])] = values[1]
    return rates


def _lengths(document: Document, rates: WindowRates, step: int) -> list[LengthWeights]:
    """Input and output lengths of a client's requests."""
    if not isinstance(document.data, Mapping):
        raise document.error("windows by their start are wanted")
    lengths: list[LengthWeights] = [{}, {}]
    for start in document.data:
        rate = rates.get(int(start), 0.0) if isinstance(start, str) and start.isdecimal() else 0.0
        shares = [_shares(document, start, name) for name in _SIDES]
        if not rate or not all(shares):
            continue
        for side, listed in zip(lengths, shares, strict=True):
            total_share = sum(share for _, share in listed)
            for tokens, share in listed:
                longest, requests = side.get(class_of(tokens), (0, 0.0))
                side[class_of(tokens)] = (max(longest, tokens), requests + rate * step * share / total_share)
    return lengths


def _shares(document: Document, start: str, name: str) -> list[tuple[int, float]]:
    """How often each length came in a window: ``{143: 0.1, 150: 0.9}`` in text."""
    at = (start, name)
    text = document.get(at)
    if not isinstance(text, str) or text[:1] + text[-1:] != "{}":
        raise document.error("shares by length are wanted: '{143: 0.1, 150: 0.9}'", at)
    shares = []
    for part in filter(str.strip, text[1:-1].split(",")):
        match = _SHARE.fullmatch(part)
        try:
            tokens, share = (int(match[1]), float(match[2])) if match else (0, -1.0)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1 or tokens > LONGEST_TOKENS:
            raise document.error(f"{shown(part)} is no length with its share", at)
        if share:
            shares.append((max(tokens, 1), share))
    return shares

"""Requests of a histogram or trace (CSV, JSON lines), as published: lengths, arrivals and prompt blocks, streamed.

A file is read line by line and only counted, so that memory does not grow with its size. Which columns hold what is
known by their names (`PUBLISHED`); one more of one's own is `input_tokens, output_tokens` with, optionally, `weight`
(or `count`, `requests`) or one of `arrival_s`, `arrival_ms`, `timestamp` (a date and time).
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache
from math import floor, isfinite
from pathlib import Path
from typing import BinaryIO

from optimizer.domain.buckets import Lengths
from optimizer.errors import Fault, SpecError
from optimizer.readers.messages import nearest, shown
from optimizer.readers.source import is_file, read_text

MOST_REQUESTS = 10**7
"""Lines of a trace that are read: a minute's work."""
LONGEST_LINE_BYTES = 4 * 2**20
LONGEST_TOKENS = 10**8
MOST_STEPS = 10**6
"""Steps of time in which arrivals are counted: eleven days of seconds."""
DAY_S = 86_400
MOST_BLOCKS = 2**28
"""Block numbers that are told apart: a bit each, 32 MiB."""
MOST_FAULTS = 20
MOST_KNOWN = 2**17
"""Different lengths that are remembered while a file is read."""
_FINE_BITS = 6
"""Lengths that agree in their first bits are counted together: 3% apart at most. The longest of them stands for all."""


@dataclass(frozen=True)
class TraceColumns:
    """Columns of a published trace, in lower case.

    Attributes
    ----------
    second
        Seconds of the column's unit; None for a date and time.
    besides
        Columns that tell it from another with the same ones.
    """

    input: str
    output: str
    time: str | None = None
    second: Fraction | None = None
    besides: tuple[str, ...] = ()
    weight: str | None = None
    blocks: str | None = None

    @property
    def wanted(self) -> set[str]:
        """Columns that must be there."""
        return {self.input, self.output, *self.besides, *(name for name in (self.time, self.weight) if name)}


_MS = Fraction(1, 1000)
_OWN_TIMES, _OWN_COUNTS = ("arrival_s", "arrival_ms", "timestamp"), ("weight", "count", "requests")
"""Columns of one's own files, of which each has one at most."""
PUBLISHED = (
    # Azure LLM inference traces 2023 and 2024: github.com/Azure/AzurePublicDataset AzureLLMInferenceDataset2024.md
    TraceColumns("contexttokens", "generatedtokens", "timestamp"),
    # Qwen traces: github.com/alibaba-edu/qwen-bailian-usagetraces-anon; seconds, told from Mooncake's by chat_id
    TraceColumns("input_length", "output_length", "timestamp", Fraction(1), ("chat_id",), blocks="hash_ids"),
    # Mooncake: github.com/kvcache-ai/Mooncake FAST25-release/traces; milliseconds, blocks of 512 tokens
    TraceColumns("input_length", "output_length", "timestamp", _MS, ("hash_ids",), blocks="hash_ids"),
    # ServeGen's offline traces have no arrivals: github.com/alibaba/ServeGen data/offline/README.md
    TraceColumns("input_length", "output_length"),
    # BurstGPT: github.com/HPMLL/BurstGPT
    TraceColumns("request tokens", "response tokens", "timestamp", Fraction(1)),
    # Vidur: github.com/microsoft/vidur; Splitwise: github.com/Mutinifni/splitwise-sim
    TraceColumns("num_prefill_tokens", "num_decode_tokens", "arrived_at", Fraction(1)),
    TraceColumns("num_prefill_tokens", "num_decode_tokens"),
    TraceColumns("prompt_size", "token_size", "arrival_timestamp", Fraction(1)),
    TraceColumns("input_tokens", "output_tokens", "arrival_s", Fraction(1)),
    TraceColumns("input_tokens", "output_tokens", "arrival_ms", _MS),
    TraceColumns("input_tokens", "output_tokens", "timestamp"),
    *(TraceColumns("input_tokens", "output_tokens", weight=name) for name in _OWN_COUNTS),
    TraceColumns("input_tokens", "output_tokens"),
)
"""The first of which all columns are there is meant."""


@dataclass
class Observed:
    """What was counted of a file.

    Attributes
    ----------
    requests
        How many, in units of `unit`.
    arrivals
        Requests by step of time; None where the file has no times.
    step_s
        Seconds of a step.
    longest
        Input and output tokens of the longest request; 0 where the two are not known together.
    period
        Steps of a period and how many of them make a day, where lengths are also counted by period of the day.
    parts
        Requests of each period and cell of `cells`.
    dated
        Whether times are dates; else they are from some start.
    """

    step_s: Fraction
    period: tuple[int, int] | None = None
    unit: Fraction = Fraction(1)
    requests: int = 0
    longest: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    arrivals: dict[int, int] | None = None
    cells: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    parts: dict[tuple[int, tuple[int, int]], int] = field(default_factory=dict)
    dated: bool = False
    blocks: int = 0
    seen_blocks: int = 0
    digest: str = ""

    def add(self, input_tokens: int, output_tokens: int, requests: int = 1, step: int | None = None) -> None:
        """Count requests of some lengths, that came in a step of time where it is known."""
        key = (class_of(input_tokens), class_of(output_tokens))
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = [input_tokens, output_tokens, 0]
        elif input_tokens > cell[0] or output_tokens > cell[1]:
            cell[:2] = max(input_tokens, cell[0]), max(output_tokens, cell[1])
        cell[2] += requests
        if self.period is not None and step is not None:
            part = (self.period_of(step), key)
            self.parts[part] = self.parts.get(part, 0) + requests
        self.requests += requests
        self.input_tokens += input_tokens * requests
        self.output_tokens += output_tokens * requests

    def period_of(self, step: int) -> int:
        """Which period of the day a step is in."""
        assert self.period is not None  # noqa: S101 - asked for only where there are any
        steps, number = self.period
        return step // steps % number

    @property
    def lengths(self) -> list[Lengths]:
        """Requests of nearly the same lengths."""
        return [Lengths(*cell) for _, cell in sorted(self.cells.items())]


def periods_of(period_s: Fraction, step_s: Fraction, source: str) -> tuple[int, int]:
    """Steps of a period, and periods of a day.

    Raises
    ------
    SpecError
        Where a period is no whole steps, or a day no whole periods.
    """
    steps, number = period_s / step_s, DAY_S / period_s
    if steps.denominator != 1 or number.denominator != 1:
        message = (
            f"a period of {float(period_s):g} s is no whole part of a day, or not whole steps of {float(step_s):g} s"
        )
        raise SpecError(Fault(source, None, None, None, message))
    return int(steps), int(number)


@lru_cache(MOST_KNOWN)
def class_of(tokens: int) -> int:
    """Lengths of one class agree in their first bits."""
    drop = max(tokens.bit_length() - _FINE_BITS, 0)
    return (tokens >> drop) + (drop << _FINE_BITS)


class _Counting:
    """One file in the counting."""

    def __init__(self, shown_name: str, step_s: Fraction, period: tuple[int, int] | None) -> None:
        self.name, self.line = shown_name, 0
        self.head: Sequence[str] = ()
        self.observed, self.step = Observed(step_s, period), float(step_s)
        self.faults: list[Fault] = []
        self.known: dict[str | int, int] = {}
        self.bits = bytearray()
        self.columns: TraceColumns | None = None

    def fault(self, column: str | None, message: str, suggestion: str | None = None) -> None:
        """Note what is wrong in this line; give up where there is too much of it."""
        number = self.head.index(column) + 1 if column in self.head else None
        self.faults.append(Fault(self.name, self.line, number, column, message, suggestion))
        if len(self.faults) >= MOST_FAULTS:
            raise SpecError(*self.faults)

    def choose(self, names: Sequence[str]) -> TraceColumns:
        """The columns that are meant, by their names."""
        columns = next((known for known in PUBLISHED if known.wanted <= set(names)), None)
        if columns is None:
            lacking = next((name for name in ("input_tokens", "output_tokens") if name not in names), "input_tokens")
            listed = ", ".join(map(shown, names[:12]))
            message = f"is missing among {listed}"
            raise SpecError(Fault(self.name, self.line, None, lacking, message, nearest(lacking, list(names))))
        odd = [name for name in names if name in _TIMES]
        if columns.time is None and odd:
            message = f"in which unit {odd[0]!r} is, is not known: name it arrival_s or arrival_ms"
            raise SpecError(Fault(self.name, self.line, None, odd[0], message))
        rivals = [name for name in (*_OWN_TIMES, *_OWN_COUNTS) if name in names and columns.input == "input_tokens"]
        if len(rivals) > 1:
            message = f"says how often, or when, requests come, and so does {rivals[0]!r}: leave one of them out"
            raise SpecError(Fault(self.name, self.line, None, rivals[1], message))
        if columns == PUBLISHED[-1] and columns.wanted < set(names):
            unknown = next(name for name in names if name not in columns.wanted)
            message = (
                "what it holds is not known: name it weight if it says how many requests a line is, or leave it out"
            )
            raise SpecError(Fault(self.name, self.line, None, unknown, message))
        return columns

    def row(self, cells: Mapping[str, object]) -> None:
        """Count one request."""
        columns = self.columns
        assert columns is not None  # noqa: S101 - chosen before rows are read
        values = (cells.get(columns.input), cells.get(columns.output))
        # text and whole numbers alone are remembered: True is 1 to a mapping
        prompt, output = (self.known.get(v) if type(v) is str or type(v) is int else None for v in values)
        prompt = self._tokens(columns.input, values[0]) if prompt is None else prompt
        output = self._tokens(columns.output, values[1]) if output is None else output
        weight = 1 if columns.weight is None else self._weight(columns.weight, cells.get(columns.weight))
        if prompt is None or output is None or not weight:
            return
        at = None if columns.time is None else self._seconds(columns, cells.get(columns.time))
        step = None if at is None else floor(at / self.step)
        self.observed.add(prompt, output, weight, step)
        self.observed.longest = max(self.observed.longest, prompt + output)
        if step is not None:
            self._arrive(step)
        if columns.blocks is not None:
            self._blocks(columns.blocks, cells.get(columns.blocks))

    def _tokens(self, column: str, value: object) -> int | None:
        """A length; a request has at least one token."""
        number = _number(value)
        if number is None or number.denominator != 1 or not 0 <= number <= LONGEST_TOKENS:
            self.fault(column, f"{shown(value)} is no whole number of tokens from 0 to {LONGEST_TOKENS:,}")
            return None
        tokens = max(int(number), 1)
        if len(self.known) < MOST_KNOWN and (type(value) is str or type(value) is int):
            self.known[value] = tokens
        return tokens

    def _weight(self, column: str, value: object) -> int | None:
        number = _number(value)
        if number is None or number < 0 or number > 10**15:
            self.fault(column, f"{shown(value)} is no weight from 0 to 10^15")
            return None
        return -(-number.numerator * _WEIGHTS // number.denominator)

    def _seconds(self, columns: TraceColumns, value: object) -> float | None:
        if columns.second is not None:
            number = _number(value)
            if number is None or abs(number) > 10**13:
                self.fault(columns.time, f"{shown(value)} is no time in {'s' if columns.second == 1 else 'ms'}")
                return None
            return float(number * columns.second)
        try:
            when = datetime.fromisoformat(value.strip() if isinstance(value, str) else "")
            return (when - (_EPOCH if when.tzinfo is None else _EPOCH_UTC)).total_seconds()
        except (ValueError, OverflowError):
            hint = "" if _number(value) is None else ": name the column arrival_s or arrival_ms"
            self.fault(columns.time, f"{shown(value)} is no date and time{hint}")
            return None

    def _arrive(self, step: int) -> None:
        arrivals = self.observed.arrivals
        if arrivals is None:
            arrivals = self.observed.arrivals = {}
        arrivals[step] = arrivals.get(step, 0) + 1
        if len(arrivals) > MOST_STEPS:
            message = (
                f"arrivals span more than {MOST_STEPS:,} steps of {float(self.observed.step_s):g} s: state a window"
            )
            raise SpecError(Fault(self.name, self.line, None, None, message))

    def _blocks(self, column: str, value: object) -> None:
        if not isinstance(value, list):
            self.fault(column, f"{shown(value)} is no list of block numbers")
            return
        for block in value:
            if type(block) is not int or not 0 <= block < MOST_BLOCKS:
                self.fault(column, f"{shown(block)} is no block number from 0 to {MOST_BLOCKS - 1:,}")
                return
            byte, bit = block >> 3, 1 << (block & 7)
            if byte >= len(self.bits):
                self.bits.extend(bytes(byte + 1 - len(self.bits) + 65536))
            self.observed.blocks += 1
            if self.bits[byte] & bit:
                self.observed.seen_blocks += 1
            else:
                self.bits[byte] |= bit


_TIMES = ("timestamp", "time", "arrival", "arrival_time", "arrived_at", "arrival_timestamp")
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH = _EPOCH_UTC.replace(tzinfo=None)
_WEIGHTS = 10**6
"""Weights are counted in millionths, rounded up."""


def _number(value: object) -> Fraction | None:
    """A number of a cell, exactly; None where it is none, or not finite."""
    if type(value) is int:
        return Fraction(value)
    if type(value) is float:
        return Fraction(repr(value)) if isfinite(value) else None
    if type(value) is not str or len(value) > 40:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return Fraction(int(text))
    try:
        number = float(text)
        return Fraction(text) if isfinite(number) and "/" not in text and "_" not in text else None
    except ValueError:
        return None


def read_requests(path: Path, step_s: Fraction, period: tuple[int, int] | None = None) -> Observed:
    """Everything that a CSV or JSON-lines file says of requests.

    Parameters
    ----------
    step_s
        Seconds of the steps in which arrivals are counted.
    period
        As of `Observed`.

    Raises
    ------
    SpecError
        A file that is none, has no such columns or no requests, or lines that cannot be read: the first twenty.
    """
    if not is_file(path):
        read_text(path)  # says why
    counting = _Counting(str(path), step_s, period)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            lines = _lines(file, counting, digest.update)
            first = next(lines, "")
            if not first.strip():
                raise SpecError(Fault(str(path), 1, None, None, "is empty: columns or a request are wanted"))
            read = _read_json if first.lstrip().startswith("{") else _read_csv
            read(first, lines, counting)
    except csv.Error as error:
        raise SpecError(Fault(str(path), counting.line, None, None, f"is no CSV: {error}")) from None
    except OSError as error:
        raise SpecError(Fault(str(path), None, None, None, f"cannot be read: {error.strerror}")) from None
    if counting.faults:
        raise SpecError(*counting.faults)
    observed = counting.observed
    if not observed.requests:
        raise SpecError(Fault(str(path), 1, None, None, "has no requests"))
    if counting.columns is not None and counting.columns.weight is not None:
        observed.unit = Fraction(1, _WEIGHTS)
    observed.dated = counting.columns is not None and counting.columns.second is None
    observed.digest = f"sha256:{digest.hexdigest()}"
    return observed


def _lines(file: BinaryIO, counting: _Counting, digest: Callable[[bytes], None]) -> Iterator[str]:
    """Lines as text, each bounded, and no more of them than are read."""
    while content := file.readline(LONGEST_LINE_BYTES + 1):
        digest(content)
        counting.line += 1
        if len(content) > LONGEST_LINE_BYTES:
            message = f"a line of more than {LONGEST_LINE_BYTES // 2**20} MiB"
            raise SpecError(Fault(counting.name, counting.line, None, None, message))
        if counting.line > MOST_REQUESTS + 1:
            message = f"has more than {MOST_REQUESTS:,} lines: give a sample of it, or a histogram"
            raise SpecError(Fault(counting.name, counting.line, None, None, message))
        if b"\0" in content:
            raise SpecError(Fault(counting.name, counting.line, None, None, "is a binary file, not text"))
        try:
            yield content.decode("utf-8-sig" if counting.line == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise SpecError(Fault(counting.name, counting.line, error.start + 1, None, "is not UTF-8 text")) from None


def _read_csv(first: str, lines: Iterator[str], counting: _Counting) -> None:
    counting.head = [name.strip().lower() for name in next(csv.reader([first]), [])]
    counting.columns = counting.choose(counting.head)
    columns = counting.columns
    if len(set(counting.head)) < len(counting.head):
        raise SpecError(Fault(counting.name, 1, None, None, "two columns of one name"))
    wanted = [
        (name, counting.head.index(name))
        for name in (columns.input, columns.output, columns.time, columns.weight)
        if name
    ]
    for cells in csv.reader(lines):
        if not cells:
            continue
        if len(cells) != len(counting.head):
            counting.fault(None, f"{len(cells)} cells under {len(counting.head)} columns")
            continue
        counting.row({name: cells[at] for name, at in wanted})


def _read_json(first: str, lines: Iterator[str], counting: _Counting) -> None:
    line: str | None = first
    while line is not None:
        if line.strip():
            try:
                entry = json.loads(line.rstrip(), parse_constant=_not_a_number)
            except (ValueError, RecursionError) as error:
                at = error.colno if isinstance(error, json.JSONDecodeError) else None
                reason = error.msg if isinstance(error, json.JSONDecodeError) else "too large a number, or too deep"
                counting.faults.append(Fault(counting.name, counting.line, at, None, f"is no JSON: {reason}"))
                raise SpecError(*counting.faults) from None
            if not isinstance(entry, dict):
                counting.fault(None, f"{shown(entry)} is no request: an object is wanted in each line")
            else:
                cells = {str(key).lower(): value for key, value in entry.items()}
                if counting.columns is None:
                    counting.columns = counting.choose(list(cells))
                counting.row(cells)
        line = next(lines, None)


def _not_a_number(text: str) -> str:
    """NaN and infinities stay text, and are refused where a number is wanted."""
    return text

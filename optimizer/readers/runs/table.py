"""A table of measured runs (CSV): a row each."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Final

from optimizer.errors import Fault, SpecError
from optimizer.readers.messages import SYNONYMS, nearest
from optimizer.readers.runs.run import DEGREES, RunPlace, WrittenRun, number_of
from optimizer.readers.source import csv_rows

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "model": ("model_name", "model_id"),
    "engine": ("backend",),
    "gpu": ("device",),
    "precision": ("precision_weights", "weights"),
    "kv_cache": ("precision_kv",),
    "convention": (),
    "devices": ("num_gpus", "gpus"),
    **{name: tuple(other for other, own in SYNONYMS.items() if own == name) for name in DEGREES},
    "input_tokens": ("isl", "prompt_mean"),
    "output_tokens": ("osl", "output_mean"),
    "concurrency": ("concurrency_or_batch", "max_concurrency"),
    "requests_per_s": ("req_s", "request_throughput"),
    "ttft_ms": ("measured_ttft_ms", "ttft_mean_ms", "mean_ttft_ms"),
    "tpot_ms": ("measured_tpot_ms", "tpot_mean_ms", "mean_tpot_ms"),
    "mode": (),
}
"""Each column with the other names under which tables of benchmarks have it."""

_NEEDED: Final = ("input_tokens", "output_tokens")
_EITHER: Final = (("tpot_ms", "ttft_ms"), ("concurrency", "requests_per_s"))
"""Columns of which one is needed: without a time, or a load that it is at, a run says nothing."""
_LIKENESS: Final = 0.85
"""Share of letters in common from which a column is a slip of an optional one: one letter of seven is another."""
_DEPLOYMENT: Final = ("model", "engine", "gpu", "precision", "kv_cache", "convention", "devices", *DEGREES)
_REMARK = re.compile(r"\s+\(.*\)$")
_SERVED: Final = {"", "aggregated", "online"}


def read_table(text: str, source: str) -> Iterator[WrittenRun]:
    """Runs of a table with the columns of `COLUMNS`; what stands behind a value in brackets is a remark.

    Raises
    ------
    SpecError
        A column that is missing or misspelt, or a cell that cannot be read, with its line and column.
    """
    rows = csv_rows(text, source)
    head = [name.strip() for name in next(rows, (1, []))[1]]
    at = _columns(head, source)
    left_out = tuple(name for column, name in enumerate(head) if column not in at.values())
    faults: list[Fault] = []
    runs = []
    for line, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        place = RunPlace(source, line, {name: column + 1 for name, column in at.items()}, left_out)
        if len(cells) != len(head):
            faults.append(place.fault(None, f"{len(cells)} cells under {len(head)} columns"))
            continue
        runs.append(_run({name: cells[column].strip() for name, column in at.items()}, place, faults))
    if faults:
        raise SpecError(*faults)
    if not runs:
        raise SpecError(Fault(source, 1, None, None, "has no rows"))
    yield from runs


def _columns(head: list[str], source: str) -> dict[str, int]:
    """Where each column of ours stands."""
    if head[0] == "Metric":
        text = "is a summary of genai-perf or AIPerf that states no concurrency: give the .json written beside it"
        raise SpecError(Fault(source, 1, None, None, text))
    at = {}
    for name, others in COLUMNS.items():
        column = next((spelling for spelling in (name, *others) if spelling in head), None)
        if column is not None:
            at[name] = head.index(column)
    missing = {name: f"column {name!r} is missing" for name in _NEEDED if name not in at}
    for first, second in _EITHER:
        if first not in at and second not in at:
            missing[first] = f"column {first!r} or {second!r} is missing"
    known = {spelling for name, others in COLUMNS.items() for spelling in (name, *others)}
    stray = [column for column in head if column not in known]
    faults = [
        Fault(source, 1, column + 1, None, f"column {name!r} stands twice")
        for column, name in enumerate(head)
        if name in at and name in head[:column]
    ]
    for name in COLUMNS:
        close = None if name in at else nearest(name, stray) if name in missing else _slip(name, stray)
        if close is not None:
            missing.pop(name, None)
            stray.remove(close)
            faults.append(Fault(source, 1, head.index(close) + 1, None, f"unknown column {close!r}", name))
    faults += [Fault(source, 1, None, None, message) for message in missing.values()]
    if faults:
        raise SpecError(*faults)
    return at


def _slip(name: str, stray: list[str]) -> str | None:
    """Column that is a slip of an optional one; tables have others that only resemble it (`ttft_p99_ms`)."""
    folded = {header.casefold(): header for header in stray}
    # a letter struck twice, or two that changed places: of short names too little is left to be alike
    slips = (header for header in folded if _struck(header, name) or _swapped(header, name))
    close = next(slips, None) or next(iter(difflib.get_close_matches(name, folded, 1, _LIKENESS)), None)
    return folded[close] if close else None


def _struck(longer: str, name: str) -> bool:
    """Whether a name has letters more than once, or signs between them, where another has them once."""
    one, other = ("".join(letter for letter, _ in groupby(filter(str.isalnum, text))) for text in (longer, name))
    return len(longer) > len(name) and one == other


def _swapped(one: str, other: str) -> bool:
    """Whether two names differ in the order of two neighbouring letters; of two letters many are names."""
    apart = [place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b]
    swapped = len(apart) == 2 and apart[1] == apart[0] + 1 and sorted(one) == sorted(other)
    return swapped and len(one) == len(other) > 2


def _run(cells: Mapping[str, str], place: RunPlace, faults: list[Fault]) -> WrittenRun:
    def number(name: str, scale: float = 1.0) -> float | None:
        return number_of(cells.get(name), name, place, faults, scale)

    tokens = {name: number(name) for name in _NEEDED}
    faults += [place.fault(name, "is required but missing") for name in _NEEDED if name in cells and not cells[name]]
    concurrency = number("concurrency")
    if concurrency is not None and concurrency != int(concurrency):
        faults.append(place.fault("concurrency", f"a whole number is wanted, not {cells['concurrency']}"))
    mode = cells.get("mode", "")
    return WrittenRun(
        place=place,
        deployment={name: _REMARK.sub("", cells[name]) for name in _DEPLOYMENT if cells.get(name)},
        input_tokens=tokens["input_tokens"] or 1,
        output_tokens=tokens["output_tokens"] or 1,
        concurrency=None if concurrency is None else int(concurrency),
        requests_per_s=number("requests_per_s"),
        ttft_s=number("ttft_ms", 1e-3),
        tpot_s=number("tpot_ms", 1e-3),
        unfit="" if mode in _SERVED else f"mode {mode}",
    )

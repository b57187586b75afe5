"""One measured run as its file states it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from optimizer.errors import Fault

DEGREES: Final = ("tp", "cp", "dp", "pp", "etp", "ep", "edp")


@dataclass(frozen=True)
class RunPlace:
    """Where a run stands: file, line of it (None: the whole file is the run), and column of each of its values.

    `left_out` are the columns of its table that nothing is read from.
    """

    source: str
    line: int | None = None
    columns: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def fault(self, field_name: str | None, message: str, suggestion: str | None = None) -> Fault:
        """A fault at a value, or at the run."""
        column = self.columns.get(field_name or "")
        return Fault(self.source, self.line, column, field_name, message, suggestion)

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True)
class WrittenRun:
    """What a file says of a run; None where it says nothing.

    Attributes
    ----------
    deployment
        `model`, `engine`, `precision`, `kv_cache`, `gpu`, `convention`, `devices` and degrees, as text.
    input_tokens, output_tokens
        Of a request, on average.
    concurrency
        Requests always in flight; None where they came at a rate.
    requests_per_s
        Requests served, where they came at a rate.
    ttft_s, tpot_s
        Means over requests.
    unfit
        Why it says nothing of a server's times at a load; empty where it does.
    """

    place: RunPlace
    deployment: Mapping[str, str]
    input_tokens: float
    output_tokens: float
    concurrency: int | None
    requests_per_s: float | None
    ttft_s: float | None
    tpot_s: float | None
    unfit: str = ""


def number_of(value: object, name: str, place: RunPlace, faults: list[Fault], scale: float = 1.0) -> float | None:
    """A positive number of a cell or of JSON; None where there is none, or where a fault says what is wrong."""
    if value is None or value == "":
        return None
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except ValueError:
        faults.append(place.fault(name, f"a number is wanted, not {str(value)!r}"))
        return None
    except OverflowError:
        faults.append(place.fault(name, "is out of range"))
        return None
    if not math.isfinite(number) or number <= 0:
        faults.append(place.fault(name, f"must be a number above 0, not {value}"))
        return None
    return number * scale


def unserved(run: WrittenRun) -> str:
    """Why a run's times say nothing of a server at a load."""
    if run.unfit:
        return run.unfit
    if run.ttft_s is None and run.tpot_s is None:
        return "no TTFT and no TPOT"
    if run.concurrency is None and run.requests_per_s is None:
        return "neither a concurrency nor a rate"
    return ""

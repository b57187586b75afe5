"""Two benchmarks side by side: what got worse, as ratios new ÷ old."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from optimizer.bench.record import Record, read_line
from optimizer.domain.objectives import objective_of_unit
from optimizer.readers.source import read_text

WORSE = 1.25
"""Ratios of time and memory up to this are noise."""
NOISE_S = 0.1
"""So are differences up to this."""
NOISE_BYTES = 16 * 2**20
_RANK = {"optimal": 0, "infeasible": 0, "feasible": 1, "unknown": 2, "failed": 3}


@dataclass(frozen=True, slots=True)
class Regression:
    """One quantity of one record that got worse; `ratio` is above 1, and None where it is no matter of degree."""

    scenario: str
    method: str
    quantity: str
    old: str
    new: str
    ratio: float | None
    answer: bool
    """Whether the answer itself got worse rather than what it took."""

    def __str__(self) -> str:
        """One line."""
        times = "" if self.ratio is None else f" ({self.ratio:.3g}×)"
        return f"{self.scenario} {self.method}: {self.quantity} {self.old} → {self.new}{times}"


def read_records(path: str | Path) -> list[Record]:
    """Records of a JSON-lines file.

    Raises
    ------
    SpecError
        A line is none; with its number.
    """
    text, shown = read_text(path)
    records = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        records.append(read_line(line, shown, number))
    return records


def _effort(old: Record, new: Record) -> list[Regression]:
    worse = []
    measured = (("wall_s", "s", NOISE_S), ("check_s", "s", NOISE_S), ("peak_bytes", "bytes", NOISE_BYTES))
    for name, unit, noise in measured:
        before, after = getattr(old, name), getattr(new, name)
        if before and after and after - before > noise and after / before > WORSE:
            old_text, new_text = (
                f"{value:.3g} {unit}" if unit == "s" else f"{value:,} {unit}" for value in (before, after)
            )
            worse.append(Regression(new.scenario, new.method, name, old_text, new_text, after / before, answer=False))
    for name, before in old.work.items():
        after = new.work.get(name, before)
        if before and after / before > WORSE:
            worse.append(
                Regression(new.scenario, new.method, name, f"{before:,}", f"{after:,}", after / before, answer=False)
            )
    return worse


def _answer(old: Record, new: Record) -> list[Regression]:
    if _RANK.get(new.status, 3) > _RANK.get(old.status, 3):
        return [Regression(new.scenario, new.method, "status", old.status, new.status, None, answer=True)]
    if old.certificate == "accepted" != new.certificate:
        shown = new.certificate or "none"
        return [Regression(new.scenario, new.method, "certificate", "accepted", shown, None, answer=True)]
    # The same problem (digest) can only have a worse value by a fault; figures that changed make another problem of it.
    before, after = old.exact, new.exact
    if old.digest != new.digest or before is None or after is None or before == after:
        return []
    row = objective_of_unit(new.objective["name"])
    ratio = before / after if row is not None and row.maximised else after / before
    if ratio <= 1:
        return []
    old_text, new_text = f"{float(before):.6g}", f"{float(after):.6g}"
    return [Regression(new.scenario, new.method, "objective", old_text, new_text, float(ratio), answer=True)]


def regressions(old: Sequence[Record], new: Sequence[Record]) -> list[Regression]:
    """What got worse in records that both have, answers first."""
    before = {(record.scenario, record.method): record for record in old}
    pairs = [(before[key], record) for record in new if (key := (record.scenario, record.method)) in before]
    all_worse = [worse for pair in pairs for worse in (*_answer(*pair), *_effort(*pair))]
    return sorted(all_worse, key=lambda worse: not worse.answer)

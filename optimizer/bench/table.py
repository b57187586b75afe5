"""Records as a Markdown table: a row for each scenario with the search's margins, and a summary for each baseline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Final

from optimizer.bench.methods import METHODS, PROGRAM, SOLVE
from optimizer.bench.record import Record

TITLES: Final = {
    PROGRAM: "CP-SAT program",
    "brute_force": "brute force",
    "rule_of_thumb": "rule of thumb",
    "powers_of_two": "powers of two",
    "random_search": "random",
    "greedy_placement": "greedy placement",
    "aiconfigurator": "AIConfigurator",
}
"""Heads of the columns."""


@dataclass(frozen=True, slots=True)
class Margins:
    """How the search fares beside one baseline.

    Attributes
    ----------
    mean, worst, best
        Over scenarios where both have a value: geometric mean, least and greatest ratio; 1 is equal, more is better.
    nothing
        Scenarios in which the search has a layout and the baseline found none.
    speed
        Geometric mean of the baseline's duration ÷ the search's.
    """

    method: str
    scenarios: int
    mean: float | None
    worst: float | None
    best: float | None
    nothing: int
    speed: float | None

    @property
    def ratios(self) -> tuple[float | None, ...]:
        """Mean, worst and best."""
        return self.mean, self.worst, self.best


def _geometric(values: Sequence[float]) -> float | None:
    return exp(sum(map(log, values)) / len(values)) if values else None


def _grouped(records: Iterable[Record]) -> dict[str, dict[str, Record]]:
    groups: dict[str, dict[str, Record]] = {}
    for record in records:
        groups.setdefault(record.scenario, {})[record.method] = record
    return groups


def margins(records: Sequence[Record]) -> list[Margins]:
    """One entry for each baseline that ran."""
    grouped, rows = _grouped(records), []
    for method in METHODS:
        pairs = [
            (by_method[SOLVE], by_method[method])
            for by_method in grouped.values()
            if SOLVE in by_method and method in by_method
        ]
        if method == SOLVE or not pairs:
            continue
        ratios = [theirs.margin for _, theirs in pairs if theirs.margin is not None]
        times = [theirs.wall_s / ours.wall_s for ours, theirs in pairs if ours.wall_s > 0 and theirs.wall_s > 0]
        rows.append(
            Margins(
                method, len(pairs), _geometric(ratios), min(ratios, default=None), max(ratios, default=None),
                sum(ours.exact is not None and theirs.exact is None for ours, theirs in pairs), _geometric(times),
            )
        )  # fmt: skip
    return rows


def beaten(records: Sequence[Record]) -> list[Record]:
    """Records of baselines that beat the search, or that found something where it proved that there is nothing."""
    grouped = _grouped(records)
    return [
        record
        for record in records
        if record.method != SOLVE
        and SOLVE in grouped[record.scenario]
        and (
            (record.margin is not None and record.margin < 1)
            or (record.exact is not None and grouped[record.scenario][SOLVE].exact is None)
        )
    ]


def unproved(records: Sequence[Record]) -> list[Record]:
    """Records of the search without a proof, or whose certificate was not accepted."""
    return [
        record
        for record in records
        if record.method == SOLVE
        and (record.status not in ("optimal", "infeasible") or record.certificate != "accepted")
    ]


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value < 10 else f"{value:,.0f}"


def _cell(ours: Record, theirs: Record | None) -> str:
    if theirs is None:
        return "–"
    if theirs.status == "failed":
        return "failed"
    proved = ""
    if theirs.method == PROGRAM and theirs.status in {"optimal", "infeasible"}:
        proved = f" (proved in {theirs.wall_s:.2f} s)"
    elif theirs.status == "optimal":
        proved = " (exhaustive)"
    if theirs.exact is None:
        return ("found nothing" if ours.exact is not None else "nothing") + proved
    return _ratio(theirs.margin) + proved


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.5g}" if abs(value) < 10**6 else f"{value:.4g}"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def markdown(records: Sequence[Record]) -> str:
    """The whole table, with a line for each baseline below it."""
    grouped = _grouped(records)
    used = [m for m in METHODS if m != SOLVE and any(m in by_method for by_method in grouped.values())]
    head = ["scenario", "status", "objective", "value", "gap", "candidates", "time", "check", "memory", "certificate"]
    rule = ["---"] * 3 + ["--:"] * 6 + ["---"] + ["--:"] * len(used)
    lines = [_line([*head, *(TITLES[m] for m in used)]), _line(rule)]
    for name, by_method in grouped.items():
        ours = by_method.get(SOLVE)
        if ours is None:
            continue
        lines.append(
            _line(
                [
                    name,
                    ours.status,
                    str(ours.objective["name"]),
                    _number(ours.objective["value"]),
                    "" if ours.gap is None else f"{ours.gap:.2%}" if ours.gap else "0",
                    f"{ours.candidates:,}",
                    f"{ours.wall_s:.2f} s",
                    "" if ours.check_s is None else f"{ours.check_s:.2f} s",
                    "" if ours.peak_bytes is None else f"{ours.peak_bytes / 2**20:,.0f} MiB",
                    ours.certificate or "none",
                    *(_cell(ours, by_method.get(m)) for m in used),
                ]
            )
        )
    summary = [
        "",
        "A margin is how many times better the search's value is than the baseline's; the same reference prices both.",
        "",
        _line(["baseline", "scenarios", "mean margin", "worst", "best", "found nothing", "its time ÷ ours"]),
        _line(["---"] + ["--:"] * 6),
    ]
    summary += [
        _line([TITLES[m.method], str(m.scenarios), *map(_ratio, m.ratios), str(m.nothing), _ratio(m.speed)])
        for m in margins(records)
    ]
    return "\n".join(lines + summary * bool(used)) + "\n"

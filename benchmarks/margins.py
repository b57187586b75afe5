"""How far measured TPOT and TTFT lie from predicted ones, by class: the rows of `optimizer/domain/margins.py`.

``python -m benchmarks.margins [TABLE.csv]`` prints a row for each class (dense or mixture of experts, engine) with runs
of at least two groups (model, format, device, engine), and for all runs together. A row says at each share what keeps
so many runs of a group that it has not seen: the quantile of its own runs at the share at which, each group judged by
the rows of the others, that many of all runs lay below. Then how many runs keep a limit so, how many choices of a
layout under limits, and how far apart predictions must be for their order to be that of the measurements.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import mean

from benchmarks.accuracy import OWN_TABLE, Compared, Figures, online_of_command, per_device
from benchmarks.measurements import Run, problem_of, read_hardware
from optimizer.domain.margins import ANY, DEFAULT_CONFIDENCE, SHARES, Margin, quantile

FIGURES = ("tpot_s", "ttft_s")
LEAST_GROUPS = 2
"""Groups of a class without which its runs say nothing of a group that they have not seen."""
CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9)
_FINENESS = 400
_SURE = 0.9
Class = tuple[bool | None, str]
EVERY: Class = (None, ANY)


@dataclass(frozen=True)
class Ratios:
    """Measured ÷ predicted of a run, with its class and its group."""

    own: Class
    group: str
    tpot_s: float
    ttft_s: float


def class_of(item: Compared) -> tuple[bool, str]:
    """Whether the model has experts, and the engine."""
    problem = problem_of(item.run, "aggregated", read_hardware(item.run.gpu))
    return problem is not None and problem.model.moe is not None, item.run.engine


def ratios_of(found: Iterable[Compared]) -> list[Ratios]:
    """Of runs that measured both times."""
    rows = []
    for item in found:
        tpot, ttft = (item.ratio(name) for name in FIGURES)
        if tpot is not None and ttft is not None:
            rows.append(Ratios(class_of(item), item.run.group, 1 / tpot, 1 / ttft))
    return rows


def at(ordered: Sequence[float], share: float) -> float:
    """A quantile of values in order, between neighbours."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def classes(rows: Sequence[Ratios]) -> dict[Class, list[Ratios]]:
    """Runs of each class with enough groups, and all together."""
    found: dict[Class, list[Ratios]] = defaultdict(list)
    for row in rows:
        found[row.own].append(row)
    kept = {own: each for own, each in found.items() if len({row.group for row in each}) >= LEAST_GROUPS}
    return {EVERY: list(rows), **dict(sorted(kept.items(), key=lambda pair: (pair[0][1], bool(pair[0][0]))))}


def own_shares(rows: Sequence[Ratios], figure: str) -> list[float]:
    """Of each of `SHARES` the share of a class's own runs whose quantile keeps so many of groups left out."""
    kept = [0] * (_FINENESS + 1)
    for group in {row.group for row in rows}:
        others = classes([row for row in rows if row.group != group])
        ordered = {own: sorted(getattr(row, figure) for row in each) for own, each in others.items()}
        for row in (row for row in rows if row.group == group):
            values, ratio = ordered.get(row.own, ordered[EVERY]), getattr(row, figure)
            for step in range(_FINENESS + 1):
                kept[step] += ratio <= at(values, step / _FINENESS)
    found = []
    for share in SHARES:
        step = next((step for step, count in enumerate(kept) if count >= share * len(rows)), _FINENESS)
        found.append(step / _FINENESS)
    return found


def margins(rows: Sequence[Ratios], shares: dict[str, list[float]] | None = None) -> list[Margin]:
    """Rows of the table; without `shares` those of `own_shares`."""
    shares = shares or {figure: own_shares(rows, figure) for figure in FIGURES}
    found = []
    for (moe, engine), each in classes(rows).items():
        values = []
        for figure in FIGURES:
            ordered = sorted(getattr(row, figure) for row in each)
            values.append(tuple(round(at(ordered, share), 3) for share in shares[figure]))
        found.append(Margin(moe, engine, len(each), *values))
    return found


def left_out(rows: Sequence[Ratios]) -> dict[str, dict[Class, Margin]]:
    """Margins for each group, from the others."""
    shares = {figure: own_shares(rows, figure) for figure in FIGURES}
    return {
        group: {(row.moe, row.engine): row for row in margins([row for row in rows if row.group != group], shares)}
        for group in {row.group for row in rows}
    }


def coverage(rows: Sequence[Ratios], tables: Mapping[str, Mapping[Class, Margin]], share: float) -> dict[str, float]:
    """Share of runs that a margin from the other groups keeps."""
    kept: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        own = tables[row.group].get(row.own, tables[row.group][EVERY])
        for figure in FIGURES:
            kept[figure].append(getattr(row, figure) <= float(quantile(getattr(own, figure), share)))
    return {figure: mean(own) for figure, own in kept.items()}


@dataclass(frozen=True)
class Choices:
    """Choices of a run under limits, and what became of them as measured.

    Attributes
    ----------
    chosen, broken
        How many there were; how many break a limit.
    refused
        Limits that some run keeps as measured and none as predicted.
    lost
        Mean share of throughput per device that those which keep their limits have less than the best that does.
    """

    chosen: int
    broken: int
    refused: int
    lost: float


def choices(
    found: Sequence[Compared], tables: Mapping[str, Mapping[Class, Margin]], share: float | None,
    limited: Sequence[str] = FIGURES,
) -> Choices:  # fmt: skip
    """What limits at a confidence choose; None: limits on the prediction alone.

    A choice is among the runs of one group at the same lengths, by predicted throughput per device; limits are 5% above
    the quartiles of what was measured there.

    Parameters
    ----------
    tables
        Margins for each group, from the others.
    """
    cells: dict[tuple[object, ...], list[Compared]] = defaultdict(list)
    for item in found:
        cells[item.run.group, item.run.isl, item.run.osl].append(item)
    broken = chosen = refused = 0
    lost = []
    for items in cells.values():
        table = tables[items[0].run.group]
        margin = table.get(class_of(items[0]), table[EVERY])
        asked = {name: 1.0 if share is None else float(quantile(getattr(margin, name), share)) for name in limited}
        for part in (0.25, 0.5, 0.75):
            limits = {name: 1.05 * at(sorted(getattr(item.run, name) for item in items), part) for name in limited}
            kept = [item for item in items if all(getattr(item.run, name) <= limits[name] for name in limited)]
            fit = [item for item in items
                   if all(getattr(item.predicted, name) * asked[name] <= limits[name] for name in limited)]  # fmt: skip
            if not fit:
                refused += bool(kept)
                continue
            best = max(fit, key=lambda item: per_device(item.run, item.predicted) or 0)
            chosen += 1
            if best in kept:
                most = max(per_device(item.run, item.run) or 0 for item in kept)
                lost.append(1 - (per_device(best.run, best.run) or 0) / most)
            else:
                broken += 1
    return Choices(chosen, broken, refused, mean(lost))


def ordered_pairs(found: Sequence[Compared], *, same_devices: bool) -> dict[str, list[tuple[float, bool]]]:
    """Pairs of layouts of one release and load: |log predicted ratio|, and whether its sign is right."""
    cells: dict[tuple[object, ...], dict[object, list[Compared]]] = defaultdict(lambda: defaultdict(list))
    for item in found:
        run, own = item.run, item.run.layout
        cells[run.group, run.release, run.isl, run.osl, run.concurrency][own.tp, own.pp, own.dp, own.ep].append(item)

    def level(items: Sequence[Compared], name: str, *, measured: bool) -> float:
        def value(run: Run, figures: Figures | Run) -> float:
            return (per_device(run, figures) or 1) if name == "throughput" else 1 / getattr(figures, name)

        return mean(math.log(value(item.run, item.run if measured else item.predicted)) for item in items)

    pairs: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for layouts in cells.values():
        for one, other in combinations(layouts.values(), 2):
            if same_devices and one[0].run.devices != other[0].run.devices:
                continue
            for name in ("throughput", *FIGURES):
                told, true = (
                    level(one, name, measured=measured) - level(other, name, measured=measured)
                    for measured in (False, True)
                )
                pairs[name].append((abs(told), (told > 0) == (true > 0)))
    return {name: sorted(own) for name, own in pairs.items()}


def tie(pairs: Sequence[tuple[float, bool]], share: float = _SURE) -> tuple[float, int] | None:
    """The least ratio, as a share, from which on a share of pairs are right; and how many pairs are less far apart."""
    for number in range(len(pairs)):
        if mean(right for _, right in pairs[number:]) >= share:
            return math.exp(pairs[number][0]) - 1, number
    return None


def main() -> int:
    """Command line."""
    found = online_of_command(__doc__, OWN_TABLE)
    rows = ratios_of(found)
    for margin in margins(rows):
        print(f"({margin.moe}, {margin.engine!r}, {margin.runs}, {margin.tpot_s}, {margin.ttft_s}),")
    tables = left_out(rows)
    for name, share in coverage(rows, tables, _SURE).items():
        print(f"{name}: {share:.1%} of {len(rows)} runs keep a limit at {_SURE:.0%}, their group left out")
    for limited in (FIGURES, *((name,) for name in FIGURES)):
        for asked in (None, *CONFIDENCES):
            own = choices(found, tables, asked, limited)
            title = " and ".join(name.removesuffix("_s") for name in limited)
            how = (
                "by the prediction"
                if asked is None
                else f"at {asked:.0%}" + " (default)" * (asked == DEFAULT_CONFIDENCE)
            )
            print(
                f"limits on {title} {how}: {own.broken} of {own.chosen} choices break one, "
                f"{own.broken / own.chosen:.1%}; {own.refused} find none; "
                f"the others lose {own.lost:.1%} to the best that keeps them"
            )
    for same in (True, False):
        for name, pairs in ordered_pairs(found, same_devices=same).items():
            least = tie(pairs)
            told = "none" if least is None else f"{least[0]:.1%} apart or more; {least[1]} are nearer"
            right = sum(right for _, right in pairs)
            where = "on as many devices" if same else "on any devices"
            print(f"pairs {where}, {name}: {right} of {len(pairs)} right; {_SURE:.0%} right: {told}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

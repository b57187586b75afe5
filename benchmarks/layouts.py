"""Whether the figures prefer the layout that is faster as measured, of layouts on as many devices and of one release.

``python -m benchmarks.layouts [TABLE.csv]`` reads benchmarks/data/layouts.csv: every such pair of one model, format,
device, engine release, lengths and concurrency in the silicon sample of aiconfigurator-core 0.12.0. By model, engine
and the two layouts it prints how many pairs are in the right order (and of those measured more than 5% apart), the
measured and the predicted ratio of TPOT at the least and at the most requests in flight, and the regret of choosing by
the figures. Degrees are those that InferenceX's configurations launched, without runs that may have drafted tokens.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import mean

from benchmarks.accuracy import Compared, online_of_command, per_device
from optimizer.domain.layout import Layout

TABLE = Path(__file__).with_name("data") / "layouts.csv"
FAR = 0.05
"""Measured throughputs less far apart are a tie of the measurements."""


@dataclass(frozen=True)
class Pair:
    """Two layouts under one load: logarithms of throughput and TPOT, the first's ÷ the second's, told and true."""

    place: tuple[str, ...]
    concurrency: int
    told: float
    true: float
    told_tpot: float
    true_tpot: float

    @property
    def right(self) -> bool:
        """Whether the one preferred is the faster one."""
        return (self.told > 0) == (self.true > 0)


def degrees(layout: Layout) -> str:
    """Degrees of a layout that tell it from another on as many devices."""
    return f"tp{layout.tp} dp{layout.dp} ep{layout.ep}"


def loads(found: Iterable[Compared]) -> list[dict[str, list[Compared]]]:
    """Runs by layout, of each load that several layouts on as many devices had under one release."""
    cells: dict[tuple[object, ...], dict[str, list[Compared]]] = defaultdict(lambda: defaultdict(list))
    for item in found:
        run = item.run
        key = (run.group, run.release, run.devices, run.isl, run.osl, run.concurrency)
        cells[key][degrees(run.layout)].append(item)
    return [dict(layouts) for layouts in cells.values() if len(layouts) > 1]


def pairs(found: Iterable[Compared]) -> list[Pair]:
    """Pairs of layouts under one load; repeated runs count as their geometric mean."""
    rows = []
    for layouts in loads(found):
        for (name, one), (other_name, other) in combinations(sorted(layouts.items()), 2):
            told, true = (_level(one, own) - _level(other, own) for own in ("predicted", "run"))
            told_tpot, true_tpot = (_tpot(one, own) - _tpot(other, own) for own in ("predicted", "run"))
            run = one[0].run
            place = (run.group, run.release, name, other_name)
            rows.append(Pair(place, run.concurrency, told, true, told_tpot, true_tpot))
    return rows


def _level(items: Iterable[Compared], own: str) -> float:
    return mean(math.log(per_device(item.run, getattr(item, own)) or 1) for item in items)


def _tpot(items: Iterable[Compared], own: str) -> float:
    return mean(math.log(getattr(item, own).tpot_s) for item in items)


def regret(found: Iterable[Compared]) -> float:
    """Mean share of measured throughput that the layout preferred has less than the fastest one."""
    lost = []
    for layouts in loads(found):
        levels = [(_level(items, "predicted"), _level(items, "run")) for items in layouts.values()]
        lost.append(1 - math.exp(max(levels)[1] - max(true for _, true in levels)))
    return mean(lost)


def main() -> int:
    """Command line."""
    found = online_of_command(__doc__, TABLE)
    rows = pairs(found)
    groups: dict[tuple[str, ...], list[Pair]] = defaultdict(list)
    for pair in rows:
        groups[pair.place].append(pair)
    for place, own in [*sorted(groups.items()), (("all",), rows)]:
        far = [pair for pair in own if abs(pair.true) > FAR]
        right, sure = (sum(pair.right for pair in each) for each in (own, far))
        told = f"{right} of {len(own)} right, {sure} of {len(far)} far"
        ends = [] if place == ("all",) else [min(own, key=_in_flight), max(own, key=_in_flight)]
        ratios = "; ".join(
            f"TPOT at {pair.concurrency}: {math.exp(pair.true_tpot):.2f}, told {math.exp(pair.told_tpot):.2f}"
            for pair in ends
        )
        print(f"{' '.join(place)}: {told}{'; ' + ratios if ratios else ''}")
    print(f"mean regret {regret(found):.1%} of {len(loads(found))} loads")
    wrong = max(abs(pair.told) for pair in rows if not pair.right)
    print(f"predictions of a pair in the wrong order are at most {math.exp(wrong) - 1:.1%} apart")
    return 0


def _in_flight(pair: Pair) -> int:
    return pair.concurrency


if __name__ == "__main__":
    raise SystemExit(main())

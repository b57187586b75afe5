"""How far measured TPOT and TTFT lie from predicted ones, by class: the rows of `optimizer/domain/margins.py`.

``python -m benchmarks.margins [TABLE.csv]`` prints a row for each class (dense or mixture of experts, engine) and how
many runs keep a limit met exactly at 90%, each group (model, format, device, engine) judged by the rows of the others.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.accuracy import OWN_TABLE, Compared, compare
from benchmarks.measurements import problem_of, read_hardware, read_runs
from optimizer.domain.margins import ANY, SHARES, Margin, quantile

_FIGURES = ("tpot_s", "ttft_s")
Class = tuple[bool, str]


def class_of(item: Compared) -> Class:
    """Whether the model has experts, and the engine."""
    problem = problem_of(item.run, "aggregated", read_hardware(item.run.gpu))
    return problem is not None and problem.model.moe is not None, item.run.engine


def margins(found: Iterable[Compared]) -> list[Margin]:
    """Quantiles of measured ÷ predicted by class, and of all runs together."""
    ratios: dict[tuple[bool | None, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for item in found:
        moe, engine = class_of(item)
        for name in _FIGURES:
            ratio = item.ratio(name)
            if ratio is not None:
                for key in ((moe, engine), (None, ANY)):
                    ratios[key][name].append(1 / ratio)
    rows = []
    for (moe, engine), own in sorted(ratios.items(), key=lambda row: (row[0][1], bool(row[0][0]))):
        each = [tuple(round(_at(sorted(own[name]), share), 3) for share in SHARES) for name in _FIGURES]
        rows.append(Margin(moe, engine, len(own["tpot_s"]), *each))
    return rows


def _at(ordered: Sequence[float], share: float) -> float:
    """A quantile of values in order, between neighbours."""
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def coverage(found: Sequence[Compared], share: float) -> dict[str, float]:
    """Share of runs that a margin from the other groups keeps."""
    kept: dict[str, list[bool]] = defaultdict(list)
    for group in {item.run.group for item in found}:
        rows = {(row.moe, row.engine): row for row in margins(item for item in found if item.run.group != group)}
        for item in (item for item in found if item.run.group == group):
            row = rows.get(class_of(item), rows[None, ANY])
            for name in _FIGURES:
                ratio = item.ratio(name)
                if ratio is not None:
                    kept[name].append(1 / ratio <= float(quantile(getattr(row, name), share)))
    return {name: sum(own) / len(own) for name, own in kept.items()}


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?", type=Path, default=OWN_TABLE)
    runs = [run for run in read_runs(parser.parse_args().table) if run.kind == "online" and not run.suspect]
    found = [item for run in runs if (item := compare(run)) is not None]
    for row in margins(found):
        print(f"    {row!r},")
    for name, share in coverage(found, 0.9).items():
        print(f"{name}: {share:.1%} of {len(found)} runs keep a limit at 90%, their group left out")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

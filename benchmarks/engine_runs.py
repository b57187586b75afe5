"""Launches that people reported, ran or not, against what is said of them: `python -m benchmarks.engine_runs`.

`data/engine_runs.csv` holds commands of public threads: `ran`, `refused` by a rule, or `died` for want of memory (of
graphs, of a step, or of cache for one sequence of `--max-model-len`). What is said is one of three: it fits, it may not
fit (as expected it does, but not within the error of what the engine keeps), or it does not.

A death counts apart where another thread tells that the same command ran on devices of no more memory (`apart` names
it): what differed is not in the command. Rows with a date in `held` were first judged on that day, after all else was
fitted, and are counted once more.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import Row, table
from optimizer.readers.launch.problem import pose
from optimizer.readers.launch.read import read_launch
from optimizer.readers.read import Override
from optimizer.verify.launch import judge_launch
from optimizer.verify.verdict import LayoutVerdict


@dataclass(frozen=True, slots=True)
class Judged:
    """One reported launch and what was said of it."""

    row: Row
    verdict: LayoutVerdict

    @property
    def ran(self) -> bool:
        """Whether it ran."""
        return self.row["outcome"] == "ran"

    @property
    def right(self) -> bool:
        """Whether what ran is not refused and what did not is not said to fit."""
        return self.verdict.fits != ("no" if self.ran else "yes")


def judged(row: Row) -> Judged:
    """The verdict on one launch, by the release that it ran on."""
    given = [Override("--hardware", ("hardware",), row["hardware"])]
    if row["engine"]:
        given.append(Override("--engine", ("engine",), row["engine"]))
    return Judged(row, judge_launch(pose(read_launch(row["command"], row["source"]), given)).verdict)


def main() -> int:
    """Print every launch that is misjudged, and the counts."""
    found = [judged(row) for row in table("engine_runs.csv")]
    print("| launch | release | outcome | said |\n| --- | --- | --- | --- |")
    for one in found:
        said = one.verdict.fits
        if not one.right or said == "may not fit":
            said = one.verdict.violations[0].message if said == "no" else said
            print(f"| {one.row['source']} | {one.row['engine'] or 'newest'} | {one.row['outcome']} | {said} |")
    print("\n| outcome | launches | fits | may not fit | does not |\n| --- | ---: | ---: | ---: | ---: |")
    groups = {
        "ran": [one for one in found if one.ran],
        "did not": [one for one in found if not one.ran and not one.row["apart"]],
        "did not, apart": [one for one in found if one.row["apart"]],
        "ran, held out": [one for one in found if one.ran and one.row["held"]],
        "did not, held out": [one for one in found if not one.ran and one.row["held"]],
    }
    for words, group in groups.items():
        said_of = [one.verdict.fits for one in group]
        counts = " | ".join(str(said_of.count(said)) for said in ("yes", "may not fit", "no"))
        print(f"| {words} | {len(said_of)} | {counts} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

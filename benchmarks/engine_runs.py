"""Launches that people reported, ran or not, against what is said of them: `python -m benchmarks.engine_runs`.

`data/engine_runs.csv` holds commands of public threads: `ran`, `refused` by a rule, or `died` for want of memory (of
graphs, of a step, or of cache for one sequence of `--max-model-len`). Runs of releases older than the first whose
memory is known are judged by that one, and are counted apart.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from optimizer.domain.engines import engine_named
from optimizer.readers.launch.problem import pose
from optimizer.readers.launch.read import read_launch
from optimizer.readers.read import Override
from optimizer.verify.launch import judge_launch
from optimizer.verify.verdict import Verdict

TABLE = Path(__file__).with_name("data") / "engine_runs.csv"
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Judged:
    """One reported launch and what was said of it."""

    row: Row
    known: bool
    verdict: Verdict

    @property
    def right(self) -> bool:
        """Whether what ran is said to fit and what did not is not."""
        return self.verdict.feasible is (self.row["outcome"] == "ran")


def rows() -> list[Row]:
    """The table."""
    with TABLE.open() as file:
        return list(csv.DictReader(file))


def judged(row: Row) -> Judged:
    """The verdict on one launch, by the release that it ran on."""
    given = [Override("--hardware", ("hardware",), row["hardware"])]
    known = True
    if row["engine"]:
        try:
            engine_named(row["engine"])
        except ValueError:
            known = False
        name = row["engine"] if known else f"{row['engine'].partition('@')[0]}@0.9"
        given.append(Override("--engine", ("engine",), name))
    verdict = judge_launch(pose(read_launch(row["command"], row["source"]), given)).verdict
    return Judged(row, known, verdict)


def main() -> int:
    """Print every launch that is misjudged, and the counts."""
    found = [judged(row) for row in rows()]
    print("| launch | release | outcome | said |\n| --- | --- | --- | --- |")
    for one in found:
        if not one.right:
            said = "fits" if one.verdict.feasible else one.verdict.violations[0].message
            print(f"| {one.row['source']} | {one.row['engine'] or 'newest'} | {one.row['outcome']} | {said} |")
    print("\n| releases | launches | did not run, said to fit | ran, refused |\n| --- | ---: | ---: | ---: |")
    for known, words in ((True, "known"), (False, "older than the first known")):
        own = [one for one in found if one.known is known]
        ran = [one for one in own if one.row["outcome"] == "ran"]
        dead = [one for one in own if one.row["outcome"] != "ran"]
        fits, refused = sum(not one.right for one in dead), sum(not one.right for one in ran)
        print(f"| {words} | {len(own)} | {fits} of {len(dead)} | {refused} of {len(ran)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Time to check a certificate beside the time to find it, for every scenario of the catalog.

``python -m benchmarks.certify [SET | SCENARIO | FILE ...]`` prints one line a scenario, without arguments for all of
them, the three seed systems included. Fails where a certificate is rejected, rests on the solver's word, or takes more
than 5 s of one core to check (60 s from 100,000 devices on). CPU times are those of this process, so that a busy
machine does not spoil them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from optimizer.bench.scenarios import scenarios
from optimizer.certificate import Check, certify
from optimizer.domain.problem import Problem
from optimizer.errors import SpecError
from optimizer.readers.read import read_problem
from optimizer.solve import solve

BUDGET_S = 5.0
LARGE_BUDGET_S = 60.0
LARGE_DEVICES = 100_000

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Clocked:
    """Seconds on the wall and of this process's CPU."""

    wall_s: float
    cpu_s: float


def clocked(work: Callable[[], Answer]) -> tuple[Answer, Clocked]:
    """What a function answers, and how long it takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    answer = work()
    return answer, Clocked(time.perf_counter() - wall, time.process_time() - cpu)


def budget_s(problem: Problem) -> float:
    """CPU seconds that a check may take."""
    return LARGE_BUDGET_S if problem.devices >= LARGE_DEVICES else BUDGET_S


def faults(problem: Problem, check: Check, took: Clocked) -> list[str]:
    """What is wrong with a check."""
    found = []
    if not check.accepted:
        found.append(f"rejected: {check.item}: {check.reason}")
    if check.solver_trusted:
        found.append(f"rests on the solver's word: {', '.join(check.solver_trusted)}")
    if took.cpu_s > budget_s(problem):
        found.append(f"takes {took.cpu_s:.1f} s of {budget_s(problem):.0f} s")
    return found


def measure(problem: Problem) -> tuple[dict[str, Any], list[str]]:
    """Solve, write, read and check one problem."""
    result, solving = clocked(lambda: solve(problem))
    document = json.loads(json.dumps(result.to_json()))
    check, checking = clocked(lambda: certify(document))
    row = {
        "status": result.status,
        "devices": problem.devices,
        "candidates": check.candidates,
        "solve": solving,
        "check": checking,
        "dismissed": check.dismissed,
        "accepted": check.accepted,
    }
    return row, faults(problem, check, checking)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("wanted", nargs="*", default=["all"], help="sets, scenarios or files; all by default")
    chosen = scenarios(*parser.parse_args(arguments).wanted)
    wrong = 0
    print(f"{'scenario':52} {'status':10} {'devices':>8} {'candidates':>12} {'solve':>15} {'check':>15}  verdict")
    print(f"{'':85} {'wall / CPU s':>15} {'wall / CPU s':>15}")
    total = Clocked(0.0, 0.0)
    for scenario in chosen:
        try:
            row, found = measure(read_problem(scenario.path))
        except SpecError as error:
            print(f"{scenario.name:52} {error}")
            wrong += 1
            continue
        solving, checking = row["solve"], row["check"]
        total = Clocked(total.wall_s + checking.wall_s, total.cpu_s + checking.cpu_s)
        print(
            f"{scenario.name:52} {row['status']:10} {row['devices']:8,} {row['candidates']:12,} "
            f"{solving.wall_s:7.2f} /{solving.cpu_s:6.2f} {checking.wall_s:7.2f} /{checking.cpu_s:6.2f}  "
            f"{'; '.join(found) or 'accepted'}",
            flush=True,
        )
        wrong += bool(found)
    print(f"{len(chosen)} scenarios, {wrong} with faults; checks took {total.wall_s:.1f} s, {total.cpu_s:.1f} s of CPU")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

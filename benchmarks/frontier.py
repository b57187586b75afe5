"""Time of the complete frontier of two and three objectives on catalog scenarios, beside the size of the lattice.

Run with ``python benchmarks/frontier.py [SCENARIO ...]``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from optimizer.readers.read import read_problem
from optimizer.search.frontier import frontier
from optimizer.search.search import Search

SCENARIOS = Path(__file__).parents[1] / "problems" / "scenarios"
DEFAULT = ("llama-3.1-405b-h100-32", "qwen3-235b-a22b-h200-16", "deepseek-v3-h800-32", "deepseek-v3-h800-64")
PAIRS = (
    ("throughput_per_device", "tpot"),
    ("throughput_per_device", "ttft"),
    ("tpot", "memory_headroom"),
    ("throughput_per_device", "tpot", "ttft"),
)


def main(names: list[str]) -> None:
    """Print one line for each scenario and set of objectives."""
    print(f"{'scenario':32} {'objectives':44} {'candidates':>11} {'points':>7} {'seconds':>8}")
    for name in names or DEFAULT:
        problem = read_problem(SCENARIOS / f"{name}.yaml")
        search = Search(problem)
        search.run()
        for objectives in PAIRS:
            if problem.workload.phase == "decode" and "ttft" in objectives:
                continue
            if problem.workload.phase == "prefill" and "tpot" in objectives:
                continue
            started = time.perf_counter()
            found = frontier(problem, objectives)
            taken = time.perf_counter() - started
            print(f"{name:32} {', '.join(objectives):44} {search.tally.points:11,} {len(found):7,} {taken:8.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])

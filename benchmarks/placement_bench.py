"""Expert placement beside greedy baselines, on load files given on the command line.

``python -m benchmarks.placement_bench LOAD.json [LOAD.json ...]`` places every file for every mesh alone, and all files
together robustly where they are several. Prints one JSON object a line.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks.baselines.flash_placement import flash
from benchmarks.baselines.greedy_placement import deviation, eplb
from optimizer.certificate.placement import check_placement
from optimizer.figures.placement import max_over_mean
from optimizer.placement import PlacementResult, Question, place
from optimizer.readers.loads import read_load

MESHES = ("256/32", "288/32", "288/36", "320/64", "288/72", "288/96", "288/144", "320/160")


def relative(load: Sequence[int], devices: Sequence[Sequence[int]]) -> float:
    """Max over mean, copies on the same device counted together."""
    total = sum(load)
    if not total:
        return 1.0
    counts: dict[int, int] = {}
    for held in devices:
        for expert in held:
            counts[expert] = counts.get(expert, 0) + 1
    return max(sum(load[expert] / counts[expert] for expert in held) for held in devices) * len(devices) / total


def summary(values: Sequence[float]) -> dict[str, float]:
    """Mean and worst."""
    return {"mean": sum(values) / len(values), "worst": max(values)}


def alone(
    name: str, rows: Sequence[Sequence[int]], devices: int, slots: int, limit: float, nodes: int
) -> dict[str, Any]:
    """One file on one mesh: greedy, ours, bound, gap, check."""
    groups = 8 if nodes > 1 else 1
    begun = time.perf_counter()
    greedy = [relative(row, eplb(row, devices, slots, nodes=nodes, groups=groups)) for row in rows]
    greedy_s = time.perf_counter() - begun
    begun = time.perf_counter()
    if nodes > 1:
        asked = Question([rows], devices, slots, node_size=devices // nodes, groups=groups, hierarchy="node")
    else:
        asked = Question([rows], devices, slots)
    result = place(asked, time_limit_s=limit)
    wall_s = time.perf_counter() - begun
    ours = [float(layer.max_over_mean) for layer in result.layers]
    return {
        "load": name, "mesh": f"{devices * slots}/{devices}", "nodes": nodes, "layers": len(rows),
        "greedy_excess": summary([value - 1 for value in greedy]), "greedy_s": greedy_s,
        "excess": summary([value - 1 for value in ours]), "wall_s": wall_s, **proof(result, [rows]),
        "worse_than_greedy": sum(mine > other + 1e-9 for mine, other in zip(ours, greedy, strict=True)),
    }  # fmt: skip


def proof(result: PlacementResult, loads: Sequence[Sequence[Sequence[int]]]) -> dict[str, Any]:
    """Gap, layers proved, and whether the checker accepts."""
    check = check_placement(loads, result.certificate, result.to_json())
    return {
        "gap": summary([float(layer.gap) for layer in result.layers]),
        "proved": sum(layer.proved(result.tolerance) for layer in result.layers),
        "certificate": "accepted" if check.accepted else check.reason,
    }


def together(loads: Sequence[Sequence[Sequence[int]]], devices: int, slots: int, limit: float) -> dict[str, Any]:
    """All files at once: greedy on the mean, mean plus deviation, tree search, and robust placement: worst workload."""
    layers = range(len(loads[0]))
    shares = [[[tokens / max(sum(row), 1) for tokens in row] for row in load] for load in loads]
    greedy, spread, tree, tree_mean = [], [], [], []
    tree_s = 0.0
    for layer in layers:
        rows = [load[layer] for load in shares]
        mean = [sum(column) for column in zip(*rows, strict=True)]
        for values, placed in ((greedy, eplb(mean, devices, slots)), (spread, deviation(rows, devices, slots))):
            values.append(max(relative(load[layer], placed) for load in loads))
        begun = time.perf_counter()
        placed = flash(rows, devices, slots)
        tree_s += time.perf_counter() - begun
        each = [relative(load[layer], placed) for load in loads]
        tree.append(max(each))
        tree_mean.append(sum(each) / len(each))
    begun = time.perf_counter()
    result = place(Question(loads, devices, slots), time_limit_s=limit)
    wall_s = time.perf_counter() - begun
    ours = [float(max(max_over_mean(load[layer], result.layers[layer].devices) for load in loads)) for layer in layers]
    return {
        "load": f"{len(loads)} workloads", "mesh": f"{devices * slots}/{devices}", "greedy_on_mean": summary(greedy),
        "mean_plus_deviation": summary(spread), "tree_search": summary(tree),
        "tree_search_over_workloads": sum(tree_mean) / len(tree_mean), "tree_search_s": tree_s,
        "robust": summary(ours), "wall_s": wall_s, **proof(result, loads),
    }  # fmt: skip


def main() -> None:
    """Run the meshes asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("loads", nargs="+")
    parser.add_argument("--mesh", action="append", help="SLOTS/DEVICES; may be repeated")
    parser.add_argument("--nodes", type=int, default=1, help="keep 8 groups within so many nodes")
    parser.add_argument("--time-limit", type=float, default=10.0)
    parser.add_argument("--only-robust", action="store_true")
    given = parser.parse_args()
    loads = [(load.name, load.rows) for load in map(read_load, given.loads)]
    for mesh in given.mesh or MESHES:
        slots, devices = map(int, mesh.split("/"))
        assert Fraction(slots, devices).denominator == 1, f"{slots} slots do not divide over {devices} devices"
        for name, rows in loads if not given.only_robust else []:
            if slots >= len(rows[0]):
                print(
                    json.dumps(alone(name, rows, devices, slots // devices, given.time_limit, given.nodes)), flush=True
                )
        if len(loads) > 1 and len({(len(rows), len(rows[0])) for _, rows in loads}) == 1:
            robust = together([rows for _, rows in loads], devices, slots // devices, given.time_limit)
            print(json.dumps(robust), flush=True)


if __name__ == "__main__":
    main()

"""Weights, room, tokens and concurrency against what engines logged: `python -m benchmarks.engine_memory`.

`data/engine_memory.csv` holds the logged values, each with its source. "by default" takes nothing from a log but its
layout and the share of memory stated; "given overheads" takes its activation peak and non-PyTorch memory as well.
Fitted to logs are the context of a device and the communicators of a group alone (the rest is read from the engines'
source): "source left out" takes both from the other sources of the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from statistics import median
from typing import Any

from benchmarks import Row, table
from optimizer.domain.layout import Layout
from optimizer.domain.model import ModelSpec
from optimizer.domain.problem import Problem
from optimizer.figures.memory import tables_bytes
from optimizer.figures.partition import even_cuts
from optimizer.figures.reserve import DIRECT_LINK, fixed_bytes
from optimizer.figures.room import Room, room_of
from optimizer.readers.catalog import load_hardware, load_model

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Compared:
    """One logged value and what was derived."""

    row: Row
    figure: str
    logged: float
    derived: float

    @property
    def error(self) -> float:
        """Derived ÷ logged − 1."""
        return self.derived / self.logged - 1


@cache
def _model(name: str, weights: str, kv_cache: str) -> ModelSpec:
    model = load_model(name)
    stated = {part: value for part, value in (("weights", weights), ("kv_cache", kv_cache)) if value}
    return model.model_copy(update={"precision": model.precision.model_copy(update=stated)})


def problem_of(row: Row, **limits: Any) -> tuple[Problem, Layout]:
    """The problem and layout of a row."""
    model = _model(row["model"], row["weights"], row["kv_cache"])
    tp, dp = int(row["tp"]), int(row["dp"])
    length = int(row["max_model_len"] or 16384)
    experts = {} if model.moe is None else {"ep": tp * dp} if dp > 1 else {"etp": tp * dp}
    stated = int(row["max_num_batched_tokens"]) if row["max_num_batched_tokens"] else None
    problem = Problem.model_validate(
        {
            "name": row["model"], "model": model, "hardware": load_hardware(row["hardware"]), "devices": tp * dp,
            "engine_name": row["engine"],
            "limits": {"memory_utilization": Fraction(row["utilization"]), **limits},
            "workload": {
                "input_tokens": length - 2, "output_tokens": 2, "max_model_len": length,
                "max_num_batched_tokens": stated,
            },
        }
    )  # fmt: skip
    return problem, Layout(tp=tp, dp=dp, **experts)


def priced(row: Row, **limits: Any) -> Room:
    """The cache of a row by default."""
    problem, layout = problem_of(row, **limits)
    return room_of(problem, layout.shape, even_cuts(problem.model.layer_count, 1))


def with_overheads(row: Row) -> Room | None:
    """The same with the logged peak and non-PyTorch memory in place of what the engine is said to keep."""
    if not (row["activation_gib"] and row["non_torch_gib"]):
        return None
    problem, layout = problem_of(row)
    kept = int((Fraction(row["activation_gib"]) + Fraction(row["non_torch_gib"])) * GIB)
    room = max(0, problem.capacity_bytes - priced(row).weights_bytes - kept)
    stated, _ = problem_of(row, kv_cache_memory=room)
    return room_of(stated, layout.shape, even_cuts(problem.model.layer_count, 1))


def _kind(row: Row) -> str:
    """What a device's ranks share: nothing, direct links, or others."""
    if int(row["tp"]) * int(row["dp"]) == 1:
        return "alone"
    direct = load_hardware(row["hardware"]).tiers[0].bandwidth >= DIRECT_LINK and int(row["tp"]) > 1
    return "direct" if direct else "switched"


def _document(row: Row) -> str:
    """The source of a row without the file in it."""
    return row["source"].partition(" (")[0].partition(";")[0]


@cache
def kept_by_source() -> dict[str, dict[str, float]]:
    """GiB beside PyTorch's that each source logged of a device alone, and more in groups of each kind."""
    logged: dict[str, dict[str, list[float]]] = {}
    for row in table("engine_memory.csv"):
        if row["non_torch_gib"]:
            own = logged.setdefault(_document(row), {})
            own.setdefault(_kind(row), []).append(float(row["non_torch_gib"]))
    middle = {source: {kind: median(found) for kind, found in own.items()} for source, own in logged.items()}
    return {
        source: {kind: found - (own.get("alone", 0) if kind != "alone" else 0) for kind, found in own.items()}
        for source, own in middle.items()
    }


def left_out(row: Row) -> Room | None:
    """The same with what the engine keeps beside PyTorch's memory from all sources but the row's own."""
    problem, layout = problem_of(row)
    if problem.engine.reservation.static_fraction:
        return None
    others = [kept for source, kept in kept_by_source().items() if source != _document(row)]

    def elsewhere(kind: str) -> float | None:
        found = [kept[kind] for kept in others if kind in kept]
        return median(found) if found else None

    alone, more = elsewhere("alone"), 0.0 if _kind(row) == "alone" else elsewhere(_kind(row))
    if alone is None or more is None:
        return None
    own, shape = priced(row), layout.shape
    without_graphs = problem.changed(workload=problem.workload.model_copy(update={"capture_sizes": ()}))
    graphs = own.reserve_bytes - fixed_bytes(without_graphs, shape)
    return priced(row, reserve=int((alone + more) * GIB) + graphs)


def compared(row: Row, found: Room, figures: tuple[str, ...]) -> list[Compared]:
    """Logged against derived, for each figure that the row has."""
    values = {
        "weights": (row["weights_gib"], (found.weights_bytes + tables_bytes(problem_of(row)[0])) / GIB),
        "room": (row["room_gib"], found.room_bytes / GIB),
        "tokens": (row["tokens"], float(found.tokens)),
        "concurrency": (row["concurrency"], float(found.concurrency)),
    }
    return [Compared(row, name, float(values[name][0]), values[name][1]) for name in figures if values[name][0]]


def tables() -> dict[str, list[Compared]]:
    """Every comparison by what was given."""
    all_figures = ("weights", "room", "tokens", "concurrency")
    found: dict[str, list[Compared]] = {"by default": [], "given overheads": [], "source left out": []}
    for row in table("engine_memory.csv"):
        found["by default"] += compared(row, priced(row), all_figures)
        given = with_overheads(row)
        if given is not None:
            found["given overheads"] += compared(row, given, all_figures[1:])
        elsewhere = left_out(row)
        if elsewhere is not None:
            found["source left out"] += compared(row, elsewhere, all_figures[1:])
    return found


def quantile(errors: list[float], share: float) -> float:
    """The smallest error that at least this share of the errors do not pass."""
    ordered = sorted(abs(error) for error in errors)
    return ordered[min(len(ordered) - 1, -(-int(share * 1000) * len(ordered) // 1000) - 1)]


def main() -> int:
    """Print every row, and a summary by figure."""
    found = tables()
    print("| model | engine | tp·dp | figure | logged | derived | error |")
    print("| --- | --- | --- | --- | ---: | ---: | ---: |")
    for one in found["by default"]:
        mesh = f"{one.row['tp']}·{one.row['dp']} {one.row['hardware'].split('-')[0]}"
        print(
            f"| {one.row['model']} | {one.row['engine']} | {mesh} | {one.figure} | {one.logged:,.2f} | "
            f"{one.derived:,.2f} | {one.error:+.1%} |"
        )
    print("\n| given | figure | rows | median | 90% |\n| --- | --- | ---: | ---: | ---: |")
    for given, each in found.items():
        for figure in dict.fromkeys(one.figure for one in each):
            errors = [one.error for one in each if one.figure == figure]
            middle = median(abs(error) for error in errors)
            print(f"| {given} | {figure} | {len(errors)} | {middle:.1%} | {quantile(errors, 0.9):.1%} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

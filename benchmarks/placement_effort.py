"""What each constant of the placement's search is worth: every figure of `optimizer.placement.effort` halved, doubled.

``python -m benchmarks.placement_effort LOAD.json LOAD.json [--only NAME ...]`` reads two measured loads, keeps 64
experts of three layers, and asks each kind of question of them: one load with many, four, three and two slots a device,
groups on nodes, several loads, moves, co-activation, free split, uneven slots. A constant is changed in four of the
questions that read it, those with something left to find first, the quickest of these first. Prints a row of Markdown
for each: what half and twice of it do to the mean gap, to moves, to nodes visited, and to time.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np

import optimizer.placement
from optimizer.placement import Nearness, PlacementResult, Question, place, processes
from optimizer.placement import effort as constants
from optimizer.readers.loads import read_load

_EXPERTS, _LAYERS, _QUESTIONS = 64, 3, 4
_CLOSED = 1e-4
"""Gap in mean device loads within which nothing is left to find."""


class Recorder:
    """Stands where modules look for the constants: notes which are read, and may hold another value of one."""

    def __init__(self, **other: object) -> None:
        self.other, self.read = other, set[str]()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - of whatever kind the constant is
        """The constant."""
        self.read.add(name)
        return self.other.get(name, getattr(constants, name))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a question: mean gap in mean device loads, moves, nodes visited, seconds, and the constants read."""

    gap: float
    moves: int
    visits: int
    seconds: float
    read: frozenset[str]


def modules() -> Iterator[ModuleType]:
    """Modules of the placement that read constants."""
    import sys  # noqa: PLC0415 - what has been imported by now

    for name, module in list(sys.modules.items()):
        if name.startswith(optimizer.placement.__name__ + ".") and hasattr(module, "effort"):
            yield module


def asked(question: Question, **other: object) -> Outcome:
    """Answer a question with constants changed; in this process, where they are."""
    recorder = Recorder(**other)
    for module in modules():
        vars(module)["effort"] = recorder
    processes.workers = lambda: 1
    begun = time.process_time()
    result = place(question)
    seconds = time.process_time() - begun
    return Outcome(*_measured(result), seconds, frozenset(recorder.read))


def _measured(result: PlacementResult) -> tuple[float, int, int]:
    layers = result.layers
    gap = float(sum((layer.gap for layer in layers), Fraction(0))) / len(layers)
    return gap, sum(layer.moves or 0 for layer in layers), sum(0 if not la.visits else la.visits.nodes for la in layers)


def questions(one: list[list[int]], other: list[list[int]], whole: list[list[int]]) -> Iterator[tuple[str, Question]]:
    """Each kind of question of the two loads, and of all experts of the first on two slots a device."""
    for slots, devices in ((72, 8), (72, 18), (72, 24), (72, 36)):
        yield f"{slots}/{devices}", Question([one], devices, slots // devices)
    devices = 5 * len(whole[0]) // 8
    yield f"{2 * devices}/{devices}", Question([whole], devices, 2)
    yield "72/36 certified", Question([one], 36, 2, solver_bounds=False)
    nodes = Question([one], 16, 5, node_size=4, groups=8, hierarchy="node")
    yield "nodes", nodes
    yield "several 72/8", Question([one, other], 8, 9)
    yield "several 72/18", Question([one, other], 18, 4)
    stale = place(Question([other], 8, 9)).devices
    yield "moves", Question([one], 8, 9, current=stale)
    yield "8 moves", Question([one], 8, 9, current=stale, max_moves=8)
    yield "8 moves on nodes", replace(nodes, current=place(replace(nodes, loads=[other])).devices, max_moves=8)
    rng = np.random.default_rng(0)
    together = [
        [(1, *sorted({int(e) for e in (rng.integers(8) * 8 + rng.integers(0, 12, 4)) % _EXPERTS})) for _ in range(300)]
        for _ in one
    ]
    yield "nodes visited", Question([one], 16, 5, nearness=Nearness("tokens", 4, together, Fraction(1, 100)))
    yield "free split", Question([one], 24, 3, split="free")
    yield "uneven", Question([one], 18, 4, empty_slots=5)
    small = [row[:5] for row in one]
    yield "small", Question([small], 4, 2)
    held = place(Question([[row[:5] for row in other]], 4, 2)).devices
    near = Nearness("tokens", 2, [[(1, 0, 1), (2, 1, 2), (1, 2, 4)] for _ in one], Fraction(1, 10))
    yield "small moves", Question([small], 4, 2, current=held)
    yield "small visits", Question([small], 4, 2, nearness=near)


def scaled(value: Any, factor: Fraction) -> Any:  # noqa: ANN401 - a number, or numbers of numbers
    """A constant halved or doubled; schedules of pairs, and switches of ports, stay."""
    if isinstance(value, tuple):
        return tuple(scaled(part, factor) for part in value)
    return max(1, round(value * factor)) if isinstance(value, int) else float(value * factor)


def change(before: list[Outcome], after: list[Outcome]) -> str:
    """What changed: gaps in millionths of the mean load, moves and visits, and the time's ratio."""
    gap = sum(b.gap - a.gap for a, b in zip(before, after, strict=True)) / len(before) * 1e6
    moves = sum(b.moves - a.moves for a, b in zip(before, after, strict=True))
    visits = sum(b.visits - a.visits for a, b in zip(before, after, strict=True))
    ratio = sum(b.seconds for b in after) / max(1e-9, sum(a.seconds for a in before))
    told = [f"{gap:+.0f}e-6"] if round(gap) else []
    told += [f"{moves:+d} moves"] * bool(moves) + [f"{visits:+d} visits"] * bool(visits)
    return f"{', '.join(told) or 'the same'}, {ratio:.2f}x"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("loads", nargs=2)
    parser.add_argument("--only", nargs="*", help="constants; all where none is named")
    given = parser.parse_args()
    whole, other = (
        [list(row) for row in rows[:: max(1, len(rows) // _LAYERS)][:_LAYERS]]
        for rows in (read_load(load).rows for load in given.loads)
    )
    every = dict(questions([row[:_EXPERTS] for row in whole], [row[:_EXPERTS] for row in other], whole))
    usual = {name: asked(question) for name, question in every.items()}
    print("| constant | now | read by | half | twice |\n| --- | --- | --- | --- | --- |", flush=True)
    for constant, value in vars(constants).items():
        if not constant.isupper() or (given.only and constant not in given.only):
            continue
        where = [name for name, outcome in usual.items() if constant in outcome.read]
        where.sort(key=lambda name: (usual[name].gap < _CLOSED, name.startswith("small"), usual[name].seconds))
        where = where[:_QUESTIONS]
        cells = []
        for factor in (Fraction(1, 2), Fraction(2)):
            after = [asked(every[name], **{constant: scaled(value, factor)}) for name in where]
            cells.append(change([usual[name] for name in where], after) if where else "not read")
        print(f"| {constant} | {value} | {', '.join(where)} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

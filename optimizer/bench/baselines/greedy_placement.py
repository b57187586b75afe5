"""Greedy expert placement on the best degrees of the powers-of-two grid.

After the description of DeepSeek's Expert Parallelism Load Balancer (github.com/deepseek-ai/EPLB, README): spare slots
go one by one to the expert with the largest load per copy; copies, heaviest first, to the least loaded device with
room.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from heapq import heapify, heappop, heappush

from optimizer.bench.baselines import powers_of_two
from optimizer.bench.pricing import Priced, Pricer, better
from optimizer.figures.placement import max_over_mean
from optimizer.spec.loads import Rows, read_load
from optimizer.spec.problem import Problem


def replicate(load: Sequence[int], slots: int) -> list[int]:
    """Copies of each expert."""
    counts = [1] * len(load)
    heap = [(Fraction(-tokens), expert) for expert, tokens in enumerate(load)]
    heapify(heap)
    for _ in range(slots - len(load)):
        _, expert = heappop(heap)
        counts[expert] += 1
        heappush(heap, (Fraction(-load[expert], counts[expert]), expert))
    return counts


def pack(load: Sequence[int], devices: int, slots: int) -> list[list[int]]:
    """Experts of each device, `slots` of them on each."""
    copies = replicate(load, devices * slots)
    items = sorted(
        ((Fraction(load[expert], count), expert) for expert, count in enumerate(copies) for _ in range(count)),
        key=lambda item: (-item[0], item[1]),
    )
    placed: list[list[int]] = [[] for _ in range(devices)]
    heap = [(Fraction(0), device) for device in range(devices)]
    for weight, expert in items:
        held, device = heappop(heap)
        placed[device].append(expert)
        if len(placed[device]) < slots:
            heappush(heap, (held + weight, device))
    return placed


def imbalance(problem: Problem, workloads: Sequence[Rows], devices: int, slots: int) -> list[Fraction]:
    """Hottest device ÷ mean of every layer of the model, the worst workload; packed for the sum of all workloads."""
    skews = []
    for rows in zip(*workloads, strict=True):
        together = [sum(column) for column in zip(*rows, strict=True)]
        placed = pack(together, devices, slots)
        skews.append(max(max_over_mean(row, placed) for row in rows))
    model, found = problem.model, iter(skews)
    return [next(found) if model.blocks[name].moe is not None else Fraction(1) for name in model.layer_names]


def propose(problem: Problem, pricer: Pricer) -> Priced | None:
    """The grid's best degrees, with its experts packed greedily and priced with the skew that remains."""
    grid = Pricer(problem, pricer.budget)
    base = powers_of_two.propose(problem, grid)
    pricer.evaluations += grid.evaluations
    moe, experts = problem.model.moe, problem.experts
    if base is None or moe is None or experts is None or experts.load is None:
        return None
    layers = sum(1 for name in problem.model.layer_names if problem.model.blocks[name].moe is not None)
    workloads = [
        read_load(source, layers=layers, experts=moe.experts, seed=problem.seed).rows for source in experts.load
    ]
    best: Priced | None = None
    for redundant in experts.redundant_slots:
        slots = -(-(moe.experts + redundant) // base.layout.ep)
        if slots * base.layout.ep != moe.experts + redundant:
            continue
        skew = imbalance(problem, workloads, base.layout.ep, slots)
        found = pricer.best_batch(base.layout, redundant, range(1, base.layout.batch + 1), imbalance=skew)
        if found is not None and better(problem, found, best):
            best = found
    return best

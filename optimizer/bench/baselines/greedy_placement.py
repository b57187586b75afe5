"""Greedy expert placement, on the degrees of the powers-of-two grid.

After the description of DeepSeek's Expert Parallelism Load Balancer (github.com/deepseek-ai/EPLB, README): spare slots
go one by one to the expert with the largest load per copy; copies, heaviest first, to the least loaded device with
room.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from heapq import heapify, heappop, heappush


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
        device_load, device = heappop(heap)
        placed[device].append(expert)
        if len(placed[device]) < slots:
            heappush(heap, (device_load + weight, device))
    return placed

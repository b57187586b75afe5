"""Greedy expert placement: replicate the hottest share, then pack the shares, heaviest first.

``eplb`` follows the description of DeepSeek's Expert Parallelism Load Balancer (github.com/deepseek-ai/EPLB, README):
replicas go one by one to the expert with the largest load per replica, and shares, heaviest first, to the least loaded
device with a free slot; hierarchically, groups are first packed onto nodes the same way. Two copies of
an expert on one device are not forbidden. ``deviation`` follows the idea of FlashLB
(github.com/vllm-project/vllm-ascend, ``policy_flashlb``): several load samples enter as mean plus a multiple of the
standard deviation, and two copies of an expert on one device are forbidden; its tree search stands in
``flash_placement``.
"""

from collections.abc import Sequence

import numpy as np

Placement = list[list[int]]


def replicate(weights: Sequence[float], slots: int) -> list[int]:
    """Copies of each expert: every spare slot to the largest load per copy."""
    shares, counts = np.array(weights, dtype=np.float64), np.ones(len(weights), dtype=np.int64)
    for _ in range(slots - len(weights)):
        counts[int((shares / counts).argmax())] += 1
    return counts.tolist()


def pack(items: Sequence[tuple[float, int]], bins: int, *, distinct: bool = False) -> Placement:
    """Pack weighed items into bins of equal size, heaviest first, each into the lightest bin with room."""
    room = len(items) // bins
    packed: Placement = [[] for _ in range(bins)]
    load = [0.0] * bins
    for weight, item in sorted(items, key=lambda entry: -entry[0]):
        free = [number for number in range(bins) if len(packed[number]) < room]
        fresh = [number for number in free if item not in packed[number]] if distinct else free
        chosen = min(fresh or free, key=load.__getitem__)
        packed[chosen].append(item)
        load[chosen] += weight
    return packed


def _spread(weights: Sequence[float], experts: Sequence[int], devices: int, slots: int, *, distinct: bool) -> Placement:
    counts = replicate([weights[expert] for expert in experts], devices * slots)
    items = [
        (weights[expert] / count, expert)
        for expert, count in zip(experts, counts, strict=True)
        for _ in range(count)
    ]  # fmt: skip
    return pack(items, devices, distinct=distinct)


def eplb(weights: Sequence[float], devices: int, slots: int, *, nodes: int = 1, groups: int = 1) -> Placement:
    """Greedy placement of one layer, hierarchical where the groups divide the nodes."""
    experts = range(len(weights))
    if nodes == 1 or groups % nodes:
        return _spread(weights, experts, devices, slots, distinct=False)
    size = len(weights) // groups
    heat = [(float(sum(weights[group * size : (group + 1) * size])), group) for group in range(groups)]
    placed: Placement = []
    for chosen in pack(heat, nodes):
        inside = [group * size + place for group in chosen for place in range(size)]
        placed += _spread(weights, inside, devices // nodes, slots, distinct=False)
    return placed


def deviation(samples: Sequence[Sequence[float]], devices: int, slots: int, *, factor: float = 1.0) -> Placement:
    """Greedy placement of one layer for several samples, each first scaled to the same total."""
    loads = np.array(samples, dtype=np.float64)
    loads /= np.maximum(loads.sum(axis=1, keepdims=True), 1.0)
    weights = loads.mean(axis=0) + factor * loads.std(axis=0)
    return _spread(weights.tolist(), range(len(weights)), devices, slots, distinct=True)

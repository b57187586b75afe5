"""What an expert placement amounts to, exactly: device loads, balance, copies, moves, and what is wrong with it.

A layer's placement is one list of expert ids for each device. With the even split, every copy of an expert that has
``r`` copies carries ``load / r``, the rule of DeepSeek's EPLB (github.com/deepseek-ai/EPLB).
"""

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from statistics import NormalDist

from optimizer.domain.families import Family

Devices = Sequence[Sequence[int]]
"""Expert ids held by each device, one inner sequence for each device."""

PLACEMENT_TOLERANCE = Fraction(1, 10_000)
"""Gap, in mean device loads, within which a placement counts as the best: a difference that no run shows."""


def linear_placement(experts: int, devices: int, slots_per_device: int, *, empty_slots: int = 0) -> list[list[int]]:
    """Placement that engines start from: expert ids in order, spare slots filled with the first experts again.

    The last ``empty_slots`` devices have one slot less.
    """
    placed, first = [], 0
    for device in range(devices):
        count = slots_per_device - (device >= devices - empty_slots)
        placed.append([slot % experts for slot in range(first, first + count)])
        first += count
    return placed


def replica_counts(devices: Devices, experts: int) -> list[int]:
    """Copies of each expert.

    Parameters
    ----------
    devices
        Expert ids of each device.
    experts
        Experts of the layer.

    Returns
    -------
    list of int
        One count for each expert, 0 where no device holds it.
    """
    counts = [0] * experts
    for held in devices:
        for expert in held:
            counts[expert] += 1
    return counts


def scaled_device_loads(load: Sequence[int], devices: Devices) -> tuple[list[int], int]:
    """Device loads under the even split as integers over one common denominator.

    Returns
    -------
    numerators, denominator
        Load of device ``g`` is ``numerators[g] / denominator``, in the unit of ``load``.
    """
    counts = replica_counts(devices, len(load))
    scale = math.lcm(*{count for count in counts if count})
    shares = [weight * (scale // count) if count else 0 for weight, count in zip(load, counts, strict=True)]
    return [sum(shares[expert] for expert in held) for held in devices], scale


def device_loads(load: Sequence[int], devices: Devices) -> list[Fraction]:
    """Load of each device under the even split, in the unit of ``load``."""
    numerators, scale = scaled_device_loads(load, devices)
    return [Fraction(numerator, scale) for numerator in numerators]


def max_over_mean(load: Sequence[int], devices: Devices) -> Fraction:
    """Hottest device's load over the mean device load; 1 for a layer without load.

    A layer without load is balanced by convention: no device waits for another.
    """
    total = sum(load)
    if total == 0:
        return Fraction(1)
    numerators, scale = scaled_device_loads(load, devices)
    return Fraction(max(numerators) * len(devices), scale * total)


def split_device_loads(load: Sequence[int], devices: Devices, shares: Sequence[Sequence[Fraction]]) -> list[Fraction]:
    """Device loads where ``shares[g][slot]`` is the part of its expert's load that the slot carries.

    Raises
    ------
    ValueError
        The parts of an expert's load do not add up to 1, or one is negative.
    """
    scale = math.lcm(*(part.denominator for parts in shares for part in parts))
    carried = [0] * len(load)
    loads = []
    for held, parts in zip(devices, shares, strict=True):
        on_device = 0
        for expert, part in zip(held, parts, strict=True):
            if part < 0:
                raise ValueError(f"expert {expert} is given a negative share {part}")
            units = part.numerator * (scale // part.denominator)
            carried[expert] += units
            on_device += units * load[expert]
        loads.append(Fraction(on_device, scale))
    for expert, units in enumerate(carried):
        if units != scale:
            raise ValueError(f"the shares of expert {expert} add up to {Fraction(units, scale)}, not 1")
    return loads


def violations(
    devices: Devices,
    experts: int,
    device_count: int,
    slots_per_device: int,
    *,
    node_size: int | None = None,
    groups: int | None = None,
    empty_slots: int = 0,
) -> list[str]:
    """What makes the placement of one layer invalid, each with a witness; empty where it is valid.

    Parameters
    ----------
    devices
        Expert ids of each device.
    experts, device_count, slots_per_device
        What the placement must have: every expert somewhere, exactly so many devices and slots.
    node_size, groups
        Given both, each of the ``groups`` equal runs of expert ids must live within one node of ``node_size`` devices.
    empty_slots
        So many devices, the last ones, have one slot less.
    """
    broken: list[str] = []
    tag = f"({Family.PLACEMENT})"
    if len(devices) != device_count:
        broken.append(f"{tag} {len(devices)} devices listed, {device_count} expected")
    holders: dict[int, list[int]] = {}
    for device, held in enumerate(devices):
        room = slots_per_device - (device >= device_count - empty_slots)
        if len(held) != room:
            broken.append(f"{tag} device {device} fills {len(held)} of {room} slots")
        for expert, times in Counter(held).items():
            if not 0 <= expert < experts:
                broken.append(f"{tag} device {device} holds expert {expert}, but there are experts 0..{experts - 1}")
                continue
            if times > 1:
                broken.append(f"{tag} device {device} holds expert {expert} {times} times")
            holders.setdefault(expert, []).append(device)
    missing = [expert for expert in range(experts) if expert not in holders]
    if missing:
        broken.append(
            f"{tag} no device holds expert {missing[0]}" + f" (and {len(missing) - 1} more)" * (len(missing) > 1)
        )
    if node_size is not None and groups is not None:
        broken += _group_violations(holders, experts // groups, groups, device_count // node_size, node_size)
    return broken


def _group_violations(
    holders: dict[int, list[int]], group_size: int, groups: int, nodes: int, node_size: int
) -> list[str]:
    broken: list[str] = []
    homes: dict[int, tuple[int, int]] = {}
    for expert in sorted(holders):
        for device in holders[expert]:
            node, group = device // node_size, expert // group_size
            first_node, first_expert = homes.setdefault(group, (node, expert))
            if first_node != node:
                broken.append(
                    f"({Family.PLACEMENT}) group {group} is on node {first_node} (expert {first_expert})"
                    f" and node {node} (expert {expert})"
                )
                break
    for node, count in sorted(Counter(node for node, _ in homes.values()).items()):
        if count * nodes > groups:
            broken.append(f"({Family.PLACEMENT}) node {node} holds {count} groups, {groups // nodes} expected")
    return broken


def moves(before: Devices, after: Devices) -> int:
    """Experts that some device must load to get from one placement to the other; slot order within a device is free."""
    return sum((Counter(new) - Counter(old)).total() for old, new in zip(before, after, strict=True))


CVAR_TAIL = Fraction(1, 4)
"""Part of the weight that the tail of ``cvar`` holds, unless told otherwise (assumed)."""


def aggregate(
    values: Sequence[Fraction], weights: Sequence[Fraction], robust: str, tail: Fraction = CVAR_TAIL
) -> Fraction:
    """Objective over workloads; grows with every value, so that lower bounds aggregate to a lower bound.

    Parameters
    ----------
    values
        Max over mean under each workload.
    weights
        Weight of each workload, adding up to 1.
    robust
        ``worst``, ``mean`` or ``cvar``.
    tail
        Weight of the worst workloads that ``cvar`` averages over (Rockafellar and Uryasev 2000).
    """
    if robust == "worst":
        return max(values)
    if robust == "mean":
        return sum((value * weight for value, weight in zip(values, weights, strict=True)), Fraction(0))
    if robust != "cvar":
        raise ValueError(f"unknown objective {robust!r}")
    left, total = tail, Fraction(0)
    for value, weight in sorted(zip(values, weights, strict=True), reverse=True):
        taken = min(left, weight)
        total += taken * value
        left -= taken
    return total / (tail - left)


ACTIVATIONS = (64, 256, 1024, 4096)
"""Expert activations of a device and step for which the noise is told where the step is not known."""


def sampling_noise_floor(devices: int, activations_per_device: float) -> float:
    """Expected max over mean of one step under a perfectly balanced static placement.

    A device's share of a step is about Poisson with the given mean, so its relative deviation is ``1 / sqrt(n)``; the
    largest of ``devices`` such deviations is expected at the normal quantile ``(G - 3/8) / (G + 1/4)`` (Blom 1958).

    Parameters
    ----------
    devices
        Devices of the expert mesh.
    activations_per_device
        Expert activations (tokens times experts per token) that a device handles in one step of one layer.
    """
    if devices < 2 or activations_per_device <= 0:
        return 1.0
    quantile = NormalDist().inv_cdf((devices - 0.375) / (devices + 0.25))
    return 1.0 + quantile / math.sqrt(activations_per_device)


def noise_table(devices: int, top_k: int, step_tokens: int | None) -> list[tuple[float, float]]:
    """Activations of a device in one step of one layer, and the imbalance that drawing them leaves.

    Parameters
    ----------
    devices, top_k
        Devices of the expert mesh, and experts of a token.
    step_tokens
        Tokens of one step over all devices; None: `ACTIVATIONS`.
    """
    activations = [float(n) for n in ACTIVATIONS] if step_tokens is None else [step_tokens * top_k / devices]
    return [(number, sampling_noise_floor(devices, number)) for number in activations]

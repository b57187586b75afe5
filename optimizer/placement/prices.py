"""What each constraint costs: nodes against free, each further redundant slot, each EP degree, each forbidden move."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from optimizer.figures.placement import max_over_mean
from optimizer.placement.place import place
from optimizer.placement.question import Loads
from optimizer.placement.rebalance import FrontierPoint, frontier
from optimizer.placement.result import PlacementResult


@dataclass(frozen=True, slots=True)
class Price:
    """Balance under one choice: mean over layers and worst layer, with their bounds."""

    choice: int | str
    mean: Fraction
    worst: Fraction
    mean_bound: Fraction
    worst_bound: Fraction

    @classmethod
    def of(cls, choice: int | str, result: PlacementResult) -> "Price":
        """Price that a result shows."""
        count = len(result.layers)
        return cls(
            choice,
            sum((layer.max_over_mean for layer in result.layers), Fraction(0)) / count,
            result.max_over_mean,
            sum((layer.bound for layer in result.layers), Fraction(0)) / count,
            result.bound,
        )

    def to_json(self) -> dict[str, int | str | float]:
        """The choice with its balance and bounds."""
        return {
            "choice": self.choice, "mean": float(self.mean), "worst": float(self.worst),
            "mean_bound": float(self.mean_bound), "worst_bound": float(self.worst_bound),
        }  # fmt: skip


def hierarchy_price(
    loads: Loads, devices: int, slots_per_device: int, *, node_size: int, groups: int, time_limit_s: float | None = None
) -> tuple[Price, Price]:
    """Balance placed freely, and with every group kept on one node."""
    free = place(loads, devices, slots_per_device, time_limit_s=time_limit_s)
    node = place(
        loads, devices, slots_per_device, node_size=node_size, groups=groups, hierarchy="node",
        time_limit_s=time_limit_s,
    )  # fmt: skip
    return Price.of("free", free), Price.of("node", node)


def slot_prices(
    loads: Loads, devices: int, slots_per_device: Sequence[int], *, time_limit_s: float | None = None
) -> list[Price]:
    """Balance for each number of slots per device: what a further redundant slot buys."""
    return [Price.of(slots, place(loads, devices, slots, time_limit_s=time_limit_s)) for slots in slots_per_device]


def degree_prices(
    loads: Loads, degrees: Sequence[int], *, redundant_slots: int = 0, time_limit_s: float | None = None
) -> list[Price]:
    """Balance for each EP degree, with at least the given redundant slots of a layer; slots are rounded up."""
    experts = len(loads[0])
    return [
        Price.of(degree, place(loads, degree, -(-(experts + redundant_slots) // degree), time_limit_s=time_limit_s))
        for degree in degrees
    ]


def move_prices(
    load: Sequence[int], current: Sequence[Sequence[int]], *, most_moves: int, goal: Fraction = Fraction(10001, 10000)
) -> list[FrontierPoint]:
    """Frontier of moves against balance of one layer, from the placement in service."""
    total = sum(load) or 1
    weights = np.array([load], dtype=np.float64) * len(current) / total
    return frontier([load], weights, np.array(current), budget=most_moves, goal=float(goal))


def holdout(
    loads: Sequence[Loads], devices: int, slots_per_device: int, *, time_limit_s: float | None = None
) -> list[list[Fraction]]:
    """What an unseen workload costs: max over mean ``[left out][layer]`` of the placement made for all the others."""
    unseen = []
    for left_out, load in enumerate(loads):
        others = [other for number, other in enumerate(loads) if number != left_out]
        result = place(others, devices, slots_per_device, time_limit_s=time_limit_s)
        unseen.append([max_over_mean(row, held.devices) for row, held in zip(load, result.layers, strict=True)])
    return unseen

"""The question as the search sees it: checked, with every workload's loads and its weight."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import numpy as np

from optimizer.errors import SpecError
from optimizer.figures.robust import CVAR_TAIL
from optimizer.placement.replicas import Floats

Layer = Sequence[int]
Loads = Sequence[Layer]
Current = Sequence[Sequence[Sequence[int]]]

_ROBUST = ("worst", "mean", "cvar")


@dataclass(frozen=True, slots=True)
class Question:
    """What to place, where, and what counts as good."""

    loads: tuple[tuple[tuple[int, ...], ...], ...]
    """Tokens, ``[workload][layer][expert]``."""
    devices: int
    slots: int
    node_size: int | None
    groups: int | None
    hierarchy: str
    robust: str
    weights: tuple[Fraction, ...]
    tail: Fraction
    current: tuple[tuple[tuple[int, ...], ...], ...] | None
    max_moves: int | None
    split: str
    tolerance: Fraction
    seed: int

    @property
    def layers(self) -> int:
        """Layers to place."""
        return len(self.loads[0])

    @property
    def experts(self) -> int:
        """Experts of every layer."""
        return len(self.loads[0][0])

    def rows(self, layer: int) -> list[tuple[int, ...]]:
        """Loads of one layer, one row for each workload."""
        return [load[layer] for load in self.loads]

    def normalised(self, workload: int) -> Floats:
        """Loads in units of the mean device load, ``[layers, experts]``; rows without load stay 0."""
        loads = np.array(self.loads[workload], dtype=np.float64)
        total = loads.sum(axis=1, keepdims=True)
        return loads * self.devices / np.where(total > 0, total, 1.0)

    @property
    def terms(self) -> dict[str, Any]:
        """What the certificate says of the question."""
        return {
            "devices": self.devices,
            "slots_per_device": self.slots,
            "node_size": self.node_size,
            "groups": self.groups,
            "hierarchy": self.hierarchy,
            "robust": self.robust,
            "weights": [str(weight) for weight in self.weights],
            "cvar_tail": str(self.tail),
            "split": self.split,
            "tolerance": str(self.tolerance),
        } | ({} if self.max_moves is None else {"max_moves": self.max_moves})


def _workloads(loads: Sequence[Loads] | Loads) -> Sequence[Loads]:
    if not len(loads) or not len(loads[0]):
        raise SpecError("experts.load: no layers")
    first = loads[0][0]
    return cast("Sequence[Loads]", loads) if isinstance(first, Sequence) else [cast("Loads", loads)]


def _checked_loads(given: Sequence[Loads]) -> tuple[tuple[tuple[int, ...], ...], ...]:
    layers, experts = len(given[0]), len(given[0][0])
    for number, load in enumerate(given):
        where = f"experts.load: load {number}: " if len(given) > 1 else "experts.load: "
        if len(load) != layers:
            raise SpecError(f"{where}{len(load)} layers, but the first load has {layers}")
        for layer, row in enumerate(load):
            if len(row) != experts:
                raise SpecError(f"{where}layer {layer}: {len(row)} experts, but the first layer has {experts}")
            if min(row) < 0:
                raise SpecError(f"{where}layer {layer}: expert {row.index(min(row))} has negative load {min(row)}")
    return tuple(tuple(tuple(map(int, row)) for row in load) for load in given)


def ask(
    loads: Sequence[Loads] | Loads,
    devices: int,
    slots_per_device: int,
    *,
    node_size: int | None,
    groups: int | None,
    hierarchy: str,
    robust: str,
    weights: Sequence[Fraction | int | float] | None,
    tail: Fraction = CVAR_TAIL,
    current: Current | None,
    max_moves: int | None,
    split: str,
    tolerance: Fraction,
    seed: int,
) -> Question:
    """Check the question.

    Raises
    ------
    SpecError
        Slots, loads, hierarchy, weights or the current placement do not fit together.
    """
    given = _checked_loads(_workloads(loads))
    experts, layers = len(given[0][0]), len(given[0])
    if devices < 1 or slots_per_device < 1:
        raise SpecError(f"experts: {devices} devices with {slots_per_device} slots each hold no expert")
    slots = devices * slots_per_device
    if slots < experts:
        raise SpecError(
            f"experts.redundant_slots: {devices} devices x {slots_per_device} slots = {slots} slots"
            f" cannot hold {experts} experts; at least {-(-experts // devices)} slots per device are needed"
        )
    if slots_per_device > experts:
        raise SpecError(
            f"experts.redundant_slots: {slots_per_device} slots per device, but only {experts} experts:"
            " a second copy on the same device is useless"
        )
    if robust not in _ROBUST:
        raise SpecError(f"experts.robust: {robust!r} is none of {', '.join(_ROBUST)}")
    if hierarchy not in {"free", "node"}:
        raise SpecError(f"experts.hierarchy: {hierarchy!r} is neither free nor node")
    if split not in {"even", "free"}:
        raise SpecError(f"experts.split: {split!r} is neither even nor free")
    if hierarchy == "node":
        _check_hierarchy(devices, slots_per_device, experts, node_size, groups)
    parts = [Fraction(weight) for weight in weights] if weights is not None else [Fraction(1)] * len(given)
    if len(parts) != len(given) or min(parts) < 0 or sum(parts) <= 0:
        raise SpecError(f"experts.load: {len(parts)} weights for {len(given)} loads, or no positive weight")
    placed = None if current is None else _checked_current(current, layers, devices, slots_per_device, experts)
    if max_moves is not None and (placed is None or max_moves < 0):
        raise SpecError("experts.max_moves: a budget of moves, 0 or more, needs a current placement")
    return Question(
        given, devices, slots_per_device, node_size, groups, hierarchy, robust,
        tuple(part / sum(parts) for part in parts), tail, placed, max_moves, split, tolerance, seed,
    )  # fmt: skip


def _check_hierarchy(devices: int, slots: int, experts: int, node_size: int | None, groups: int | None) -> None:
    if node_size is None or groups is None:
        raise SpecError("experts.hierarchy: node needs the devices of a node and the router's groups")
    if node_size < 1 or devices % node_size:
        raise SpecError(f"experts.hierarchy: {devices} devices are not whole nodes of {node_size}")
    nodes = devices // node_size
    if groups < 1 or experts % groups:
        raise SpecError(f"experts.hierarchy: {experts} experts are not {groups} equal groups")
    if groups % nodes:
        raise SpecError(f"experts.hierarchy: {groups} groups cannot be laid on {nodes} nodes, equally many on each")
    if slots > experts // nodes:
        raise SpecError(f"experts.hierarchy: {slots} slots per device, but only {experts // nodes} experts on a node")


def _checked_current(
    current: Current, layers: int, devices: int, slots: int, experts: int
) -> tuple[tuple[tuple[int, ...], ...], ...]:
    if len(current) != layers:
        raise SpecError(f"experts.current: {len(current)} layers, but the load has {layers}")
    for layer, placed in enumerate(current):
        if len(placed) != devices:
            raise SpecError(f"experts.current: layer {layer}: {len(placed)} devices, not {devices}")
        for device, held in enumerate(placed):
            if len(held) != slots:
                raise SpecError(f"experts.current: layer {layer}: device {device} holds {len(held)}, not {slots}")
            wrong = [expert for expert in held if not 0 <= expert < experts]
            if wrong:
                raise SpecError(f"experts.current: layer {layer}: device {device} holds unknown expert {wrong[0]}")
    return tuple(tuple(tuple(map(int, held)) for held in placed) for placed in current)

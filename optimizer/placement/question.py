"""The question: what to place, where, and what counts as good; checked when it is asked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from optimizer.errors import InternalError, SpecError
from optimizer.figures.locality import TokenGroup
from optimizer.figures.placement import (
    CVAR_TAIL,
    PLACEMENT_TOLERANCE,
    aggregate,
    max_over_mean,
    moves,
    split_device_loads,
)
from optimizer.placement.counts import Floats
from optimizer.placement.processes import seconds_left
from optimizer.placement.result import DeviceExperts, LayerPlacement, Shares

Loads = Sequence[Sequence[int]]
Current = Sequence[Sequence[Sequence[int]]]

_CHOICES = {"robust": ("worst", "mean", "cvar"), "hierarchy": ("free", "node"), "split": ("even", "free")}


@dataclass(frozen=True, slots=True)
class Nearness:
    """Co-activated experts to be laid on few nodes: their groups, by layer, and the devices of a node.

    ``allowance`` is what balance may cost, in mean device loads over the better of the bound and the balance found.
    """

    measure: str
    node_size: int
    groups: Sequence[Sequence[TokenGroup]]
    allowance: Fraction


@dataclass(frozen=True, slots=True)
class Question:
    """What to place, where, and what counts as good.

    Parameters
    ----------
    loads
        Tokens ``[workload][layer][expert]``.
    devices, slots
        Devices of the expert mesh, and the expert slots of each; every slot is filled.
    node_size, groups, hierarchy
        With ``hierarchy="node"`` each of the router's ``groups`` lives on one node of ``node_size`` devices.
    robust, weights, tail
        Objective over several loads (worst, mean, cvar), their weights (alike where none are given), the tail of cvar.
    current, max_moves
        Placement in service, ``[layer][device][slot]``, and the most experts of a layer that may be loaded anew.
    split
        ``even``: copies carry equal parts. ``free``: the parts are chosen as well.
    tolerance
        Gap, in mean device loads, that counts as proved.
    seed
        Of the random choices; the same seed gives the same placement unless time ran out.
    empty_slots
        Slots that stay empty, one on each of the last devices; even split, without nodes, moves or co-activation.
    solver_bounds
        Whether CP-SAT's word is taken for a bound that no other argument reaches; such a layer's witness says so.
    nearness
        Co-activated experts to be laid on few nodes, as second objective.
    layer_ids, names
        The model's own layer indices and the names of the loads, for the result.

    Raises
    ------
    SpecError
        The parts do not fit together.
    """

    loads: Sequence[Loads]
    devices: int
    slots: int
    node_size: int | None = None
    groups: int | None = None
    hierarchy: str = "free"
    robust: str = "worst"
    weights: Sequence[Fraction] = ()
    tail: Fraction = CVAR_TAIL
    current: Current | None = None
    max_moves: int | None = None
    split: str = "even"
    tolerance: Fraction = PLACEMENT_TOLERANCE
    seed: int = 0
    empty_slots: int = 0
    solver_bounds: bool = True
    nearness: Nearness | None = None
    layer_ids: Sequence[int] = ()
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check, and bring weights to a sum of one."""
        _check_loads(self.loads)
        _check_slots(self)
        for name, choices in _CHOICES.items():
            if (chosen := getattr(self, name)) not in choices:
                raise SpecError(f"experts.{name}: {chosen!r} is none of {', '.join(choices)}")
        if self.hierarchy == "node":
            _check_hierarchy(self)
        parts = [Fraction(weight) for weight in self.weights] or [Fraction(1)] * len(self.loads)
        if len(parts) != len(self.loads) or min(parts) < 0 or sum(parts) <= 0:
            raise SpecError(f"experts.load: {len(parts)} weights for {len(self.loads)} loads, or no positive weight")
        object.__setattr__(self, "weights", tuple(part / sum(parts) for part in parts))
        if self.current is not None:
            _check_current(self, self.current)
        if self.max_moves is not None and (self.current is None or self.max_moves < 0):
            raise SpecError("experts.max_moves: a budget of moves, 0 or more, needs a current placement")

    @property
    def layers(self) -> int:
        """Layers to place."""
        return len(self.loads[0])

    @property
    def experts(self) -> int:
        """Experts of every layer."""
        return len(self.loads[0][0])

    @property
    def spare(self) -> int:
        """Slots beyond one for each expert."""
        return self.devices * self.slots - self.empty_slots - self.experts

    def rows(self, layer: int) -> list[Sequence[int]]:
        """Loads of one layer, one row for each workload."""
        return [load[layer] for load in self.loads]

    @property
    def kept_within(self) -> int:
        """Devices of a node that an expert's copies must share, or all devices."""
        return self.node_size if self.hierarchy == "node" and self.node_size else self.devices

    def normalised(self) -> Floats:
        """Loads in mean device loads, ``[layers, workloads, experts]``; 0 where there is none."""
        return np.stack([Layer(self, number).loads for number in range(self.layers)])

    def together(self, values: Sequence[Fraction]) -> Fraction:
        """The objective over the workloads of a value under each."""
        return aggregate(values, self.weights, self.robust, self.tail)

    @property
    def terms(self) -> dict[str, Any]:
        """What the certificate says of the question."""
        near = self.nearness
        terms = {
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
            "max_moves": self.max_moves,
            "empty_slots": self.empty_slots or None,
            "coactivation": near and near.measure,
            "locality_node_size": near and near.node_size,
            "balance_allowance": near and str(near.allowance),
        }
        always = ("node_size", "groups")
        return {name: value for name, value in terms.items() if value is not None or name in always}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a question, and ``time.monotonic()`` at which work on it ends."""

    question: Question
    index: int
    deadline: float | None = None

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline; infinite without one."""
        return seconds_left(self.deadline)

    @property
    def rows(self) -> list[Sequence[int]]:
        """Its loads, one row for each workload."""
        return self.question.rows(self.index)

    @property
    def loads(self) -> Floats:
        """Its loads in mean device loads, ``[workloads, experts]``; 0 where there is none."""
        loads = np.array(self.rows, dtype=np.float64)
        total = loads.sum(axis=1, keepdims=True)
        scaled: Floats = loads * self.question.devices / np.where(total > 0, total, 1.0)
        return scaled

    @property
    def service(self) -> DeviceExperts:
        """Its placement in service.

        Raises
        ------
        InternalError
            There is none.
        """
        if self.question.current is None:
            raise InternalError("no placement in service")
        return tuple(tuple(held) for held in self.question.current[self.index])

    def moves(self, devices: DeviceExperts) -> int | None:
        """Experts that a placement loads anew; nothing where none is in service."""
        return None if self.question.current is None else moves(self.question.current[self.index], devices)

    def within_budget(self, devices: DeviceExperts) -> bool:
        """Whether a placement loads no more experts anew than allowed."""
        return self.question.max_moves is None or (self.moves(devices) or 0) <= self.question.max_moves

    def value(self, devices: DeviceExperts) -> Fraction:
        """The objective of a placement, split evenly."""
        return self.question.together([max_over_mean(row, devices) for row in self.rows])

    def placed(self, placement: LayerPlacement, devices: DeviceExperts, shares: Shares | None = None) -> LayerPlacement:
        """What is known of the layer with another placement: its balance, even or split as told, and its moves."""
        values = [
            max_over_mean(row, devices) if shares is None or not sum(row) else
            max(split_device_loads(row, devices, shares)) * self.question.devices / sum(row)
            for row in self.rows
        ]  # fmt: skip
        return replace(
            placement, devices=devices, max_over_mean=self.question.together(values), workloads=tuple(values),
            moves=self.moves(devices), shares=shares,
        )  # fmt: skip


def _check_loads(loads: Sequence[Loads]) -> None:
    if not len(loads) or not len(loads[0]):
        raise SpecError("experts.load: no layers")
    layers, experts = len(loads[0]), len(loads[0][0])
    for number, load in enumerate(loads):
        where = f"experts.load: load {number}: " if len(loads) > 1 else "experts.load: "
        if len(load) != layers:
            raise SpecError(f"{where}{len(load)} layers, but the first load has {layers}")
        for layer, row in enumerate(load):
            if len(row) != experts:
                raise SpecError(f"{where}layer {layer}: {len(row)} experts, but the first layer has {experts}")
            if min(row) < 0:
                raise SpecError(f"{where}layer {layer}: expert {row.index(min(row))} has negative load {min(row)}")


def _check_slots(question: Question) -> None:
    devices, per_device, experts = question.devices, question.slots, question.experts
    slots = devices * per_device - question.empty_slots
    if devices < 1 or per_device < 1:
        raise SpecError(f"experts: {devices} devices with {per_device} slots each hold no expert")
    if slots < devices:
        raise SpecError(
            f"experts.redundant_slots: {slots} slots cannot hold one expert on each of {devices} devices; "
            f"{devices - experts} redundant would"
        )
    if slots < experts:
        raise SpecError(
            f"experts.redundant_slots: {devices} devices x {per_device} slots = {slots} slots"
            f" cannot hold {experts} experts; at least {-(-experts // devices)} slots per device are needed"
        )
    if per_device > experts:
        raise SpecError(
            f"experts.redundant_slots: {per_device} slots per device, but only {experts} experts:"
            " a second copy on the same device is useless"
        )


def _check_hierarchy(question: Question) -> None:
    node_size, groups = question.node_size, question.groups
    if node_size is None or groups is None:
        raise SpecError("experts.hierarchy: node needs the devices of a node and the router's groups")
    if node_size < 1 or question.devices % node_size:
        raise SpecError(f"experts.hierarchy: {question.devices} devices are not whole nodes of {node_size}")
    nodes = question.devices // node_size
    if groups < 1 or question.experts % groups:
        raise SpecError(f"experts.hierarchy: {question.experts} experts are not {groups} equal groups")
    if groups % nodes:
        raise SpecError(f"experts.hierarchy: {groups} groups cannot be laid on {nodes} nodes, equally many on each")
    if question.slots > question.experts // nodes:
        raise SpecError(
            f"experts.hierarchy: {question.slots} slots per device, but only {question.experts // nodes} experts "
            "on a node"
        )


def _check_current(question: Question, current: Current) -> None:
    if len(current) != question.layers:
        raise SpecError(f"experts.current: {len(current)} layers, but the load has {question.layers}")
    for layer, placed in enumerate(current):
        if len(placed) != question.devices:
            raise SpecError(f"experts.current: layer {layer}: {len(placed)} devices, not {question.devices}")
        for device, held in enumerate(placed):
            if len(held) != question.slots:
                raise SpecError(
                    f"experts.current: layer {layer}: device {device} holds {len(held)}, not {question.slots}"
                )
            wrong = [expert for expert in held if not 0 <= expert < question.experts]
            if wrong:
                raise SpecError(f"experts.current: layer {layer}: device {device} holds unknown expert {wrong[0]}")

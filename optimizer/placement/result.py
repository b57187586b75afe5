"""What a placement answers: for each layer the experts of each device, its balance, its bound and the witness of it."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

DeviceExperts = tuple[tuple[int, ...], ...]

Shares = tuple[tuple[Fraction, ...], ...]
"""Part of its expert's load that each slot carries."""


def tuples(held: NDArray[np.int64]) -> DeviceExperts:
    """Experts of each device, in order, of a placement ``[devices, slots]``."""
    return tuple(tuple(sorted(slots)) for slots in held.tolist())


@dataclass(frozen=True, slots=True)
class Visits:
    """Nodes that groups of co-activated experts visit (`figures.locality`), and that no placement visits fewer."""

    nodes: int
    groups: int
    """Groups, each as often as it was seen."""
    bound: int
    witness: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LayerPlacement:
    """Placement of one layer.

    ``max_over_mean`` is the objective over the workloads (one workload: its own), ``workloads`` the value under each.
    """

    layer: int
    devices: DeviceExperts
    max_over_mean: Fraction
    bound: Fraction
    witness: dict[str, Any]
    workloads: tuple[Fraction, ...]
    moves: int | None = None
    shares: Shares | None = None
    """Part of its expert's load that each slot carries, where the split is free; even where ``None``."""
    visits: Visits | None = None
    """Where co-activation was given."""

    @property
    def gap(self) -> Fraction:
        """Balance above its bound, in mean device loads."""
        return self.max_over_mean - self.bound

    def proved(self, tolerance: Fraction) -> bool:
        """Whether the gap is within the tolerance."""
        return self.gap <= tolerance

    @property
    def replica_counts(self) -> dict[int, int]:
        """Copies of each expert."""
        counts: dict[int, int] = {}
        for held in self.devices:
            for expert in held:
                counts[expert] = counts.get(expert, 0) + 1
        return counts


@dataclass(frozen=True, slots=True)
class PlacementResult:
    """Placement of all layers; ``terms`` is what it was made for, as its certificate states it."""

    layers: tuple[LayerPlacement, ...]
    device_count: int
    slots_per_device: int
    tolerance: Fraction
    workload_names: tuple[str, ...]
    terms: dict[str, Any]
    rebalanced: bool = False
    wall_s: float = field(default=0.0, compare=False)

    @property
    def devices(self) -> list[list[list[int]]]:
        """Expert ids, ``[layer][device][slot]``."""
        return [[list(held) for held in layer.devices] for layer in self.layers]

    @property
    def max_over_mean(self) -> Fraction:
        """Worst layer's balance."""
        return max(layer.max_over_mean for layer in self.layers)

    @property
    def bound(self) -> Fraction:
        """No placement makes the worst layer better than this."""
        return max(layer.bound for layer in self.layers)

    @property
    def gap(self) -> Fraction:
        """Largest gap of a layer."""
        return max(layer.gap for layer in self.layers)

    @property
    def proved(self) -> bool:
        """Whether every layer is within the tolerance of its bound."""
        return all(layer.proved(self.tolerance) for layer in self.layers)

    @property
    def certificate(self) -> dict[str, Any]:
        """Terms and one witness for each layer; rational numbers as text."""
        return {
            **self.terms,
            "layers": [
                {
                    "layer": layer.layer,
                    "max_over_mean": str(layer.max_over_mean),
                    "bound": str(layer.bound),
                    "witness": layer.witness,
                }
                | ({} if layer.visits is None else _visits_claim(layer.visits))
                for layer in self.layers
            ],
        }

    def to_json(self) -> dict[str, Any]:
        """The ``placement`` object of a result."""
        layers: list[dict[str, Any]] = []
        for layer in self.layers:
            entry: dict[str, Any] = {
                "layer": layer.layer,
                "devices": [list(held) for held in layer.devices],
                "max_over_mean": float(layer.max_over_mean),
                "bound": float(layer.bound),
                "gap": float(layer.gap),
                "proved": layer.proved(self.tolerance),
            }
            if layer.shares is not None:
                entry["shares"] = [[str(part) for part in parts] for parts in layer.shares]
            if layer.visits is not None:
                seen = max(1, layer.visits.groups)
                entry["nodes_visited"] = {"mean": layer.visits.nodes / seen, "bound": layer.visits.bound / seen}
            layers.append(entry)
        return {
            "slots_per_device": self.slots_per_device,
            "tolerance": float(self.tolerance),
            "layers": layers,
            "workloads": [
                {"name": name, "max_over_mean": [float(layer.workloads[index]) for layer in self.layers]}
                for index, name in enumerate(self.workload_names)
            ],
            "moves": sum(layer.moves or 0 for layer in self.layers) if self.rebalanced else None,
        }


def _visits_claim(visits: Visits) -> dict[str, Any]:
    return {"visits": {"nodes": visits.nodes, "bound": visits.bound, "witness": visits.witness}}

"""The objective over workloads, in floats, and how much each workload pulls on the search."""

from dataclasses import dataclass

import numpy as np

from optimizer.placement.replicas import Floats


@dataclass(frozen=True, slots=True)
class Aim:
    """Objective over workloads, in floats."""

    robust: str
    weights: Floats
    tail: float

    def value(self, worst: Floats) -> Floats:
        """Objective of each layer from its hottest device under each workload, ``[layers, workloads]``."""
        if self.robust == "worst":
            best: Floats = worst.max(axis=1)
            return best
        total: Floats = (worst * self._taken(worst)).sum(axis=1)
        return total

    def _taken(self, worst: Floats) -> Floats:
        """Part of the objective that each workload is, ``[layers, workloads]``."""
        if self.robust == "mean":
            return np.broadcast_to(self.weights, worst.shape)
        order = np.argsort(-worst, axis=1, kind="stable")
        sorted_weights = self.weights[order]
        before = np.cumsum(sorted_weights, axis=1) - sorted_weights
        taken = np.clip(self.tail - before, 0.0, sorted_weights)
        out = np.empty_like(worst)
        np.put_along_axis(out, order, taken / taken.sum(axis=1, keepdims=True), axis=1)
        return out

    def pull(self, load: Floats, power: float) -> Floats:
        """Weight of each workload in the p-norm, ``[layers, workloads]``; loads ``[layers, devices, workloads]``."""
        if self.robust == "worst":
            return np.ones((len(load), load.shape[2]))
        worst = load.max(axis=1)
        norm = np.maximum(((load / np.maximum(worst, 1e-9)[:, None, :]) ** power).sum(axis=1), 1e-9)
        share = self._taken(worst) + 0.05 * self.weights
        pull: Floats = share * norm ** (1 / power - 1) * np.maximum(worst, 1e-3) ** (1 - power)
        scaled: Floats = pull / pull.max(axis=1, keepdims=True)
        return scaled

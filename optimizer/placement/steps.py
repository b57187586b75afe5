"""Single steps of one layer, all weighed at once: a copy makes way for a copy of another expert, or two copies swap.

The potential is ``sum of omega * load ** 2`` over workloads and devices; with ``omega = load ** (p - 2)`` it
follows the p-norm, which tends to the maximum as ``p`` grows (iteratively reweighted least squares).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.placement.replicas import Floats, Ints

_NEVER = np.inf


@dataclass(slots=True)
class LayerState:
    """One layer under search."""

    weights: Floats
    """Loads ``[workloads, experts]`` in units of the mean device load."""
    held: Ints
    """Expert of each slot, ``[devices, slots]``."""
    member: NDArray[np.bool_]
    """Which device holds which expert, ``[devices, experts]``."""
    counts: Ints
    """Copies of each expert."""
    load: Floats
    """Device loads, ``[workloads, devices]``."""

    @classmethod
    def of(cls, weights: Floats, held: Ints) -> "LayerState":
        """State of a placement."""
        state = cls(weights, held.copy(), np.zeros((len(held), weights.shape[1]), dtype=bool), held, weights)
        state.refresh()
        return state

    def refresh(self) -> None:
        """Recompute everything from ``held``."""
        devices, experts = len(self.held), self.weights.shape[1]
        self.member = np.zeros((devices, experts), dtype=bool)
        self.member[np.arange(devices)[:, None], self.held] = True
        self.counts = np.bincount(self.held.ravel(), minlength=experts)
        self.load = (self.weights / self.counts)[:, self.held].sum(axis=2)


def replace_change(state: LayerState, omega: Floats) -> tuple[Ints, Floats]:
    """Change of the potential if a slot gave up its expert, held elsewhere too, for expert ``f``.

    Parameters
    ----------
    state
        Layer.
    omega
        Weights of the potential, ``[workloads, devices]``.

    Returns
    -------
    slots, change
        Flat slots that can give up their expert, and ``[those slots, experts]``; infinite where not allowed.
    """
    devices, slots = state.held.shape
    flat = np.nonzero(state.counts[state.held.ravel()] > 1)[0]
    out, home = state.held.ravel()[flat], flat // slots
    counts, member = state.counts, state.member.astype(np.float64)
    change = np.zeros((len(flat), len(counts)))
    for weights, load, weight in zip(state.weights, state.load, omega, strict=True):
        share = weights / counts
        rise = (weights / np.maximum(counts - 1, 1) - share)[out]
        fresh = weights / (counts + 1)
        fall = share - fresh
        pull, mass = (weight * load) @ member, weight @ member
        here, own = weight[home], (weight * load)[home]
        together = (member[:, out].T * weight) @ member
        together *= (-2 * rise)[:, None] * fall
        step = fresh - share[out][:, None]
        change += together
        change += (2 * rise * (pull[out] - own) + rise**2 * (mass[out] - here))[:, None]
        change += fall**2 * mass - 2 * fall * pull
        change += step * (2 * own[:, None] + here[:, None] * step)
    change[state.member[home] | (counts >= devices)] = _NEVER
    return flat, change


def swap_change(state: LayerState, omega: Floats) -> Floats:
    """Change of the potential if two slots swapped experts, ``[slots, slots]``; infinite where not allowed."""
    devices, slots = state.held.shape
    out, home = state.held.ravel(), np.repeat(np.arange(devices), slots)
    there = state.member[home][:, out]
    change = np.zeros(there.shape)
    for weights, load, weight in zip(state.weights, state.load, omega, strict=True):
        share = (weights / state.counts)[out]
        step = share[None, :] - share[:, None]
        pull, mass = (weight * load)[home], weight[home]
        change += step * (2 * (pull[:, None] - pull[None, :]) + (mass[:, None] + mass[None, :]) * step)
    change[there | there.T] = _NEVER
    return change


def replace(state: LayerState, slot: int, expert: int) -> None:
    """Give ``slot`` (flat) to ``expert``."""
    state.held[slot // state.held.shape[1], slot % state.held.shape[1]] = expert
    state.refresh()


def swap(state: LayerState, one: int, two: int) -> None:
    """Swap the experts of two slots (flat)."""
    flat = state.held.reshape(-1)
    flat[one], flat[two] = flat[two], flat[one]
    state.refresh()

"""Rows of a sieve: candidates that a bound is asked of at once, and how they are split."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from optimizer.domain.lattice import Axes
from optimizer.domain.problem import Problem
from optimizer.search.lattice import Arrays, Ints, Lattice, Meshes, replicas_that_fit

_FEW, _SAMPLE = 4, 256
"""Where no degrees are powers of two: the least cp, and mesh pairs of them, among which incumbents are looked for."""


@dataclass(frozen=True)
class Rows(Arrays):
    """Candidates that share nothing but a problem: index of the mesh pair, pp (0: open), chunks from least to most."""

    mesh: Ints
    pp: Ints
    least: Ints
    most: Ints


def open_rows(meshes: Meshes, chunks: Ints) -> Rows:
    """Every mesh pair with pp and chunk open."""
    mesh = np.arange(len(meshes))
    return Rows(mesh, np.zeros_like(mesh), np.full_like(mesh, chunks[0]), np.full_like(mesh, chunks[-1]))


def with_depths(problem: Problem, meshes: Meshes, rows: Rows, depths: tuple[int, ...]) -> Rows:
    """Each row with every pp of which a replica fits the devices."""
    each = rows.take(np.repeat(np.arange(len(rows)), len(depths)))
    pp = np.tile(np.array(depths, dtype=np.int64), len(rows))
    sizes = tuple(tier.size for tier in problem.hardware.tiers)
    fits = replicas_that_fit(sizes, problem.devices, meshes.stage[each.mesh] * pp) > 0
    return replace(each, pp=pp).take(fits)


def halved(rows: Rows, chunks: Ints) -> Rows:
    """Each row's chunks in two halves, where there are several."""
    low, high = np.searchsorted(chunks, rows.least), np.searchsorted(chunks, rows.most)
    middle = (low + high) // 2
    lower = replace(rows, most=chunks[middle])
    upper = replace(rows, least=chunks[np.minimum(middle + 1, high)]).take(low < high)
    return Rows.joined((lower, upper))


def coarse_meshes(problem: Problem, axes: Axes) -> Meshes:
    """Mesh pairs of power-of-two degrees, without context parallelism where there are any so; else a few of all."""
    tp, cp, etp, ep = (tuple(v for v in axis if v & (v - 1) == 0) for axis in (axes.tp, axes.cp, axes.etp, axes.ep))
    coarse = replace(axes, tp=tp, cp=cp, etp=etp, ep=ep)
    for narrowed in (replace(coarse, cp=cp[:1]), coarse) if cp[:1] == (1,) else (coarse,):
        meshes = Lattice(problem, narrowed).listed().meshes
        if len(meshes):
            return meshes
    return Lattice(problem, replace(axes, cp=axes.cp[:_FEW])).listed().meshes.take(slice(_SAMPLE))

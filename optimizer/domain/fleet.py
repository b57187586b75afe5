"""A fleet: which replicas stand on which devices, in each period."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.domain.cluster import Role


@dataclass(frozen=True)
class Place:
    """Devices of one node that a replica holds."""

    node: int
    devices: tuple[int, ...]


@dataclass(frozen=True)
class Replicas:
    """Replicas of one layout for one demand and role on one pool; `places` lists those of each replica.

    Attributes
    ----------
    column
        Name of what each of them is: demand, role, pool and layout.
    """

    column: str
    demand: str
    role: Role
    pool: str
    layout: str
    count: int
    places: tuple[tuple[Place, ...], ...]


Fleet = dict[str, tuple[Replicas, ...]]
"""Replicas by period."""

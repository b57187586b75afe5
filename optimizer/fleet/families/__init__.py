"""Constraint families of the fleet program: statement, rows, sentence."""

from collections.abc import Collection

from optimizer.domain.cluster import Cluster
from optimizer.fleet.families.capacity import Capacity
from optimizer.fleet.families.demands import Demands
from optimizer.fleet.families.family import Coverage, FleetFamily, FleetProgram, StatedLimit
from optimizer.fleet.families.kinds import Kinds
from optimizer.fleet.families.resources import Budget, Power
from optimizer.fleet.families.starts import Starts
from optimizer.fleet.families.survival import Survival

FAMILIES: tuple[type[FleetFamily], ...] = (Capacity, Demands, Survival, Budget, Power, Kinds, Starts)

__all__ = ["FAMILIES", "Coverage", "FleetFamily", "FleetProgram", "StatedLimit", "limits_of", "without_others"]


def limits_of(cluster: Cluster) -> list[StatedLimit]:
    """Every limit that a person stated, those first that are easiest to do without."""
    return [limit for family in reversed(FAMILIES) for limit in family.limits(cluster)]


def without_others(cluster: Cluster, names: Collection[str]) -> Cluster:
    """The cluster with no other limits than those named."""
    for name in [limit.name for limit in limits_of(cluster) if limit.name not in names]:
        cluster = next(limit.without for limit in limits_of(cluster) if limit.name == name)
    return cluster

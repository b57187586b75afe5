"""Constraint families of the fleet program, one file each: statement, rows, sentence."""

from optimizer.fleet.families.budget import Budget
from optimizer.fleet.families.capacity import Capacity
from optimizer.fleet.families.demands import Demands
from optimizer.fleet.families.family import Coverage, Family, Statement
from optimizer.fleet.families.kinds import Kinds
from optimizer.fleet.families.power import Power
from optimizer.fleet.families.starts import Starts
from optimizer.fleet.families.survival import Survival

FAMILIES: tuple[type[Family], ...] = (Capacity, Demands, Survival, Budget, Power, Kinds, Starts)

__all__ = ["FAMILIES", "Coverage", "Family", "Statement"]

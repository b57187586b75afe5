"""Constraint families of the declarative model, one file each: statement, domains, constraints."""

from optimizer.declarative.families.batch import Batch
from optimizer.declarative.families.devices import Devices
from optimizer.declarative.families.divisibility import Divisibility
from optimizer.declarative.families.engine import Engine
from optimizer.declarative.families.latency import Latency
from optimizer.declarative.families.memory import Memory
from optimizer.declarative.families.mesh import Mesh
from optimizer.declarative.families.pipeline import Pipeline
from optimizer.declarative.families.placement import Placement
from optimizer.declarative.families.search import Search
from optimizer.declarative.statement import Family

FAMILIES: tuple[type[Family], ...] = (
    Mesh, Devices, Divisibility, Placement, Engine, Search, Pipeline, Batch, Memory, Latency,
)  # fmt: skip

__all__ = ["FAMILIES", "Family"]

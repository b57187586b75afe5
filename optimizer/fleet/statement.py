"""The whole program over fleets: every family's rows, and the objective that is meant, never a rank."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from optimizer.domain.cluster import FLEET_MAXIMISED, Cluster
from optimizer.domain.fleet import serves_nothing, worth
from optimizer.fleet.ceiling import Ceiling, ceiling_columns
from optimizer.fleet.column import Column
from optimizer.fleet.families import FAMILIES, FleetProgram
from optimizer.fleet.families.family import GROWTH
from optimizer.fleet.families.filling import listed_whole
from optimizer.fleet.families.resources import standing_cost
from optimizer.fleet.families.starts import Starts


def state(cluster: Cluster, columns: Sequence[Column], *, relaxed: bool = False) -> FleetProgram:
    """The program over fleets of these columns.

    Parameters
    ----------
    relaxed
        Where the ways to fill a node are too many to list: the program that no fleet is missing from (True), or the
        one that only has fleets whose losses are counted (False). Elsewhere they are the same.
    """
    statement = FleetProgram(cluster, columns, relaxed)
    for family in FAMILIES:
        family(statement).post()
    _aim(statement)
    return statement


def bounding(cluster: Cluster, ceilings: Sequence[Ceiling]) -> FleetProgram:
    """The program that no fleet of any layouts below the ceilings is beyond.

    A layout on two pools may have stand-ins of two sizes: with several pools kinds are not limited.
    """
    free = cluster.model_copy(update={"max_kinds": None}) if len(cluster.pools) > 1 else cluster
    return state(free, ceiling_columns(cluster, ceilings), relaxed=True)


def proves_none(cluster: Cluster, proved: Fraction | None) -> bool:
    """Whether what is derived of a program says that no fleet keeps the limits, or that none serves anything."""
    return proved is None or serves_nothing(cluster, shown(cluster, proved))


def is_exact(statement: FleetProgram) -> bool:
    """Whether the relaxed program is the program itself."""
    cluster = statement.cluster
    return cluster.survive is None or all(listed_whole(statement, pool) for pool in cluster.pools)


def _aim(statement: FleetProgram) -> None:
    """The objective, negated where it is maximised: means over the hours of all periods."""
    cluster, program = statement.cluster, statement.program
    name, hours = cluster.objective, cluster.hours
    if name == "growth":
        program.objective = {GROWTH: Fraction(-1)}
        return
    for period in cluster.periods:
        share = period.hours / hours
        if name == "throughput":
            for demand in cluster.demands:
                program.objective[statement.served(demand.name, period)] = -share * worth(cluster, demand)
            continue
        for column in statement.columns:
            each = {"cost": column.cost, "devices": column.devices, "power": column.power_w}[name]
            if each:
                program.objective[statement.replicas(column, period)] = share * each
            if Starts.counted(cluster):
                program.objective[Starts.started(column, period)] = cluster.start_cost / hours
    if name == "cost":
        program.constant = standing_cost(cluster)


def shown(cluster: Cluster, value: Fraction) -> Fraction:
    """A value of the program as the objective is told."""
    return -value if cluster.objective in FLEET_MAXIMISED else value

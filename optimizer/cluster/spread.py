"""Fleets whose replicas stand apart, so that a node takes little of any demand with it when it is lost.

With many demands there are too many ways to fill a node to list them. The program then counts each replica as if it
were lost alone, which no fleet is better than; its fleet is laid with the replicas of a demand on as many nodes as
there are. What the worst node then takes beyond the program's count is asked for in addition, and decided again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial

from optimizer.cluster.integers import FoundFleet, IntegerProgram
from optimizer.cluster.lay import Places, laid, on_whole
from optimizer.domain.cluster import FLEET_MAXIMISED, Cluster, Period, Pool
from optimizer.domain.fleet import NodeShare
from optimizer.fleet.column import Column
from optimizer.fleet.families import FleetProgram
from optimizer.fleet.statement import state
from optimizer.verify.fleet import FleetVerdict, judge_fleet

_TRIES = 4
"""How often what was lost beyond the count is asked for in addition."""


def spread_fleet(
    cluster: Cluster, columns: Sequence[Column], seconds: float | None
) -> tuple[FoundFleet, FleetVerdict] | None:
    """The best fleet found whose replicas stand apart; None where none keeps every limit.

    Parameters
    ----------
    seconds
        How long to look, in all.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    statement = state(cluster, columns, relaxed=True)
    for _ in range(_TRIES):
        seconds_left = None if deadline is None else deadline - time.monotonic()
        if seconds_left is not None and seconds_left <= 0:
            return None
        decided = IntegerProgram(statement.program, cluster.seed).decide(seconds_left, {})
        if decided.point is None:
            return None
        verdict = judge_fleet(cluster, columns, laid(statement, decided.point, partial(_pool, statement)))
        if verdict.feasible:
            exact = cluster.objective not in FLEET_MAXIMISED or verdict.value == -statement.program.value(decided.point)
            return (decided, verdict) if exact else None
        if any(broken.family != "survival" for broken in verdict.broken):
            return None
        _ask_more(statement, decided.point, verdict)
    return None


def _ask_more(statement: FleetProgram, point: Mapping[str, Fraction], verdict: FleetVerdict) -> None:
    """Let more be left of a demand than at a point, by what its laid fleet lacks."""
    rows = statement.program.rows
    for period in statement.cluster.periods:
        for coverage in statement.coverages:
            figures = verdict.demands[period.name][coverage.demand]
            row = rows.get(f"left[{coverage.demand}, {coverage.part}, {period.name}]")
            if figures.left < figures.rate and row is not None:
                left = sum((factor * point[name] for name, factor in row.terms.items()), Fraction(0))
                rows[row.name] = replace(
                    row, least=left + (figures.rate - figures.left) * statement.share(coverage, period)
                )


def _pool(statement: FleetProgram, _: Period, pool: Pool, counts: Mapping[str, int], places: Places) -> None:
    """Places of a pool's replicas, the largest first; where there is no room left, fewer than there should be."""
    first = [0] * len(pool.free)
    losses: dict[str, list[Fraction]] = {}
    used = [column for column in statement.of_pool(pool.name) if counts[column.name]]
    for column in sorted(used, key=lambda column: -column.devices):
        placed, nodes = places[column.name], pool.nodes_of(column.devices)
        if nodes:
            whole = [node for node in pool.whole_nodes if not first[node]]
            while len(placed) < counts[column.name] and len(whole) >= nodes and pool.rack_nodes is None:
                placed.append(_whole(pool, whole[:nodes], column.devices, first))
                whole = whole[nodes:]
            continue
        lost = losses.setdefault(column.demand, [Fraction(0)] * len(pool.free))
        while len(placed) < counts[column.name]:
            room = [node for node, free in enumerate(pool.free) if free - first[node] >= column.devices]
            if not room:
                break
            # where the demand loses least, then where most room is
            least = min(lost[node] for node in room)
            best = sorted((n for n in room if lost[n] == least), key=lambda n: first[n] - pool.free[n])
            for node in best[: counts[column.name] - len(placed)]:
                placed.append((NodeShare(node, tuple(range(first[node], first[node] + column.devices))),))
                first[node] += column.devices
                lost[node] += column.requests_per_s


def _whole(pool: Pool, nodes: Sequence[int], devices: int, first: list[int]) -> tuple[NodeShare, ...]:
    """A replica of several whole nodes."""
    for node in nodes:
        first[node] = pool.devices_per_node
    return on_whole(pool, nodes, devices)

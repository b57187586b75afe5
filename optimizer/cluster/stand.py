"""Places for a fleet of which only the counts are given: CP-SAT lays it so that as much as possible survives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from optimizer.cluster.integers import IntegerProgram
from optimizer.cluster.lay import lay
from optimizer.domain.cluster import Cluster, ClusterLimits
from optimizer.domain.fleet import Fleet
from optimizer.fleet.column import Column
from optimizer.fleet.statement import state
from optimizer.readers.document import Document
from optimizer.readers.fleet import fleet_in, unplaced
from optimizer.units import counted
from optimizer.verify.fleet import Broken
from optimizer.verify.proposed import FleetJudgement, judge_proposed, price

Counts = Mapping[str, Mapping[str, int]]
"""Replicas of each column in each period, by name."""


def judge_document(document: Document, problem: str | None = None) -> FleetJudgement:
    """Whether the fleet of a document keeps everything; one without places is laid down.

    Parameters
    ----------
    problem
        Path of a problem to judge by, in place of the one that the document names.

    Raises
    ------
    SpecError
        Everything that is wrong, each with its place.
    """
    proposal = fleet_in(document, problem)
    priced = price(proposal)
    if not unplaced(proposal):
        return judge_proposed(proposal, priced, priced.fleet)
    laid, unlaid = stand(proposal.cluster, priced.columns, priced.counts)
    return judge_proposed(proposal, priced, laid or priced.fleet, unlaid, chosen=laid is not None)


def stand(cluster: Cluster, columns: Sequence[Column], counts: Counts) -> tuple[Fleet | None, list[Broken]]:
    """Replicas on nodes; None, and which pools are too small, where they do not fit.

    Among all ways to lay them that one is taken whose weakest demand keeps most of its rate after the loss to be
    survived: it survives if any does.
    """
    fleet = _laid(cluster, columns, counts)
    if fleet is not None:
        return fleet, []
    broken = []
    for pool in cluster.pools:
        pool_columns = [column for column in columns if column.pool == pool.name]
        bare = cluster.model_copy(update={"survive": None})
        if _laid(bare, pool_columns, counts) is None:
            for name, listed in counts.items():
                needs = " + ".join(f"{listed[c.name]} × {c.devices}" for c in pool_columns if listed.get(c.name))
                room = f"the {pool.devices:,} free on {counted(len(pool.free), 'nodes')} of {pool.name}"
                text = f"{needs} devices do not fit {room} in {name}"
                most = max(pool_columns, key=lambda c: c.devices * listed.get(c.name, 0), default=None)
                broken.append(Broken("capacity", text, None if most is None else most.name))
    return None, broken


def _laid(cluster: Cluster, columns: Sequence[Column], counts: Counts) -> Fleet | None:
    asked = any(rate for period in cluster.periods for rate in period.rates.values())
    loss_matters = cluster.survive is not None and asked
    only = cluster.model_copy(
        update={
            "limits": ClusterLimits(), "max_kinds": None, "objective": "growth" if loss_matters else "devices",
            "start_cost": Fraction(0),
        }
    )  # fmt: skip
    if not loss_matters:
        quiet = tuple(period.model_copy(update={"rates": {}}) for period in cluster.periods)
        only = only.model_copy(update={"survive": None, "periods": quiet})
    statement = state(only, columns)
    for period in only.periods:
        for column in columns:
            name = statement.replicas(column, period)
            count = Fraction(counts[period.name].get(column.name, 0))
            statement.program.variables[name] = replace(statement.program.variables[name], lower=count, upper=count)
    decided = IntegerProgram(statement.program, cluster.seed).decide(None, {})
    return None if decided.point is None else lay(statement, decided.point)

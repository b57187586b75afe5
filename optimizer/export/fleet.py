"""The launch of a fleet: a folder for each kind of replica, and a script for each node that starts what is on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from optimizer.errors import Fault, SpecError
from optimizer.export.launch import Exported, export
from optimizer.export.plan import ExportPlan, prevented
from optimizer.figures.serving import evaluate
from optimizer.readers.fleet import FleetDocument, Proposed
from optimizer.verify.replica import at_rate, layout_name, replica_problem


@dataclass(frozen=True)
class ExportedReplicas:
    """Equal replicas of a period: the folder that their launch is written to, and the pool that they stand on."""

    folder: str
    pool: str
    launch: Exported


def export_fleet(
    proposal: FleetDocument, engine: str, version: str | None = None, model: str | None = None
) -> list[ExportedReplicas]:
    """The launch of every kind of replica; with several periods a folder for each.

    Raises
    ------
    SpecError
        The engine cannot run a layout, or nothing says which layout it is, or where it stands.
    """
    if model is not None and len(proposal.cluster.demands) > 1:
        raise SpecError(Fault(None, None, None, "--model", "the fleet serves several models: each keeps its own name"))
    kinds: list[ExportedReplicas] = []
    for period, entries in proposal.periods.items():
        first = 0
        for entry in entries:
            folder = f"{period}/" if len(proposal.periods) > 1 else ""
            kind = _kind(proposal, entry, folder, first, (engine, version, model))
            kinds.append(kind)
            first += entry.count
    return kinds


def node_scripts(kinds: list[ExportedReplicas]) -> Iterator[tuple[str, str]]:
    """Name and text of the script of each node: all of a period that stands on it, each replica with its devices."""
    by_node: dict[str, list[str]] = {}
    for kind in kinds:
        period, _, name = kind.folder.rpartition("/")
        nodes = sorted({command.node for command in kind.launch.commands})
        for node in nodes:
            path = f"{name}/node-{node}/launch.sh" if len(nodes) > 1 else f"{name}/launch.sh"
            script = f"{kind.pool}-node-{node}.sh"
            by_node.setdefault(f"{period}/{script}" if period else script, []).append(path)
    for name, scripts in by_node.items():
        lines = ["#!/bin/bash", "set -euo pipefail", 'cd "$(dirname "$0")"']
        yield name, "\n".join([*lines, *(f"bash {script} &" for script in scripts), "wait"]) + "\n"


def _kind(
    proposal: FleetDocument, entry: Proposed, folder: str, first: int, names: tuple[str, str | None, str | None]
) -> ExportedReplicas:
    engine, version, model = names
    if entry.layout is None:
        raise proposal.document.error("is a row of a table of rates: no layout of it is known", (*entry.at, "layout"))
    if entry.places is None:
        message = "is missing: a launch is of devices (`verify FILE --json` finds places for a fleet without them)"
        raise proposal.document.error(message, (*entry.at, "nodes"))
    demand, layout = entry.demand, entry.layout
    try:
        problem = replica_problem(proposal.cluster, demand, entry.role, entry.pool, layout.devices, entry.bucket)
    except ValueError as error:
        raise proposal.document.error(str(error), entry.at) from None
    stopped = prevented(problem, layout)
    if stopped is not None:
        raise proposal.document.error(f"cannot be launched: {stopped}", (*entry.at, "layout"))
    for number, shares in enumerate(entry.places):
        count = sum(len(place.devices) for place in shares)
        if count != layout.devices:
            message = f"the layout is of {layout.devices} devices, and {count} are held"
            raise proposal.document.error(message, (*entry.at, "nodes", number))
    if entry.rate:
        problem = at_rate(problem, entry.rate / entry.pool.availability)
    # objects of a cluster of machines are told apart by their names
    problem = problem.model_copy(update={"name": f"{demand.name[:30]}-{entry.role}-{first}"})
    answer = ExportPlan(problem, layout, evaluate(problem, layout), None, model)
    name = f"{demand.name}-{entry.role}-{entry.pool.name}-{layout_name(layout)}"
    if len(demand.buckets) > 1:
        name += f"-{demand.buckets[entry.bucket].name}"
    return ExportedReplicas(folder + name, entry.pool.name, export(answer, engine, version, entry.places, first))

"""A fleet that somebody proposes, or that a result holds: replicas with their layouts, places and claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from optimizer.domain.cluster import Cluster, Demand, GivenRate, Pool, ReplicaRole
from optimizer.domain.fleet import FleetFile, NodeShare, ReplicasFile
from optimizer.domain.layout import Layout, WrittenLayout
from optimizer.errors import SpecError
from optimizer.readers import catalog
from optimizer.readers.cluster import cluster_in, is_cluster
from optimizer.readers.document import Document, validate
from optimizer.readers.messages import nearest
from optimizer.readers.places import PathStep
from optimizer.readers.read import read_question

At = tuple[PathStep, ...]
_RESULT = "shardproof/result/"
_KEYS = ("name", "problem", "fleet", "claims", "notes")
_MEANT = {"cluster": "problem", "replicas": "fleet.replicas"}
"""What is meant by keys that a fleet's file does not have."""
_DERIVED = ("devices", "replicas", "placement")


@dataclass(frozen=True)
class Proposed:
    """Equal replicas with their references resolved.

    Attributes
    ----------
    at
        Where they stand in the document.
    row
        Their row of the table of rates; None where they are priced.
    layout
        None where rates are given.
    convention
        How their degrees were written; None where a result gave them in full.
    rate
        Requests/s that each is to serve, availability counted; None: as many as it can.
    places
        Devices of each replica; None where they are left open.
    bucket
        The longest of its demand's buckets that it takes.
    """

    at: At
    demand: Demand
    role: ReplicaRole
    pool: Pool
    row: GivenRate | None
    layout: Layout | None
    convention: str | None
    count: int
    rate: Fraction | None
    transfer_s: Fraction
    places: tuple[tuple[NodeShare, ...], ...] | None
    bucket: int = 0


@dataclass(frozen=True)
class FleetDocument:
    """A fleet to be judged: replicas of every period, and where the figures of each period are claimed."""

    document: Document
    cluster: Cluster
    periods: Mapping[str, tuple[Proposed, ...]]
    claimed_at: Mapping[str, At]

    @property
    def is_result(self) -> bool:
        """Whether `solve` wrote it."""
        return _is_result(self.document)


def _is_result(document: Document) -> bool:
    return str(document.data.get("schema", "")).startswith(_RESULT)


def is_fleet_document(data: object) -> bool:
    """Whether a document proposes a fleet, or is the result of a cluster."""
    if not isinstance(data, Mapping):
        return False
    return bool({"fleet", *_MEANT} & data.keys()) and data.get("layout") is None


def fleet_in(document: Document, problem: str | Path | None = None, *, or_none: bool = False) -> FleetDocument:
    """The fleet of a document with its cluster.

    Parameters
    ----------
    problem
        Cluster file to use in place of the one that the document names.
    or_none
        Whether a result that found none is read too, as a fleet without periods.

    Raises
    ------
    SpecError
        Everything that is wrong, each with its place.
    """
    data = document.data
    if not _is_result(document):
        document.only(_KEYS, _MEANT)
    cluster = _cluster(document, problem)
    if data.get("fleet") is None:
        status = data.get("status")
        if or_none and _is_result(document) and status in {"infeasible", "unknown"}:
            return FleetDocument(document, cluster, {}, {})
        raise document.error(f"has no fleet: its status is {status}" if status else "is required", ("fleet",))
    written = validate(FleetFile, data["fleet"], document, ("fleet",))
    known = [period.name for period in cluster.periods]
    for name in written.periods:
        document.among(name, known, "period of the cluster", ("fleet", "periods", name))
    if written.periods and len(written.periods) < len(known):
        missing = next(name for name in known if name not in written.periods)
        raise document.error(f"period {missing!r} is missing", ("fleet", "periods"))
    if not written.periods and "replicas" not in data["fleet"]:
        raise document.error("is required but missing", ("fleet", "replicas"))
    proposed, claimed_at = {}, {}
    for name in known:
        stated = written.periods.get(name, written)
        at: At = ("fleet",) if stated is written else ("fleet", "periods", name)
        for key in stated.demands:
            document.among(key, cluster.demand, "demand of the cluster", (*at, "demands", key))
        for key in stated.idle:
            document.among(key, cluster.pool, "pool of the cluster", (*at, "idle", key))
        proposed[name] = tuple(
            _proposed(document, cluster, (*at, "replicas", number), entry)
            for number, entry in enumerate(stated.replicas)
        )
        claimed_at[name] = at
    return FleetDocument(document, cluster, proposed, claimed_at)


def _cluster(document: Document, problem: str | Path | None) -> Cluster:
    named = document.get(("problem",)) if problem is None else problem
    if named is None:
        raise document.error("is required but missing", ("problem",))
    if problem is not None:
        question = read_question(problem)
        if not isinstance(question, Cluster):
            raise SpecError(f"--problem: {problem} is one demand on one pool, and a fleet belongs to a cluster")
        return question
    if not isinstance(named, str):
        if not is_cluster(named):
            raise document.error("a fleet belongs to a cluster: demands and pools are wanted", ("problem",))
        return cluster_in(document, ("problem",))
    inner = catalog.named_in(document, ("problem",), "clusters", named)
    if not is_cluster(inner.data):
        raise document.error(f"{named} is one demand on one pool, and a fleet belongs to a cluster", ("problem",))
    return cluster_in(inner)


def _proposed(document: Document, cluster: Cluster, at: At, entry: ReplicasFile) -> Proposed:
    document.among(entry.demand, cluster.demand, "demand of the cluster", (*at, "demand"))
    document.among(entry.pool, cluster.pool, "pool of the cluster", (*at, "pool"))
    demand, pool = cluster.demand[entry.demand], cluster.pool[entry.pool]
    if entry.role not in demand.roles:
        message = f"demand {demand.name!r} in phase {demand.phase!r} has no {entry.role} replicas"
        raise document.error(message, (*at, "role"))
    try:
        bucket = demand.bucket_number(entry.bucket)
    except ValueError:
        names = [bucket_held.name for bucket_held in demand.buckets]
        message = f"{entry.bucket!r} is no bucket of {demand.name}: {', '.join(names) or 'it has none'}"
        raise document.error(message, (*at, "bucket"), nearest(entry.bucket, names)) from None
    row, layout, convention = _layout(document, cluster, at, entry, bucket)
    if entry.nodes is not None and len(entry.nodes) != entry.count:
        raise document.error(f"lists {len(entry.nodes)} replicas, and count says {entry.count}", (*at, "nodes"))
    places = None
    if entry.nodes is not None:
        places = tuple(tuple(NodeShare(p.node, p.devices) for p in replica) for replica in entry.nodes)
    transfer = entry.figures.get("transfer_s")
    number = transfer if isinstance(transfer, int | float | Fraction) and not isinstance(transfer, bool) else 0
    sent = Fraction(repr(number)) if isinstance(number, float) else Fraction(number)
    return Proposed(
        at, demand, entry.role, pool, row, layout, convention, entry.count,
        entry.requests_per_s, max(sent, Fraction(0)), places, bucket,
    )  # fmt: skip


def _layout(
    document: Document, cluster: Cluster, at: At, entry: ReplicasFile, bucket: int
) -> tuple[GivenRate | None, Layout | None, str | None]:
    """A row of the table of rates, or degrees with their convention."""
    if cluster.rates:
        demand = cluster.demand[entry.demand]
        name = entry.layout if isinstance(entry.layout, str) else entry.name
        if name is not None and demand.several and not isinstance(entry.layout, str):
            name = name.removesuffix(f"@{demand.buckets[bucket].name}")  # as results name it
        if name is None:
            raise document.error("is required: the name that the table of rates gives it", (*at, "layout"))
        kind = (entry.demand, entry.role, entry.pool, bucket)
        rows = [r for r in cluster.rates if (r.demand, r.role, r.pool, demand.bucket_number(r.bucket)) == kind]
        row = next((row for row in rows if row.layout == name), None)
        if row is None:
            listed = ", ".join(row.layout for row in rows) or "none"
            message = f"{name!r} is no {entry.role} layout of {entry.demand} on {entry.pool} with a rate: {listed}"
            raise document.error(message, (*at, "layout"), nearest(name, [row.layout for row in rows]))
        if entry.devices is not None and entry.devices != row.devices:
            raise document.error(f"is {entry.devices}, and the table of rates says {row.devices}", (*at, "devices"))
        return row, None, None
    if not isinstance(entry.layout, Mapping):
        raise document.error("degrees are wanted, such as {tp: 4, pp: 2, batch: 64}", (*at, "layout"))
    degrees = {key: value for key, value in entry.layout.items() if key not in _DERIVED}
    convention = None
    if _is_result(document):
        layout = validate(Layout, degrees, document, (*at, "layout"))
    else:
        written = validate(WrittenLayout, degrees, document, (*at, "layout"))
        model, convention = cluster.demand[entry.demand].model, written.convention
        try:
            layout = written.resolve(experts=model is not None and model.moe is not None)
        except ValueError as error:
            raise document.error(str(error), (*at, "layout")) from None
    for place in ((*at, "devices"), (*at, "layout", "devices")):
        stated = document.get(place)
        if stated is not None and stated != layout.devices:
            raise document.error(f"is {stated}, but the degrees give {layout.devices}", place)
    slots = entry.redundant_slots or layout.redundant_slots
    if layout.redundant_slots not in {0, slots}:
        message = f"is {layout.redundant_slots}, but beside the layout stands {entry.redundant_slots}"
        raise document.error(message, (*at, "layout", "redundant_slots"))
    return None, layout.model_copy(update={"redundant_slots": slots}), convention


def unplaced(proposal: FleetDocument) -> bool:
    """Whether places are left open.

    Raises
    ------
    SpecError
        Where some replicas have them and others do not.
    """
    entries = list(_entries(proposal))
    open_ = [entry for entry in entries if entry.places is None]
    if open_ and len(open_) < len(entries):
        raise proposal.document.error("is missing: give the nodes of all replicas, or of none", (*open_[0].at, "nodes"))
    return bool(open_)


def _entries(proposal: FleetDocument) -> Iterator[Proposed]:
    for entries in proposal.periods.values():
        yield from entries

"""The judgement of a fleet that somebody proposes: every replica priced, every constraint, every figure and claim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from optimizer.domain.cluster import Period
from optimizer.domain.convention import CONVENTIONS
from optimizer.domain.engines import ANY
from optimizer.domain.fleet import Fleet, Replicas, measure_of
from optimizer.figures.derivation_figure import Figure
from optimizer.figures.serving import evaluate
from optimizer.fleet.column import (
    ROLE_ORDER,
    Column,
    column_layout,
    cost_of,
    given_column,
    power_of,
)
from optimizer.readers.claims import Claim, ClaimReader
from optimizer.readers.fleet import At, FleetDocument, Proposed
from optimizer.readers.messages import nearest
from optimizer.readers.places import PathStep
from optimizer.units import Dimension, plain
from optimizer.verify.claims import ComparedClaim, Judged, Verdict, matches
from optimizer.verify.constraints import BLOCKING, structural_violations
from optimizer.verify.fleet import (
    Broken,
    FleetVerdict,
    judge_fleet,
    left_without,
)
from optimizer.verify.fleet_document import fleet_json, unit_lost
from optimizer.verify.fleet_figures import figures_of, measured_as
from optimizer.verify.replica import (
    UnservedError,
    layout_name,
    most_served,
    priced_column,
    replica_problem,
    slowest_transfer,
)

_ROUNDING = Fraction(1, 10**12)
"""Relative error of sums of floats in a result; what a person writes is judged by its last digit."""
_LEAST_RATE = Fraction(1, 10**6)
"""Requests/s at which a replica that serves nothing is asked what it violates: its load is as good as none."""
_SUFFIXES = (
    ("_dollars_per_h", Dimension.DOLLARS_PER_HOUR), ("_per_s", Dimension.PER_SECOND), ("_s", Dimension.SECONDS),
    ("_w", Dimension.WATTS), ("share", Dimension.RATIO),
)  # fmt: skip


@dataclass(frozen=True)
class PricedFleet:
    """The replicas of a document as columns and a fleet.

    Attributes
    ----------
    at
        Where the replicas of a column stand in the document.
    named
        The column of the replicas that stand at a place.
    claims
        Verdicts on the rates that replicas are said to serve.
    """

    columns: tuple[Column, ...]
    counts: Mapping[str, Mapping[str, int]]
    fleet: Fleet
    broken: tuple[tuple[Broken, At], ...]
    at: Mapping[str, At]
    named: Mapping[At, str]
    claims: tuple[ComparedClaim, ...]


def price(proposal: FleetDocument) -> PricedFleet:
    """Every replica of a document as a column: its row of the table of rates, or priced at what it is to serve.

    Raises
    ------
    SpecError
        Equal replicas that are listed at different rates.
    """
    columns: dict[str, Column] = {}
    broken: list[tuple[Broken, At]] = []
    places: dict[str, At] = {}
    claims: list[ComparedClaim] = []
    counts: dict[str, dict[str, int]] = {}
    fleet: Fleet = {}
    entries = [entry for period_entries in proposal.periods.values() for entry in period_entries]
    named: dict[At, str] = {}
    for entry in sorted(entries, key=lambda e: ROLE_ORDER.index(e.role)):
        peers = {one.pool.name for one in entries if one.demand.name == entry.demand.name and one.role != "aggregated"}
        peers_in_order = tuple(name for name in proposal.cluster.pool if name in peers)
        column, unserved, claim = _column(proposal, entry, list(columns.values()), peers_in_order)
        before = columns.get(column.name)
        if before is not None and before != column:
            message = f"{column.name} stands there twice, at different rates"
            raise proposal.document.error(message, (*entry.at, "requests_per_s"))
        if before is None:
            broken += [(violation, entry.at) for violation in unserved]
            places[column.name] = entry.at
        columns[column.name] = column
        named[entry.at] = column.name
        claims += [claim] if claim is not None else []
    columns = {named[entry.at]: columns[named[entry.at]] for entry in entries}  # in the order of the document
    for period, listed in proposal.periods.items():
        alike_entries: dict[str, list[Proposed]] = {}
        for entry in listed:
            alike_entries.setdefault(named[entry.at], []).append(entry)
        counts[period] = {name: sum(entry.count for entry in alike) for name, alike in alike_entries.items()}
        fleet[period] = tuple(
            Replicas(
                name, c.demand, c.role, c.pool, c.layout, counts[period][name],
                tuple(places for entry in alike_entries[name] for places in entry.places or ()),
            )
            for name, c in columns.items()
            if name in alike_entries
        )  # fmt: skip
    return PricedFleet(tuple(columns.values()), counts, fleet, tuple(broken), places, named, tuple(claims))


def _column(
    proposal: FleetDocument, entry: Proposed, before: Sequence[Column], peers: tuple[str, ...]
) -> tuple[Column, list[Broken], ComparedClaim | None]:
    """The column of an entry, what it violates whatever it serves, and the verdict on the rate that it states."""
    cluster, claim = proposal.cluster, _claim(proposal, (*entry.at, "requests_per_s"), Dimension.PER_SECOND)
    if entry.row is not None:
        column = given_column(cluster, entry.row)
        return column, [], _rated(claim, column.requests_per_s, "its row of the table of rates")
    assert entry.layout is not None  # noqa: S101 - there is no row
    demand, layout, pool = entry.demand, entry.layout, entry.pool
    engine = CONVENTIONS[entry.convention].engine if entry.convention in CONVENTIONS else None
    if engine is not None and demand.engine_name == ANY:
        demand = demand.model_copy(update={"engine_name": engine})
    sent = Fraction(0)
    if entry.role == "prefill":
        sent = max(entry.transfer_s, slowest_transfer(cluster, before, demand, entry.bucket))
    replica = (cluster, demand, entry.role, pool, layout)
    if entry.rate:
        try:
            column = priced_column(*replica, entry.rate / pool.availability, sent, bucket=entry.bucket, peers=peers)
        except UnservedError:
            pass
        else:
            return column, [], _rated(claim, column.requests_per_s, "served within the limits")
    most = _most(replica, sent, entry.bucket, peers)
    if most is not None:
        return most, [], _rated(claim, most.requests_per_s, "the most that it serves within the limits")
    named = column_layout(demand, layout_name(layout), entry.bucket)
    nothing = Column(
        demand=demand.name, role=entry.role, pool=pool.name, layout=named, devices=layout.devices,
        requests_per_s=Fraction(0), cost=cost_of(cluster, pool.name, layout.devices),
        power_w=power_of(cluster, pool.name, layout.devices), priced=layout, bucket=entry.bucket,
    )  # fmt: skip
    try:
        priced_column(*replica, _LEAST_RATE, sent, bucket=entry.bucket, peers=peers)
        reasons = [Broken("request_rate", f"{nothing.name} serves nothing within its limits", nothing.name)]
    except UnservedError as error:
        refusals = [(str(v.family), v.message) for v in error.violations] or [("replica", str(error))]
        reasons = [Broken(family, f"{nothing.name}: {message}", nothing.name) for family, message in refusals]
    return nothing, reasons, _rated(claim, Fraction(0), "it serves nothing within the limits")


def _most(replica: tuple[Any, ...], sent: Fraction, bucket: int, peers: tuple[str, ...]) -> Column | None:
    """The column at the most that it serves; None: nothing."""
    cluster, demand, role, pool, layout = replica
    problem = replica_problem(cluster, demand, role, pool, layout.devices, bucket)
    if any(v.family in BLOCKING for v in structural_violations(problem, layout)):
        return None
    top = evaluate(problem, layout).request_capacity
    if top <= 0:
        return None
    return most_served(cluster, demand, role, pool, layout, sent, top, bucket=bucket, peers=peers)


def _rated(claim: Claim | None, rate: Fraction, how: str) -> ComparedClaim | None:
    return None if claim is None else _judged(claim, _rate_figure(rate, how))


def _rate_figure(rate: Fraction, how: str) -> Figure:
    return Figure("requests_per_s", rate, Dimension.PER_SECOND, how, "")


@dataclass(frozen=True, repr=False)
class FleetJudgement(Judged):
    """What `verify` found of a fleet.

    Attributes
    ----------
    chosen
        Whether places were left open, and are one way to lay the fleet.
    """

    proposal: FleetDocument
    priced: PricedFleet
    fleet: Fleet
    verdict: FleetVerdict
    violations: tuple[tuple[Broken, At | None], ...]
    figures: Mapping[str, Figure]
    claims: tuple[ComparedClaim, ...]
    chosen: bool

    def notes(self) -> list[str]:
        """Every violated constraint."""
        return [f"({broken.family}) {broken.message}" for broken, _ in self.violations]

    def fleet_document(self) -> dict[str, Any]:
        """``fleet`` as a result would state it."""
        return fleet_json(self.proposal.cluster, self.priced.columns, self.fleet, self.verdict)

    def to_json(self) -> dict[str, Any]:
        """``shardproof/verdict/1`` of a fleet."""
        document = self.proposal.document
        return {
            "schema": "shardproof/verdict/1",
            "feasible": self.feasible,
            "violations": [
                broken.to_json()
                | ({} if at is None else dict(zip(("line", "column"), document.locate(at), strict=True)))
                | {"at": None if at is None else ".".join(map(str, at))}
                for broken, at in self.violations
            ],
            "layout": None,
            "fleet": self.fleet_document(),
            "figures": {name: plain(figure.value) for name, figure in self.figures.items()},
            "claims": [judged.to_json() for judged in self.claims],
            "outside_lattice": [],
            "derivations": [figure.to_json() for figure in self.figures.values()],
            "not_checked": self.not_checked(),
        }

    def not_checked(self) -> list[str]:
        """What the judgement takes on trust."""
        named = ["rates: taken as stated"] if self.proposal.cluster.rates else []
        if self.chosen:
            named.append("nodes: left open; they are one way to lay the fleet, chosen for what survives")
        if self.proposal.is_result:
            named.append("objective.bound, search and certificate: `shardproof certify` checks them")
        return named


def judge_proposed(
    proposal: FleetDocument, priced: PricedFleet, fleet: Fleet, unlaid: Sequence[Broken] = (), *, chosen: bool = False
) -> FleetJudgement:
    """Judge the fleet of a document.

    Parameters
    ----------
    fleet
        The replicas with their places.
    unlaid
        Why there are none, where they were left open and no way to lay the replicas was found.
    """
    cluster = proposal.cluster
    verdict = judge_fleet(cluster, priced.columns, fleet)
    not_unlaid = [broken for broken in verdict.broken if not (unlaid and broken.family == "capacity")]
    violations = [*priced.broken, *((broken, priced.at.get(broken.column or "")) for broken in (*unlaid, *not_unlaid))]
    figures = figures_of(cluster, priced.columns, fleet, verdict)
    claims = (*priced.claims, *_stated(proposal, priced, fleet, verdict, figures), *_claims(proposal, figures))
    return FleetJudgement(proposal, priced, fleet, verdict, tuple(violations), figures, claims, chosen)


# claims


def _claim(proposal: FleetDocument, at: At, dimension: Dimension) -> Claim | None:
    """What stands at a place as a claim; None where nothing does."""
    value = proposal.document.get(at)
    if value is None:
        return None
    name = ".".join(map(str, at))
    return ClaimReader({name: dimension}).quantity(name, value, proposal.document, at)


def _judged(claim: Claim, figure: Figure) -> ComparedClaim:
    rounded = abs(Fraction(figure.value)) * _ROUNDING
    if matches(claim, figure.value, rounded):
        return ComparedClaim(claim, Verdict.HOLDS, figure)
    return ComparedClaim(claim, Verdict.FAILS, figure, note=f"claimed {claim.text}, derived {figure.result_text}")


def _claims(proposal: FleetDocument, figures: Mapping[str, Figure]) -> Iterator[ComparedClaim]:
    """Verdicts on what stands under ``claims``."""
    reader = ClaimReader({name: figure.dimension for name, figure in figures.items()})
    for claim in reader.read(proposal.document):
        figure = figures.get(claim.name)
        if figure is None:
            near = nearest(claim.name, list(figures))
            note = "nothing here derives such a figure" + (f"; did you mean {near!r}?" if near else "")
            yield ComparedClaim(claim, Verdict.UNSUPPORTED, note=note)
        else:
            counts = figure.dimension is Dimension.COUNT and Fraction(figure.value).denominator == 1
            yield _judged(claim.exactly if counts else claim, figure)


def _stated(
    proposal: FleetDocument, priced: PricedFleet, fleet: Fleet, verdict: FleetVerdict, figures: Mapping[str, Figure]
) -> Iterator[ComparedClaim]:
    """Verdicts on the figures that stand beside the replicas, as a result states them."""
    cluster = proposal.cluster
    derived = fleet_json(cluster, priced.columns, fleet, verdict)
    for period in cluster.periods:
        derived_here = derived["periods"].get(period.name, derived)
        at = proposal.claimed_at[period.name]
        shown = {f"{r['demand']}/{r['role']}/{r['pool']}/{r['name']}": r for r in derived_here["replicas"]}
        for entry in proposal.periods[period.name]:
            derived_replica = shown[priced.named[entry.at]]
            yield from _leaves(proposal, (*entry.at, "figures"), derived_replica["figures"])
            yield from _leaves(
                proposal, (*entry.at, "share"), derived_replica["share"] * entry.count / derived_replica["count"]
            )
        for demand in cluster.demands:
            place = (*at, "demands", demand.name)
            yield from _leaves(proposal, place, derived_here["demands"][demand.name], besides=("worst_loss",))
            yield from _worst(
                proposal, place, derived_here["demands"][demand.name], _loss(proposal, priced, fleet, period, place)
            )
        yield from _leaves(proposal, (*at, "idle"), derived_here["idle"])
    name = measure_of(cluster)
    if proposal.is_result and proposal.document.get(("objective", "name")) == name:
        claim = _claim(proposal, ("objective", "value"), measured_as(cluster, cluster.objective)[0])
        if claim is not None and cluster.objective in figures:
            yield _judged(claim, figures[cluster.objective])


def _loss(proposal: FleetDocument, priced: PricedFleet, fleet: Fleet, period: Period, place: At) -> Fraction | None:
    """What is left without the node, or rack, that a document calls the worst to lose."""
    node = proposal.document.get((*place, "worst_loss", unit_lost(proposal.cluster)))
    if not (isinstance(node, list) and len(node) == 2 and type(node[1]) is int):
        return None
    known = {column.name: column for column in priced.columns}
    demand = proposal.cluster.demand[str(place[-1])]
    return left_without(proposal.cluster, demand, period, known, fleet.get(period.name, ()), (str(node[0]), node[1]))


def _worst(
    proposal: FleetDocument, place: At, derived: Mapping[str, Any], left: Fraction | None
) -> Iterator[ComparedClaim]:
    """The worst loss: its capacity, and that the node named is one whose loss leaves no more."""
    at: tuple[PathStep, ...] = (*place, "worst_loss", "capacity_per_s")
    claim, worst = _claim(proposal, at, Dimension.PER_SECOND), derived["worst_loss"]
    if claim is None:
        return
    if worst is None:
        yield ComparedClaim(claim, Verdict.UNSUPPORTED, note="no replica of the demand can be lost")
        return
    yield _judged(claim, _rate_figure(Fraction(worst["capacity_per_s"]), "what is left after the worst loss"))
    if left is not None:
        named = replace(claim, name=".".join(map(str, (*place, "worst_loss", unit_lost(proposal.cluster)))))
        yield _judged(named, _rate_figure(left, "what is left without what is named"))


def _leaves(proposal: FleetDocument, at: At, derived: Any, besides: Sequence[str] = ()) -> Iterator[ComparedClaim]:  # noqa: ANN401 - a part of a document
    """Verdicts on every number of a part of the document, beside what is derived for the same place."""
    stated = proposal.document.get(at)
    if isinstance(stated, Mapping):
        known = list(derived) if isinstance(derived, Mapping) else []
        for key in stated:
            if key in besides:
                continue
            if key not in known:
                raise proposal.document.error("unknown key", (*at, key), nearest(key, known))
            yield from _leaves(proposal, (*at, key), derived[key])
        return
    dimension = next(
        (dimension_of for suffix, dimension_of in _SUFFIXES if str(at[-1]).endswith(suffix)), Dimension.COUNT
    )
    claim = _claim(proposal, at, dimension)
    if claim is None:
        return
    if derived is None:
        yield ComparedClaim(claim, Verdict.UNSUPPORTED, note="it is not known here")
        return
    value = Fraction(repr(derived)) if isinstance(derived, float) else Fraction(derived)
    yield _judged(claim, Figure(str(at[-1]), value, dimension, "as a result would state it", ""))

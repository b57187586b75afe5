"""Why no fleet keeps the limits of a cluster, and the smallest change of each that helps; or which limits bind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor, log10
from typing import Any

from optimizer.certificate.fleet import TOLERANCE, bare_fleet_json, step_json
from optimizer.cluster import columns_that_fit, fleet_that_fits
from optimizer.cluster.derive import derive
from optimizer.domain.cluster import ALWAYS, Cluster, ClusterLimits, Pool
from optimizer.domain.fleet import Fleet, better, measure_of
from optimizer.explain.changes import Explained
from optimizer.explain.unserved import unserved, without_any
from optimizer.figures.rates import last_kept
from optimizer.fleet.column import Column
from optimizer.fleet.families import StatedLimit, limits_of, without_others
from optimizer.fleet.statement import proves_none, state
from optimizer.fleet.words import as_stated, in_devices
from optimizer.units import eased, plain
from optimizer.verify.fleet import FleetVerdict, cost_per_h, judge_fleet, power_in_use

_COARSE = Fraction(1, 1000)
"""Relative step of the bisection for the nearest limit that fits: from there on better fleets are asked for."""
_FEW_NODES, _MOST_NODES = 2, 8
"""Nodes of a pool up to which larger replicas than it holds are looked for: of demands that have some, and none."""
_DIGITS = 12
"""Significant digits of a changed limit."""
_MORE = 1 + Fraction(1, 2**40)
"""Factor by which no two fleets differ that serve, cost or draw different amounts."""


@dataclass(frozen=True, repr=False)
class FleetExplanation(Explained):
    """Why no fleet keeps the limits of a cluster, and what would; or which limits bind."""

    document: dict[str, Any]

    @property
    def status(self) -> str:
        """`feasible` or `infeasible`."""
        return str(self.document["status"])

    @property
    def conflict(self) -> list[dict[str, Any]]:
        """A minimal set of limits that no fleet keeps together: name, value and unit of each."""
        members: list[dict[str, Any]] = self.document["conflict"]
        return members

    @property
    def relaxations(self) -> list[dict[str, Any]]:
        """The smallest change of single limits, all others kept, that lets some fleet fit."""
        changes: list[dict[str, Any]] = self.document["relaxations"]
        return changes

    def to_json(self) -> dict[str, Any]:
        """``shardproof/explain/1``."""
        return self.document


def explain_cluster(cluster: Cluster) -> dict[str, Any]:
    """``shardproof/explain/1`` of a cluster; every statement is over fleets of the same columns.

    Where nothing fits they are also those of pools with more devices.
    """
    columns: Sequence[Column] = columns_that_fit(cluster).listed
    fleet = fleet_that_fits(cluster, columns)
    document: dict[str, Any] = {
        "schema": "shardproof/explain/1",
        "status": "infeasible" if fleet is None else "feasible",
        "problem": {"name": cluster.name, "digest": cluster.digest},
        "conflict": [],
        "relaxations": [],
    }
    if fleet is not None:
        document["objective"] = {"name": measure_of(cluster), "value": _number(fleet.value)}
        document["binding"] = list(_binding(cluster, columns, fleet.value))
        return document
    larger = _with_larger(cluster, columns)
    members = _minimal(cluster, larger)
    stated = [as_stated(cluster, _entry(limit)) for limit in members]
    document["conflict"] = stated
    helped = [(entry, _smallest(cluster, larger, limit)) for limit, entry in zip(members, stated, strict=True)]
    document["relaxations"] = [
        {
            "limit": entry["limit"], "from": entry["value"], "to": _written(to, entry["value"]), "unit": entry["unit"],
            "layout": None, **_in_periods(cluster, entry["limit"], to),
        }
        for entry, to in helped
        if to is not None
    ]  # fmt: skip
    document["hopeless"] = [entry["limit"] for entry, to in helped if to is None]
    document["sentences"] = [limit.sentence for limit in members]
    document["unserved"] = unserved(cluster, columns)
    return document


def _with_larger(cluster: Cluster, columns: Sequence[Column]) -> tuple[Column, ...]:
    """Columns, and those that need more devices than a pool has on a node, or has nodes.

    A node in part is looked at whole, one node beside another; as long as a demand has no replica, twice as many.
    """
    known, nodes = {column.name: column for column in columns}, _FEW_NODES
    while not cluster.rates and nodes <= _MOST_NODES:
        roomy = cluster.model_copy(update={"pools": tuple(_roomy(pool, nodes) for pool in cluster.pools)})
        lacking = any(without_any(cluster, list(known.values())))
        if roomy != cluster and (nodes == _FEW_NODES or lacking):
            known = {column.name: column for column in columns_that_fit(roomy).listed} | known
        nodes = nodes * 2 if lacking or nodes == _FEW_NODES else _MOST_NODES + 1
    return tuple(known.values())


def _roomy(pool: Pool, nodes: int) -> Pool:
    """A pool with a whole node, and at least so many."""
    more = max(nodes - len(pool.free), int(max(pool.free) < pool.devices_per_node))
    return pool.model_copy(update={"free": (*pool.free, *(pool.devices_per_node,) * max(0, more))})


def conflict_of(cluster: Cluster, columns: Sequence[Column]) -> dict[str, Any]:
    """``conflict``, ``conflict_proof`` and ``unserved`` of a result: a minimal set of limits that no fleet keeps.

    The proof has steps of a derivation that no fleet keeps them alone, and for each of them a fleet that keeps all but
    it. It is null where the steps are too many.
    """
    members = _minimal(cluster, columns)
    names = [limit.name for limit in members]
    reduced = without_others(cluster, names)
    steps = derive(state(reduced, columns, relaxed=True).program, None, TOLERANCE, None)
    fleets = [_some_fleet(limit.without, columns) for limit in limits_of(reduced) if limit.name in names]
    proved = bool(members) and proves_none(reduced, steps.bound) and all(fleet is not None for fleet in fleets)
    return {
        "conflict": [_entry(limit) for limit in members],
        "conflict_proof": {
            "steps": [step_json(step) for step in steps.steps],
            "without": [bare_fleet_json(fleet) for fleet in fleets if fleet is not None],
        }
        if proved
        else None,
        "unserved": unserved(cluster, columns),
    }


def _some_fleet(cluster: Cluster, columns: Sequence[Column]) -> Fleet | None:
    """A fleet that keeps the limits; an empty one where nothing is to be served and that keeps them."""
    if _asks(cluster) or cluster.objective == "throughput":
        fleet = fleet_that_fits(cluster, columns)
        return None if fleet is None else fleet.fleet
    empty: Fleet = {period.name: () for period in cluster.periods}
    return None if judge_fleet(cluster, columns, empty).broken else empty


def _minimal(cluster: Cluster, columns: Sequence[Column]) -> list[StatedLimit]:
    """By deletion: what can be left out while the rest still conflicts, stays out."""
    reduced, names = cluster, [limit.name for limit in limits_of(cluster)]
    for name in list(names):
        limit = next(limit for limit in limits_of(reduced) if limit.name == name)
        if _some_fleet(limit.without, columns) is None:
            reduced = limit.without
            names.remove(name)
    return [limit for limit in limits_of(cluster) if limit.name in names]


def _asks(cluster: Cluster) -> bool:
    return any(rate for period in cluster.periods for rate in period.rates.values())


def _entry(limit: StatedLimit) -> dict[str, Any]:
    return {"limit": limit.name, "value": limit.value, "unit": limit.unit}


def _written(value: Fraction | int, stated: Any) -> float:  # noqa: ANN401 - the number of a limit
    """A limit's new value, no tighter than it is, in so few digits that the solver's integers hold it."""
    exact = Fraction(value)
    if exact.denominator == 1:
        return exact.numerator
    step = Fraction(10) ** (floor(log10(exact)) + 1 - _DIGITS)
    rounding = eased(exact, stated)
    return plain(rounding(exact / step) * step, rounding)


def _number(value: Fraction | None) -> float | None:
    return None if value is None else float(value)


def _binding(cluster: Cluster, columns: Sequence[Column], value: Fraction | None) -> Any:  # noqa: ANN401 - an iterator of entries
    """Limits without which the objective would be better."""
    for limit in limits_of(cluster):
        if limit.name.startswith("demands."):
            continue
        fleet = fleet_that_fits(limit.without, columns)
        reached = None if fleet is None else fleet.value
        if reached is not None and value is not None and better(cluster, reached, value):
            gain = float(abs(reached - value) / abs(value)) if value else None
            yield as_stated(cluster, _entry(limit)) | {"without": float(reached), "gain": gain}


def _smallest(cluster: Cluster, columns: Sequence[Column], limit: StatedLimit) -> Fraction | int | None:
    """The value of one limit nearest to its own at which a fleet fits, all others kept; None where none does."""
    if _some_fleet(limit.without, columns) is None:
        return None
    kind, _, key = limit.name.partition(".")
    if kind == "demands":
        return _largest_rate(cluster, columns, key.removesuffix(".request_rate"))
    if kind == "pools":
        name = key.removesuffix(".nodes")
        pool = cluster.pool[name]
        count = pool.devices if in_devices(pool) else len(pool.free)
        return _count(count, lambda n: _grown(cluster, name, n), columns)
    if kind == "max_kinds":
        kinds = cluster.max_kinds or 0
        return _count(kinds, lambda n: cluster.model_copy(update={"max_kinds": n}), columns)
    if kind == "survive":
        survive = cluster.survive
        assert survive is not None  # noqa: S101 - the limit says so
        for fewer in range(survive.lost - 1, 0, -1):
            lighter = cluster.model_copy(update={"survive": survive.model_copy(update={survive.unit: fewer})})
            if _some_fleet(lighter, columns) is not None:
                return fewer
        return 0
    return _least_total(cluster, columns, key)


def _least_total(cluster: Cluster, columns: Sequence[Column], key: str) -> Fraction:
    """The least budget, or power, that some fleet keeps in every period."""
    known = {column.name: column for column in columns}

    def at(most: Fraction | None) -> FleetVerdict | None:
        own_limits = cluster.limits.model_copy(update={key: most})
        assert isinstance(own_limits, ClusterLimits)  # noqa: S101 - a copy of it
        return fleet_that_fits(cluster.model_copy(update={"limits": own_limits}), columns)

    def most_in_a_period(verdict: FleetVerdict) -> Fraction:
        return max(
            cost_per_h(cluster, known, replicas) if key == "budget" else power_in_use(known, replicas)
            for replicas in verdict.fleet.values()
        )

    low, found = Fraction(getattr(cluster.limits, key)), at(None)
    assert found is not None  # noqa: S101 - without the limit some fleet fits
    high = most_in_a_period(found)
    while high - low > low * _COARSE:
        found = at((low + high) / 2)
        low, high = ((low + high) / 2, high) if found is None else (low, most_in_a_period(found))
    while (found := at(high / _MORE)) is not None:
        high = most_in_a_period(found)
    return high


def _count(value: int, at: Callable[[int], Cluster], columns: Sequence[Column]) -> int | None:
    """The fewest above a value that fit, by doubling and halving."""
    low, step = value, 1
    while _some_fleet(at(low + step), columns) is None:
        low, step = low + step, step * 2
        if step > 2**16:
            return None
    return last_kept(lambda count: _some_fleet(at(count), columns) is None, low, low + step) + 1


def _grown(cluster: Cluster, name: str, count: int) -> Cluster:
    """A cluster whose pool has so many nodes, or devices where it counts them: these fill the last node first."""
    pool = cluster.pool[name]
    each = pool.devices_per_node
    free = (*pool.free, *(each,) * (count - len(pool.free)))
    if in_devices(pool):
        free = (each,) * (count // each) + ((count % each,) if count % each else ())
    grown = pool.model_copy(update={"free": free})
    return cluster.model_copy(update={"pools": tuple(grown if p.name == name else p for p in cluster.pools)})


def _largest_rate(cluster: Cluster, columns: Sequence[Column], demand: str) -> Fraction | None:
    """The most of a demand's requests/s in any period at which a fleet fits; those that ask for less keep theirs."""

    def at(most: Fraction) -> Cluster:
        periods = tuple(
            p.model_copy(update={"rates": {n: min(r, most) if n == demand else r for n, r in p.rates.items()}})
            for p in cluster.periods
        )
        return cluster.model_copy(update={"periods": periods})

    def served(most: Fraction) -> Fraction | None:
        """The most that a fleet found at a rate serves in any period; None where none fits."""
        verdict = fleet_that_fits(at(most), columns)
        if verdict is None:
            return None
        done = [(rate, verdict.demands[name][demand]) for name, rate in asked.items()]
        capacities = [(rate, own.capacity if cluster.survive is None else own.left) for rate, own in done]
        return min((capacity for rate, capacity in capacities if capacity < rate), default=top)

    asked = {period.name: rate for period in cluster.periods if (rate := period.rates.get(demand))}
    top = max(asked.values())
    low, high = Fraction(0), top
    while high - low > _COARSE * top:
        middle = (low + high) / 2
        reached = served(middle)
        low, high = (low, middle) if reached is None else (max(middle, reached), high)
    while low and (reached := served(low * _MORE)) is not None:
        low = reached
    return low or None


def _in_periods(cluster: Cluster, limit: str, to: Fraction | int | None) -> dict[str, Any]:
    """The rates of written periods that a demand's most changes: the file has each of them, and no one for all."""
    kind, _, key = limit.partition(".")
    if kind != "demands" or to is None or [period.name for period in cluster.periods] == [ALWAYS]:
        return {}
    rates = {period.name: period.rates.get(key.removesuffix(".request_rate"), 0) for period in cluster.periods}
    return {
        "periods": {
            name: {"from": _number(Fraction(rate)), "to": _written(to, rate)}
            for name, rate in rates.items()
            if rate > to
        }
    }

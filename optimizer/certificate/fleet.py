"""The certificate of a fleet, and its checker; format `shardproof/fleet-certificate/1`.

====================  ================================================================================================
key                   meaning
====================  ================================================================================================
``kind``              ``optimal``, ``feasible`` or ``infeasible``
``problem_digest``    SHA-256 of the cluster that the statement is about
``columns``           the replicas that fleets consist of, each with what it takes and serves, exactly
``objective``         name with unit, exact value and exact bound
``ceilings``          what no replica serves, by devices: the bound is over every layout; empty: over the columns
``tolerance``         largest relative gap between value and bound that counts as optimal
``lemmas``            rows that are derived first, in order, where there are any: terms, and the steps that bound them
``steps``             the derivation of the bound: splits of integer variables, and leaves with multipliers of rows
``not_checked``       what rests on the search's word
``digest``            SHA-256 of all this, against slips of the hand
====================  ================================================================================================

The checker states the program anew from the cluster and the columns, takes what the multipliers prove by exact
arithmetic (`optimizer.fleet.program`), and judges the fleet node by node (`optimizer.verify.fleet`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

from pydantic import ValidationError

from optimizer.certificate.meshes import lattice
from optimizer.certificate.optimality import prove
from optimizer.certificate.priced import check_stages
from optimizer.certificate.question import bind_cluster
from optimizer.certificate.reading import KINDS, RESULT_SCHEMA, keys, layout_of, rational
from optimizer.certificate.statement import exact, relative_gap, sealed
from optimizer.certificate.verdict import Check, Rejected, brief, equal
from optimizer.domain.cluster import FLEET_MAXIMISED, ROLES, Cluster, Demand, Pool
from optimizer.domain.fleet import Fleet, NodeShare, Replicas, measure_of, serves_nothing
from optimizer.domain.lattice import axes
from optimizer.domain.layout import slotted
from optimizer.fleet.ceiling import Ceiling, replica_sizes, unlooked
from optimizer.fleet.column import Column, given_columns, in_order, useful
from optimizer.fleet.families import limits_of, without_others
from optimizer.fleet.program import DerivationError, DerivationStep, Lemma, Program, derived_bound, with_lemmas
from optimizer.fleet.statement import bounding, proves_none, shown, state
from optimizer.verify.fleet import judge_fleet
from optimizer.verify.fleet_document import fleet_json
from optimizer.verify.replica import beyond_links, ceiling_problem, priced_column, slowest_transfer

SCHEMA = "shardproof/fleet-certificate/1"
TOLERANCE = Fraction(1, 10**9)
"""Multipliers come from floats of 52 bits; what they prove falls short of the optimum by less than this."""
UNLISTED = "columns: that no layout outside them would make a better fleet"
_CERTIFICATE = frozenset(
    {
        "schema", "kind", "problem_digest", "columns", "ceilings", "objective", "tolerance", "steps", "not_checked",
        "digest",
    }
)  # fmt: skip
_CEILING = frozenset({"demand", "role", "pool", "devices", "requests_per_s"})
_OPTIONAL = {"columns": frozenset({"bucket", "peers"}), "ceilings": frozenset({"bucket"})}
"""Of those whose bucket is not the first; of columns whose replicas do not exchange caches with every pool."""
_RESULT = frozenset(
    {"schema", "status", "problem", "objective", "layout", "figures", "fleet", "search", "certificate"}
)  # fmt: skip
_INFEASIBLE = frozenset({"conflict", "conflict_proof", "unserved"})
_COLUMN = frozenset(
    {"demand", "role", "pool", "layout", "devices", "requests_per_s", "cost", "power_w", "priced", "redundant"}
)
_SPLIT, _LEAF = frozenset({"variable", "split", "low", "high"}), frozenset({"multipliers", "empty"})


def is_fleet(result: object) -> bool:
    """Whether a document is the result of a cluster."""
    claim = result.get("certificate") if isinstance(result, dict) else None
    return isinstance(claim, dict) and claim.get("schema") == SCHEMA


def fleet_statement(
    cluster: Cluster, kind: str, columns: Sequence[Column], value: Fraction | None, bound: Fraction | None,
    lemmas: Sequence[Lemma], steps: Sequence[DerivationStep], ceilings: Sequence[Ceiling],
) -> dict[str, Any]:  # fmt: skip
    """The certificate of an answer."""
    stated = [
        {"terms": _rationals(lemma.terms), "steps": [step_json(step) for step in lemma.steps]} for lemma in lemmas
    ]
    return sealed(
        {
            "schema": SCHEMA,
            "kind": kind,
            "problem_digest": cluster.digest,
            "columns": [column_json(c) for c in columns],
            "ceilings": [ceiling_json(c) for c in ceilings],
            "objective": {"name": measure_of(cluster), "value": exact(value), "bound": exact(bound)},
            "tolerance": exact(TOLERANCE),
            "steps": [step_json(step) for step in steps],
            "not_checked": _unproved(cluster, ceilings),
        }
        | ({"lemmas": stated} if stated else {})
    )


def _rationals(terms: Mapping[str, Fraction]) -> dict[str, Any]:
    return {name: exact(factor) for name, factor in terms.items()}


def _unproved(cluster: Cluster, ceilings: Sequence[Ceiling]) -> list[str]:
    """Layouts that a proof says nothing of."""
    if cluster.rates:
        return []
    return [f"columns: {text}" for text in unlooked(cluster)] if ceilings else [UNLISTED]


def ceiling_json(ceiling: Ceiling) -> dict[str, Any]:
    """A ceiling as certificates state it."""
    return {
        "demand": ceiling.demand, "role": ceiling.role, "pool": ceiling.pool, "devices": ceiling.devices,
        "requests_per_s": exact(ceiling.requests_per_s),
    } | _bucket_json(ceiling)  # fmt: skip


def column_json(column: Column) -> dict[str, Any]:
    """A column as certificates state it."""
    peers = {} if column.peers is None else {"peers": list(column.peers)}
    return {
        "demand": column.demand, "role": column.role, "pool": column.pool, "layout": column.layout,
        "devices": column.devices, "requests_per_s": exact(column.requests_per_s), "cost": exact(column.cost),
        "power_w": exact(column.power_w),
    } | slotted(column.priced, "priced") | _bucket_json(column) | peers  # fmt: skip


def _bucket_json(served: Column | Ceiling) -> dict[str, Any]:
    return {"bucket": served.bucket} if served.bucket else {}


def _peers(cluster: Cluster, item: str, entry: dict[str, Any]) -> tuple[str, ...] | None:
    """Pools that a column exchanges caches with, its own among them."""
    named = entry.get("peers")
    pools = [name for name in cluster.pool if isinstance(named, list) and name in named]
    if named is not None and (named != pools or entry["pool"] not in pools):
        raise Rejected(f"{item}.peers", "not pools of the cluster, in its order, with the replica's own")
    return None if named is None else tuple(pools)


def step_json(step: DerivationStep) -> dict[str, Any]:
    """A step of a derivation as certificates state it."""
    if step.variable is not None:
        return {"variable": step.variable, "split": step.split, "low": step.low, "high": step.high}
    return {"multipliers": {name: exact(f) for name, f in step.multipliers.items()}, "empty": step.empty}


def check_fleet(result: dict[str, Any], check: Check, asked: Cluster | None) -> None:
    """Reject a result of a cluster unless everything in it follows; without a solver."""
    keys("result", result, _RESULT | (_INFEASIBLE & result.keys() if result.get("status") == "infeasible" else set()))
    lemmas = {"lemmas"} & result["certificate"].keys()
    claim = keys("certificate", result["certificate"], _CERTIFICATE | lemmas)
    for item, stated, expected in (
        ("schema", result["schema"], RESULT_SCHEMA), ("certificate.schema", claim["schema"], SCHEMA),
        ("layout", result["layout"], None), ("figures", result["figures"], {}),
    ):  # fmt: skip
        equal(item, stated, expected)
    kind = claim["kind"]
    if kind not in KINDS or result["status"] != kind:
        raise Rejected("status", f"{brief(result['status'])} with a certificate of kind {brief(kind)}")
    cluster = cluster_of(result, claim)
    bind_cluster(cluster, asked, check)
    columns = _columns(cluster, claim["columns"])
    equal("certificate.columns", claim["columns"], [column_json(c) for c in columns])
    check.candidates = len(columns)
    search = keys("search", result["search"], frozenset({"candidates", "wall_s", "seconds"}))
    equal("search.candidates", search["candidates"], len(columns))
    ceilings = _ceilings(cluster, claim["ceilings"])
    equal("certificate.tolerance", claim["tolerance"], exact(TOLERANCE))
    not_checked = _unproved(cluster, ceilings)
    equal("certificate.not_checked", claim["not_checked"], not_checked)
    check.not_checked += not_checked
    check.checked += ["form", "problem digest", "columns: equal"]
    if ceilings:
        check.checked.append("ceilings: no layout of the lattice of any demand, role, pool and size serves as much")
    value = None
    if kind == "infeasible":
        equal("fleet", result["fleet"], None)
        check.not_checked += ["unserved"] if result.get("unserved") else []
        _conflict(cluster, columns, result, check)
    else:
        fleet = fleet_of(cluster, result["fleet"])
        verdict = judge_fleet(cluster, columns, fleet)
        if verdict.broken:
            raise Rejected("fleet", verdict.broken[0].message)
        value = verdict.value
        equal("fleet", result["fleet"], fleet_json(cluster, columns, fleet, verdict))
        check.checked += ["fleet: every node, demand, loss and limit", "figures: equal"]
    program = (bounding(cluster, ceilings) if ceilings else state(cluster, columns, relaxed=True)).program
    _bound(cluster, program, result, claim, value, check, over=bool(ceilings))
    equal("certificate.digest", claim["digest"], sealed(claim)["digest"])
    check.status, check.objective = kind, result["objective"]
    check.not_checked += ["search.wall_s", "search.seconds"]


def _columns(cluster: Cluster, stated: object) -> Sequence[Column]:
    """The columns: those of the table of rates, or those that are stated, each priced anew at the rate it claims."""
    if cluster.rates:
        return useful(cluster, given_columns(cluster))
    if not isinstance(stated, list):
        raise Rejected("certificate.columns", "not a list")
    columns: list[Column] = []
    for item, entry, demand, pool, bucket in _entries(cluster, "columns", stated, _COLUMN, "redundant"):
        rate = rational(item, entry["requests_per_s"]) / pool.availability
        if rate <= 0:
            raise Rejected(item, "serves nothing")
        layout = layout_of(f"{item}.priced", entry, "priced")
        role = ROLES[entry["role"]]
        sent = slowest_transfer(cluster, columns, demand, bucket) if role == "prefill" else Fraction(0)
        check_stages(layout, 0 if demand.model is None else demand.model.layer_count, f"{item}.priced.stages")
        try:
            replica = (cluster, demand, role, pool, layout, rate, sent)
            columns.append(priced_column(*replica, bucket=bucket, peers=_peers(cluster, item, entry)))
        except (ValueError, OverflowError) as error:
            raise Rejected(item, brief(str(error))) from None
    if [c.role for c in columns] != [c.role for c in in_order(cluster, columns)]:
        raise Rejected("certificate.columns", "a prefill replica before the decode replicas that it sends to")
    if len({c.name for c in columns}) != len(columns):
        raise Rejected("certificate.columns", "one listed twice")
    return columns


def _ceilings(cluster: Cluster, stated: object) -> list[Ceiling]:
    """The ceilings, each proved over the lattice of its demand, role, pool and devices; all sizes, or none at all."""
    if not isinstance(stated, list) or (stated and cluster.rates):
        raise Rejected("certificate.ceilings", "not a list of what priced replicas serve")
    ceilings: list[Ceiling] = []
    for item, entry, demand, pool, bucket in _entries(cluster, "ceilings", stated, _CEILING, "devices"):
        rate, devices = rational(item, entry["requests_per_s"]), entry["devices"]
        if rate < 0 or devices not in replica_sizes(cluster, pool):
            raise Rejected(item, "of no size that there is")
        claimed = (cluster, demand, ROLES[entry["role"]], pool, devices, rate)
        problem = ceiling_problem(*claimed, bucket=bucket)
        proved = beyond_links(*claimed, bucket)
        # smaller replicas do not serve as much either, where fewer devices were proved to serve no more than less
        kind = (demand.name, entry["role"], pool.name, bucket)
        beyond = max((c.devices for c in ceilings if _kind(c) == kind and c.requests_per_s <= rate), default=0)
        met = None if proved else prove(problem, lattice(problem, axes(problem)), None, beyond=beyond).counterexample
        if met is not None:
            raise Rejected(item, f"a layout serves it on {met.layout.devices} devices")
        ceilings.append(Ceiling(demand.name, ROLES[entry["role"]], pool.name, devices, rate, bucket))
    proved_sizes: dict[tuple[str, str, str, int], list[int]] = {}
    for ceiling in ceilings:
        proved_sizes.setdefault(_kind(ceiling), []).append(ceiling.devices)
    for demand in cluster.demands if ceilings else ():
        for role, pool, bucket in product(demand.roles, cluster.pools, range(len(demand.buckets))):
            sizes = proved_sizes.get((demand.name, role, pool.name, bucket), [0])
            if sizes != sorted(set(sizes)) or sizes[-1] < replica_sizes(cluster, pool)[-1]:
                raise Rejected("certificate.ceilings", f"not all sizes of {demand.name}/{role}/{pool.name}")
    return ceilings


def _kind(ceiling: Ceiling) -> tuple[str, str, str, int]:
    return ceiling.demand, ceiling.role, ceiling.pool, ceiling.bucket


def _entries(
    cluster: Cluster, name: str, stated: list[Any], known: frozenset[str], integer_key: str
) -> Iterator[tuple[str, dict[str, Any], Demand, Pool, int]]:
    """Each entry with its place, demand, pool and bucket; the demand has its role, and `integer_key` a whole number."""
    for number, entry in enumerate(stated):
        item = f"certificate.{name}[{number}]"
        keys(item, entry, known | (_OPTIONAL[name] & entry.keys() if isinstance(entry, dict) else set()))
        demand, pool = cluster.demand.get(_key(entry["demand"])), cluster.pool.get(_key(entry["pool"]))
        if demand is None or pool is None or entry["role"] not in demand.roles or type(entry[integer_key]) is not int:
            raise Rejected(item, "of no demand, role or pool of the cluster")
        bucket = entry.get("bucket", 0)
        if type(bucket) is not int or not 0 <= bucket < max(len(demand.buckets), 1):
            raise Rejected(item, "of no bucket of its demand")
        yield item, entry, demand, pool, bucket


def _key(value: object) -> str:
    return value if isinstance(value, str) else ""


def _bound(
    cluster: Cluster, program: Program, result: dict[str, Any], claim: dict[str, Any],
    value: Fraction | None, check: Check, *, over: bool,
) -> None:  # fmt: skip
    scope = "any layouts" if over else "the columns"
    name, kind = measure_of(cluster), claim["kind"]
    stated = keys("certificate.objective", claim["objective"], frozenset({"name", "value", "bound"}))
    equal("certificate.objective.name", stated["name"], name)
    equal("certificate.objective.value", stated["value"], exact(value))
    try:
        stronger = with_lemmas(program, _lemmas(claim["lemmas"]) if "lemmas" in claim else ())
        proved = derived_bound(stronger, _steps("certificate.steps", claim["steps"]))
    except DerivationError as error:
        raise Rejected("certificate.steps", str(error)) from None
    if kind == "infeasible":
        if not proves_none(cluster, proved):
            raise Rejected("certificate.steps", "they do not prove that no fleet keeps the limits")
        equal("objective", result["objective"], {"name": name, "value": None, "bound": None, "gap": None})
        equal("certificate.objective.bound", stated["bound"], None)
        serving = "" if proved is None else " and serves anything"
        check.checked.append(f"infeasibility: no fleet of {scope} keeps every limit{serving}")
        return
    if value is None or proved is None:
        raise Rejected("certificate.steps", "they prove that no fleet keeps the limits, and one is claimed")
    if serves_nothing(cluster, value):
        raise Rejected("status", f"a fleet that serves nothing with status {kind!r}")
    bound = shown(cluster, proved)
    equal("certificate.objective.bound", stated["bound"], exact(bound))
    gap = relative_gap(value, bound) if (bound > value) == (cluster.objective in FLEET_MAXIMISED) else Fraction(0)
    if (gap <= TOLERANCE) != (kind == "optimal"):
        raise Rejected("status", f"a gap that does not go with status {kind!r}")
    equal(
        "objective", result["objective"],
        {"name": name, "value": float(value), "bound": float(bound), "gap": float(gap)},
    )  # fmt: skip
    margin = f" by more than {float(gap):.2%}" if gap > TOLERANCE else ""
    better = f"no fleet of {scope} is better{margin}"
    check.checked.append(f"optimality: {better}" if kind == "optimal" else f"bound: {better}")


def bare_fleet_json(fleet: Fleet) -> dict[str, Any]:
    """A fleet as far as it says what stands where, by period."""
    return {
        "periods": {
            name: {
                "replicas": [
                    {
                        "demand": replica.demand, "role": replica.role, "pool": replica.pool, "name": replica.layout,
                        "count": replica.count,
                        "nodes": [
                            [{"node": p.node, "devices": list(p.devices)} for p in places] for places in replica.places
                        ],
                    }
                    for replica in replicas
                ]
            }
            for name, replicas in fleet.items()
        }
    }  # fmt: skip


def _conflict(cluster: Cluster, columns: Sequence[Column], result: dict[str, Any], check: Check) -> None:
    """The limits that an infeasible result says conflict: no fleet keeps them alone, and one keeps all but any of them.

    Both are over fleets of the columns.
    """
    stated, proof = result.get("conflict", []), result.get("conflict_proof")
    if not isinstance(stated, list) or not all(isinstance(entry, dict) for entry in stated):
        raise Rejected("conflict", "not a list of limits")
    if not stated:
        equal("conflict_proof", proof, None)
        check.not_checked.append("conflict: none is stated")
        return
    limits = limits_of(cluster)
    names = [entry.get("limit") for entry in stated]
    expected = [{"limit": x.name, "value": x.value, "unit": x.unit} for x in limits if x.name in names]
    equal("conflict", stated, expected)
    if proof is None:
        check.not_checked += ["conflict: that these limits conflict, and that each is needed", "conflict_proof"]
        return
    keys("conflict_proof", proof, frozenset({"steps", "without"}))
    reduced = without_others(cluster, [str(name) for name in names])
    try:
        program = state(reduced, columns, relaxed=True).program
        if not proves_none(reduced, derived_bound(program, _steps("conflict_proof.steps", proof["steps"]))):
            raise Rejected("conflict_proof.steps", "they do not prove that these limits conflict")
    except DerivationError as error:
        raise Rejected("conflict_proof.steps", str(error)) from None
    needed = [limit for limit in limits_of(reduced) if limit.name in names]
    fleets = proof["without"]
    if not isinstance(fleets, list) or len(fleets) != len(needed):
        raise Rejected("conflict_proof.without", "not a fleet for each limit")
    for number, (limit, fleet) in enumerate(zip(needed, fleets, strict=True)):
        item = f"conflict_proof.without[{number}]"
        periods = fleet.get("periods") if isinstance(fleet, dict) else None
        if not isinstance(periods, dict) or periods.keys() != {p.name for p in cluster.periods}:
            raise Rejected(item, "not the cluster's periods")
        judged = {
            name: _replicas(p.get("replicas") if isinstance(p, dict) else None, item) for name, p in periods.items()
        }
        equal(item, fleet, bare_fleet_json(judged))
        verdict = judge_fleet(limit.without, columns, judged)
        if verdict.broken:
            raise Rejected(item, f"without {limit.name}: {verdict.broken[0].message}")
        if serves_nothing(limit.without, verdict.value):
            raise Rejected(item, f"without {limit.name}: it serves nothing")
    check.checked.append("conflict: no fleet of the columns keeps these limits, one keeps all but any one of them")


def cluster_of(result: dict[str, Any], claim: dict[str, Any]) -> Cluster:
    """The cluster that a result is about, its digest wherever one is stated."""
    stated = result["problem"]
    if not isinstance(stated, dict):
        raise Rejected("problem", "missing")
    fields = {key: value for key, value in stated.items() if key != "digest"}
    try:
        cluster = Cluster.model_validate(fields)
    except (ValidationError, ValueError) as error:
        raise Rejected("problem", brief(str(error).splitlines()[0])) from None
    equal("problem", fields, cluster.model_dump(mode="json"))
    equal("problem.digest", stated.get("digest"), cluster.digest)
    unpriced = any(d.model is None or not d.buckets for d in cluster.demands) or any(
        p.hardware is None for p in cluster.pools
    )
    if unpriced and not cluster.rates:
        raise Rejected("problem", "replicas are priced of a model, its lengths and hardware, and some are not stated")
    equal("certificate.problem_digest", claim["problem_digest"], cluster.digest)
    return cluster


def _lemmas(stated: object) -> list[Lemma]:
    if not isinstance(stated, list) or not stated:
        raise Rejected("certificate.lemmas", "not a list of lemmas")
    lemmas = []
    for number, entry in enumerate(stated):
        item = f"certificate.lemmas[{number}]"
        keys(item, entry, frozenset({"terms", "steps"}))
        if not isinstance(entry["terms"], dict):
            raise Rejected(item, "not the terms of a row")
        terms = {name: rational(item, factor) for name, factor in entry["terms"].items()}
        lemmas.append(Lemma(terms, _steps(f"{item}.steps", entry["steps"])))
    return lemmas


def _steps(part: str, stated: object) -> list[DerivationStep]:
    if not isinstance(stated, list) or not stated:
        raise Rejected(part, "missing")
    steps = []
    for number, entry in enumerate(stated):
        item = f"{part}[{number}]"
        if isinstance(entry, dict) and "variable" in entry:
            keys(item, entry, _SPLIT)
            integers = all(type(entry[key]) is int for key in ("split", "low", "high"))
            if not isinstance(entry["variable"], str) or not integers:
                raise Rejected(item, "not a split")
            steps.append(DerivationStep(entry["variable"], entry["split"], entry["low"], entry["high"]))
            continue
        keys(item, entry, _LEAF)
        multipliers = entry["multipliers"]
        if not isinstance(multipliers, dict) or type(entry["empty"]) is not bool:
            raise Rejected(item, "not a leaf")
        steps.append(
            DerivationStep(multipliers={n: rational(item, f) for n, f in multipliers.items()}, empty=entry["empty"])
        )
    return steps


# the fleet in a document


def fleet_of(cluster: Cluster, stated: object) -> Fleet:
    """The fleet that a document lists, read without belief."""
    if not isinstance(stated, dict):
        raise Rejected("fleet", "missing")
    several = len(cluster.periods) > 1
    if not several:
        return {cluster.periods[0].name: _replicas(stated.get("replicas"), "fleet.replicas")}
    periods = stated.get("periods")
    if not isinstance(periods, dict) or periods.keys() != {p.name for p in cluster.periods}:
        raise Rejected("fleet.periods", "not the cluster's")
    return {
        name: _replicas(period.get("replicas") if isinstance(period, dict) else None, f"fleet.periods.{name}.replicas")
        for name, period in periods.items()
    }


def _replicas(stated: object, item: str) -> tuple[Replicas, ...]:
    if not isinstance(stated, list):
        raise Rejected(item, "not a list")
    replicas = []
    for number, entry in enumerate(stated):
        at = f"{item}[{number}]"
        try:
            names = [_text(entry[key]) for key in ("demand", "role", "pool", "name")]
            places = tuple(
                tuple(NodeShare(_whole(p["node"]), tuple(_whole(d) for d in p["devices"])) for p in replica)
                for replica in entry["nodes"]
            )
            count, role = _whole(entry["count"]), ROLES[entry["role"]]
        except (KeyError, TypeError, AttributeError):
            raise Rejected(at, "not a list of replicas") from None
        demand, _, pool, layout = names
        replicas.append(Replicas("/".join(names), demand, role, pool, layout, count, places))
    if len({kind.column for kind in replicas}) != len(replicas):
        raise Rejected(item, "a kind of replica that is listed twice")
    return tuple(replicas)


def _text(value: object) -> str:
    if type(value) is not str:
        raise TypeError
    return value


def _whole(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    return value

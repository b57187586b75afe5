"""From a cluster file, `--pool` options and tables of measured rates, to a cluster with every reference resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from optimizer.domain.buckets import Bucket, Traffic
from optimizer.domain.cluster import (
    ALWAYS,
    Cluster,
    ClusterFile,
    Demand,
    DemandFile,
    DemandPhase,
    DemandWorkload,
    FleetObjective,
    GivenRate,
    Period,
    Pool,
    PoolFile,
)
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.model import ModelSpec
from optimizer.domain.workload import ServingWorkload
from optimizer.errors import Fault, SpecError
from optimizer.readers import catalog
from optimizer.readers.document import Document, validate
from optimizer.readers.lengths import Day, read_lengths
from optimizer.readers.messages import message_of, nearest
from optimizer.readers.places import PathStep
from optimizer.readers.source import csv_rows, read_text
from optimizer.units import counted

MOST_PERIODS = 288
"""Five minutes of a day each: the program has replicas of every column in every period."""
NO_CLUSTER_HERE = "is a cluster: solve, explain, certify and report take it, and verify with a `fleet` beside it"
_WANTED = "is required where no table of rates stands for it"


def is_cluster(data: object) -> bool:
    """Whether a document is a cluster rather than one demand on one pool."""
    return isinstance(data, Mapping) and bool({"demands", "pools"} & data.keys())


def cluster_in(document: Document, at: tuple[PathStep, ...] = (), changes: Mapping[str, Any] | None = None) -> Cluster:
    """Cluster that stands at `at` of a document; one that a result repeats in full is checked against its digest.

    Parameters
    ----------
    changes
        Values to put in place of the file's: `objective`, `seed`.

    Raises
    ------
    SpecError
        Everything that is wrong, each with its place.
    """
    content = document.get(at) if at else document.data
    assert isinstance(content, Mapping)  # noqa: S101 - by is_cluster
    if "digest" in content:
        data = {key: value for key, value in content.items() if key != "digest"}
        cluster = validate(Cluster, data, document, at)
        if cluster.digest != content["digest"]:
            message = f"does not belong to this cluster, whose digest is {cluster.digest}: the cluster was changed"
            raise document.error(message, (*at, "digest"))
        return cluster
    written = validate(ClusterFile, {**content, **(changes or {})}, document, at)
    return _ClusterReading(document, at, written).resolve()


class _ClusterReading:
    def __init__(self, document: Document, at: tuple[PathStep, ...], written: ClusterFile) -> None:
        self.document, self.at, self.written = document, at, written
        self.days: dict[str, Day] = {}
        self.folder = document.folder

    def resolve(self) -> Cluster:
        written = self.written
        rates = self._rates()
        pools = tuple(self._pool(name, entry) for name, entry in written.pools.items())
        if written.periods and written.period_length is not None:
            raise self.document.error("give either periods, or period_length", (*self.at, "period_length"))
        demands = tuple(self._demand(name, entry, rates) for name, entry in written.demands.items())
        self._check_rows(rates, demands)
        self._check_loss(pools)
        objective = written.objective or self._objective(demands)
        try:
            return Cluster(
                name=written.name, pools=pools, demands=demands, links=written.links, periods=self._periods(demands),
                survive=written.survive, limits=written.limits, max_kinds=written.max_kinds, objective=objective,
                rates=rates, start_cost=written.start_cost, replica_devices=written.replica_devices, seed=written.seed,
            )  # fmt: skip
        except ValidationError as error:
            message = str(error.errors()[0].get("ctx", {}).get("error") or error.errors()[0]["msg"])
            field, colon, detail = message.partition(": ")
            where = tuple(field.split(".")) if colon and field.split(".")[0] in ClusterFile.model_fields else ()
            raise self.document.error(detail if where else message, (*self.at, *where)) from None

    def _check_loss(self, pools: Sequence[Pool]) -> None:
        """No more may be lost than there is."""
        survive = self.written.survive
        if survive is None:
            return
        able = [pool for pool in pools if survive.pool in {None, pool.name}]
        sizes = [(len(pool.free), pool.rack_nodes if survive.racks else 1) for pool in able]
        there = sum(-(-nodes // size) for nodes, size in sizes if size)
        if there and survive.lost > there:
            message = f"{counted(survive.lost, survive.unit)} of {there} cannot be lost"
            raise self.document.error(message, (*self.at, "survive", survive.unit))

    def _objective(self, demands: Sequence[Demand]) -> FleetObjective:
        """Throughput, unless every demand says what it needs: then the fewest devices."""
        rated = [demand.request_rate is not None for demand in demands]
        periods = self.written.periods or self.written.period_length is not None
        return "devices" if all(rated) or periods else "throughput"

    def _rates(self) -> tuple[GivenRate, ...]:
        named = self.written.rates
        if named is None:
            return ()
        path = Path(named) if self.folder is None else self.folder / named
        rates = read_rates(path)
        faults = []
        for row in rates:
            named_in = (("pool", row.pool, self.written.pools), ("demand", row.demand, self.written.demands))
            for what, value, known in named_in:
                if value not in known:
                    message = f"{what} {value!r} of {named} is none of this cluster: {', '.join(known)}"
                    faults.append(self.document.fault(message, (*self.at, "rates"), nearest(value, list(known))))
        if faults:
            raise SpecError(*faults[:20])
        return rates

    def _check_rows(self, rates: Sequence[GivenRate], demands: Sequence[Demand]) -> None:
        roles = {demand.name: demand for demand in demands}
        for row in rates:
            if row.role not in roles[row.demand].roles:
                message = f"{row.layout} is a {row.role} replica, and phase {roles[row.demand].phase!r} has none"
                raise self.document.error(message, (*self.at, "demands", row.demand, "workload", "phase"))
        for demand in demands:
            missing = [r for r in demand.roles if not any((w.demand, w.role) == (demand.name, r) for w in rates)]
            if rates and missing and demand.phase != "either":
                message = f"{self.written.rates} has no {missing[0]} replica of {demand.name}"
                raise self.document.error(message, (*self.at, "demands", demand.name))

    def _refer(self, kind: catalog.Shelf, at: tuple[PathStep, ...]) -> Any:  # noqa: ANN401 - by the kind asked for
        read = catalog.model_in if kind == "models" else catalog.hardware_in
        return read(self.document, (*self.at, *at), beside=self.folder)

    def _pool(self, name: str, pool: PoolFile) -> Pool:
        hardware: HardwareSpec | None = None
        if pool.hardware is not None:
            hardware = self._refer("hardware", ("pools", name, "hardware"))
        elif self.written.rates is None:
            raise self.document.error(_WANTED, (*self.at, "pools", name, "hardware"))
        per_node = hardware.devices_per_node if hardware else pool.devices_per_node
        assert per_node is not None  # noqa: S101 - by PoolFile
        free = pool.free
        if free is None:
            devices = pool.devices if pool.devices is not None else (pool.nodes or 0) * per_node
            free = (per_node,) * (devices // per_node) + ((devices % per_node,) if devices % per_node else ())
        if max(free, default=0) > per_node:
            message = f"{max(free)} devices free on a node of {per_node}"
            raise self.document.error(message, (*self.at, "pools", name, "free"))
        if not sum(free):
            raise self.document.error("no device is free", (*self.at, "pools", name, "free"))
        rack = hardware.devices_per_rack if hardware else None
        rack_nodes = rack // per_node if rack else None
        if rack_nodes is not None and pool.nodes_per_rack not in {None, rack_nodes}:
            message = f"a rack of {hardware.name if hardware else name} has {rack_nodes} nodes"
            raise self.document.error(message, (*self.at, "pools", name, "nodes_per_rack"))
        rack_nodes = rack_nodes or pool.nodes_per_rack
        price = pool.price if pool.price is not None else (hardware.device.price if hardware else None)
        power = pool.power if pool.power is not None else (hardware.device.power if hardware else None)
        return Pool(
            name=name, hardware=hardware, devices_per_node=per_node, rack_nodes=rack_nodes, free=free,
            price=price, billing=pool.billing, availability=pool.availability, power=power,
        )  # fmt: skip

    def _demand(self, name: str, demand: DemandFile, rates: Sequence[GivenRate]) -> Demand:
        work, at = demand.workload, (*self.at, "demands", name)
        model: ModelSpec | None = None
        if demand.model is not None:
            model = self._refer("models", ("demands", name, "model"))
            if demand.precision is not None:
                model = model.model_copy(update={"precision": demand.precision.applied_to(model.precision)})
        elif self.written.rates is None:
            raise self.document.error(_WANTED, (*at, "model"))
        buckets, traffic = self._buckets(name, demand, at, model)
        hit, rate = work.prefix_cache_hit, work.request_rate
        if traffic is not None and work.prefix_of_trace:
            if traffic.prefix_share is None or traffic.prefix_share == 1:
                message = "the trace has no block hashes" if traffic.prefix_share is None else "every block came before"
                raise self.document.error(message, (*at, "workload", "prefix_of_trace"))
            hit = traffic.prefix_share
        if traffic is not None and traffic.arrivals is not None and rate is None:
            rate = traffic.arrivals.served_per_s
        if self.written.rates is None and not buckets:
            raise self.document.error(_WANTED, (*at, "workload", "input_tokens"))
        read = Demand(
            name=name, phase=work.phase or _phase(name, rates), request_rate=rate, buckets=buckets,
            model=model, limits=demand.limits.by_default(), engine_name=demand.engine, search=demand.search,
            prefix_cache_hit=hit, mtp_tokens=work.mtp_tokens, mtp_acceptance=work.mtp_acceptance, traffic=traffic,
        )  # fmt: skip
        for role in read.roles if self.written.rates is None else ():
            longest = {"input_tokens": buckets[-1].input_tokens, "output_tokens": buckets[-1].output_tokens}
            stated = work.model_dump(include={"prefix_cache_hit", "mtp_tokens", "mtp_acceptance"})
            validate(ServingWorkload, {"phase": role, **longest, **stated}, self.document, (*at, "workload"))
        return read

    def _buckets(
        self, name: str, demand: DemandFile, at: tuple[PathStep, ...], model: ModelSpec | None
    ) -> tuple[tuple[Bucket, ...], Traffic | None]:
        work, period = demand.workload, self.written.period_length
        context = None if model is None else model.max_context
        if work.lengths is not None:
            path = Path(work.lengths) if self.folder is None else self.folder / work.lengths
            try:
                buckets, traffic, day = read_lengths(
                    path, most=work.buckets, window_s=work.window, quantile=work.quantile,
                    with_decode=work.phase != "prefill", with_rate=work.request_rate is None and period is None,
                    context=context, period_s=period,
                )  # fmt: skip
            except SpecError as error:
                where = (*at, "workload", "lengths")
                faults = [f if f.line else self.document.fault(f"{f.path}: {f.message}", where) for f in error.faults]
                raise SpecError(*faults) from None
            if day is not None:
                self.days[name] = day
            return buckets, traffic
        if work.input_tokens is None:
            return (), None
        output = work.output_tokens if work.output_tokens is not None else 1
        length = work.input_tokens + output
        if model is not None and context is not None and length > context:
            message = f"input_tokens + output_tokens = {length} is more than the {context} tokens {model.name} can hold"
            raise self.document.error(message, (*at, "workload", "input_tokens"))
        return (Bucket(input_tokens=work.input_tokens, output_tokens=output, share=Fraction(1)),), None

    def _periods(self, demands: Sequence[Demand]) -> tuple[Period, ...]:
        if self.written.periods:
            named = {name for period in self.written.periods.values() for name in period.rates}
            steady = {d.name: d.request_rate for d in demands if d.name not in named and d.request_rate}
            return tuple(
                Period(name=name, hours=period.hours, rates=steady | period.rates)
                for name, period in self.written.periods.items()
            )
        if self.written.period_length is not None:
            return self._of_traces(demands, self.written.period_length)
        rates = {demand.name: demand.request_rate or Fraction(0) for demand in demands}
        return (Period(name=ALWAYS, hours=Fraction(24), rates={name: rate for name, rate in rates.items() if rate}),)

    def _of_traces(self, demands: Sequence[Demand], length_s: Fraction) -> tuple[Period, ...]:
        """Periods of the day that the traces have; a demand without one, or with a rate stated, is steady."""
        at, days = (*self.at, "period_length"), self.days
        parts = sorted({part for day in days.values() for part in day.periods})
        if not parts:
            raise self.document.error("no demand has a trace with times that spans a whole window of a period", at)
        if len(parts) > MOST_PERIODS:
            raise self.document.error(f"makes {len(parts):,} periods, more than {MOST_PERIODS}: state a longer one", at)
        if len({day.dated for day in days.values()}) > 1:
            dated, undated = (next(n for n, day in days.items() if day.dated == kind) for kind in (True, False))
            message = (
                f"times of {dated} are dates, those of {undated} count from some start: they have no day in common"
            )
            raise self.document.error(message, at)
        periods = []
        for part in parts:
            name = _clock(part * length_s)
            lacking = next((demand for demand, day in days.items() if part not in day.periods), None)
            if lacking is not None:
                message = f"the trace of {lacking} has no whole window from {name} on, and another demand's has"
                raise self.document.error(message, (*self.at, "demands", lacking, "workload", "lengths"))
            traffic = {demand: day.periods[part] for demand, day in days.items()}
            rates = {
                demand.name: traffic[demand.name].arrivals.served_per_s
                for demand in demands
                if demand.name in traffic and self.written.demands[demand.name].workload.request_rate is None
            }
            steady = {d.name: d.request_rate for d in demands if d.name not in rates and d.request_rate}
            periods.append(Period(name=name, hours=length_s / 3600, rates=rates | steady, traffic=traffic))
        return tuple(periods)


def _clock(seconds: Fraction) -> str:
    """The time of day, such as ``18:30``; seconds, and what is not whole of them, only where there are any."""
    minutes, seconds_left = divmod(seconds, 60)
    return f"{int(minutes) // 60:02}:{int(minutes) % 60:02}" + (f":{float(seconds_left):g}" if seconds_left else "")


def _phase(demand: str, rates: Sequence[GivenRate]) -> DemandPhase:
    """The phase that a demand's rows make up, where it states none."""
    roles = {row.role for row in rates if row.demand == demand} or {"aggregated"}
    if len(roles) == 1:
        only: DemandPhase = next(iter(roles))
        return only
    return "either" if "aggregated" in roles else "disaggregated"


_OF_DEMAND = ("model", "precision", "limits", "engine", "search")
_OF_CLUSTER = ("name", "objective", "max_kinds", "seed")


def goes_into_cluster(at: Sequence[PathStep]) -> bool:
    """Whether what a problem has at a place has one in the cluster that `cluster_content` makes of it."""
    if at[0] == "workload":
        return at[1] in DemandWorkload.model_fields
    return at[0] in {*_OF_DEMAND, *_OF_CLUSTER, "hardware", "devices", "nodes"}


def cluster_content(content: Mapping[str, Any], pools: Sequence[str]) -> dict[str, Any]:
    """What a cluster file would hold for one demand, from what a problem file would, and `NAME=NODES` of each pool.

    Raises
    ------
    SpecError
        A pool that is not written so, or is named twice.
    """
    merged: dict[str, Any] = {}
    for text in pools:
        name, equals, nodes = text.partition("=")
        if not (equals and name and nodes.isascii() and nodes.isdigit() and len(nodes) < 7):
            raise SpecError(Fault(None, None, None, "--pool", f"{text!r} is not HARDWARE=NODES, such as h100-sxm-8=4"))
        if name in merged:
            raise SpecError(Fault(None, None, None, "--pool", f"{name} is named twice"))
        merged[name] = {"hardware": name, "nodes": int(nodes)}
    if not merged:
        size = {key: content[key] for key in ("nodes", "devices") if key in content}
        merged[str(content.get("hardware", "pool"))] = {"hardware": content.get("hardware"), **size}
    model = content.get("model")
    work = {key: value for key, value in content.get("workload", {}).items() if key != "kind"}
    demand = {key: content[key] for key in _OF_DEMAND if key in content}
    of_search = {key: content[key] for key in _OF_CLUSTER if key in content}
    name = model.rpartition("/")[2] if isinstance(model, str) else "demand"
    return {**of_search, "pools": merged, "demands": {name: demand | {"workload": work}}}


def stray_options(names: Sequence[str]) -> SpecError:
    """What is said of options that change a single problem, given beside a cluster."""
    message = "changes a problem of one demand on one pool, and this is a cluster"
    return SpecError(*(Fault(None, None, None, name, message) for name in names))


_NEEDED = ("pool", "demand", "layout", "devices", "requests_per_s")
_OPTIONAL = ("role", "price", "power", "bucket")


def read_rates(path: str | Path) -> tuple[GivenRate, ...]:
    """Rows of a table: pool, demand, layout, devices, requests_per_s and, optionally, role, price, power, bucket.

    Raises
    ------
    SpecError
        A column that is missing or unknown, or a cell that cannot be read, with its line and column.
    """
    text, source = read_text(path)
    rows = csv_rows(text, source)
    head = [name.strip() for name in next(rows, (1, []))[1]]
    faults = [Fault(source, 1, None, None, f"column {name!r} is missing") for name in _NEEDED if name not in head]
    faults += [
        Fault(source, 1, number, None, f"unknown column {name!r}", nearest(name, [*_NEEDED, *_OPTIONAL]))
        for number, name in enumerate(head, 1)
        if name not in {*_NEEDED, *_OPTIONAL}
    ]
    if faults:
        raise SpecError(*faults)
    rates = []
    for line, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(head):
            faults.append(Fault(source, line, None, None, f"{len(cells)} cells under {len(head)} columns"))
            continue
        try:
            rates.append(_row(dict(zip(head, (cell.strip() for cell in cells), strict=True))))
        except ValidationError as error:
            for fault in error.errors(include_url=False):
                name = str(fault["loc"][0]) if fault["loc"] else None
                column = head.index(name) + 1 if name in head else None
                faults.append(Fault(source, line, column, name, *message_of(fault)))
    if faults:
        raise SpecError(*faults)
    if not rates:
        raise SpecError(Fault(source, 1, None, None, "has no rows"))
    return tuple(rates)


def _row(cells: Mapping[str, str]) -> GivenRate:
    filled: dict[str, object] = {name: cell for name, cell in cells.items() if cell}
    devices = cells.get("devices", "")
    filled["devices"] = int(devices) if devices.isascii() and devices.isdigit() and len(devices) < 10 else devices
    return GivenRate.model_validate({"role": "aggregated", **filled})

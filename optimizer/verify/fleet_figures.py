"""Every figure of a fleet that a claim may name, with its formula and the numbers put in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final

from optimizer.domain.cluster import Cluster, FleetObjective, Period
from optimizer.domain.fleet import Fleet, Replicas, counts_tokens, worth
from optimizer.figures.derivation_figure import Figure, Sheet
from optimizer.fleet.column import TIMES, Column, slowest
from optimizer.units import Dimension
from optimizer.verify.fleet import DemandFigures, FleetVerdict, parts_of, started, units_of, value_of

_DIMENSIONS: dict[FleetObjective, Dimension] = {
    "cost": Dimension.DOLLARS_PER_HOUR, "devices": Dimension.COUNT, "growth": Dimension.COUNT,
    "throughput": Dimension.TOKENS_PER_SECOND, "power": Dimension.WATTS,
}  # fmt: skip
_REQUESTS: Final = (Dimension.PER_SECOND, "Σ over demands of requests/s served, mean over the hours")
"""Throughput where lengths are not known."""
_FORMULAS: dict[FleetObjective, str] = {
    "cost": "price · devices of pools paid whole + price · devices in use elsewhere, mean over the hours",
    "devices": "devices in use, mean over the hours",
    "growth": "least over demands of requests/s served (what is left after the loss to be survived) ÷ asked for",
    "throughput": "Σ over demands of tokens of a request · requests/s served, mean over the hours",
    "power": "Σ watts of replicas in use, mean over the hours",
}


def measured_as(cluster: Cluster, name: FleetObjective) -> tuple[Dimension, str]:
    """Dimension and formula of an objective."""
    if name == "throughput" and not counts_tokens(cluster):
        return _REQUESTS
    starts = " + start_cost · replicas that start ÷ hours" if name == "cost" and cluster.start_cost else ""
    return _DIMENSIONS[name], _FORMULAS[name] + starts


def _substituted(
    cluster: Cluster, name: FleetObjective, known: Mapping[str, Column], fleet: Fleet, verdict: FleetVerdict
) -> str:
    """The formula of an objective with its numbers: products of a period, over the hours of several."""

    def served(figures: DemandFigures) -> Fraction:
        return figures.capacity if cluster.survive is None else figures.left

    def of(period: Period) -> str:
        replicas = [(group.count, known[group.column]) for group in fleet.get(period.name, ())]
        if name == "throughput":
            done = verdict.demands[period.name]
            products = [(worth(cluster, demand), served(done[demand.name])) for demand in cluster.demands]
        elif name == "cost":
            products = [(Fraction(p.devices), p.price) for p in cluster.pools if p.pays_for_all and p.price is not None]
            products += [(Fraction(count), column.cost) for count, column in replicas if column.cost]
        else:
            each = [column.power_w or 0 if name == "power" else column.devices for _, column in replicas]
            products = [(Fraction(count), Fraction(one)) for (count, _), one in zip(replicas, each, strict=True)]
        return " + ".join(f"{_digits(one)}·{_digits(other)}" for one, other in products) or "0"

    if name == "growth":
        asked = [figures for period in verdict.demands.values() for figures in period.values() if figures.rate]
        ratios = [f"{_digits(served(figures))} ÷ {_digits(figures.rate)}" for figures in asked]
        return ratios[0] if len(ratios) == 1 else f"min({', '.join(ratios)})"
    if len(cluster.periods) == 1:
        return of(cluster.periods[0])
    hours = _digits(cluster.hours)
    text = " + ".join(f"{_digits(period.hours)}·({of(period)})" for period in cluster.periods)
    starts = ""
    if name == "cost" and cluster.start_cost:
        number = sum(started(fleet, cluster.periods[n - 1], period) for n, period in enumerate(cluster.periods))
        starts = f" + {_digits(cluster.start_cost)}·{number} ÷ {hours}"
    return f"({text}) ÷ {hours}{starts}"


def _digits(value: Fraction) -> str:
    return f"{float(value):,.6g}"


def figures_of(cluster: Cluster, columns: Sequence[Column], fleet: Fleet, verdict: FleetVerdict) -> dict[str, Figure]:
    """Every figure of a fleet that a claim may name: of the whole, and of each demand and pool in each period."""
    known = {column.name: column for column in columns}
    sheet = Sheet()
    has_rates = any(rate for period in cluster.periods for rate in period.rates.values())
    for name in _DIMENSIONS:
        lacking = {
            "cost": any(p.price is None for p in cluster.pools) and any(c.cost is None for c in columns),
            "power": any(c.power_w is None for c in columns), "growth": not has_rates,
        }.get(name, False)  # fmt: skip
        if not lacking:
            value = value_of(cluster.model_copy(update={"objective": name}), known, fleet, verdict)
            if value is not None:
                sheet.put(name, value, *measured_as(cluster, name), _substituted(cluster, name, known, fleet, verdict))
    for period in cluster.periods:
        label = "" if len(cluster.periods) == 1 else f"{period.name}."
        _figures_of_period(sheet, label, cluster, period, known, fleet, verdict)
    return sheet


def _figures_of_period(
    sheet: Sheet, label: str, cluster: Cluster, period: Period, known: Mapping[str, Column], fleet: Fleet,
    verdict: FleetVerdict,
) -> None:  # fmt: skip
    replicas = fleet.get(period.name, ())
    terms = " + ".join(f"{r.count}·{known[r.column].devices}" for r in replicas) or "0"
    sheet.count(f"{label}replicas", sum(r.count for r in replicas), "Σ count")
    for pool in cluster.pools:
        used = sum(r.count * known[r.column].devices for r in replicas if r.pool == pool.name)
        sheet.count(f"{label}{pool.name}.devices", used, "Σ count · devices of a replica")
        sheet.count(f"{label}{pool.name}.idle", pool.devices - used, "free − in use", f"{pool.devices:,} − {used:,}")
    idle = sum(verdict.idle.get(period.name, {}).values())
    free = sum(pool.devices for pool in cluster.pools)
    sheet.count(f"{label}idle", idle, "free − Σ count · devices of a replica", f"{free:,} − ({terms})")
    for name, figures in verdict.demands.get(period.name, {}).items():
        at = f"{label}{name}"
        of_demand, rate = [r for r in replicas if r.demand == name], Dimension.PER_SECOND
        sheet.put(f"{at}.request_rate", figures.rate, rate, "requests/s asked for")
        chain = "least over its chains of roles of Σ count · requests/s of a replica"
        served = _served(cluster, name, period, known, of_demand, None)
        sheet.put(f"{at}.capacity", figures.capacity, rate, chain, served)
        left = _served(cluster, name, period, known, of_demand, figures.worst)
        sheet.put(
            f"{at}.after_loss", figures.after_worst, rate, "the same without the worst node, or rack, to lose", left
        )
        sheet.count(f"{at}.replicas", sum(r.count for r in of_demand), "Σ count")
        sheet.count(f"{at}.devices", sum(r.count * known[r.column].devices for r in of_demand), "Σ count · devices")
        for figure in TIMES:
            time_s = slowest((known[r.column] for r in of_demand), figure)
            if time_s is not None:
                sheet.put(f"{at}.{figure.removesuffix('_s')}", time_s, Dimension.SECONDS, "slowest of its replicas")


def _served(
    cluster: Cluster, name: str, period: Period, known: Mapping[str, Column], replicas: Sequence[Replicas],
    lost: tuple[str, int] | None,
) -> str:  # fmt: skip
    """The replicas of each chain, and of each bucket's requests, as numbers; without those that a loss takes."""
    sums = []
    for roles, bucket, share in parts_of(cluster.demand[name], period):
        terms = []
        for group in replicas:
            column = known[group.column]
            dead = sum(
                lost is not None and group.pool == lost[0] and lost[1] in units_of(cluster, group.pool, places)
                for places in group.places
            )
            if group.role in roles and column.bucket >= bucket and group.count > dead:
                terms.append(f"{group.count - dead}·{float(column.requests_per_s):.6g}")
        text = " + ".join(terms) or "0"
        sums.append(text if share == 1 else f"({text}) ÷ {float(share):.6g}")
    distinct = list(dict.fromkeys(sums))
    return distinct[0] if len(distinct) == 1 else f"min({', '.join(distinct)})"

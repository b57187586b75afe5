"""The page about a fleet: nodes as boxes, a square a device, a colour a kind of replica; and the map of ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from optimizer.certificate.verdict import Check
from optimizer.domain.cluster import Cluster, Period, Pool
from optimizer.domain.fleet import over_hours
from optimizer.figures.objective_text import objective_text
from optimizer.fleet.column import TIMES, column_layout, missing_time, traffic_words
from optimizer.fleet.words import conflict_words, demand_words, hours_words, pool_words
from optimizer.readers.fleet import FleetDocument, Proposed
from optimizer.report.html_parts import (
    COLOURS,
    conflict_list,
    element,
    four_digits,
    label,
    paragraph,
    picture,
    rect,
    section,
    shell,
    table,
)
from optimizer.units import Dimension, counted, format_quantity
from optimizer.verify.replica import layout_name

MOST_NODES = 192
"""Nodes of a pool that are drawn; of more the busiest."""
_IDLE = f"c{COLOURS - 1}"
_CELL, _GAP, _TITLE, _WIDTH = 14.0, 8.0, 14.0, 968.0


@dataclass(frozen=True)
class HeldDevice:
    """A device that a rank of a replica holds."""

    kind: int
    demand: str
    role: str
    layout: str
    replica: int
    rank: int

    def to_json(self, device: int) -> dict[str, object]:
        """One entry of a node."""
        return {
            "device": device, "demand": self.demand, "role": self.role, "layout": self.layout,
            "replica": self.replica, "rank": self.rank,
        }  # fmt: skip


Seats = Mapping[tuple[str, int, int], HeldDevice]
"""Seats by pool, node and device."""


def seats_of(entries: Sequence[Proposed]) -> dict[tuple[str, int, int], HeldDevice]:
    """Who sits where; ranks of a replica are numbered along its nodes and their devices."""
    seats: dict[tuple[str, int, int], HeldDevice] = {}
    for kind, entry in enumerate(entries):
        name = _layout(entry)
        for replica, places in enumerate(entry.places or ()):
            devices = [(place.node, device) for place in places for device in place.devices]
            for rank, (node, device) in enumerate(devices):
                seats[entry.pool.name, node, device] = HeldDevice(
                    kind, entry.demand.name, entry.role, name, replica, rank
                )
    return seats


def _layout(entry: Proposed) -> str:
    if entry.row is not None:
        return column_layout(entry.demand, entry.row.layout, entry.bucket)
    assert entry.layout is not None  # noqa: S101 - one of the two is there
    return column_layout(entry.demand, layout_name(entry.layout), entry.bucket)


def rank_map(proposal: FleetDocument) -> dict[str, Any]:
    """``shardproof/map/1``: node by node, which rank of which replica each device is, in every period."""
    periods: dict[str, list[dict[str, Any]]] = {}
    for name, entries in proposal.periods.items():
        nodes: dict[tuple[str, int], list[dict[str, object]]] = {}
        for (pool, node, device), seat in sorted(seats_of(entries).items()):
            nodes.setdefault((pool, node), []).append(seat.to_json(device))
        periods[name] = [{"pool": pool, "node": node, "devices": devices} for (pool, node), devices in nodes.items()]
    return {"schema": "shardproof/map/1", "cluster": proposal.cluster.name, "periods": periods}


def fleet_page(proposal: FleetDocument, check: Check | None) -> str:
    """The page as HTML text."""
    cluster, data = proposal.cluster, proposal.document.data
    parts = []
    for name, entries in proposal.periods.items():
        called = "" if len(proposal.periods) == 1 else f" in period {hours_words(cluster, name)}"
        at = proposal.claimed_at[name]
        stated = proposal.document.get(at)
        seats = seats_of(entries)
        shown = [_pool(pool, seats, f"{name}-{number}") for number, pool in enumerate(cluster.pools)]
        demands = _demands(cluster, stated if isinstance(stated, Mapping) else {})
        hours = next(period for period in cluster.periods if period.name == name)
        lengths = _lengths(cluster, hours, stated if isinstance(stated, Mapping) else {})
        parts.append(section(f"fleet-{name}", f"The fleet{called}", _legend(entries), *shown, demands, lengths))
    if not parts:
        parts.append(section("fleet", "The fleet", _none(data)))
    return shell(f"{cluster.name}: {data.get('status', '')}", _head(cluster, data, check), parts)


def _none(data: Mapping[str, Any]) -> str:
    """Why there is no fleet to draw."""
    if data.get("status") == "unknown":
        return paragraph("No fleet was found in the time there was, and none is ruled out.")
    return paragraph(f"{conflict_words(data.get('unserved'))}.") + conflict_list(data.get("conflict"))


def _head(cluster: Cluster, data: Mapping[str, Any], check: Check | None) -> str:
    objective = data.get("objective")
    objective = objective if isinstance(objective, Mapping) else {}
    value, gap = objective.get("value"), objective.get("gap")
    headline = str(data.get("status", "proposed"))
    if isinstance(value, int | float):
        headline += f": {objective_text(str(objective.get('name', '')), value)}{over_hours(cluster)}"
    checked = "certificate not checked"
    if check is not None:
        checked = "certificate accepted" if check.accepted else "certificate rejected"
    proof = f" · within {gap:.2%} of the bound" if isinstance(gap, float) else ""
    good = data.get("status") != "infeasible" and (check is None or check.accepted)
    strong = element("strong", escape(headline), class_="good" if good else "bad")
    pools = "; ".join(
        f"{pool.name}: {pool_words(pool)}, on {counted(len(pool.free), 'nodes')}" for pool in cluster.pools
    )
    asked = {} if cluster.rates else {demand.name: demand_words(demand) for demand in cluster.demands}
    return (
        element("h1", escape(cluster.name))
        + element("p", strong, escape(f"{proof} · {checked}"), class_="lead")
        + paragraph(f"{pools}.")
        + "".join(paragraph(f"{name}: {words}.") for name, words in asked.items())
    )


def _colour(kind: int) -> str:
    return f"c{kind % (COLOURS - 1)}"


def _legend(entries: Sequence[Proposed]) -> str:
    rows = []
    for kind, entry in enumerate(entries):
        swatch = element("span", "\u00a0\u00a0\u00a0", class_=_colour(kind))
        held = entry.row.devices if entry.row is not None else entry.layout.devices if entry.layout is not None else 0
        cells = [entry.demand.name, entry.role, entry.pool.name, _layout(entry), f"{entry.count:,}", f"{held:,}"]
        rate = "" if entry.rate is None else f"{float(entry.rate):,.5g}"
        body = "".join(element("td", escape(cell)) for cell in [*cells, rate])
        rows.append(element("tr", element("td", swatch), body))
    titles = ["", "demand", "role", "pool", "layout", "replicas", "devices each", "requests/s each"]
    head = element("tr", *(element("th", title) for title in titles))
    return element("div", element("table", element("thead", head), element("tbody", *rows)), class_="scroll")


def _pool(pool: Pool, seats: Seats, name: str) -> str:
    """The nodes of a pool in rows."""
    busy = {node for pool_name, node, _ in seats if pool_name == pool.name}
    nodes = list(range(len(pool.free)))
    if len(nodes) > MOST_NODES:
        nodes = sorted(sorted(nodes, key=lambda node: node not in busy)[:MOST_NODES])
    width = pool.devices_per_node * _CELL + _GAP
    across = max(1, int(_WIDTH / width))
    height = _CELL + _TITLE + _GAP
    drawn = []
    for number, node in enumerate(nodes):
        left, top = number % across * width, number // across * height
        drawn.append(label(left, top + _TITLE - 4, str(node), class_="small"))
        drawn += _node(pool, node, seats, left, top + _TITLE)
    rows = -(-len(nodes) // across)
    title = f"{pool.name}: {len(busy):,} of {len(pool.free):,} nodes in use"
    hardware = pool.hardware.name if pool.hardware is not None else f"{pool.devices_per_node} devices a node"
    note = "" if len(nodes) == len(pool.free) else f", {len(nodes):,} of them shown, those in use first"
    named = pool.name if hardware == pool.name else f"{pool.name} ({hardware})"
    return element("h3", escape(named)) + (
        paragraph(f"{title}{note}.")
        + picture(f"nodes-{name}", title, min(across, len(nodes)) * width, rows * height, drawn)
    )


def _node(pool: Pool, node: int, seats: Seats, left: float, top: float) -> list[str]:
    drawn = [rect(left, top, pool.devices_per_node * _CELL, _CELL, class_="node")]
    for device in range(pool.devices_per_node):
        at, seat = left + device * _CELL, seats.get((pool.name, node, device))
        where = f"node {node}, device {device}"
        if seat is not None:
            tip = f"{where}: {seat.demand} {seat.role} {seat.layout}, replica {seat.replica}, rank {seat.rank}"
            drawn.append(rect(at + 1, top + 1, _CELL - 2, _CELL - 2, tip=tip, class_=_colour(seat.kind)))
            if seat.rank == 0:
                drawn.append(label(at + 3, top + _CELL - 4, "·", class_="in-cell"))
        elif device < pool.free[node]:
            drawn.append(
                rect(at + 3, top + 3, _CELL - 6, _CELL - 6, tip=f"{where}: idle", class_=_IDLE, opacity="0.35")
            )
    return drawn


def _demands(cluster: Cluster, stated: Mapping[str, Any]) -> str:
    demands = stated.get("demands")
    if not isinstance(demands, Mapping):
        return ""

    def shown(value: object) -> str:
        return f"{value:,.5g}" if isinstance(value, int | float) else ""

    rows = []
    for name, demand in demands.items():
        worst = demand.get("worst_loss") if isinstance(demand, Mapping) else None
        loss = ""
        for unit in ("node", "rack"):
            if cluster.survive is not None and isinstance(worst, Mapping) and isinstance(worst.get(unit), list):
                loss = f"{shown(worst.get('capacity_per_s'))} without {unit} {'/'.join(map(str, worst[unit]))}"
        capacity = demand.get("capacity_per_s")
        stated_times = [(key, demand.get(key)) for key in TIMES]
        times = [
            format_quantity(time_s, Dimension.SECONDS)
            if isinstance(time_s, int | float)
            else missing_time(cluster, str(name), key, capacity)
            for key, time_s in stated_times
        ]
        rows.append([str(name), shown(demand.get("requests_per_s") or None), shown(capacity), *times, loss])
    head = ["demand", "requests/s", "capacity", "TTFT at capacity", "TPOT at capacity", "after the worst loss"]
    return element("h3", "Demands") + table(head, rows, right=(1, 2, 3, 4))


def _lengths(cluster: Cluster, period: Period, stated: Mapping[str, Any]) -> str:
    """Requests of several lengths, who takes them, and what the trace says."""
    demands = stated.get("demands")
    rows = []
    for name, demand_figures in demands.items() if isinstance(demands, Mapping) else ():
        buckets = demand_figures.get("buckets") if isinstance(demand_figures, Mapping) else None
        for bucket, bucket_figures in buckets.items() if isinstance(buckets, Mapping) else ():
            if not isinstance(bucket_figures, Mapping):
                continue
            served = bucket_figures.get("replicas")
            takers = served.items() if isinstance(served, Mapping) else ()
            texts = [f"{taker} {share:.0%}" for taker, share in takers if isinstance(share, int | float)]
            numbers = [bucket_figures.get(key) for key in ("share", "requests_per_s")]
            shown = [four_digits(n) if isinstance(n, int | float) else "" for n in numbers]
            rows.append([str(name), str(bucket), *shown, ", ".join(texts)])
    lines = [f"{demand.name}: {text}." for demand in cluster.demands for text in traffic_words(demand, period)]
    words = [paragraph(text) for text in lines]
    if not rows:
        return "".join(words)
    head = ["demand", "up to (input x output tokens)", "share", "requests/s", "served by"]
    return element("h3", "Lengths") + "".join(words) + table(head, rows, right=(2, 3))

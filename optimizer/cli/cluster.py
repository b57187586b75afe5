"""What `solve` and `verify` print of a cluster: the fleet, the demands that it serves, and what is idle."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from optimizer.certificate.fleet import TOLERANCE
from optimizer.cli.output import emit, emit_json, heading, json_text, paint, say, table
from optimizer.domain.fleet import over_hours
from optimizer.figures.derivation_figure import shown
from optimizer.figures.objective_text import objective_text
from optimizer.fleet.ceiling import unlooked
from optimizer.fleet.column import NO_BOUND, TIMES, missing_time, traffic_words
from optimizer.fleet.words import as_stated, conflict_words, demand_words, hours_words, pool_words, waits_uncounted
from optimizer.readers.cluster import stray_options
from optimizer.units import Dimension, amount, counted
from optimizer.verify.fleet_document import unit_lost

if TYPE_CHECKING:
    from optimizer.cluster import SolvedFleet
    from optimizer.domain.cluster import Cluster
    from optimizer.readers.document import Document
    from optimizer.verify.proposed import FleetJudgement


def solve_and_show(
    cluster: Cluster,
    stray: Sequence[str],
    out: str | None,
    vipr: str | None,
    time_limit: float | None,
    *,
    as_json: bool,
) -> int:
    """Solve a cluster, write it and print it; the exit status.

    Parameters
    ----------
    stray
        Options that were given and mean nothing for a cluster.

    Raises
    ------
    SpecError
        Where there are any.
    """
    if stray:
        raise stray_options(stray)
    from optimizer.cluster import solve_cluster  # noqa: PLC0415 - loads the solver

    return give(solve_cluster(cluster, time_limit_s=time_limit), out, vipr, as_json=as_json)


def give(
    result: SolvedFleet, out: str | None, vipr: str | None, *, as_json: bool, alone: Fraction | None = None
) -> int:
    """Write and print a fleet; the exit status.

    Parameters
    ----------
    vipr
        File for the derivation of the bound.
    alone
        What the best layout of one kind serves, where the question did not ask for a fleet.
    """
    from optimizer.readers.output import write_whole  # noqa: PLC0415 - beside the solver

    document = result.to_json()
    if result.status == "infeasible":
        from optimizer.explain.cluster import conflict_of  # noqa: PLC0415 - only where nothing fits

        document |= conflict_of(result.cluster, result.columns)
    if out is not None:
        write_whole(out, json_text(document) + "\n")
        say(f"wrote {out}")
    if vipr is not None and result.program is not None:
        from optimizer.fleet.vipr import vipr as derivation  # noqa: PLC0415 - only where asked for

        write_whole(vipr, derivation(result.program, result.lemmas, result.steps))
        say(f"wrote {vipr}")
    if as_json:
        emit_json(document)
    else:
        show(result, document, alone)
    return int(result.exit_status)


def verify_and_show(document: Document, problem: str | None, *, as_json: bool, derivations: bool) -> int:
    """Judge the fleet of a document and print the judgement; the exit status."""
    from optimizer.cluster.stand import judge_document  # noqa: PLC0415 - loads the solver

    judged = judge_document(document, problem)
    if as_json:
        emit_json(judged.to_json())
    else:
        _show_judged(judged, derivations=derivations)
    return int(judged.exit_status)


def _show_judged(judged: FleetJudgement, *, derivations: bool) -> None:
    from optimizer.cli import present  # noqa: PLC0415 - needs the figures

    present.verdict_line(judged.headline, good=judged.feasible)
    _asked(judged.proposal.cluster)
    document = judged.proposal.document
    for broken, at in judged.violations:
        where = "" if at is None else f"{document.source}:{document.locate(at)[0]}: "
        emit(f"  {paint(f'{where}({broken.family}) {broken.message}', 'red')}")
    fleet = judged.fleet_document()
    for name, period in (fleet["periods"] or {"": fleet}).items():
        _period(judged.proposal.cluster, name, period)
    heading("Figures")
    for figure in judged.figures.values():
        if derivations or "." not in figure.name:
            over = over_hours(judged.proposal.cluster, figure.name)
            emit(f"  {figure}" if derivations else f"  {figure.name}  {figure.result_text}{over}")
    # of the figures that a result repeats beside its replicas only what is wrong is listed
    listed = tuple(c for c in judged.claims if c.verdict != "holds" or not judged.proposal.is_result)
    if len(listed) < len(judged.claims):
        emit(f"{len(judged.claims) - len(listed)} figures that the result states hold")
    if listed:
        present.claim_table(listed)
    for text in judged.not_checked():
        emit(f"not checked: {text}")


def show(result: SolvedFleet, document: dict[str, Any], alone: Fraction | None = None) -> None:
    """Print a fleet; `alone` as in `give`."""
    from optimizer.cli import present  # noqa: PLC0415 - needs the figures

    objective, status = document["objective"], document["status"]
    value = ""
    if objective["value"] is not None:
        value = f": {objective_text(objective['name'], objective['value'])}{over_hours(result.cluster)}"
    bound = objective["bound"]
    gap = objective["gap"]
    stated = bound is not None and (status == "feasible" or gap > float(TOLERANCE))
    proof = f" (bound {bound:,.6g}, gap {gap:.2%})" if stated else ""
    # a proof over the replicas that were found is not one over all
    part = status in {"optimal", "feasible", "infeasible"} and not (result.cluster.rates or result.ceilings)
    reached = f" over the {len(result.columns)} kinds of replica that were found" if part else ""
    if alone is not None and result.value is not None:
        kinds = len({replica.column for replica in next(iter((result.fleet or {}).values()))})
        more = f"{float(result.value / alone - 1):.2%} more than with one (--max-kinds 1)"
        value += f" with {kinds} kinds of layout, {more}"
    present.verdict_line(status + reached + value + proof, good=status in {"optimal", "feasible"})
    _asked(result.cluster)
    fleet = document["fleet"]
    if fleet is not None:
        for name, period in (fleet["periods"] or {"": fleet}).items():
            _period(result.cluster, name, period)
    elif status == "infeasible":
        if document["conflict"]:
            emit(f"{conflict_words(document['unserved'])}:")
        else:
            emit("No fleet serves anything.")
        for limit in (as_stated(result.cluster, limit) for limit in document["conflict"]):
            emit(f"  {paint(limit['limit'], 'red')} {amount(limit['value'], limit['unit'])}".rstrip())
        for sentence in document["unserved"]:
            emit(sentence)
        if document["conflict"]:
            emit("`shardproof explain` says how little each would have to change.")
    search = document["search"]
    emit()
    emit(_over(result))
    emit(paint(f"{counted(search['candidates'], 'kinds')} of replica in {search['wall_s']:.2f} s", "dim"))


_OPEN = "open is what layouts that are not among them would do, of which no bound is known"


def _over(result: SolvedFleet) -> str:
    """What the proof is over."""
    if result.status == "unknown":
        return "nothing is proved"
    if result.cluster.rates:
        return "proved over every fleet of the table's replicas"
    if not result.all_looked_at:
        return f"proved over fleets of the replicas listed; {_OPEN}: the time limit ended the search for them"
    if not result.ceilings:
        return f"proved over fleets of the replicas listed; {_OPEN}"
    besides = unlooked(result.cluster)
    return "proved over fleets of all layouts" + (f" but {'; '.join(besides)}" if besides else "")


def _asked(cluster: Cluster) -> None:
    """Print the pools and what every demand asks for, and how sure its limits on times are."""
    from optimizer.figures.accuracy_text import kept_how  # noqa: PLC0415 - needs the figures

    for pool in cluster.pools:
        emit(f"pool     {pool.name}: {pool_words(pool)}")
    if cluster.rates:
        emit("demands  as the table of rates has their replicas, whatever models and limits stand beside it")
        return
    for demand in cluster.demands:
        emit(f"demand   {demand.name}: {demand_words(demand)}")
    lines = [
        f"times of {demand.name} are {kept_how(demand.limits)}" for demand in cluster.demands if demand.limits.on_times
    ]
    if lines:
        emit(f"limits   {', '.join(lines)} (limits.confidence)")
    waiting = [demand.name for demand in cluster.demands if waits_uncounted(demand)]
    if waiting:
        emit(f"assumed  a free place for each request of {', '.join(waiting)}; near capacity some wait, beside TTFT")


def _period(cluster: Cluster, name: str, period: dict[str, Any]) -> None:
    heading("Replicas" + (f" in period {hours_words(cluster, name)}" if name else ""))
    rows = [
        [entry["demand"], entry["role"], entry["pool"], entry["name"], str(entry["count"]), f"{entry['devices']:,}",
         f"{entry['requests_per_s']:,.5g}", f"{entry['share']:.1%}", _nodes(entry["nodes"])]
        for entry in period["replicas"]
    ]  # fmt: skip
    table(
        ["demand", "role", "pool", "layout", "replicas", "devices each", "requests/s each", "share", "nodes"],
        rows, right=(4, 5, 6, 7),
    )  # fmt: skip
    _traffic(cluster, name, period)
    heading("Demands")
    rows = []
    for demand, figures in period["demands"].items():
        worst = figures["worst_loss"]
        loss = ""
        if worst is not None:
            unit = unit_lost(cluster)
            where = "/".join(map(str, worst[unit]))
            loss = f"{worst['capacity_per_s']:,.5g} without {'rack ' if unit == 'rack' else ''}{where}"
        times = [
            missing_time(cluster, demand, key, figures["capacity_per_s"])
            if figures[key] is None
            else shown(Fraction(figures[key]), Dimension.SECONDS)
            for key in TIMES
        ]
        rows.append([demand, f"{figures['requests_per_s']:,.5g}", f"{figures['capacity_per_s']:,.5g}", *times, loss])
    table(
        ["demand", "requests/s", "capacity", "ttft at capacity", "tpot at capacity", "after the worst loss"],
        rows,
        right=(1, 2, 3, 4),
    )
    if any(NO_BOUND in row for row in rows):
        emit(f"{NO_BOUND}: prompts queue at full load, and no limit on ttft holds them")
    emit()
    devices = {pool.name: pool.devices for pool in cluster.pools}
    emit("idle  " + ", ".join(f"{count} of {devices[pool]} in {pool}" for pool, count in period["idle"].items()))


def _traffic(cluster: Cluster, name: str, period: dict[str, Any]) -> None:
    """Requests of several lengths, and who takes them."""
    rows = [
        [of, bucket, f"{bucket_share['share']:.1%}", f"{bucket_share['requests_per_s']:,.5g}",
         ", ".join(f"{replica} {share:.0%}" for replica, share in bucket_share["replicas"].items())]
        for of, demand in period["demands"].items()
        for bucket, bucket_share in demand.get("buckets", {}).items()
    ]  # fmt: skip
    if rows:
        heading("Lengths (input x output tokens at most)")
        table(["demand", "up to", "requests", "requests/s", "served by"], rows, right=(2, 3))
    hours = next((listed for listed in cluster.periods if listed.name == name), cluster.periods[0])
    for demand in cluster.demands:
        for text in traffic_words(demand, hours):
            emit(f"{demand.name}: {text}")


_SHOWN = 8


def _nodes(places: Sequence[Sequence[dict[str, Any]]]) -> str:
    """Nodes that replicas stand on, as ranges."""
    nodes = sorted({place["node"] for replica in places for place in replica})
    runs: list[list[int]] = []
    for node in nodes:
        if runs and node == runs[-1][1] + 1:
            runs[-1][1] = node
        else:
            runs.append([node, node])
    texts = [str(a) if a == b else f"{a}-{b}" for a, b in runs]
    return ", ".join(texts[:_SHOWN]) + (", …" if len(texts) > _SHOWN else "")

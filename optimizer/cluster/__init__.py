"""Several replicas, roles, pools and models on one cluster: CP-SAT decides counts and places, a derivation proves."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from optimizer.certificate.fleet import TOLERANCE, fleet_statement
from optimizer.certificate.statement import relative_gap
from optimizer.cluster.columns import Columns, closer, columns_of, peer_groups, sooner, within
from optimizer.cluster.derive import DerivedBound
from optimizer.cluster.integers import FoundFleet, IntegerProgram
from optimizer.cluster.lay import lay
from optimizer.cluster.lemmas import prove
from optimizer.cluster.result import SolvedFleet
from optimizer.cluster.spread import spread_fleet
from optimizer.domain.cluster import Cluster
from optimizer.domain.fleet import Fleet, better, serves_nothing
from optimizer.domain.mixture import as_cluster
from optimizer.domain.problem import Problem
from optimizer.errors import InternalError
from optimizer.fleet.ceiling import Ceiling
from optimizer.fleet.column import Column
from optimizer.fleet.families import FleetProgram
from optimizer.fleet.program import Program
from optimizer.fleet.statement import bounding, is_exact, shown, state
from optimizer.search.search import Search
from optimizer.verify.fleet import FleetVerdict, judge_fleet
from optimizer.verify.replica import sends

__all__ = ["SolvedFleet", "columns_that_fit", "fleet_that_fits", "mix", "solve_cluster"]


def fleet_that_fits(cluster: Cluster, columns: Sequence[Column]) -> FleetVerdict | None:
    """The best fleet of these columns, judged, without a proof; None where none keeps the limits and serves."""
    statement = state(cluster, columns)
    decided = IntegerProgram(statement.program, cluster.seed).decide(None, {})
    verdict = None if decided.point is None else judged(statement, lay(statement, decided.point))
    return None if verdict is None or serves_nothing(cluster, verdict.value) else verdict


def columns_that_fit(cluster: Cluster) -> Columns:
    """What the best fleet was chosen from; all columns where none keeps the limits."""
    return _exchanging(cluster, columns_of(cluster), None)[0]


def solve_cluster(cluster: Cluster, *, time_limit_s: float | None = None) -> SolvedFleet:
    """The best fleet of a cluster, proved; or the proof that none keeps its limits.

    Parameters
    ----------
    time_limit_s
        Seconds after which the best fleet so far is returned with a true bound.

    Raises
    ------
    InternalError
        Where the program and the judge of fleets contradict each other.
    """
    started = time.monotonic()
    deadline = None if time_limit_s is None else started + time_limit_s
    # half of the time finds layouts; of what is left a third is the proof's
    columns = columns_of(cluster, None if time_limit_s is None else started + time_limit_s / 2)
    seconds = {"columns_s": time.monotonic() - started}
    columns, (statement, decided, verdict) = _exchanging(cluster, columns, deadline)
    listed = columns.listed
    fleet, value = (None, None) if verdict is None else (verdict.fleet, verdict.value)
    seconds["decide_s"] = time.monotonic() - started - seconds["columns_s"]
    proof = _Proof(DerivedBound((), None), ())
    if fleet is not None or (decided.complete and columns.complete):
        proof = _prove(statement, columns, value, deadline)
    seconds["prove_s"] = time.monotonic() - started - sum(seconds.values())
    while verdict is not None and proof.stands and not _late(deadline) and _open(cluster, value, proof):
        nearer = closer(cluster, columns, proof.stands)
        if nearer is None:
            break
        statement, decided, again = _decided(
            cluster, nearer.listed, None if deadline is None else max(0.05, (deadline - time.monotonic()) / 2)
        )
        if again is None:
            break
        columns, listed, verdict = nearer, nearer.listed, again
        fleet, value = verdict.fleet, verdict.value
        proof = _prove(statement, columns, value, deadline)
    derivation, ceilings = proof.derivation, proof.ceilings
    bound = None if derivation.bound is None else shown(cluster, derivation.bound)
    status = _status(cluster, value, bound, derivation)
    if serves_nothing(cluster, value):
        fleet, verdict, value = None, None, None
        bound = None if status == "infeasible" else bound
    certificate = fleet_statement(cluster, status, listed, value, bound, derivation.lemmas, derivation.steps, ceilings)
    return SolvedFleet(
        cluster=cluster, columns=listed, status=status, fleet=fleet, verdict=verdict, bound=bound,
        wall_s=time.monotonic() - started, seconds=seconds, certificate=certificate if status != "unknown" else {},
        ceilings=ceilings, all_looked_at=columns.complete, program=proof.program,
        lemmas=derivation.lemmas, steps=derivation.steps,
    )  # fmt: skip


def mix(problem: Problem, alone: Fraction | None, *, time_limit_s: float | None = None) -> SolvedFleet | None:
    """The fleet that serves most on a problem's devices, where it serves more than one kind of layout does.

    No device serves more than it does in the layout of most throughput a device: where one kind does as much on all
    devices, there is nothing to look for.

    Parameters
    ----------
    alone
        Tokens/s of the best layout of one kind; None where none fits.
    time_limit_s
        Seconds after which the best fleet so far is taken.
    """
    cluster = None if alone is None else as_cluster(problem)
    if cluster is None or alone is None:
        return None
    deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
    densest = Search(problem.changed(objective="throughput_per_device"), deadline=deadline).run()
    if densest.complete and (not densest.best or densest.best[0].value * problem.devices <= alone):
        return None
    solved = solve_cluster(cluster, time_limit_s=None if deadline is None else max(0.0, deadline - time.monotonic()))
    return solved if solved.value is not None and solved.value > alone else None


def _late(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() > deadline


def _open(cluster: Cluster, value: Fraction | None, proof: _Proof) -> bool:
    """Whether a bound leaves something to find."""
    bound = proof.derivation.bound
    return value is not None and bound is not None and relative_gap(value, shown(cluster, bound)) > TOLERANCE


_Answer = tuple[FleetProgram, FoundFleet, FleetVerdict | None]
"""A program, what was decided, and its judgement."""
_Judged = tuple[FoundFleet, FleetVerdict | None]


def _exchanging(cluster: Cluster, columns: Columns, deadline: float | None) -> tuple[Columns, _Answer]:
    """The best fleet whose replicas exchange caches among all pools, or among those with faster links only."""
    first = columns, _decided(cluster, columns.listed, _two_thirds(deadline))
    if first[1][2] is None and _hopeless(cluster, columns, deadline):
        return first
    best = _waiting(cluster, first, deadline)
    demands = [demand.name for demand in cluster.demands if any(sends(demand, role) for role in demand.roles)]
    groups = peer_groups(cluster) if demands and cluster.links else []
    trials = [dict.fromkeys(demands, group) for group in groups]
    if len(demands) > 1:
        trials += [{name: group} for name in demands for group in groups]
    for peers in trials:
        if _late(deadline):
            break
        seconds_left = None if deadline is None else time.monotonic() + (deadline - time.monotonic()) / 2
        among = within(cluster, best[0], peers, seconds_left)
        if among.complete:
            trial = _waiting(cluster, (among, _decided(cluster, among.listed, _two_thirds(deadline))), deadline)
            best = trial if _better(cluster, trial, best, equal=True) else best
    return best


def _two_thirds(deadline: float | None) -> float | None:
    """Seconds that a decision may take of what is left."""
    return None if deadline is None else max(0.05, (deadline - time.monotonic()) * 2 / 3)


def _better(
    cluster: Cluster, one: tuple[Columns, _Answer], other: tuple[Columns, _Answer], *, equal: bool
) -> bool:  # fmt: skip
    """Whether a fleet was found that is better than another, or `equal` to it, if that has one."""
    (_, (_, _, new)), (_, (_, _, old)) = one, other
    if new is None or new.value is None or old is None or old.value is None:
        return new is not None and old is None
    return equal if new.value == old.value else better(cluster, new.value, old.value)


def _hopeless(cluster: Cluster, columns: Columns, deadline: float | None) -> bool:
    """Whether no fleet of any layouts keeps the limits."""
    if not columns.ceilings:
        return False
    seconds_left = None if deadline is None else max(0.05, (deadline - time.monotonic()) / 2)
    best = IntegerProgram(bounding(cluster, columns.ceilings).program, cluster.seed).decide(seconds_left, {})
    return best.point is None and best.complete


def _waiting(cluster: Cluster, first: tuple[Columns, _Answer], deadline: float | None) -> tuple[Columns, _Answer]:
    """The best fleet of columns, or of those that wait for fewer slow transfers.

    Where none is found, ever slower decode replicas are left out.
    """
    best = first
    while not cluster.rates:
        trial = _sooner(cluster, *best, deadline)
        if trial is None or (best[1][2] is not None and not _better(cluster, trial, best, equal=False)):
            break
        best = trial
    return first if best[1][2] is None else best


def _sooner(
    cluster: Cluster, columns: Columns, answer: _Answer, deadline: float | None
) -> tuple[Columns, _Answer] | None:
    """A fleet of prefill replicas that only wait for decode replicas as fast as those in use."""
    verdict = answer[2]
    used = None if verdict is None else {group.column for replicas in verdict.fleet.values() for group in replicas}
    seconds_left = None if deadline is None else (deadline - time.monotonic()) / 2
    more = (
        None
        if seconds_left is not None and seconds_left <= 0
        else sooner(cluster, columns, used, seconds_left and time.monotonic() + seconds_left)
    )
    return None if more is None or not more.complete else (more, _decided(cluster, more.listed, seconds_left))


def _decided(cluster: Cluster, columns: Sequence[Column], seconds: float | None) -> _Answer:
    """The best fleet, its program and its judgement.

    Where what dies with a node is not in the program, a fleet whose replicas stand apart is tried first, then one of so
    few kinds of replica that it is.
    """
    statement = state(cluster, columns)
    if is_exact(statement):
        return statement, *_laid(statement, seconds)
    began = time.monotonic()
    apart = spread_fleet(cluster, columns, None if seconds is None else seconds / 2)
    seconds_left = None if seconds is None else max(0.05, seconds - (time.monotonic() - began))
    best = _laid(statement, seconds_left and seconds_left / 2) if apart is None else apart
    return statement, *(_of_few(cluster, columns, best[1], seconds_left and seconds_left / 2) or best)


def _laid(statement: FleetProgram, seconds: float | None) -> _Judged:
    """The best fleet of a program, with its judgement."""
    decided = IntegerProgram(statement.program, statement.cluster.seed).decide(seconds, fewest_devices(statement))
    return decided, None if decided.point is None else judged(statement, lay(statement, decided.point))


def _of_few(
    cluster: Cluster, columns: Sequence[Column], known: FleetVerdict | None, seconds: float | None
) -> _Judged | None:
    """The best fleet of the kinds of replica that would do if each were lost alone.

    None where those are too many, or it is no better than one that is known.
    """
    relaxed = state(cluster, columns, relaxed=True)
    point = IntegerProgram(relaxed.program, cluster.seed).decide(None if seconds is None else seconds / 2, {}).point
    value = None if known is None else known.value
    if point is None or (
        value is not None and not better(cluster, shown(cluster, relaxed.program.value(point)), value)
    ):
        return None
    used = [c for c in columns if any(point[relaxed.replicas(c, period)] for period in cluster.periods)]
    statement = state(cluster, used)
    if not used or not is_exact(statement):
        return None
    found = _laid(statement, None if seconds is None else seconds / 2)
    reached = None if found[1] is None else found[1].value
    return found if reached is not None and (value is None or better(cluster, reached, value)) else None


@dataclass(frozen=True)
class _Proof:
    """A derivation, and the ceilings that its program is of; without them it is over the columns that are listed.

    Attributes
    ----------
    stands
        What stands in for every layout in the best fleet of that program.
    """

    derivation: DerivedBound
    ceilings: Sequence[Ceiling]
    program: Program | None = None
    stands: Sequence[Column] = ()


def _prove(statement: FleetProgram, columns: Columns, value: Fraction | None, deadline: float | None) -> _Proof:
    """The bound over every layout; where nothing fits only of those listed, that."""
    cluster = statement.cluster
    if columns.ceilings:
        over = bounding(cluster, columns.ceilings)
        whole = over.program
        seconds_left = None if deadline is None else max(0.05, (deadline - time.monotonic()) / 2)
        best = IntegerProgram(whole, cluster.seed).decide(seconds_left, {})
        if value is not None or (best.point is None and best.complete):
            aim = None if best.point is None or not best.complete else whole.value(best.point)
            counts = best.point or {}
            stands = [c for c in over.columns if any(counts.get(over.replicas(c, p)) for p in cluster.periods)]
            return _Proof(prove(whole, aim, TOLERANCE, deadline, cluster.seed), columns.ceilings, whole, stands)
    program = statement.program if is_exact(statement) else state(cluster, columns.listed, relaxed=True).program
    aimed = None if value is None else shown(cluster, value)  # a value of the program: negated where maximised
    return _Proof(prove(program, aimed, TOLERANCE, deadline, cluster.seed), (), program)


def _status(cluster: Cluster, value: Fraction | None, bound: Fraction | None, derivation: DerivedBound) -> str:
    if value is None:
        return "infeasible" if derivation.steps and bound is None else "unknown"
    if bound is None:
        raise InternalError("a fleet was found, and the derivation proves that there is none")
    if serves_nothing(cluster, value):
        return "infeasible" if serves_nothing(cluster, bound) else "unknown"
    return "optimal" if not better(cluster, bound, value) or relative_gap(value, bound) <= TOLERANCE else "feasible"


def fewest_devices(statement: FleetProgram) -> dict[str, Fraction]:
    """What decides between fleets of equal objective: devices in use, over all periods."""
    return {
        statement.replicas(column, period): Fraction(column.devices)
        for period in statement.cluster.periods
        for column in statement.columns
    }


def judged(statement: FleetProgram, fleet: Fleet) -> FleetVerdict:
    """The fleet by the judge, which shares nothing with the program."""
    verdict = judge_fleet(statement.cluster, statement.columns, fleet)
    if verdict.broken:
        raise InternalError(f"the program's fleet does not hold: {verdict.broken[0].message}")
    return verdict

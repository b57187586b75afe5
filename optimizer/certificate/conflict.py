"""The conflict of an infeasible result: its limits alone let nothing fit, and without any one of them something does.

A limit is left out in the one way that its row says; the checker proves each of these problems by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from optimizer.certificate.meshes import lattice
from optimizer.certificate.optimality import prove
from optimizer.certificate.reading import keys
from optimizer.certificate.verdict import Check, Rejected, brief, equal
from optimizer.domain.lattice import axes
from optimizer.domain.limits import Search
from optimizer.domain.problem import Problem
from optimizer.domain.variation import changed

_MOST_DEVICES = 16_384
"""Devices that stand for any number, or 16 times the problem's own where that is more."""
_ENDLESS_BYTES = 2**50
"""Memory that stands for any amount."""

Value = int | float | str | list[int]


@dataclass(frozen=True)
class _Limit:
    """What is stated of a limit, and the problem without it."""

    value: Value
    unit: str | None
    drop: Callable[[Problem], Problem]


def check_conflict(problem: Problem, stated: object, check: Check) -> None:
    """Check the conflict that an infeasible result states; one that states none leaves it open.

    Raises
    ------
    Rejected
        A member that is no limit of the problem, or another value of it; limits that do not conflict by themselves; a
        member that is not needed.
    """
    if not isinstance(stated, list):
        raise Rejected("conflict", f"{brief(stated)} is not a list of limits")
    if not stated:
        check.not_checked.append("conflict: none is stated")
        return
    limits, members = _limits(problem), []
    for number, entry in enumerate(stated):
        item = f"conflict[{number}]"
        keys(item, entry, frozenset({"limit", "value", "unit"}))
        name = entry["limit"]
        if not isinstance(name, str) or name not in limits or name in members:
            raise Rejected(f"{item}.limit", f"{brief(name)} is not a limit of the problem, or is listed before")
        equal(item, entry, {"limit": name, "value": limits[name].value, "unit": limits[name].unit})
        members.append(name)
    if members != [name for name in limits if name in members]:
        raise Rejected("conflict", "limits in another order")
    alone = problem
    for name, limit in limits.items():
        if name not in members:
            alone = limit.drop(alone)
    if _fits(alone):
        raise Rejected("conflict", f"{', '.join(members)} can be kept together where nothing else is asked")
    for number, name in enumerate(members):
        if not _fits(limits[name].drop(alone)):
            raise Rejected(f"conflict[{number}]", f"{name} is not needed: the others conflict without it")
    check.checked.append("conflict: nothing keeps these limits together, something keeps all but any one of them")


def _fits(problem: Problem) -> bool:
    easiest = changed(problem, objective="throughput_per_device")
    return prove(easiest, lattice(easiest, axes(easiest)), None).counterexample is not None


def _json(value: Fraction | int) -> int | float:
    own = Fraction(value)
    return own.numerator if own.denominator == 1 else float(own)


def _with(problem: Problem, name: str, value: Fraction | None) -> Problem:
    return changed(problem, limits=problem.limits.model_copy(update={name: value}))


def _open(problem: Problem, axis: str) -> Problem:
    return changed(problem, search=problem.search.model_copy(update={axis: None}))


def _without_rate(problem: Problem) -> Problem:
    work = problem.workload
    return changed(problem, workload=work.model_copy(update={"request_rate": None, "arrival": work.arrivals}))


def _without_rules(problem: Problem) -> Problem:
    """No engine's rules and reservations; the share of memory in use stays."""
    return changed(_with(problem, "memory_utilization", problem.memory_utilization), engine_name="any")


def _without_memory(problem: Problem) -> Problem:
    device = problem.hardware.device.model_copy(update={"memory": _ENDLESS_BYTES, "exposed_memory": _ENDLESS_BYTES})
    return changed(problem, hardware=problem.hardware.model_copy(update={"device": device}))


def _limits(problem: Problem) -> dict[str, _Limit]:
    """All limits of a problem by name, in the order in which a conflict lists them."""
    own, work, found = problem.limits, problem.workload, dict[str, _Limit]()
    if own.memory_utilization is not None:
        found["memory_utilization"] = _Limit(
            _json(own.memory_utilization), "ratio", lambda p: _with(p, "memory_utilization", Fraction(1))
        )
    for axis in Search.model_fields:
        values = getattr(problem.search, axis)
        if values is not None:
            found[f"search.{axis}"] = _Limit(list(values), None, partial(_open, axis=axis))
    if problem.engine.rules:
        found["engine"] = _Limit(problem.engine_name, None, _without_rules)
    if work.request_rate is not None:
        found["request_rate"] = _Limit(_json(work.request_rate), "requests_per_s", _without_rate)
    if own.ttft is not None and work.phase != "decode":
        found["ttft"] = _Limit(_json(own.ttft), "s", lambda p: _with(p, "ttft", None))
    if own.tpot is not None and work.phase != "prefill":
        found["tpot"] = _Limit(_json(own.tpot), "s", lambda p: _with(p, "tpot", None))
    if own.fabric_bandwidth is not None:
        found["fabric_bandwidth"] = _Limit(
            own.fabric_bandwidth, "bytes_per_s", lambda p: _with(p, "fabric_bandwidth", None)
        )
    found["memory"] = _Limit(problem.capacity_bytes, "bytes", _without_memory)
    most = max(_MOST_DEVICES, 16 * problem.devices)
    found["devices"] = _Limit(problem.devices, "devices", lambda p: changed(p, devices=most))
    return found

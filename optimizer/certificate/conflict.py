"""The conflict of an infeasible result: its limits alone let nothing fit, and without any one of them something does.

A limit is left out in the one way that its row says; the checker proves each of these problems by itself.
"""

from __future__ import annotations

from optimizer.certificate.meshes import lattice
from optimizer.certificate.optimality import prove
from optimizer.certificate.reading import keys
from optimizer.certificate.verdict import Check, Rejected, brief, equal
from optimizer.domain.lattice import axes
from optimizer.domain.limit_table import limits_of, told
from optimizer.domain.problem import Problem
from optimizer.figures.bounds import asks_too_soon


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
    limits, members = {limit.name: limit for limit in limits_of(problem)}, []
    for number, entry in enumerate(stated):
        item = f"conflict[{number}]"
        keys(item, entry, frozenset({"limit", "value", "unit"}))
        name = entry["limit"]
        if not isinstance(name, str) or name not in limits or name in members:
            raise Rejected(f"{item}.limit", f"{brief(name)} is not a limit of the problem, or is listed before")
        equal(item, entry, {"limit": name, "value": told(limits[name].of(problem)), "unit": limits[name].unit})
        members.append(name)
    if members != [name for name in limits if name in members]:
        raise Rejected("conflict", "limits in another order")
    reduced = problem
    for name, limit in limits.items():
        if name not in members:
            reduced = limit.drop(reduced)
    if _fits(reduced):
        raise Rejected("conflict", f"{', '.join(members)} can be kept together where nothing else is asked")
    for number, name in enumerate(members):
        if not _fits(limits[name].drop(reduced)):
            raise Rejected(f"conflict[{number}]", f"{name} is not needed: the others conflict without it")
    check.checked.append("conflict: nothing keeps these limits together, something keeps all but any one of them")


def _fits(problem: Problem) -> bool:
    if asks_too_soon(problem):
        return False
    easiest = problem.model_copy(update={"objective": "throughput_per_device"})
    return prove(easiest, lattice(easiest, axes(easiest)), None).counterexample is not None

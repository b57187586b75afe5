"""(search) Every axis that the problem restricts has one of the values that it lists."""

from __future__ import annotations

from optimizer.declarative.statement import Family, Statement
from optimizer.domain.problem import Problem

_OWN = frozenset({"tp", "cp", "pp", "etp", "ep", "batch"})
"""Restrictions on a variable alone; `prefill_chunk` lists the chunks that there are."""


class Search(Family):
    """The problem's own restrictions."""

    @classmethod
    def allows(cls, problem: Problem, axis: str, value: int) -> bool:
        """Whether a value is among those listed."""
        if axis == "overlap":
            asked = problem.search.overlap
            return asked is None or ("two_batch" if value else "none") in asked
        listed = getattr(problem.search, axis) if axis in _OWN else None
        return listed is None or value in listed

    def post(self, own: Statement) -> None:
        """Ranks and copies over all replicas, and devices in all."""
        asked, model = own.problem.search, own.model
        for listed, degree in ((asked.dp, own.dp), (asked.edp, own.edp)):
            if listed is None:
                continue
            if degree is own.edp and own.problem.model.moe is None:
                # a dense model has one expert mesh of one device
                model.add(own.replicas <= (own.problem.devices if 1 in listed else 0))
                continue
            total = own.up_to(own.problem.devices, "over all replicas")
            model.add_multiplication_equality(total, [degree, own.replicas])
            model.add_linear_expression_in_domain(total, own.domain_of(listed))
        if asked.devices is not None:
            model.add_linear_expression_in_domain(own.devices, own.domain_of(asked.devices))

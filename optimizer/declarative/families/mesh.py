"""(mesh) tp·cp·dp = etp·ep·edp devices a stage; a replica is the least set of them that both meshes close.

Least: dp and edp have no common factor, or the replica would be several. Without experts etp = ep = 1.
"""

from __future__ import annotations

from math import gcd

from optimizer.declarative.statement import Family, Statement
from optimizer.domain.problem import Problem


class Mesh(Family):
    """Two meshes over the devices of one stage."""

    @classmethod
    def allows(cls, problem: Problem, axis: str, value: int) -> bool:
        """No expert mesh without experts."""
        return axis not in {"etp", "ep"} or value == 1 or problem.model.moe is not None

    def post(self, own: Statement) -> None:
        """Products, and no common factor."""
        model, n = own.model, own.problem.devices
        for degrees in ((own.tp, own.cp, own.dp), (own.etp, own.ep, own.edp)):
            inner = own.up_to(n, "ranks")
            model.add_multiplication_equality(inner, degrees[:2])
            model.add_multiplication_equality(own.stage_devices, [inner, degrees[2]])
        ranks = range(1, n + 1)
        apart = [(a, b) for a in ranks for b in ranks if gcd(a, b) == 1]
        model.add_allowed_assignments([own.dp, own.edp], apart)

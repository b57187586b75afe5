"""(devices) Replicas of stage·pp devices lie on the devices there are.

None straddles a domain of a link tier that could hold it whole; a larger one takes whole domains of the tier below.
"""

from __future__ import annotations

from optimizer.declarative.statement import Family, Statement
from optimizer.domain.problem import Problem


def laid_down(problem: Problem, size: int) -> int:
    """How many replicas of a size fit, laid down one by one, each at the first place that is allowed."""
    tiers = [tier.size for tier in problem.hardware.tiers if tier.size is not None]
    below = max((domain for domain in tiers if domain < size), default=1)
    above = min((domain for domain in tiers if domain >= size), default=None)
    start = count = 0
    while True:
        start = -(-start // below) * below
        if above is not None and start // above != (start + size - 1) // above:
            start = (start // above + 1) * above
        if start + size > problem.devices:
            return count
        start, count = start + size, count + 1


class Devices(Family):
    """Replicas on devices."""

    def post(self, own: Statement) -> None:
        """Devices of a replica and in all, and how many replicas there is room for."""
        model, n = own.model, own.problem.devices
        model.add_multiplication_equality(own.replica_devices, [own.stage_devices, own.pp])
        model.add_multiplication_equality(own.devices, [own.replica_devices, own.replicas])
        room = own.up_to(n, "room", least=0)
        model.add_element(own.replica_devices, [0, *(laid_down(own.problem, size) for size in range(1, n + 1))], room)
        model.add(own.replicas <= room)

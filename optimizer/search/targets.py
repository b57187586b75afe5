"""The one question that pruning asks: whether degrees can do at least this well.

Every objective becomes a limit: better throughput a larger `requests`, better TPOT a smaller `cycle`, fewer devices
both a larger `requests` and fewer `devices`. A mesh pair is dismissed when no micro-batch meets all limits at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from optimizer.domain.problem import Problem
from optimizer.errors import InternalError
from optimizer.figures.objective import fewest_devices
from optimizer.figures.serving import tokens_of_request


@dataclass(frozen=True)
class Target:
    """Limits to be met at once.

    Attributes
    ----------
    requests
        Requests/s of each device, at least; 0: any.
    total_requests
        Requests/s of the whole layout, at least; 0: any.
    cycle
        Seconds of a decode cycle (TPOT × tokens gained), at most.
    first
        Seconds to the first token, at most.
    memory
        Bytes of the fullest device, at most.
    devices
        Devices in all, at most.
    """

    requests: float
    total_requests: float
    cycle: float
    first: float
    memory: float
    devices: int


def target(problem: Problem, incumbent: Fraction | None) -> Target:
    """Limits of the problem and, where there is an incumbent, of matching its objective value."""
    work, limits = problem.workload, problem.limits
    infinity = float("inf")
    gain = work.tokens_per_step
    cycle = float(limits.tpot * gain) if limits.tpot is not None and work.phase != "prefill" else infinity
    first = float(limits.ttft) if limits.ttft is not None and work.phase != "decode" else infinity
    memory, devices = float(problem.capacity_bytes), problem.devices
    requests, total = 0.0, float(work.request_rate or 0)
    if incumbent is not None:
        tokens = tokens_of_request(work)
        name = problem.objective
        if name == "throughput_per_device":
            requests = float(incumbent / tokens)
        elif name == "throughput":
            total = max(total, float(incumbent / tokens))
        elif fewest_devices(problem):
            devices = int(incumbent) if name == "devices" else _devices_of_cost(problem, incumbent)
        elif name == "cost":
            price = problem.hardware.device.price
            if price is None:
                raise InternalError("a cost needs a price")
            requests = float(Fraction(price) * 10**6 / 3600 / incumbent / tokens)
        elif name == "tpot":
            cycle = min(cycle, float(incumbent * gain))
        elif name == "ttft":
            first = min(first, float(incumbent))
        else:
            memory = float(problem.capacity_bytes - incumbent)
    return Target(requests, total, cycle, first, memory, devices)


def _devices_of_cost(problem: Problem, incumbent: Fraction) -> int:
    price, rate = problem.hardware.device.price, problem.workload.request_rate
    if price is None or rate is None:
        raise InternalError("a cost at a rate needs a price and a rate")
    return int(incumbent * 3600 * rate * tokens_of_request(problem.workload) / (Fraction(price) * 10**6))

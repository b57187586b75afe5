"""The bound that a search leaves behind, exact and in the objective's unit."""

from __future__ import annotations

from fractions import Fraction

from optimizer.domain.problem import Problem
from optimizer.figures.objective import better, fewest_devices
from optimizer.figures.serving import tokens_of_request
from optimizer.search.pricing import MARGIN
from optimizer.search.search import Found

_LOOSER = Fraction(4 * MARGIN)
"""How much a bound in floats is loosened, relatively, before it is claimed."""


def proved_bound(problem: Problem, found: Found) -> Fraction | None:
    """What no layout can beat: the best value of a complete search, else of what is left and what was found.

    None where there is no layout to bound.
    """
    if not found.best:
        return None
    value = found.best[0].value
    if found.complete or found.bound is None:
        return value if found.complete else None
    left = _in_its_unit(problem, Fraction(found.bound))
    return left if better(problem, left, value) else value


def _in_its_unit(problem: Problem, raw: Fraction) -> Fraction:
    """A bound of `Search`, where larger is better, in requests/s, devices, seconds or bytes."""
    work, name = problem.workload, problem.objective
    price = Fraction(problem.hardware.device.price or 0) / 3600 * 10**6
    tokens = tokens_of_request(work)
    if fewest_devices(problem):
        devices = -raw
        return devices if name == "devices" else price * devices / (Fraction(work.request_rate or 1) * tokens)
    raw += abs(raw) * _LOOSER
    if name in ("throughput_per_device", "throughput"):
        return raw * tokens
    if name == "cost":
        return price / (raw * tokens)
    if name == "tpot":
        return -raw / work.tokens_per_step
    return -raw if name == "ttft" else problem.capacity_bytes + raw

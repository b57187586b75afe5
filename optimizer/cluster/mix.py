"""Several kinds of layout side by side for one problem, where they serve more than the best of one kind."""

from __future__ import annotations

import time
from fractions import Fraction

from optimizer.cluster import FleetResult, solve_cluster
from optimizer.domain.mixture import as_cluster
from optimizer.domain.problem import Problem
from optimizer.search.search import Search


def mix(problem: Problem, alone: Fraction | None, *, time_limit_s: float | None = None) -> FleetResult | None:
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
    found = solve_cluster(cluster, time_limit_s=None if deadline is None else max(0.0, deadline - time.monotonic()))
    return found if found.value is not None and found.value > alone else None

"""(pipeline) stage cuts as variables: contiguous, non-empty, covering every layer, none slower or fuller than stated.

Stage ``s`` holds layers ``stop[s−1] … stop[s] − 1``; its cost is ``prefix[stop[s]] − prefix[stop[s−1]]`` plus what the
first, the last and every stage add.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ortools.sat.python import cp_model

from optimizer.figures.partition import Track


def post_cuts(
    model: cp_model.CpModel, tracks: Sequence[tuple[Track, int]], stages: int, name: str
) -> list[cp_model.IntVar]:
    """Add cut variables and keep every track's limit on every stage.

    Parameters
    ----------
    tracks
        A cost of stages and the divisor that brings it into 64 bits; costs are rounded down and limits up.

    Returns
    -------
    list
        The stop of each stage.
    """
    layers = len(tracks[0][0].prefix) - 1
    stops = [model.new_int_var(s + 1, layers - (stages - 1 - s), f"{name}_stop_{s}") for s in range(stages)]
    model.add(stops[-1] == layers)
    for left, right in pairwise(stops):
        model.add(left < right)
    for number, (track, divisor) in enumerate(tracks):
        if track.limit is None:
            continue
        prefix = [p // divisor for p in track.prefix]
        limit = -(-track.limit // divisor) + 2
        ends = []
        for s, stop in enumerate(stops):
            end = model.new_int_var(0, prefix[-1], f"{name}_cost_{number}_{s}")
            model.add_element(stop, prefix, end)
            ends.append(end)
        for s, end in enumerate(ends):
            extra = track.every + (track.first if s == 0 else 0) + (track.last if s == stages - 1 else 0)
            start = ends[s - 1] if s else 0
            model.add(end - start + extra // divisor <= limit)
    return stops

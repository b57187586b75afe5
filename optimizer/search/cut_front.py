"""Every non-dominated way to cut a pipeline of one batch: largest stages of two or three tracks at once.

The ε-constraint method (Haimes et al. 1971) over `best_cuts`: costs are integers, so that lowering a limit below what
was found by 1 skips nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from optimizer.figures.partition import Track, best_cuts, largest_sum, some_cuts

Cuts = tuple[int, ...]


def cut_front(
    tracks: Sequence[Track], wanted: int, stages: int, worth: Callable[[tuple[int, ...]], bool] = lambda _: True
) -> list[tuple[tuple[int, ...], Cuts]]:
    """Non-dominated vectors of the first `wanted` tracks (one to three) within every track's limit, and cuts of each.

    Parameters
    ----------
    worth
        Whether anyone asks for vectors that begin so, or with no less; others may be missing.

    Returns
    -------
    list
        Vectors of distinct values, ascending by the first track; empty where no cuts keep the limits.
    """
    if wanted == 1:
        best = best_cuts(list(tracks), stages)
        if best is None:
            return []
        least = (largest_sum(tracks[0], best[0]),)
        return [(least, best[0])] if worth(least) else []
    points: dict[tuple[int, ...], Cuts] = {}
    limited = list(tracks)
    last = wanted - 1
    while some_cuts(limited, stages):
        level = cut_front(limited, last, stages, worth)
        if not level:
            break
        reached = []
        for vector, _ in level:
            tight = [t.limited(v) for t, v in zip(limited[:last], vector, strict=True)]
            best = best_cuts([limited[last], *tight, *limited[wanted:]], stages)
            assert best is not None  # noqa: S101 - the cuts of `vector` keep these limits
            full = tuple(largest_sum(t, best[0]) for t in limited[:wanted])
            if worth(full):
                points.setdefault(full, best[0])
            reached.append(full[last])
        limited[last] = limited[last].limited(max(reached) - 1)
    vectors = sorted(points)
    return [
        (v, points[v])
        for v in vectors
        if not any(o != v and all(a <= b for a, b in zip(o, v, strict=True)) for o in vectors)
    ]

"""Pipeline stage cuts: the contiguous partition with the shortest slowest stage, exactly.

Greedy probing is exact for contiguous partitions with additive costs (Iqbal 1991; Pınar & Aykanat 2004): a bound is
feasible iff filling each stage as far as it goes uses no more stages than there are. Where a bound fails, the optimum
is at least the least stage sum that the probe refused, so raising the bound to it never skips the optimum.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem


def even_cuts(layers: int, stages: int) -> tuple[int, ...]:
    """Layers divided evenly; what is left over goes to the stages before the last (vLLM's rule)."""
    each, extra = divmod(layers, stages)
    cuts = [each] * stages
    for i in range(extra):
        cuts[(stages - 2 - i) % stages] += 1
    return tuple(cuts)


def cuts_of(problem: Problem, layout: Layout) -> tuple[int, ...]:
    """Layer counts of a layout's stages, even ones where it names none."""
    if layout.stages is None:
        return even_cuts(problem.model.layer_count, layout.pp)
    return tuple(stage.layers for stage in layout.stages)


@dataclass(frozen=True, slots=True)
class Track:
    """One additive cost of stages.

    Attributes
    ----------
    prefix
        Cost of the first 0, 1, …, L layers.
    first, last, every
        What the first, the last and every stage add.
    limit
        Most that a stage may cost; None: unlimited.
    """

    prefix: Sequence[int]
    first: int
    last: int
    every: int
    limit: int | None

    def limited(self, limit: int) -> Track:
        """The same where a stage may cost no more than a limit either."""
        return replace(self, limit=limit if self.limit is None else min(limit, self.limit))

    def stage(self, start: int, stop: int, layers: int) -> int:
        """Cost of the stage that holds layers ``start..stop-1`` of `layers`."""
        return (
            self.prefix[stop] - self.prefix[start] + self.every
            + (self.first if start == 0 else 0) + (self.last if stop == layers else 0)
        )  # fmt: skip

    def reach(self, start: int, limit: int, layers: int) -> int:
        """Largest stop such that the stage from `start` costs at most `limit` (`start` itself where none does)."""
        room = limit - self.every - (self.first if start == 0 else 0)
        if room < 0:
            return start
        stop = bisect_right(self.prefix, self.prefix[start] + room, lo=start) - 1
        if stop >= layers and self.stage(start, layers, layers) > limit:
            stop = layers - 1
        return min(stop, layers)

    def back(self, stop: int, limit: int, layers: int) -> int:
        """Least start such that the stage up to `stop` costs at most `limit`, were it not the first stage."""
        least = self.prefix[stop] + self.every + (self.last if stop == layers else 0) - limit
        return bisect_left(self.prefix, least, hi=stop)


def some_cuts(tracks: Sequence[Track], stages: int) -> bool:
    """Whether any cuts keep every track's limit."""
    layers = len(tracks[0].prefix) - 1
    if stages > layers:
        return False
    at = 0
    for _ in range(stages):
        at = min((t.reach(at, t.limit, layers) for t in tracks if t.limit is not None), default=layers)
        if at == layers:
            return True
    return False


def probe(tracks: Sequence[Track], bound: int, stages: int, start: int = 0) -> tuple[list[int] | None, int | None]:
    """Fill stages from `start` with the first track bounded by `bound`, the others by their limits.

    Returns
    -------
    tuple
        Stops of the stages where it fits, and where not the least refused cost of the first track (None where no
        larger bound would help).
    """
    layers = len(tracks[0].prefix) - 1
    stops, at, refused = [], start, None
    for _ in range(stages):
        if at == layers:
            break
        allowed = min((t.reach(at, t.limit, layers) for t in tracks[1:] if t.limit is not None), default=layers)
        reached = tracks[0].reach(at, bound, layers)
        stop = min(reached, allowed)
        if reached < allowed:
            # the next stop that the other tracks allow; the last layer counts with what the last stage adds
            cost = tracks[0].stage(at, reached + 1, layers)
            refused = cost if refused is None else min(refused, cost)
        if stop == at:
            return None, refused
        stops.append(stop)
        at = stop
    return (stops, None) if at == layers else (None, refused)


def best_cuts(tracks: Sequence[Track], stages: int) -> tuple[tuple[int, ...], int] | None:
    """Layer counts that minimise the largest stage cost of the first track within the other tracks' limits.

    Returns
    -------
    tuple or None
        The cuts and that cost; None where no cuts keep the limits. Among optimal cuts those that fill no stage beyond
        an even share of the layers left.
    """
    first = tracks[0]
    layers = len(first.prefix) - 1
    if stages > layers:
        return None
    total = first.prefix[layers] + first.first + first.last
    bound = max(-(-total // stages) + first.every, *(first.stage(i, i + 1, layers) for i in range(layers)))
    if first.limit is not None and bound > first.limit:
        return None
    while True:
        stops, refused = probe(tracks, bound, stages)
        if stops is not None:
            return _spread(tracks, bound, stages, layers), bound
        if refused is None or refused <= bound or (first.limit is not None and refused > first.limit):
            return None
        bound = refused


def _spread(tracks: Sequence[Track], bound: int, stages: int, layers: int) -> tuple[int, ...]:
    """Feasible cuts at `bound` with stages as even as the limits allow; every stage holds a layer."""
    # where the last 1, 2, … stages may begin at the earliest
    earliest = [layers]
    for _ in range(stages - 1):
        stop = earliest[-1]
        starts = [t.back(stop, t.limit, layers) for t in tracks[1:] if t.limit is not None]
        earliest.append(max([tracks[0].back(stop, bound, layers), *starts]) if stop else 0)
    at, cuts = 0, []
    for stages_left in range(stages, 1, -1):
        furthest = min(
            tracks[0].reach(at, bound, layers),
            *(t.reach(at, t.limit, layers) for t in tracks[1:] if t.limit is not None),
            layers - (stages_left - 1),
        )
        stop = max(min(furthest, at + -(-(layers - at) // stages_left)), earliest[stages_left - 1])
        cuts.append(stop - at)
        at = stop
    cuts.append(layers - at)
    return tuple(cuts)


@dataclass(frozen=True)
class Tracks:
    """What stages are cut by: mean time A × `scale`, bytes, and k·M + w·A × its own scale of each TTFT that is limited.

    `cycle` is the mean time G that a decoding sequence meets × `cycle_scale`, with the limit on TPOT.

    `firsts` has the mean TTFT and percentiles (none in phase decode), `aim` is the one that the objective is about.
    `pool` are bytes of weights and cache where a share of memory is stated for these alone.
    """

    mean: Track
    memory: Track
    scale: int
    firsts: dict[int | None, tuple[Track, int]]
    aim: int | None
    cycle: Track
    cycle_scale: int
    pool: Track | None = None

    @property
    def first(self) -> Track | None:
        """The track of the objective's TTFT; None in phase decode."""
        return self.firsts[self.aim][0] if self.firsts else None

    def slowest_first(self, share: int | None, cuts: tuple[int, ...]) -> Fraction:
        """The greatest k·M + w·A of the mean TTFT or of a percentile."""
        track, scale = self.firsts[share]
        return Fraction(largest_sum(track, cuts), scale)

    def all(self) -> list[Track]:
        """Those that there are."""
        pool = [] if self.pool is None else [self.pool]
        return [self.mean, self.cycle, *(track for track, _ in self.firsts.values()), self.memory, *pool]


def combined(one: Track, often: int, other: Track, seldom: int) -> Track:
    """A sum of two times, each so often; without a limit."""
    return Track(
        [often * a + seldom * b for a, b in zip(one.prefix, other.prefix, strict=True)],
        often * one.first + seldom * other.first, often * one.last + seldom * other.last,
        often * one.every + seldom * other.every, None,
    )  # fmt: skip


def needed(tracks: Tracks, need: Fraction | None) -> Tracks:
    """The mean time limited to `need` ticks."""
    return tracks if need is None else replace(tracks, mean=tracks.mean.limited(int(need * tracks.scale)))


def largest_sum(track: Track, cuts: tuple[int, ...]) -> int:
    """The greatest sum of a stage."""
    layers, at, most = len(track.prefix) - 1, 0, 0
    for count in cuts:
        most = max(most, track.stage(at, at + count, layers))
        at += count
    return most

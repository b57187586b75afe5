"""What the stages of a pipeline are cut by, several sums of layers at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from optimizer.figures.partition import Track


@dataclass(frozen=True)
class Tracks:
    """What stages are cut by: mean time A × `scale`, bytes, and k·M + w·A × its own scale of each TTFT that is limited.

    `firsts` has the mean TTFT and percentiles (none in phase decode), `aim` is the one that the objective is about.
    """

    mean: Track
    memory: Track
    scale: int
    firsts: dict[int | None, tuple[Track, int]]
    aim: int | None

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
        return [self.mean, *(track for track, _ in self.firsts.values()), self.memory]


def combined(one: Track, often: int, other: Track, seldom: int) -> Track:
    """A sum of two times, each so often; without a limit."""
    return Track(
        [often * a + seldom * b for a, b in zip(one.prefix, other.prefix, strict=True)],
        often * one.first + seldom * other.first, often * one.last + seldom * other.last,
        often * one.every + seldom * other.every, None,
    )  # fmt: skip


def needed(tracks: Tracks, need: Fraction | None) -> Tracks:
    """The mean time limited to `need` ticks."""
    if need is None:
        return tracks
    limit, mean = int(need * tracks.scale), tracks.mean
    return replace(tracks, mean=replace(mean, limit=limit if mean.limit is None else min(limit, mean.limit)))


def largest_sum(track: Track, cuts: tuple[int, ...]) -> int:
    """The greatest sum of a stage."""
    layers, at, most = len(track.prefix) - 1, 0, 0
    for count in cuts:
        most = max(most, track.stage(at, at + count, layers))
        at += count
    return most

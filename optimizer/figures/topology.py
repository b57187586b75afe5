"""Where the ranks of a group sit: link tiers spanned, and how many replicas fit.

Ranks are numbered tp fastest, then cp, dp, pp slowest (expert mesh: etp, ep, edp); devices consecutively; a replica
starts on a boundary of the innermost tier that cannot hold two of it whole (see `replicas_that_fit`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Level:
    """`fanout` members exchange over tier `tier`, each standing for `inner` devices below."""

    tier: int
    fanout: int
    inner: int


@lru_cache(maxsize=65536)
def levels(sizes: tuple[int | None, ...], members: int, stride: int, replica: int) -> tuple[Level, ...]:
    """Levels of a hierarchical collective over `members` ranks `stride` apart in a replica of `replica` devices.

    A tier serves a group whole when its domain holds the whole replica or is a multiple of the group's block; it
    serves a part when the block is a multiple of the domain; a block that straddles one goes over the next tier flat.
    """
    if members == 1:
        return ()
    block = members * stride
    crossed: list[Level] = []
    inner = 1
    for tier, size in enumerate(sizes):
        if size is None or replica <= size or (block <= size and size % block == 0):
            inside = members
        elif block > size and block % size == 0 and size % stride == 0:
            inside = size // stride
        else:
            inside = inner
        if inside > inner and inside % inner == 0:
            crossed.append(Level(tier, inside // inner, inner))
            inner = inside
        if inner == members:
            break
    return tuple(crossed)


def outermost_tier(sizes: tuple[int | None, ...], replica: int) -> int:
    """The innermost tier whose domain holds a whole replica: point-to-point between stages crosses it."""
    return next(i for i, size in enumerate(sizes) if size is None or replica <= size)


def replicas_that_fit(sizes: tuple[int | None, ...], devices: int, replica: int) -> int:
    """Replicas of `replica` devices on `devices` consecutive ones, none straddling a domain it need not straddle.

    A replica that fits a domain stays inside one; a larger one takes whole domains of the tier below, the last of them
    in part. Devices left over at the end of a domain are idle.
    """
    unit = 1
    for size in sizes:
        if size is None or replica <= size:
            occupied = -(-replica // unit) * unit
            if size is None or size >= devices:
                return (devices - replica) // occupied + 1 if devices >= replica else 0
            remainder = devices % size
            whole = devices // size * ((size - replica) // occupied + 1)
            return whole + ((remainder - replica) // occupied + 1 if remainder >= replica else 0)
        unit = size
    message = "the outermost tier has a size"
    raise AssertionError(message)

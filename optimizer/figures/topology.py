"""Where the ranks of a group sit: link tiers spanned, and how many replicas fit.

Ranks are numbered tp fastest, then cp, dp (expert mesh: etp, ep, edp), and pp where the engine numbers it: slowest, or
before dp, so that the stages of a data-parallel rank stand side by side (`Engine.order`). Devices are numbered
consecutively; a replica starts on a boundary of the innermost tier that cannot hold two of it whole (see
`replicas_that_fit`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd, prod

from optimizer.domain.shape import Shape

Group = tuple[tuple[int, int], ...]
"""Ranks that exchange: so many so far apart, and sets of them so many so far apart, innermost first."""


@dataclass(frozen=True, slots=True)
class Level:
    """`fanout` members exchange over tier `tier`, each standing for `inner` devices below."""

    tier: int
    fanout: int
    inner: int


def expert_group(shape: Shape, beside: int) -> Group:
    """Ranks of one copy of the experts; `beside` devices of a stage stand side by side before those of the next."""
    members = shape.etp * shape.ep
    near = gcd(members, beside) if shape.pp > 1 else members
    return (near, 1), (members // near, beside * shape.pp)


def _inside(size: int, group: Group) -> int:
    """Members of a group in every domain of a size that holds any; 1 where some hold more than others."""
    inside = 1
    for members, stride in group:
        block = members * stride
        if size % block == 0:
            inside *= members
        elif stride >= size:
            return inside
        else:
            return inside * (size // stride) if block % size == 0 and size % stride == 0 else 1
    return inside


@lru_cache(maxsize=65536)
def levels(sizes: tuple[int | None, ...], group: Group, replica: int) -> tuple[Level, ...]:
    """Levels of a hierarchical collective over a group in a replica of `replica` devices.

    A tier serves a group whole when its domain holds the whole replica or is a multiple of the group's block; it
    serves a part when the block is a multiple of the domain; a block that straddles one goes over the next tier flat.
    """
    members = prod(count for count, _ in group)
    if members == 1:
        return ()
    crossed: list[Level] = []
    inner = 1
    for tier, size in enumerate(sizes):
        inside = members if size is None or replica <= size else _inside(size, group)
        if inside > inner and inside % inner == 0:
            crossed.append(Level(tier, inside // inner, inner))
            inner = inside
        if inner == members:
            break
    return tuple(crossed)


def outermost_tier(sizes: tuple[int | None, ...], replica: int, block: int = 0) -> int:
    """The innermost tier whose domain holds a whole replica, or each of its blocks of so many devices (0: it is one).

    Point-to-point between stages, which share a block, crosses it.
    """
    return next(i for i, n in enumerate(sizes) if n is None or replica <= n or (block and n % block == 0))


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

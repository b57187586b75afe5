"""Limits and restrictions of the search."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from optimizer.domain.base import Spec
from optimizer.domain.quantity import Bytes, BytesPerSecond, Ratio, Seconds


class Limits(Spec):
    """Each optional; each a named constraint.

    `fabric_bandwidth` is the most a device may send over the outermost tier: transfers are priced at no more.
    """

    ttft: Seconds | None = None
    tpot: Seconds | None = None
    memory_utilization: Ratio | None = None
    fabric_bandwidth: BytesPerSecond | None = None
    step_time: Seconds | None = None
    reserve: Bytes | None = None
    kv_cache_memory: Bytes | None = None


def as_tuple(value: object) -> object:
    """A list or a lone value as a tuple; strict models take no lists for tuples."""
    return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, int | str) else value


AsTuple = BeforeValidator(as_tuple)

Degrees = Annotated[tuple[Annotated[int, Field(ge=1, le=10**7)], ...], AsTuple, Field(min_length=1)]


class Search(Spec):
    """Restrictions: a value or a list for any axis or option."""

    tp: Degrees | None = None
    cp: Degrees | None = None
    dp: Degrees | None = None
    pp: Degrees | None = None
    etp: Degrees | None = None
    ep: Degrees | None = None
    edp: Degrees | None = None
    batch: Degrees | None = None
    prefill_chunk: Degrees | None = None
    devices: Degrees | None = None

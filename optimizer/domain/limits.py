"""Limits and restrictions of the search."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from optimizer.domain.base import FieldError, Grown, Spec
from optimizer.domain.margins import Margin, quantile
from optimizer.domain.quantity import Bytes, BytesPerSecond, Ratio, Seconds


class Limits(Grown):
    """Each optional; each a named constraint.

    `fabric_bandwidth` is the most a device may send over the outermost tier: transfers are priced at no more.
    `confidence` is the share of measured runs of the problem's class that have to keep ttft and tpot.
    """

    later = ("confidence",)

    ttft: Seconds | None = None
    tpot: Seconds | None = None
    memory_utilization: Ratio | None = None
    fabric_bandwidth: BytesPerSecond | None = None
    step_time: Seconds | None = None
    reserve: Bytes | None = None
    kv_cache_memory: Bytes | None = None
    confidence: Ratio | None = Field(default=None, description="share of measured runs that keep ttft and tpot")

    def kept(self, margin: Margin) -> Limits:
        """What predicted times have to keep for measured ones to keep these limits at the confidence.

        Raises
        ------
        FieldError
            A confidence beyond what the runs tell.
        """
        if self.confidence is None:
            return self
        try:
            first, each = (quantile(own, float(self.confidence)) for own in (margin.ttft_s, margin.tpot_s))
        except ValueError as beyond:
            raise FieldError(str(beyond), ("limits", "confidence")) from None
        return self.model_copy(
            update={
                "ttft": None if self.ttft is None else self.ttft / first,
                "tpot": None if self.tpot is None else self.tpot / each,
            }
        )


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

"""Limits and restrictions of the search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from optimizer.domain.base import FieldError, Grown, Spec
from optimizer.domain.margins import Margin, quantile
from optimizer.domain.quantity import LONGEST_SECONDS, Bytes, BytesPerSecond, Ratio, Seconds
from optimizer.units import Dimension, QuantityError, parse_quantity

PERCENTILES = (50, 90, 99)
"""Of requests: what TTFT and TPOT are told and limited at, beside their mean."""

LATENCIES = ("ttft", "tpot")
"""Limits of the mean of requests, or of percentiles of them: ``ttft: {mean: 1 s, p99: 2 s}``."""


def _percentiles(schema: dict[str, Any]) -> None:
    """Besides a quantity, one for each percentile of requests."""
    quantity = schema["anyOf"][0]
    names = ("mean", *(f"p{share}" for share in PERCENTILES))
    object_ = {"type": "object", "properties": dict.fromkeys(names, quantity), "additionalProperties": False}
    schema["anyOf"] = [quantity, object_, *schema["anyOf"][1:]]


class Limits(Grown):
    """Each optional; each a named constraint.

    `fabric_bandwidth` is the most a device may send over the outermost tier: transfers are priced at no more.
    `ttft` and `tpot` limit the mean of requests; `ttft_p99` and the like, written ``ttft: {p99: 2 s}``, what so many
    percent of them have at most. `confidence` is the share of measured runs of the problem's class that have to keep
    them all.
    """

    later = ("confidence", *(f"{name}_p{share}" for name in LATENCIES for share in PERCENTILES))

    ttft: Seconds | None = Field(default=None, json_schema_extra=_percentiles)
    tpot: Seconds | None = Field(default=None, json_schema_extra=_percentiles)
    ttft_p50: Seconds | None = None
    ttft_p90: Seconds | None = None
    ttft_p99: Seconds | None = None
    tpot_p50: Seconds | None = None
    tpot_p90: Seconds | None = None
    tpot_p99: Seconds | None = None
    memory_utilization: Ratio | None = None
    fabric_bandwidth: BytesPerSecond | None = None
    step_time: Seconds | None = None
    reserve: Bytes | None = None
    kv_cache_memory: Bytes | None = None
    confidence: Ratio | None = Field(default=None, description="share of measured runs that keep ttft and tpot")

    @model_validator(mode="before")
    @classmethod
    def _by_percentile(cls, written: object) -> object:
        if not isinstance(written, Mapping):
            return written
        found = dict(written)
        for name in LATENCIES:
            given = found.get(name)
            if not isinstance(given, Mapping):
                continue
            del found[name]
            for key, value in given.items():
                field = name if key == "mean" else f"{name}_{key}"
                if field not in cls.model_fields:
                    known = ", ".join(("mean", *(f"p{share}" for share in PERCENTILES)))
                    raise FieldError(f"unknown percentile {str(key)[:20]!r}; {name} is limited at {known}", (name, key))
                if field in found:
                    raise FieldError(f"is limited by {field} as well", (name, key))
                try:
                    found[field] = parse_quantity(value, Dimension.SECONDS, largest=LONGEST_SECONDS)
                except QuantityError as wrong:
                    raise FieldError(str(wrong), (name, key)) from None
        return found

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
        factors = {"ttft": first, "tpot": each}
        stated = {name: getattr(self, name) for name in type(self).model_fields if name[:4] in factors}
        return self.model_copy(
            update={name: None if own is None else own / factors[name[:4]] for name, own in stated.items()}
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

"""Limits and restrictions of the search."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

from optimizer.domain.base import FieldError, Grown
from optimizer.domain.margins import DEFAULT_CONFIDENCE, SHARES
from optimizer.domain.quantity import LONGEST_SECONDS, Bytes, BytesPerSecond, Ratio, Seconds
from optimizer.domain.shape import Overlap
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


_NONE = "none"


def _unless_none(written: object) -> object:
    return None if written == _NONE else written


def _or_none(schema: dict[str, Any]) -> None:
    default = f"{float(DEFAULT_CONFIDENCE):.0%}"
    schema["description"] = f"share of measured runs that keep ttft and tpot; {default} where left out"
    schema["anyOf"] = [*schema["anyOf"], {"const": _NONE}]


class Limits(Grown):
    """Each optional; each a named constraint.

    `fabric_bandwidth` is the most a device may send over the outermost tier: transfers are priced at no more.
    `ttft` and `tpot` limit the mean of requests; `ttft_p99` and the like, written ``ttft: {p99: 2 s}``, what so many
    percent of them have at most. Each is as it was asked; `confidence` is the share of measured runs of the problem's
    class that have to keep it. With None, which is written ``none``, the prediction itself keeps them.
    """

    later = (
        "confidence", "mem_fraction_static", "window_share",
        *(f"{name}_p{share}" for name in LATENCIES for share in PERCENTILES),
    )  # fmt: skip

    ttft: Seconds | None = Field(default=None, json_schema_extra=_percentiles)
    tpot: Seconds | None = Field(default=None, json_schema_extra=_percentiles)
    ttft_p50: Seconds | None = None
    ttft_p90: Seconds | None = None
    ttft_p99: Seconds | None = None
    tpot_p50: Seconds | None = None
    tpot_p90: Seconds | None = None
    tpot_p99: Seconds | None = None
    memory_utilization: Ratio | None = None
    mem_fraction_static: Ratio | None = Field(
        default=None, gt=0, description="SGLang's share: of weights and cache alone, of what its context leaves"
    )
    fabric_bandwidth: BytesPerSecond | None = None
    step_time: Seconds | None = None
    reserve: Bytes | None = None
    kv_cache_memory: Bytes | None = None
    window_share: Ratio | None = Field(
        default=None,
        gt=0,
        description="tokens that layers with windows have room for, of those of the others (SGLang's "
        "swa_full_tokens_ratio; 1: as many, no pool of their own)",
    )
    confidence: Annotated[Ratio | None, BeforeValidator(_unless_none), Field(json_schema_extra=_or_none)] = None

    @model_validator(mode="before")
    @classmethod
    def _by_percentile(cls, written: object) -> object:
        if not isinstance(written, Mapping):
            return written
        flat = dict(written)
        for name in LATENCIES:
            percentiles = flat.get(name)
            if not isinstance(percentiles, Mapping):
                continue
            del flat[name]
            for key, value in percentiles.items():
                field = name if key == "mean" else f"{name}_{key}"
                if field not in cls.model_fields:
                    known = ", ".join(("mean", *(f"p{share}" for share in PERCENTILES)))
                    raise FieldError(f"unknown percentile {str(key)[:20]!r}; {name} is limited at {known}", (name, key))
                if field in flat:
                    raise FieldError(f"is limited by {field} as well", (name, key))
                try:
                    flat[field] = parse_quantity(value, Dimension.SECONDS, largest=LONGEST_SECONDS)
                except QuantityError as wrong:
                    raise FieldError(str(wrong), (name, key)) from None
        return flat

    @field_validator("confidence")
    @classmethod
    def _told_by_runs(cls, confidence: Fraction | None) -> Fraction | None:
        low, high = SHARES[0], SHARES[-1]
        if confidence is not None and not low <= float(confidence) <= high:
            raise ValueError(f"{float(confidence):.4g} is not between {low} and {high}, of which measured runs tell")
        return confidence

    @property
    def on_times(self) -> bool:
        """Whether any is on a time that runs measure."""
        return any(getattr(self, name) is not None for name in type(self).model_fields if name.startswith(LATENCIES))

    @property
    def on_firsts(self) -> dict[str, Fraction]:
        """Those on the time to the first token, its mean or a percentile, by name."""
        limits = {name: getattr(self, name) for name in type(self).model_fields if name.startswith("ttft")}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def by_default(self) -> Self:
        """The same at the default confidence, where times are limited and the file says nothing of one."""
        if "confidence" in self.model_fields_set or not self.on_times:
            return self
        return self.model_copy(update={"confidence": DEFAULT_CONFIDENCE})


def as_tuple(value: object) -> object:
    """A list or a lone value as a tuple; strict models take no lists for tuples."""
    return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, int | str) else value


class _AsTuple:
    """Reads a lone value as a list of one, and says so in the JSON Schema."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401
        return no_info_before_validator_function(as_tuple, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        forms = schema.get("anyOf", [schema])
        lone = [form["items"] for form in forms if {"integer", "string"} & {form.get("items", {}).get("type")}]
        return {"anyOf": [*lone, *forms]} if lone else schema


AsTuple = _AsTuple()

AllowedDegrees = Annotated[tuple[Annotated[int, Field(ge=1, le=10**7)], ...], Field(min_length=1), AsTuple]


class SearchLimits(Grown):
    """Restrictions: a value or a list for any axis or option."""

    later = ("overlap",)

    tp: AllowedDegrees | None = None
    cp: AllowedDegrees | None = None
    dp: AllowedDegrees | None = None
    pp: AllowedDegrees | None = None
    etp: AllowedDegrees | None = None
    ep: AllowedDegrees | None = None
    edp: AllowedDegrees | None = None
    batch: AllowedDegrees | None = None
    prefill_chunk: AllowedDegrees | None = None
    devices: AllowedDegrees | None = None
    overlap: Annotated[tuple[Overlap, ...], Field(min_length=1), AsTuple] | None = None

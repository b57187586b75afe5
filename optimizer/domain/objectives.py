"""What can be made best, a row each; every command, the search, the reference and the checker read the row.

A value is a line in one measure of a layout, or a quotient by it, so that to match or to beat a value is a limit on the
measure. Bounds, decisions and proofs know measures only, and hold for a new row without a change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from fractions import Fraction
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field

from optimizer.domain.base import FieldError
from optimizer.domain.engines.rule import Premise
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.limits import PERCENTILES
from optimizer.domain.workload import Part, Workload
from optimizer.errors import InternalError, SpecError
from optimizer.units import Dimension

NumberT = TypeVar("NumberT", Fraction, Any)


class Measure(Enum):
    """What a layout is bounded and compared by."""

    DEVICE_REQUESTS = "requests/s of each device"
    REQUESTS = "requests/s of all devices"
    CYCLE = "seconds of a decode cycle: TPOT × tokens gained a step"
    FIRST = "seconds to the first token"
    MEMORY = "bytes of the fullest device"
    DEVICES = "devices"
    CONTEXT = "tokens of the longest sequence that the cache holds"

    @property
    def rises(self) -> bool:
        """Whether more of it is better."""
        return self in (Measure.DEVICE_REQUESTS, Measure.REQUESTS, Measure.CONTEXT)


@dataclass(frozen=True, slots=True)
class Scale:
    """How a value follows from a measure: offset + factor × level, or factor ÷ level.

    Attributes
    ----------
    percentile
        Percent of all requests of which none has a higher level; None: the mean of requests.
    """

    measure: Measure
    factor: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)
    quotient: bool = False
    percentile: int | None = None

    @property
    def maximised(self) -> bool:
        """Whether a larger value is a better level of the measure."""
        return self.measure.rises == ((self.factor > 0) != self.quotient)

    def value(self, level: Fraction) -> Fraction:
        """The value at a level of the measure."""
        return self.factor / level if self.quotient else self.offset + self.factor * level

    def level(self, value: Fraction) -> Fraction:
        """The level at which the value is reached."""
        return self.factor / value if self.quotient else (value - self.offset) / self.factor

    def floats(self, level: Any) -> Any:  # noqa: ANN401 - arrays, of which the reference knows nothing
        """`value` of an array of floats."""
        factor = float(self.factor)
        return factor / level if self.quotient else float(self.offset) + factor * level


@dataclass(frozen=True, slots=True)
class Objective:
    """One thing that a problem can ask to make best.

    Attributes
    ----------
    name, unit, words
        As problems write it, as results name it with its unit, and as sentences do.
    maximised
        Whether more is better.
    dimension
        What its value measures: how numbers of it, and of limits on it, are written.
    scale
        Its measure, and how its value follows from it, exactly.
    part
        The part of a request's answer that it times: without meaning where that is not sent; None: none.
    kind
        The kind of work that alone has it; None: all have.
    needs_rate
        Whether it has a meaning only where a request rate is to be served.
    refusal
        Why hardware cannot tell it; None where it can.
    traded
        Whether a frontier can be of it.
    told
        An answer's value as a sentence has it; empty: after its words.
    apart
        What is said in its place of single values.
    """

    name: str
    unit: str
    words: str
    maximised: bool
    dimension: Dimension
    scale: Callable[[Premise], Scale]
    part: Part | None = None
    kind: str | None = None
    needs_rate: bool = False
    refusal: Callable[[HardwareSpec], str | None] = lambda _: None
    traded: bool = True
    told: str = ""
    apart: Mapping[int, str] = field(default_factory=dict)

    def unfit(self, work: Workload) -> str | None:
        """Why it has no meaning in a workload; None where it has one."""
        if self.kind not in (None, work.kind):
            return f"objective {self.name!r} is of {self.kind} workloads; this is a {work.kind} workload"
        why = None if self.part is None else work.without(self.part)
        return None if why is None else f"objective {self.name!r} has no meaning in {work.named}: {why}"

    def untold(self, premise: Premise) -> str | None:
        """Why no layout has a value of it: no meaning in its workload, or hardware that cannot tell; None: all do."""
        return self.unfit(premise.workload) or self.refusal(premise.hardware)

    def unrated(self, work: Workload) -> str | None:
        """Why nothing can be best by it without a request rate; None where it needs none, or there is one."""
        if not self.needs_rate or work.request_rate is not None:
            return None
        return f"objective {self.name!r} needs workload.request_rate: the fewest devices that serve it"

    def keeps(self, value: Fraction, bound: Fraction) -> bool:
        """Whether a value keeps a limit on it: no less where more is better, else no more."""
        return value >= bound if self.maximised else value <= bound

    def scale_of(self, premise: Premise) -> Scale:
        """Its scale in a problem.

        Raises
        ------
        SpecError
            No layout has a value of it.
        InternalError
            The row says one sense and its scale another.
        """
        why = self.untold(premise)
        if why is not None:
            raise SpecError(why)
        scale = self.scale(premise)
        if scale.factor == 0 or scale.maximised != self.maximised:
            raise InternalError(f"objective {self.name!r}: its scale does not have the sense that the row states")
        return scale


def _cost(premise: Premise) -> Scale:
    """Dollars per million tokens: of the devices at the rate asked for, or of what each device serves at most."""
    device_cost = Fraction(premise.hardware.device.price or 0) / 3600 * 10**6 / premise.workload.tokens_of_request
    rate = premise.workload.request_rate
    if rate is None:
        return Scale(Measure.DEVICE_REQUESTS, device_cost, quotient=True)
    return Scale(Measure.DEVICES, device_cost / rate)


def _unpriced(hardware: HardwareSpec) -> str | None:
    price = hardware.device.price
    if price:
        return None
    stated = "has none" if price is None else "costs 0 $/h"
    return (
        f"objective 'cost' needs a price above 0: device {hardware.device.name!r} of {hardware.name!r} {stated}; "
        "add `price: 2 $/h` to `device` in a hardware file of your own"
    )


def _tokens(measure: Measure) -> Callable[[Premise], Scale]:
    return lambda premise: Scale(measure, Fraction(premise.workload.tokens_of_request))


def _first(percentile: int | None) -> Callable[[Premise], Scale]:
    return lambda _: Scale(Measure.FIRST, percentile=percentile)


def _cycle(percentile: int | None) -> Callable[[Premise], Scale]:
    return lambda p: Scale(Measure.CYCLE, 1 / p.workload.tokens_per_step, percentile=percentile)


_ROWS = (
    Objective(
        "throughput_per_device", "throughput_per_device_tokens_per_s", "throughput a device", maximised=True,
        dimension=Dimension.TOKENS_PER_SECOND, scale=_tokens(Measure.DEVICE_REQUESTS), told="{} a device",
    ),
    Objective(
        "throughput", "throughput_tokens_per_s", "throughput", maximised=True,
        dimension=Dimension.TOKENS_PER_SECOND, scale=_tokens(Measure.REQUESTS), told="{} in all",
    ),
    Objective(
        "devices", "devices", "number of devices", maximised=False, dimension=Dimension.COUNT,
        scale=lambda _: Scale(Measure.DEVICES), needs_rate=True, told="{} devices", apart={1: "1 device"},
    ),
    Objective(
        "ttft", "ttft_s", "time to first token", maximised=False, dimension=Dimension.SECONDS, scale=_first(None),
        part=Part.FIRST, told="{} to the first token",
    ),
    Objective(
        "tpot", "tpot_s", "time per output token", maximised=False, dimension=Dimension.SECONDS, scale=_cycle(None),
        part=Part.LATER, told="{} for each output token",
    ),
    *(
        Objective(
            f"{name}_p{share}", f"{name}_p{share}_s", f"{words} of {share}% of requests", maximised=False,
            dimension=Dimension.SECONDS, scale=scale(share), part=part, traded=False,
            told=f"{told} of {share}% of requests",
        )
        for name, words, told, scale, part in (
            ("ttft", "time to first token", "{} to the first token", _first, Part.FIRST),
            ("tpot", "time per output token", "{} for each output token", _cycle, Part.LATER),
        )
        for share in PERCENTILES
    ),
    Objective(
        "cost", "cost_dollars_per_million_tokens", "cost of a million tokens", maximised=False,
        dimension=Dimension.DOLLARS, scale=_cost, refusal=_unpriced, told="{} per million tokens",
    ),
    Objective(
        "memory_headroom", "memory_headroom_bytes", "memory left on the fullest device", maximised=True,
        dimension=Dimension.BYTES, told="{} left on the fullest device",
        scale=lambda p: Scale(Measure.MEMORY, Fraction(-1), Fraction(p.capacity_bytes)),
    ),
    Objective(
        "context", "longest_context_tokens", "longest context", maximised=True, dimension=Dimension.COUNT,
        scale=lambda _: Scale(Measure.CONTEXT), traded=False, told="one sequence of {} tokens",
        apart={
            0: "no cache is left beside the step that the engine sizes itself for (state workload.max_num_seqs)",
        },
    ),
)  # fmt: skip

OBJECTIVES: dict[str, Objective] = {row.name: row for row in _ROWS}


def objective_of_unit(unit: str) -> Objective | None:
    """The row that results name so."""
    return next((row for row in OBJECTIVES.values() if row.unit == unit), None)


def _known(name: str) -> str:
    if name == "step_time":
        message = "step_time belongs to training workloads; this is a serving workload"
        raise ValueError(message)
    if name not in OBJECTIVES:
        *most, last = OBJECTIVES
        close = get_close_matches(name, OBJECTIVES, 1)
        raise FieldError(f"{name!r} is not {', '.join(most)} or {last}", (), next(iter(close), None))
    return name


ObjectiveName = Annotated[
    str, AfterValidator(_known), Field(json_schema_extra=lambda schema: schema.update(enum=list(OBJECTIVES)))
]

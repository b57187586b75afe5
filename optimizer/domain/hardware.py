"""Hardware: one kind of device, how devices are grouped, and the links between them."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from pydantic import Field, model_validator

from optimizer.domain.base import FieldError, Grown, Spec
from optimizer.domain.calibration import Calibration
from optimizer.domain.margins import ANY
from optimizer.domain.precision import ComputeName
from optimizer.domain.quantity import (
    BytesPerSecond,
    DollarsPerHour,
    Factor,
    Flops,
    PositiveBytes,
    PositiveRatio,
    Seconds,
    Watts,
)


class Measured(Spec):
    """A number with where it comes from (`datasheet`, `fitted to TABLE on DATE`, `assumed`)."""

    value: PositiveRatio
    source: str = Field(min_length=1)


class MeasuredTime(Spec):
    """A duration with where it comes from."""

    value: Seconds
    source: str = Field(min_length=1)


class MeasuredFactor(Spec):
    """A multiple with where it comes from."""

    value: Factor
    source: str = Field(min_length=1)


class Device(Grown):
    """One accelerator as an engine sees it."""

    later = ("power", "shared_with_host")

    name: str = Field(min_length=1)
    vendor: str = ""
    memory: PositiveBytes = Field(description="nominal capacity")
    exposed_memory: PositiveBytes = Field(description="what a process can allocate at most")
    bandwidth: BytesPerSecond = Field(description="peak memory bandwidth")
    peak: dict[ComputeName, Flops] = Field(min_length=1, description="dense peak by number format")
    price: DollarsPerHour | None = None
    power: Watts | None = Field(default=None, description="rated, of one device without its share of the host")
    shared_with_host: bool = Field(default=False, description="the host's processes live in the same memory")

    @model_validator(mode="after")
    def _sensible(self) -> Device:
        if "bf16" not in self.peak:
            message = "peak needs a bf16 entry: formats without a rate of their own compute in it"
            raise ValueError(message)
        if self.exposed_memory > self.memory:
            message = f"exposed_memory of {self.exposed_memory} bytes is more than the memory of {self.memory} bytes"
            raise ValueError(message)
        return self


class Tier(Spec):
    """A link tier: `size` devices reach each other over it (none: any number).

    `bandwidth` is per device and direction; `oversubscription` divides it when the whole tier is busy.
    `latency` is that of one small-message round. In a `mesh` every pair has a link of its own, so that a group of g
    devices has g − 1 of a device's size − 1 links: see `share`.
    """

    name: str = Field(min_length=1)
    size: int | None = Field(default=None, ge=1, le=10**7)
    bandwidth: BytesPerSecond
    latency: MeasuredTime
    efficiency: Measured
    oversubscription: Factor = Fraction(1)
    mesh: bool = False

    @model_validator(mode="after")
    def _sensible(self) -> Tier:
        if self.oversubscription < 1:
            message = f"oversubscription is {self.oversubscription}:1, less than 1:1"
            raise ValueError(message)
        if self.mesh and (self.size is None or self.size == 1):
            message = f"tier {self.name!r} is a mesh, which needs a size of at least 2"
            raise ValueError(message)
        return self

    def share(self, members: int) -> Fraction:
        """Share of `bandwidth` that a group of `members` devices of one domain has: (g − 1)/(size − 1) in a mesh."""
        if not self.mesh or self.size is None or members >= self.size:
            return Fraction(1)
        return Fraction(max(members - 1, 1), self.size - 1)


class ExpertKernels(Spec):
    """Routed experts' grouped matrix multiplications.

    `compute` is the achieved share of the rated peak; `passes` how often the activations of a token-expert pair cross
    device memory: dispatch, quantisation, the activation function and the weighted sum are kernels of their own.
    """

    compute: dict[ComputeName, Measured] = Field(min_length=1)
    passes: MeasuredFactor


class Efficiencies(Grown):
    """Achieved share of the rated peak, and the time to launch one operation.

    `hbm_4bit` is that of dense matrices whose weights have 4 bits; without `experts` routed experts compute as dense
    matrices do, their activations moved once.
    """

    later = ("hbm_4bit", "experts")

    compute: dict[ComputeName, Measured] = Field(min_length=1)
    hbm: Measured
    hbm_4bit: Measured | None = None
    attention_hbm: Measured
    attention_compute: Measured
    launch: MeasuredTime
    experts: ExpertKernels | None = None


def _scaled(measured: Measured, factor: Fraction) -> Measured:
    return measured.model_copy(update={"value": min(Fraction(1), measured.value * factor)})


def _slower(measured: MeasuredTime, factor: Fraction) -> MeasuredTime:
    return measured.model_copy(update={"value": measured.value * factor})


class HardwareSpec(Grown):
    """A cluster of one kind of device; tiers innermost first, the last without a size."""

    later = ("calibration",)

    name: str = Field(min_length=1)
    device: Device
    devices_per_node: int = Field(ge=1, le=10**6)
    tiers: tuple[Tier, ...] = Field(min_length=1, strict=False)
    efficiency: Efficiencies
    source: str = ""
    assumed: tuple[str, ...] = Field(default=(), strict=False, description="facts without a source, by name")
    calibration: tuple[Calibration, ...] = Field(
        default=(), strict=False, description="what runs on these devices say, as `shardproof calibrate` writes it"
    )

    @property
    def devices_per_rack(self) -> int | None:
        """Devices of the smallest link tier above the node, if it has a size."""
        return next((tier.size for tier in self.tiers if tier.size and tier.size > self.devices_per_node), None)

    def using(self, devices: int) -> HardwareSpec:
        """The hardware where so many devices of each node are used, at most all: a link's domain holds fewer."""
        tiers: list[Tier] = []
        for tier in self.tiers[:-1]:
            whole = tier.size or 1
            size = min(whole, devices * max(1, whole // self.devices_per_node))
            # each pair of a mesh keeps the link that it has
            share = Fraction(size - 1, whole - 1) if tier.mesh else Fraction(1)
            while tiers and size % (tiers[-1].size or 1):
                tiers.pop()
            if size > (tiers[-1].size or 1 if tiers else 1):
                tiers.append(tier.model_copy(update={"size": size, "bandwidth": int(tier.bandwidth * share)}))
        return self.model_copy(update={"devices_per_node": devices, "tiers": (*tiers, self.tiers[-1])})

    def scaled(self, factors: Mapping[str, Fraction]) -> HardwareSpec:
        """A copy with some of `domain.uncertainty` multiplied; shares of a peak end at 1."""
        efficiency, tiers = self.efficiency, self.tiers
        update: dict[str, Any] = {
            name: _scaled(getattr(efficiency, name), factors[name])
            for name in ("hbm", "attention_hbm")
            if name in factors
        }
        if "hbm" in factors and efficiency.hbm_4bit is not None:
            update["hbm_4bit"] = _scaled(efficiency.hbm_4bit, factors["hbm"])
        if "compute" in factors:
            factor = factors["compute"]
            update["compute"] = {name: _scaled(share, factor) for name, share in efficiency.compute.items()}
            update["attention_compute"] = _scaled(efficiency.attention_compute, factor)
            if efficiency.experts is not None:
                shares = {name: _scaled(share, factor) for name, share in efficiency.experts.compute.items()}
                update["experts"] = efficiency.experts.model_copy(update={"compute": shares})
        if "launch" in factors:
            update["launch"] = _slower(efficiency.launch, factors["launch"])
        if "links" in factors:
            tiers = tuple(t.model_copy(update={"efficiency": _scaled(t.efficiency, factors["links"])}) for t in tiers)
        if "latency" in factors:
            tiers = tuple(t.model_copy(update={"latency": _slower(t.latency, factors["latency"])}) for t in tiers)
        return self.model_copy(update={"efficiency": efficiency.model_copy(update=update), "tiers": tiers})

    def calibrated(self, group: Calibration) -> HardwareSpec:
        """The hardware as a group of runs says it is."""
        times = group.multiples
        factors: dict[str, Fraction] = {}
        if "memory" in times:
            factors["hbm"] = factors["attention_hbm"] = 1 / times["memory"]
        if "compute" in times:
            factors["compute"] = 1 / times["compute"]
        if "launch" in times:
            factors["launch"] = times["launch"]
        if "links" in times:
            factors |= {"links": 1 / times["links"], "latency": times["links"]}
        return self.scaled(factors)

    def calibration_of(self, *, engine: str, weights: str, model: str) -> Calibration | None:
        """The group of runs that speaks of an engine, a format and a model; of engine `any` the only one that does."""
        for named in (model, None):
            fitting = [
                group for group in self.calibration
                if group.weights == weights and group.model == named and engine in {group.engine, ANY}
            ]  # fmt: skip
            if len(fitting) == 1:
                return fitting[0]
        return None

    @model_validator(mode="after")
    def _distinct(self) -> HardwareSpec:
        seen = set()
        for number, group in enumerate(self.calibration):
            key = (group.engine, group.weights, group.model)
            if key in seen:
                raise FieldError(f"{group.title} has a row before", ("calibration", number))
            seen.add(key)
        return self

    @model_validator(mode="after")
    def _nested(self) -> HardwareSpec:
        if self.tiers[-1].size is not None:
            message = f"the outermost tier {self.tiers[-1].name!r} must have no size"
            raise ValueError(message)
        inner = 1
        for tier in self.tiers[:-1]:
            if tier.size is None:
                message = f"only the outermost tier may have no size, tier {tier.name!r} has none"
                raise ValueError(message)
            if tier.size % inner or tier.size <= inner:
                message = f"tier {tier.name!r} of {tier.size} devices does not consist of whole domains of {inner}"
                raise ValueError(message)
            inner = tier.size
        kernels = self.efficiency.experts
        if "bf16" not in self.efficiency.compute:
            raise FieldError("needs a share for bf16", ("efficiency", "compute"))
        if kernels is not None and "bf16" not in kernels.compute:
            raise FieldError("needs a share for bf16", ("efficiency", "experts", "compute"))
        return self

"""Exact durations: integer ticks of 10⁻²⁷ s, and what a FLOP, a byte or a message costs in them.

Coefficients (ticks per token, per sequence, per step) are rounded up once, when they are formed; everything after that
is integer addition, multiplication and maximum, so sums and comparisons of times are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from optimizer.domain.hardware import HardwareSpec, Measured
from optimizer.domain.precision import ComputeName
from optimizer.figures.overlap import EXCHANGE_UNITS

TICKS_PER_SECOND = 10**27

_FALLBACK: dict[ComputeName, ComputeName] = dict.fromkeys(("fp4", "fp8", "int8", "fp32", "bf16"), "bf16")


NARROW_BITS = 4
FREE = Fraction(10**60)
"""A rate at which nothing takes longer than a tick."""


def ceil_fraction(value: Fraction) -> int:
    """Smallest integer not below `value`."""
    return -(-value.numerator // value.denominator)


def last_kept(keeps: Callable[[int], bool], low: int, high: int) -> int:
    """The last integer from `low` on, and below `high`, at which a condition holds that later ones never meet again.

    Of `low` it is known that it holds, and of `high` that it does not; neither is asked.
    """
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if keeps(middle) else (low, middle)
    return low


def seconds(ticks: int) -> Fraction:
    """A duration in seconds, exactly."""
    return Fraction(ticks, TICKS_PER_SECOND)


@dataclass(frozen=True)
class Rates:
    """Achieved rates of one device and its links; `ideal` ones are the rated peaks with no latency and no launch.

    Attributes
    ----------
    compute
        FLOP/s by number format; a format the device has no units for computes in BF16.
    hbm, attention_hbm
        bytes/s of weight streaming and of KV-cache reading.
    attention_compute
        FLOP/s of scores and values.
    links
        bytes/s per direction and device of each tier.
    latencies
        seconds of one small-message round of each tier.
    launch
        seconds to start one operation.
    hbm_4bit
        bytes/s at which dense matrices of 4-bit weights are streamed.
    expert_compute, expert_passes
        FLOP/s of routed experts by number format, and how often a pair's activations cross device memory.
    hosted
        Whether requests pass through an engine's host, which lets them wait.
    shared_compute
        Share of the compute units left beside an exchange of prompts' experts that runs at the same time.
    hidden_activations
        Whether moving activations takes no time while matrices multiply; kernels that are launched one after another
        do not hide it.
    """

    compute: dict[str, Fraction]
    attention_compute: Fraction
    hbm: Fraction
    attention_hbm: Fraction
    links: tuple[Fraction, ...]
    latencies: tuple[Fraction, ...]
    launch: Fraction
    hbm_4bit: Fraction
    expert_compute: dict[str, Fraction]
    expert_passes: Fraction
    hidden_activations: bool
    hosted: bool
    shared_compute: Fraction

    def only_compute(self) -> Rates:
        """The same where memory takes no time."""
        return replace(self, hbm=FREE, hbm_4bit=FREE, attention_hbm=FREE)

    def only_memory(self) -> Rates:
        """The same where computing takes no time."""
        free = dict.fromkeys(self.compute, FREE)
        return replace(self, compute=free, expert_compute=free, attention_compute=FREE)

    def flop_ticks(self, flops: Fraction | int, compute: str) -> int:
        """Ticks of `flops` in a number format: FLOPs ÷ (peak × efficiency), rounded up."""
        return ceil_fraction(flops * TICKS_PER_SECOND / self.compute[compute])

    def attention_flop_ticks(self, flops: Fraction | int) -> int:
        """Ticks of attention scores and values."""
        return ceil_fraction(flops * TICKS_PER_SECOND / self.attention_compute)

    def byte_ticks(self, count: Fraction | int) -> int:
        """Ticks to stream bytes from device memory."""
        return ceil_fraction(count * TICKS_PER_SECOND / self.hbm)

    def weight_ticks(self, count: Fraction | int, bits: int) -> int:
        """Ticks to stream a dense matrix's weights."""
        return ceil_fraction(count * TICKS_PER_SECOND / (self.hbm_4bit if bits <= NARROW_BITS else self.hbm))

    def exposed(self, ticks: int) -> int:
        """What moving activations adds to the time of multiplying."""
        return 0 if self.hidden_activations else ticks

    def attention_byte_ticks(self, count: Fraction | int) -> int:
        """Ticks to read KV cache from device memory."""
        return ceil_fraction(count * TICKS_PER_SECOND / self.attention_hbm)

    def link_ticks(self, count: Fraction | int, tier: int) -> int:
        """Ticks to send bytes over a tier."""
        return ceil_fraction(count * TICKS_PER_SECOND / self.links[tier])

    def latency_ticks(self, rounds: int, tier: int) -> int:
        """Ticks of small-message rounds on a tier."""
        return ceil_fraction(self.latencies[tier] * rounds * TICKS_PER_SECOND)

    def launch_ticks(self, operations: int) -> int:
        """Ticks to launch operations."""
        return ceil_fraction(self.launch * operations * TICKS_PER_SECOND)


def effective_rates(hardware: HardwareSpec) -> Rates:
    """Rated peaks times the efficiencies of the hardware's table."""
    efficiency, device, experts = hardware.efficiency, hardware.device, hardware.efficiency.experts

    def achieved(shares: dict[ComputeName, Measured]) -> dict[str, Fraction]:
        by_format: dict[str, Fraction] = {}
        for name, fallback in _FALLBACK.items():
            form = name if name in device.peak else fallback
            by_format[name] = device.peak[form] * shares[form if form in shares else "bf16"].value
        return by_format

    compute = achieved(efficiency.compute)
    return Rates(
        compute=compute,
        attention_compute=device.peak["bf16"] * efficiency.attention_compute.value,
        hbm=device.bandwidth * efficiency.hbm.value,
        attention_hbm=device.bandwidth * efficiency.attention_hbm.value,
        links=tuple(t.bandwidth * t.efficiency.value / t.oversubscription for t in hardware.tiers),
        latencies=tuple(Fraction(t.latency.value) for t in hardware.tiers),
        launch=Fraction(efficiency.launch.value),
        hbm_4bit=device.bandwidth * (efficiency.hbm_4bit or efficiency.hbm).value,
        expert_compute=compute if experts is None else achieved(experts.compute),
        expert_passes=Fraction(1) if experts is None else experts.passes.value,
        hidden_activations=False,
        hosted=True,
        shared_compute=1 - EXCHANGE_UNITS,
    )


def ideal_rates(hardware: HardwareSpec) -> Rates:
    """The physical bound: rated peaks, no latency, no launch, no oversubscription."""
    device = hardware.device
    compute: dict[str, Fraction] = {
        name: Fraction(device.peak[name if name in device.peak else fallback]) for name, fallback in _FALLBACK.items()
    }
    return Rates(
        compute=compute,
        attention_compute=max(compute.values()),
        hbm=Fraction(device.bandwidth),
        attention_hbm=Fraction(device.bandwidth),
        links=tuple(Fraction(t.bandwidth) for t in hardware.tiers),
        latencies=tuple(Fraction(0) for _ in hardware.tiers),
        launch=Fraction(0),
        hbm_4bit=Fraction(device.bandwidth),
        expert_compute=compute,
        expert_passes=Fraction(1),
        hidden_activations=True,
        hosted=False,
        shared_compute=Fraction(1),
    )

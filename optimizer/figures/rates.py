"""Exact durations: integer ticks of 10⁻²⁷ s, and what a FLOP, a byte or a message costs in them.

Coefficients (ticks per token, per sequence, per step) are rounded up once, when they are formed; everything after that
is integer addition, multiplication and maximum, so sums and comparisons of times are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.precision import ComputeName

TICKS_PER_SECOND = 10**27

_FALLBACK: dict[ComputeName, ComputeName] = dict.fromkeys(("fp4", "fp8", "int8", "fp32", "bf16"), "bf16")


def ceil_fraction(value: Fraction) -> int:
    """Smallest integer not below `value`."""
    return -(-value.numerator // value.denominator)


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
    """

    compute: dict[str, Fraction]
    attention_compute: Fraction
    hbm: Fraction
    attention_hbm: Fraction
    links: tuple[Fraction, ...]
    latencies: tuple[Fraction, ...]
    launch: Fraction

    def flop_ticks(self, flops: Fraction | int, compute: str) -> int:
        """Ticks of `flops` in a number format: FLOPs ÷ (peak × efficiency), rounded up."""
        return ceil_fraction(flops * TICKS_PER_SECOND / self.compute[compute])

    def attention_flop_ticks(self, flops: Fraction | int) -> int:
        """Ticks of attention scores and values."""
        return ceil_fraction(flops * TICKS_PER_SECOND / self.attention_compute)

    def byte_ticks(self, count: Fraction | int) -> int:
        """Ticks to stream bytes from device memory."""
        return ceil_fraction(count * TICKS_PER_SECOND / self.hbm)

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
    own, device = hardware.efficiency, hardware.device
    compute: dict[str, Fraction] = {}
    for name, fallback in _FALLBACK.items():
        used = name if name in device.peak else fallback
        share = own.compute[used if used in own.compute else "bf16"]
        compute[name] = device.peak[used] * share.value
    return Rates(
        compute=compute,
        attention_compute=device.peak["bf16"] * own.attention_compute.value,
        hbm=device.bandwidth * own.hbm.value,
        attention_hbm=device.bandwidth * own.attention_hbm.value,
        links=tuple(t.bandwidth * t.efficiency.value / t.oversubscription for t in hardware.tiers),
        latencies=tuple(Fraction(t.latency.value) for t in hardware.tiers),
        launch=Fraction(own.launch.value),
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
    )

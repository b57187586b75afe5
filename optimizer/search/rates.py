"""Seconds for each unit of work as floats: the vectorised twin of `optimizer.figures.rates`."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.precision import ComputeName


@dataclass(frozen=True)
class FloatRates:
    """Seconds a FLOP (by format), a byte of weights or cache, a byte and a round on each tier, and a launch take."""

    flop: dict[str, float]
    attention_flop: float
    byte: float
    attention_byte: float
    link: tuple[float, ...]
    round: tuple[float, ...]
    launch: float


def float_rates(hardware: HardwareSpec) -> FloatRates:
    """Rated peaks times the efficiencies of the hardware's table."""
    own, device = hardware.efficiency, hardware.device
    flop: dict[str, float] = {}
    formats: tuple[ComputeName, ...] = ("fp32", "bf16", "fp8", "fp4", "int8")
    for name in formats:
        used = name if name in device.peak else "bf16"
        share = own.compute.get(used) or own.compute["bf16"]
        flop[name] = 1 / (device.peak[used] * float(share.value))
    return FloatRates(
        flop=flop,
        attention_flop=1 / (device.peak["bf16"] * float(own.attention_compute.value)),
        byte=1 / (device.bandwidth * float(own.hbm.value)),
        attention_byte=1 / (device.bandwidth * float(own.attention_hbm.value)),
        link=tuple(float(t.oversubscription) / (t.bandwidth * float(t.efficiency.value)) for t in hardware.tiers),
        round=tuple(float(t.latency.value) for t in hardware.tiers),
        launch=float(own.launch.value),
    )

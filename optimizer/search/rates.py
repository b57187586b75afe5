"""Seconds for each unit of work as floats: the vectorised twin of `optimizer.figures.rates`."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.domain.hardware import HardwareSpec, Measured
from optimizer.domain.precision import ComputeName


@dataclass(frozen=True)
class FloatRates:
    """Seconds a FLOP (by format), a byte of weights or cache, a byte and a round on each tier, and a launch take.

    `expert_flop` and `byte_4bit` are those of routed experts and of dense 4-bit weights.
    """

    flop: dict[str, float]
    attention_flop: float
    byte: float
    attention_byte: float
    link: tuple[float, ...]
    round: tuple[float, ...]
    launch: float
    byte_4bit: float
    expert_flop: dict[str, float]
    expert_passes: float


def float_rates(hardware: HardwareSpec) -> FloatRates:
    """Rated peaks times the efficiencies of the hardware's table."""
    efficiency, device = hardware.efficiency, hardware.device
    formats: tuple[ComputeName, ...] = ("fp32", "bf16", "fp8", "fp4", "int8")

    def seconds(shares: dict[ComputeName, Measured]) -> dict[str, float]:
        flop_seconds: dict[str, float] = {}
        for name in formats:
            form = name if name in device.peak else "bf16"
            share = shares.get(form) or shares["bf16"]
            flop_seconds[name] = 1 / (device.peak[form] * float(share.value))
        return flop_seconds

    kernels = efficiency.experts
    return FloatRates(
        flop=seconds(efficiency.compute),
        attention_flop=1 / (device.peak["bf16"] * float(efficiency.attention_compute.value)),
        byte=1 / (device.bandwidth * float(efficiency.hbm.value)),
        attention_byte=1 / (device.bandwidth * float(efficiency.attention_hbm.value)),
        link=tuple(float(t.oversubscription) / (t.bandwidth * float(t.efficiency.value)) for t in hardware.tiers),
        round=tuple(float(t.latency.value) for t in hardware.tiers),
        launch=float(efficiency.launch.value),
        byte_4bit=1
        / (device.bandwidth * float((efficiency.hbm if efficiency.hbm_4bit is None else efficiency.hbm_4bit).value)),
        expert_flop=seconds(efficiency.compute if kernels is None else kernels.compute),
        expert_passes=1.0 if kernels is None else float(kernels.passes.value),
    )

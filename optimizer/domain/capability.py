"""NVIDIA's compute capability of a device, by its name: what kernels are built for."""

from __future__ import annotations

import re
from typing import Final

from optimizer.domain.hardware import Device

_BY_NAME: Final[dict[tuple[int, int], str]] = {
    (7, 0): "v100", (7, 5): "t4", (8, 0): "a100 a800 a30", (8, 6): "a10 a40", (8, 9): "l4 l20 l40 l40s 4090",
    (9, 0): "h100 h200 h20 h800 gh200", (10, 0): "b200 gb200", (10, 3): "b300 gb300", (12, 0): "5090 pro",
    (12, 1): "gb10",
}  # fmt: skip
"""developer.nvidia.com/cuda-gpus; `pro` of RTX PRO 6000 and its kin."""
ADA: Final = (8, 9)
"""The first with tensor cores of 8-bit floats."""
_CAPABILITIES: Final = {word: capability for capability, words in _BY_NAME.items() for word in words.split()}


def capability(device: Device) -> tuple[int, int] | None:
    """Major and minor number; None for other makers' devices and names that are not known."""
    if device.vendor not in {"", "NVIDIA"}:
        return None
    words = re.findall(r"[a-z0-9]+", device.name.casefold())
    return next((_CAPABILITIES[word] for word in words if word in _CAPABILITIES), None)

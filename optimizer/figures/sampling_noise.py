"""The imbalance that remains in every step however good the placement: tokens are drawn, and draws scatter."""

import math
from statistics import NormalDist

ACTIVATIONS = (64, 256, 1024, 4096)
"""Expert activations of a device and step for which the noise is told where the step is not known."""


def sampling_noise_floor(devices: int, activations_per_device: float) -> float:
    """Expected max over mean of one step under a perfectly balanced static placement.

    A device's share of a step is about Poisson with the given mean, so its relative deviation is ``1 / sqrt(n)``; the
    largest of ``devices`` such deviations is expected at the normal quantile ``(G - 3/8) / (G + 1/4)`` (Blom 1958).

    Parameters
    ----------
    devices
        Devices of the expert mesh.
    activations_per_device
        Expert activations (tokens times experts per token) that a device handles in one step of one layer.
    """
    if devices < 2 or activations_per_device <= 0:
        return 1.0
    quantile = NormalDist().inv_cdf((devices - 0.375) / (devices + 0.25))
    return 1.0 + quantile / math.sqrt(activations_per_device)


def noise_table(devices: int, top_k: int, step_tokens: int | None) -> list[tuple[float, float]]:
    """Activations of a device in one step of one layer, and the imbalance that drawing them leaves.

    Parameters
    ----------
    devices, top_k
        Devices of the expert mesh, and experts of a token.
    step_tokens
        Tokens of one step over all devices; None: `ACTIVATIONS`.
    """
    each = [float(n) for n in ACTIVATIONS] if step_tokens is None else [step_tokens * top_k / devices]
    return [(number, sampling_noise_floor(devices, number)) for number in each]

"""Synthetic expert loads for want of a measurement: named, seeded, whole numbers of tokens.

The shapes are assumed: how skewed a router is depends on model and traffic. ``zipf:0.8`` gives expert ranks a power
law, ``lognormal:0.6`` independent log-normal weights, ``dirichlet:1`` a uniform point of the simplex, ``group:0.35``
log-normal weights on top of a common factor for each eighth of the experts, and ``uniform`` equal weights.
"""

import random
from collections.abc import Callable

from optimizer.errors import Fault, SpecError

MEAN_TOKENS = 100_000
"""Mean tokens of an expert in a profile (assumed; only the shape matters)."""

_GROUPS = 8
_WITHIN_GROUP_SIGMA = 0.6


def _uniform(_rng: random.Random, experts: int, _: float) -> list[float]:
    return [1.0] * experts


def _zipf(rng: random.Random, experts: int, exponent: float) -> list[float]:
    weights = [(rank + 1) ** -exponent for rank in range(experts)]
    rng.shuffle(weights)
    return weights


def _lognormal(rng: random.Random, experts: int, sigma: float) -> list[float]:
    return [rng.lognormvariate(0.0, sigma) for _ in range(experts)]


def _dirichlet(rng: random.Random, experts: int, alpha: float) -> list[float]:
    return [rng.gammavariate(alpha, 1.0) for _ in range(experts)]


def _group(rng: random.Random, experts: int, sigma: float) -> list[float]:
    factors = [rng.lognormvariate(0.0, sigma) for _ in range(_GROUPS)]
    return [
        factors[expert * _GROUPS // experts] * rng.lognormvariate(0.0, _WITHIN_GROUP_SIGMA) for expert in range(experts)
    ]


PROFILES: dict[str, tuple[Callable[[random.Random, int, float], list[float]], float]] = {
    "uniform": (_uniform, 0.0),
    "zipf": (_zipf, 0.8),
    "lognormal": (_lognormal, 0.6),
    "dirichlet": (_dirichlet, 1.0),
    "group": (_group, 0.35),
}
"""Shape and default parameter of each profile."""


def profile_rows(name: str, layers: int, experts: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """Tokens of ``[layer][expert]`` of a profile such as ``zipf`` or ``zipf:0.8``.

    Parameters
    ----------
    name
        Profile, with its parameter after a colon.
    layers, experts
        Layers, and experts of each.
    seed
        The same seed gives the same load on every machine.

    Raises
    ------
    SpecError
        The parameter is no positive number.
    """
    kind, _, text = name.partition(":")
    shape, parameter = PROFILES[kind]
    if text:
        try:
            parameter = float(text)
        except ValueError:
            parameter = -1.0
        if not 0 < parameter <= 100:
            raise SpecError(Fault(None, None, None, "experts.load", f"{text!r} in {name!r} is no number above 0"))
    rows = []
    for layer in range(layers):
        weights = shape(random.Random(f"{name}/{seed}/{layer}"), experts, parameter)  # noqa: S311 - no secret
        scale = MEAN_TOKENS * experts / sum(weights)
        rows.append(tuple(round(weight * scale) for weight in weights))
    return tuple(rows)

"""Objectives that are rows of the tests alone."""

from __future__ import annotations

from fractions import Fraction

from optimizer.domain.objectives import Measure, Objective, Scale
from optimizer.domain.workload import Part

WATTS = 700
ENERGY = Objective(
    "energy", "energy_j_per_token", "energy of a token", maximised=False,
    scale=lambda p: Scale(Measure.DEVICE_REQUESTS, Fraction(WATTS, p.workload.tokens_of_request), quotient=True),
)  # fmt: skip
INTERACTIVITY = Objective(
    "interactivity", "interactivity_tokens_per_s", "tokens a user", maximised=True,
    scale=lambda p: Scale(Measure.CYCLE, p.workload.tokens_per_step, quotient=True),
    part=Part.LATER,
)  # fmt: skip

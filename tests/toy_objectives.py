"""Objectives that are rows of the tests alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

from optimizer.domain.objectives import Measure, Objective, Scale
from optimizer.domain.workload import Part
from optimizer.units import Dimension

JOULES_PER_TOKEN = object.__new__(Dimension)
JOULES_PER_TOKEN._name_ = JOULES_PER_TOKEN._value_ = "JOULES_PER_TOKEN"
JOULES_PER_TOKEN.__init__(  # type: ignore[misc]
    "an energy per token", "J/token", {"J/token": Fraction(1), "mJ/token": Fraction(1, 1000)}, ("J/token",), 10**9,
    ("J/token", "mJ/token"),
)  # fmt: skip
"""A row that `Dimension` does not have: what it takes to be one is all that it takes to be read and written."""


@contextmanager
def a_new_dimension() -> Iterator[None]:
    """With the row of `JOULES_PER_TOKEN` among the others."""
    Dimension._member_map_["JOULES_PER_TOKEN"] = JOULES_PER_TOKEN
    Dimension._member_names_.append("JOULES_PER_TOKEN")
    try:
        yield
    finally:
        Dimension._member_names_.remove("JOULES_PER_TOKEN")
        del Dimension._member_map_["JOULES_PER_TOKEN"]


WATTS = 700
ENERGY = Objective(
    "energy", "energy_j_per_token", "energy of a token", maximised=False, dimension=JOULES_PER_TOKEN,
    scale=lambda p: Scale(Measure.DEVICE_REQUESTS, Fraction(WATTS, p.workload.tokens_of_request), quotient=True),
)  # fmt: skip
INTERACTIVITY = Objective(
    "interactivity", "interactivity_tokens_per_s", "tokens a user", maximised=True,
    dimension=Dimension.TOKENS_PER_SECOND, told="{} for each user",
    scale=lambda p: Scale(Measure.CYCLE, p.workload.tokens_per_step, quotient=True),
    part=Part.LATER,
)  # fmt: skip

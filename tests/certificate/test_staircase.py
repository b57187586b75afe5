"""What points of a frontier leave open, against every point and corner asked one by one."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from random import Random

import pytest

from optimizer.certificate.goals import goal
from optimizer.certificate.staircase import Staircase
from tests.small_problems import small_problem


@pytest.mark.parametrize("near", [False, True], ids=["apart", "equal floats"])
@pytest.mark.parametrize("count", [2, 3])
def test_points_and_corners_are_those_found_one_by_one(count: int, *, near: bool) -> None:
    limits = goal(small_problem(1), None)
    for seed in range(40):
        draw = Random(seed)  # noqa: S311 - test data
        little = [Fraction(0), Fraction(1, 10**30)] if near else [Fraction(0)]

        def vector(draw: Random = draw, little: list[Fraction] = little) -> tuple[Fraction, ...]:
            return tuple(Fraction(draw.randint(-6, 6), 3) + draw.choice(little) for _ in range(count))

        points = [vector() for _ in range(draw.randint(0, 30))]
        most = [tuple(draw.choice([own, own, None]) for own in vector()) for _ in range(draw.randint(0, 30))]
        own = Staircase(points, [(corner, replace(limits, devices=number)) for number, corner in enumerate(most)])
        for asked in (vector() for _ in range(60)):
            matched = any(all(a <= b for a, b in zip(point, asked, strict=True)) for point in points)
            # among equal floats a point may be overlooked, and none is seen that is not there
            assert own.covers(asked) == matched or (near and matched)
            wanted = {
                number for number, corner in enumerate(most)
                if all(top is None or level < top for level, top in zip(asked, corner, strict=True))
            }  # fmt: skip
            assert {found.devices for found in own.open(asked)} == wanted

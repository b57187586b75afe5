"""Goals in a tree: none is dismissed that could be met, and each is asked."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest

from optimizer.certificate.aims import Aims, loosest
from optimizer.certificate.goals import Goal

NAMES = ("cycle", "first", "first_p99")


def drawn(rng: Random) -> Goal:
    def number() -> Fraction:
        return Fraction(rng.randint(1, 9))

    def perhaps() -> Fraction | None:
        return rng.choice([None, number(), number()])

    return Goal(
        above=perhaps(), total_above=perhaps(), total=number(), cycle=perhaps(),
        first=tuple((share, number()) for share in (None, 99) if rng.random() < 0.7), memory=rng.randint(1, 9),
        devices=rng.randint(1, 9), each=number(), strict=frozenset(n for n in NAMES if rng.random() < 0.5),
        context=rng.randint(0, 9),
    )  # fmt: skip


def meets(figures: Goal, goal: Goal) -> bool:
    """Whether a layout with these figures meets a goal; what a goal does not limit is not read."""
    cycle, firsts = figures.cycle or 0, dict(figures.first)
    late = any(
        firsts.get(share, 0) > limit or (goal.beats_first(share) and firsts.get(share, 0) == limit)
        for share, limit in goal.first
    )
    in_time = goal.cycle is None or (cycle < goal.cycle if "cycle" in goal.strict else cycle <= goal.cycle)
    return (
        not late
        and in_time
        and (goal.above is None or figures.each > goal.above)
        and (goal.total_above is None or figures.total > goal.total_above)
        and figures.total >= goal.total
        and figures.each >= goal.each
        and figures.memory <= goal.memory
        and figures.devices <= goal.devices
        and figures.context >= goal.context
    )


@pytest.mark.parametrize("seed", range(10))
def test_what_meets_one_meets_the_loosest_and_is_kept(seed: int) -> None:
    rng, met = Random(seed), 0  # noqa: S311 - test data
    for _ in range(60):
        goals = [drawn(rng) for _ in range(rng.randint(1, 9))]
        tree = Aims.of(goals)
        assert list(tree.leaves()) == goals
        assert tree.devices == max(goal.devices for goal in goals)
        for _ in range(60):
            figures = drawn(rng)
            own = [goal for goal in goals if meets(figures, goal)]
            met += bool(own)
            assert not own or meets(figures, loosest(goals))
            kept = tree.kept(lambda goal, figures=figures: meets(figures, goal))
            assert (list(kept.leaves()) if kept else []) == own
    assert met > 100


def test_the_loosest_of_alike_goals_is_no_looser() -> None:
    for seed in range(50):
        goal = drawn(Random(seed))  # noqa: S311 - test data
        assert loosest([goal, goal]) == goal

"""Expected hottest device of random routing: against routing drawn at random, and the shape that proofs rely on."""

from random import Random

import pytest

from optimizer.figures.routing import (
    EXPERT_UNITS,
    PAIR_UNITS,
    TOKEN_KNOTS,
    Concave,
    hottest_experts,
    hottest_pairs,
)

CASES = [(8, 2, 2), (8, 2, 8), (16, 1, 4), (64, 6, 16), (128, 8, 8), (256, 8, 32), (256, 8, 256), (60, 4, 5)]


def drawn(experts: int, top_k: int, ranks: int, tokens: int, rounds: int) -> tuple[float, float]:
    """Mean over rounds of the most distinct experts, and of the most pairs, of any rank."""
    rng = Random(f"{experts} {top_k} {ranks} {tokens}")  # noqa: S311 - test data
    local, distinct, pairs = experts // ranks, 0, 0
    for _ in range(rounds):
        hits = [0] * experts
        for _ in range(tokens):
            for expert in rng.sample(range(experts), top_k):
                hits[expert] += 1
        held = [hits[first : first + local] for first in range(0, experts, local)]
        distinct += max(sum(map(bool, own)) for own in held)
        pairs += max(map(sum, held))
    return distinct / rounds, pairs / rounds


@pytest.mark.parametrize(("experts", "top_k", "ranks"), CASES)
def test_hottest_device_is_that_of_random_routing(experts: int, top_k: int, ranks: int) -> None:
    local = experts // ranks
    reads, pairs = hottest_experts(experts, top_k, local, ranks), hottest_pairs(experts, top_k, local, ranks)
    for tokens, rounds in ((1, 400), (2, 400), (7, 200), (40, 60), (300, 20)):
        distinct, most = drawn(experts, top_k, ranks, tokens, rounds)
        assert reads.units(tokens) / EXPERT_UNITS == pytest.approx(distinct, rel=0.08), tokens
        assert pairs.units(tokens) / PAIR_UNITS == pytest.approx(most, rel=0.1), tokens


def tables() -> list[tuple[Concave, int]]:
    found = []
    for experts, top_k, ranks in [*CASES, (256, 8, 1), (5, 5, 2), (7, 3, 3), (1, 1, 1)]:
        local = -(-experts // ranks)
        found.append((hottest_experts(experts, top_k, local, ranks), EXPERT_UNITS))
        found.append((hottest_pairs(experts, top_k, local, ranks), PAIR_UNITS))
    return found


def test_tables_rise_and_rise_less_and_hold_a_whole_expert_of_a_whole_token() -> None:
    for table, unit in tables():
        assert list(table.slopes) == sorted(table.slopes, reverse=True)
        assert table.slopes[-1] >= 0
        assert table.at[0] == 0
        assert table.at[1] >= unit
        steps = zip(table.at, table.at[1:], table.slopes, TOKEN_KNOTS, TOKEN_KNOTS[1:], strict=False)
        assert all(b == a + slope * (right - left) for a, b, slope, left, right in steps)


def test_pairs_are_never_below_the_mean_and_one_device_has_them_all() -> None:
    for experts, top_k, ranks in CASES:
        pairs = hottest_pairs(experts, top_k, experts // ranks, ranks)
        for tokens in (1, 3, 1000, 123_457, 2**25):
            assert pairs.units(tokens) * ranks >= PAIR_UNITS * tokens * top_k
    alone = hottest_pairs(256, 8, 256, 1)
    assert [alone.units(tokens) for tokens in (1, 77, 2**30)] == [8 * PAIR_UNITS * t for t in (1, 77, 2**30)]


def test_fractions_lie_between_whole_tokens() -> None:
    for table, _ in tables():
        assert table.units(7, 2) * 2 == table.units(14, 4)
        assert 2 * table.units(3) <= table.units(7, 2) <= 2 * table.units(4)


def test_reads_of_one_device_are_the_expected_distinct_experts() -> None:
    reads = hottest_experts(256, 8, 256, 1)
    for tokens in (1, 10, 100, 1000):
        assert reads.units(tokens) / EXPERT_UNITS == pytest.approx(256 * (1 - (1 - 8 / 256) ** tokens), rel=0.01)

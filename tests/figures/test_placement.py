from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.figures.placement import (
    aggregate,
    device_loads,
    max_over_mean,
    moves,
    replica_counts,
    sampling_noise_floor,
    split_device_loads,
    violations,
)

TWO_NODES = [[0, 1], [0, 2], [1, 3], [3, 0]]


def test_shares_are_even_over_copies() -> None:
    assert replica_counts([[0, 1], [0, 2]], 3) == [2, 1, 1]
    assert device_loads([5, 3, 4], [[0, 1], [0, 2]]) == [Fraction(11, 2), Fraction(13, 2)]


def test_balance_is_the_hottest_over_the_mean() -> None:
    assert max_over_mean([5, 3, 4], [[0, 1], [0, 2]]) == Fraction(13, 12)


def test_a_layer_without_load_is_balanced() -> None:
    assert max_over_mean([0, 0], [[0], [1]]) == 1


@given(st.lists(st.integers(0, 10**12), min_size=4, max_size=4))
def test_device_loads_add_up_to_the_load(load: list[int]) -> None:
    assert sum(device_loads(load, TWO_NODES)) == sum(load)


def test_moves_count_experts_loaded_anew() -> None:
    assert moves([[0, 1], [2, 3]], [[1, 0], [3, 2]]) == 0
    assert moves([[0, 1], [2, 3]], [[0, 2], [2, 3]]) == 1


@pytest.mark.parametrize(
    ("devices", "says"),
    [
        ([[0, 1], [1, 2]], None),
        ([[0, 1], [1, 1]], "device 1 holds expert 1 2 times"),
        ([[0, 1], [1, 0]], "no device holds expert 2"),
        ([[0, 1], [1, 2, 0]], "device 1 fills 3 of 2 slots"),
        ([[0, 1], [1, 7]], "device 1 holds expert 7"),
        ([[0, 1]], "1 devices listed, 2 expected"),
    ],
)
def test_violations_name_their_witness(devices: list[list[int]], says: str | None) -> None:
    found = violations(devices, 3, 2, 2)
    assert (found == []) if says is None else any(says in message for message in found)


@pytest.mark.parametrize(
    ("devices", "says"),
    [
        ([[0, 1], [1, 0], [2, 3], [3, 2]], None),
        ([[0, 2], [1, 0], [1, 3], [3, 2]], "group 0 is on node 0"),
    ],
)
def test_groups_stay_on_their_node(devices: list[list[int]], says: str | None) -> None:
    found = violations(devices, 4, 4, 2, node_size=2, groups=2)
    assert (found == []) if says is None else any(says in message for message in found)


def test_split_shares_must_be_whole() -> None:
    half = Fraction(1, 2)
    assert split_device_loads([4, 6], [[0, 1], [0]], [[half, Fraction(1)], [half]]) == [8, 2]
    with pytest.raises(ValueError, match="add up to"):
        split_device_loads([4, 6], [[0, 1], [0]], [[half, Fraction(1)], [Fraction(1)]])


@pytest.mark.parametrize(
    ("robust", "value"), [("worst", Fraction(3)), ("mean", Fraction(7, 4)), ("cvar", Fraction(5, 2))]
)
def test_objectives_over_workloads(robust: str, value: Fraction) -> None:
    weights = [Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)]
    assert aggregate([Fraction(1), Fraction(3), Fraction(2)], weights, robust, Fraction(1, 2)) == value


def test_sampling_noise_falls_with_the_batch() -> None:
    # Simulated for 32 devices: 1.25, 1.12, 1.06, 1.03.
    floors = [sampling_noise_floor(32, n) for n in (64, 256, 1024, 4096)]
    assert floors == pytest.approx([1.25, 1.12, 1.06, 1.03], abs=0.012)
    assert sampling_noise_floor(1, 64) == 1.0


def test_nodes_hold_equally_many_groups() -> None:
    devices = [[0, 1, 2], [2, 1, 0], [3, 3, 3], [3, 3, 3]]
    assert any(
        "node 0 holds 3 groups, 2 expected" in message
        for message in violations(devices, 4, 4, 3, node_size=2, groups=4)
    )

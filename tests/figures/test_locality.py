import itertools

from hypothesis import given
from hypothesis import strategies as st

from optimizer.figures.locality import fewest_nodes, nodes_visited


@given(st.lists(st.integers(1, 31), min_size=1, max_size=6))
def test_fewest_nodes_is_the_least_hitting_set(masks: list[int]) -> None:
    least = min(chosen.bit_count() for chosen in range(1, 32) if all(mask & chosen for mask in masks))
    assert fewest_nodes(masks) == least


def test_each_group_counts_as_often_as_it_was_seen() -> None:
    devices = [[0, 1], [2, 3], [4, 5], [6, 0]]
    # Nodes {0, 1, 2, 3} and {4, 5, 6, 0}: expert 0 is on both.
    assert nodes_visited([(3, 0, 1)], devices, 7, 2) == 3
    assert nodes_visited([(3, 0, 6), (2, 1, 6)], devices, 7, 2) == 3 + 4
    assert nodes_visited([(1, 0, 1, 2, 4)], devices, 7, 2) == 2
    assert nodes_visited([(1, 0, 1, 2, 4)], devices, 7, 3) == 1
    assert nodes_visited([], devices, 7, 2) == 0


def test_without_copies_it_is_the_number_of_nodes() -> None:
    devices = [[0], [1], [2], [3]]
    for chosen in itertools.combinations(range(4), 2):
        assert nodes_visited([(1, *chosen)], devices, 4, 2) == len({expert // 2 for expert in chosen})

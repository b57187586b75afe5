import math
from collections.abc import Sequence
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.figures.placement_bounds.pairings import check_cases

DEVICES = 4

Points = list[tuple[int, int]]


def refutes(
    load: Sequence[int], threshold: Fraction, values: Sequence[Fraction], price: int, points: Points
) -> bool:  # fmt: skip
    """By the definition: every expert's cheapest count of copies, share against value."""
    slots, total = 2 * DEVICES, 0
    fewest = [max(1, -(-weight // threshold)) for weight in load]
    spare = slots - sum(fewest)
    if spare < 0 or max(fewest) > DEVICES:
        return True
    for weight, least in zip(load, fewest, strict=True):
        costs = []
        for copies in range(int(least), int(min(DEVICES, least + spare)) + 1):
            share = Fraction(weight, copies)
            each = price + sum(
                times * ((share > threshold - values[place]) - (share < values[place])) for place, times in points
            )
            costs.append(copies * each)
        total += min(costs)
    return total > price * slots


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_a_leaf_refutes_just_what_the_definition_says(data: st.DataObject) -> None:
    load = data.draw(st.lists(st.integers(1, 13), min_size=5, max_size=7))
    threshold = Fraction(data.draw(st.integers(8, 30)), data.draw(st.sampled_from([1, 1, 2, 3])))
    parts = data.draw(st.sets(st.integers(1, 12), min_size=1, max_size=4))
    values = [threshold / 2 * part / 12 for part in sorted(parts)]
    if data.draw(st.booleans()):
        # Where shares lie, and beside them on a coarser grid, a comparison may be off by nothing.
        shares = {Fraction(weight, copies) for weight in load for copies in range(1, 5)}
        beside = {Fraction(side) for share in shares for side in (math.floor(share), math.ceil(share))}
        close = data.draw(st.sampled_from([shares, beside, beside]))
        values = sorted({v for side in close for v in (side, threshold - side) if 0 < 2 * v <= threshold}) or values
    multipliers = data.draw(st.lists(st.integers(0, 3), min_size=len(values), max_size=len(values)))
    points = [(place, times) for place, times in enumerate(multipliers) if times]
    for price in range(-12, 13):
        reason = check_cases(load, DEVICES, threshold, values, {"price": price, "points": [list(p) for p in points]})
        assert (reason is None) == refutes(load, threshold, values, price, points)

from __future__ import annotations

import itertools
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from optimizer.domain.buckets import Lengths, check_nested, nested_buckets

lengths = st.lists(
    st.builds(Lengths, st.integers(1, 40), st.integers(1, 40), st.integers(1, 9)), min_size=1, max_size=12
)


def _inside(own, bucket):
    return own.input_tokens <= bucket.input_tokens and own.output_tokens <= bucket.output_tokens


@given(lengths, st.integers(1, 6))
def test_every_request_is_covered_by_the_bucket_that_holds_it(own, most):
    buckets = nested_buckets(own, most)
    check_nested(buckets)
    assert len(buckets) <= most
    total = sum(one.requests for one in own)
    held = 0
    for bucket in buckets:
        within = sum(one.requests for one in own if _inside(one, bucket))
        assert Fraction(within - held, total) == bucket.share
        held = within
    assert held == total


def _rounding(own, buckets):
    """Mean input and output that are priced, each over the true mean."""
    total = sum(one.requests for one in own)
    given_ = Fraction(sum(one.input_tokens * one.requests for one in own), total)
    made = Fraction(sum(one.output_tokens * one.requests for one in own), total)
    cost, held = Fraction(0), 0
    for x, y in buckets:
        within = sum(one.requests for one in own if one.input_tokens <= x and one.output_tokens <= y)
        cost += Fraction(within - held, total) * (x / given_ + y / made)
        held = within
    return cost if held == total else None


@given(st.lists(st.builds(Lengths, st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=6))
def test_no_other_nested_buckets_round_less(own):
    corners = list(itertools.product({o.input_tokens for o in own}, {o.output_tokens for o in own}))
    least = min(
        cost
        for size in (1, 2, 3)
        for chosen in itertools.combinations(sorted(corners), size)
        if all(a[1] <= b[1] for a, b in itertools.pairwise(chosen)) and (cost := _rounding(own, chosen)) is not None
    )
    found = nested_buckets(own, 3)
    assert _rounding(own, [(b.input_tokens, b.output_tokens) for b in found]) <= least


@given(lengths)
def test_more_buckets_never_round_more(own):
    costs = [
        _rounding(own, [(b.input_tokens, b.output_tokens) for b in nested_buckets(own, most)]) for most in range(1, 7)
    ]
    assert costs == sorted(costs, reverse=True)

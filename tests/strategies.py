"""Hypothesis strategies that several tests share."""

from fractions import Fraction

from hypothesis import strategies as st

from optimizer.units import Dimension

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
"""Anything that a key of a document may hold, sensible or not."""

documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
"""Anything that a document may hold."""


def decimals(largest: int) -> st.SearchStrategy[str]:
    """Numbers as people write them."""
    whole = st.integers(0, largest).map(str)
    tenths = st.integers(0, largest * 1000).map(lambda thousandths: f"{thousandths // 1000}.{thousandths % 1000:03d}")
    return whole | tenths


@st.composite
def quantities(draw: st.DrawFn, dimension: Dimension) -> tuple[str, Fraction]:
    """A quantity as text, and what it says."""
    unit, size = draw(st.sampled_from(sorted(dimension.units.items())))
    number = draw(decimals(999))
    blank = draw(st.sampled_from(["", " ", "  "]))
    return f"{number}{blank}{unit}", Fraction(number) * size

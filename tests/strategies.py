"""Hypothesis strategies that several tests share."""

import copy
from fractions import Fraction
from typing import Any

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


def _paths(data: object, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a document, containers before what they contain."""
    found = [at]
    steps = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, value in steps:
        found += _paths(value, (*at, step))
    return found


hostile = scalars | st.sampled_from(
    [0, -1, 1, 2**31, 2**63, 10**18, 10**300, 0.5, 1e300, "", "0 s", "-1 GB", "1e300 GB", "nan", [], {}, [[]], {"": {}}]
)
"""Values that break careless readers."""


@st.composite
def broken(draw: st.DrawFn, document: dict[str, object]) -> object:
    """A document with one to three of its parts replaced, removed, renamed or repeated."""
    data: object = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.sampled_from(_paths(data)))
        if not at:
            continue
        parent: Any = data
        for step in at[:-1]:
            parent = parent[step]
        change = draw(st.sampled_from(["replace", "swap", "remove", "rename", "wrap"]))
        if change == "replace":
            # The samples are shared, and a later change may reach into them.
            parent[at[-1]] = copy.deepcopy(draw(hostile))
        elif change == "swap":
            other: Any = data
            for step in draw(st.sampled_from(_paths(data))):
                other = other[step]
            parent[at[-1]] = copy.deepcopy(other)
        elif change == "wrap":
            parent[at[-1]] = [parent[at[-1]]]
        elif change == "remove" or isinstance(parent, list):
            del parent[at[-1]]
        else:
            parent[draw(st.text(max_size=8))] = parent.pop(at[-1])
    return data

"""Values of a program become what a file would hold, each number exactly."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimizer.errors import SpecError
from optimizer.readers.values import plain_value


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(2), 2),
        (np.float64(0.05), 0.05),
        (np.greater(2, 1), True),
        (np.str_("vllm"), "vllm"),
        (np.arange(1, 3), [1, 2]),
        (range(1, 3), [1, 2]),
        ((1, Path("a/hw.yaml")), [1, "a/hw.yaml"]),
        (Fraction(4), 4),
        (Fraction(1, 20), 0.05),
        (Fraction(1, 30), "1/30"),
        (Decimal("0.05"), 0.05),
        (Decimal("1e3"), 1000),
        ({np.int64(3): None}, {"3": None}),
    ],
)
def test_values_are_kept_exactly(value: object, plain: object) -> None:
    found = plain_value({"limits": [value]})
    assert found == {"limits": [plain]}
    assert type(found["limits"][0]) is type(plain) or isinstance(plain, str)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "limits[0]: nan is not a finite number"),
        (np.float32("inf"), "limits[0]: inf is not a finite number"),
        (Decimal("sNaN"), "limits[0]: sNaN is not a finite number"),
        (Decimal("1e999999999"), "limits[0]: is out of range"),
        (Fraction(1, 10**500), "limits[0]: is out of range"),
        (10**500, "limits[0]: is out of range"),
        ({1, 2}, "limits[0]: no file holds a value of type set"),
        (b"4", "limits[0]: no file holds a value of type bytes"),
        (timedelta(seconds=1), "limits[0]: no file holds a value of type timedelta"),
        ({"tpot": {(1, 2): 3}}, "limits[0].tpot: a key is text, not of type tuple"),
        ({"tp": {1: 2, "1": 3}}, "limits[0].tp: two keys are the same text"),
    ],
)
def test_what_no_file_holds_is_refused_by_its_field(value: object, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        plain_value({"limits": [value]})
    assert str(refused.value) == f"<values>: {message}"


def test_what_holds_itself_is_refused() -> None:
    around: list[Any] = []
    around.append(around)
    with pytest.raises(SpecError, match="nested deeper than 64 levels"):
        plain_value({"search": around})

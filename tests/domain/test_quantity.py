from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from optimizer.domain import quantity
from optimizer.domain.base import Spec
from optimizer.units import Dimension, parse_quantity


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Bytes", "80 GB", 80 * 10**9),
        ("PositiveBytes", 1, 1),
        ("Bytes", 0, 0),
        ("BytesPerSecond", "400 Gb/s", 50 * 10**9),
        ("Flops", "989 TFLOP/s", 989 * 10**12),
        ("Seconds", "50 ms", Fraction(1, 20)),
        ("Seconds", 0, Fraction(0)),
        ("DollarsPerHour", "1.5 $/h", Fraction(3, 2)),
        ("PositiveRate", "40 requests/s", Fraction(40)),
        ("Ratio", "30%", Fraction(3, 10)),
        ("Ratio", 0.1, Fraction(1, 10)),
        ("Factor", 2, Fraction(2)),
        ("Count", "15T", 15 * 10**12),
    ],
)
def test_reads_exactly(name: str, text: object, expected: Fraction) -> None:
    value = TypeAdapter(getattr(quantity, name)).validate_python(text)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("Bytes", "0.3 B", "0.3 B is not whole"),
        ("PositiveBytes", 0, "must be at least 1 B, not 0"),
        ("BytesPerSecond", "0 GB/s", "must be at least 1 B/s, not 0 GB/s"),
        ("Flops", "0 TFLOP/s", "must be at least 1"),
        ("PositiveSeconds", "0 s", "must be more than 0"),
        ("Seconds", "1e7 s", "1e7 s is too large: at most 11.57 d"),
        ("Ratio", 1.5, "1.5 is too large: at most 100%"),
        ("Factor", 0, "must be more than 0"),
    ],
)
def test_refuses(name: str, text: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(getattr(quantity, name)).validate_python(text)


@given(st.fractions(min_value=0, max_value=1000, max_denominator=10**12))
def test_a_dumped_fraction_reads_back_exactly(value: Fraction) -> None:
    assert parse_quantity(quantity.plain_number(value), Dimension.RATIO) == value


def test_dumps_as_numbers_and_has_a_schema() -> None:
    class Limits(Spec):
        ttft: quantity.Seconds
        memory: quantity.Bytes

    limits = Limits.model_validate({"ttft": "100 ms", "memory": "1 kB"})
    assert limits.model_dump_json() == '{"ttft":0.1,"memory":1000}'
    assert Limits.model_validate_json(limits.model_dump_json()) == limits
    for mode in ("validation", "serialization"):
        schema = Limits.model_json_schema(mode=mode)  # type: ignore[arg-type]
        assert schema["properties"]["ttft"]["examples"] == ["50 ms"]

from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.units import (
    Dimension,
    QuantityError,
    counted,
    eased,
    format_quantity,
    parse_fraction,
    parse_quantity,
    plain,
)
from tests.strategies import quantities


@pytest.mark.parametrize(
    ("text", "dimension", "expected"),
    [
        ("80 GB", Dimension.BYTES, 80 * 10**9),
        ("80GB", Dimension.BYTES, 80 * 10**9),
        ("80 GiB", Dimension.BYTES, 80 * 2**30),
        ("1.5 KiB", Dimension.BYTES, 1536),
        ("0.62 GB", Dimension.BYTES, 620_000_000),
        (".5 kB", Dimension.BYTES, 500),
        ("1_000 B", Dimension.BYTES, 1000),
        ("1e3 B", Dimension.BYTES, 1000),
        (4096, Dimension.BYTES, 4096),
        ("400 Gb/s", Dimension.BYTES_PER_SECOND, 50 * 10**9),
        ("400 Gbps", Dimension.BYTES_PER_SECOND, 50 * 10**9),
        ("50 GB/s", Dimension.BYTES_PER_SECOND, 50 * 10**9),
        ("3.35 TB/s", Dimension.BYTES_PER_SECOND, 3_350_000_000_000),
        ("1 b/s", Dimension.BYTES_PER_SECOND, Fraction(1, 8)),
        ("989 TFLOP/s", Dimension.FLOPS, 989 * 10**12),
        ("1.979 PFLOP/s", Dimension.FLOPS, 1979 * 10**12),
        ("1979 TOPS", Dimension.FLOPS, 1979 * 10**12),
        ("37 GFLOP", Dimension.FLOP, 37 * 10**9),
        ("2s", Dimension.SECONDS, 2),
        ("2 s", Dimension.SECONDS, 2),
        ("50 ms", Dimension.SECONDS, Fraction(1, 20)),
        ("12 us", Dimension.SECONDS, Fraction(12, 10**6)),
        ("12 \N{MICRO SIGN}s", Dimension.SECONDS, Fraction(12, 10**6)),
        ("12 \N{GREEK SMALL LETTER MU}s", Dimension.SECONDS, Fraction(12, 10**6)),
        ("3 ns", Dimension.SECONDS, Fraction(3, 10**9)),
        ("1.5 min", Dimension.SECONDS, 90),
        ("2 h", Dimension.SECONDS, 7200),
        ("54 d", Dimension.SECONDS, 54 * 86400),
        ("1.5 $/h", Dimension.DOLLARS_PER_HOUR, Fraction(3, 2)),
        ("$1.5/h", Dimension.DOLLARS_PER_HOUR, Fraction(3, 2)),
        ("$3.2M", Dimension.DOLLARS, 3_200_000),
        ("2.5 $/Mtok", Dimension.DOLLARS_PER_TOKEN, Fraction(5, 2 * 10**6)),
        ("30%", Dimension.RATIO, Fraction(3, 10)),
        ("30 %", Dimension.RATIO, Fraction(3, 10)),
        ("1.3x", Dimension.RATIO, Fraction(13, 10)),
        (0.9, Dimension.RATIO, Fraction(9, 10)),
        ("1/3", Dimension.RATIO, Fraction(1, 3)),
        (Fraction(1, 3), Dimension.RATIO, Fraction(1, 3)),
        ("671B", Dimension.COUNT, 671 * 10**9),
        ("15 T", Dimension.COUNT, 15 * 10**12),
        ("10e9", Dimension.COUNT, 10**10),
        (10e9, Dimension.COUNT, 10**10),
        ("120k tokens/s", Dimension.TOKENS_PER_SECOND, 120_000),
        ("120000 tokens/s", Dimension.TOKENS_PER_SECOND, 120_000),
        ("40 requests/s", Dimension.PER_SECOND, 40),
        ("40 requests / s", Dimension.PER_SECOND, 40),
        ("90 req/min", Dimension.PER_SECOND, Fraction(3, 2)),
    ],
)
def test_reads(text: object, dimension: Dimension, expected: Fraction) -> None:
    assert parse_quantity(text, dimension) == expected


@pytest.mark.parametrize(
    ("value", "dimension", "message", "suggestion"),
    [
        ("80 gb", Dimension.BYTES, "unknown unit 'gb' for a size in bytes", "80 GB"),
        ("80 GBs", Dimension.BYTES, "unknown unit 'GBs'", "80 GB"),
        ("80 Gb", Dimension.BYTES, "unknown unit 'Gb'", "80 GB"),
        ("10 furlongs", Dimension.SECONDS, "unknown unit 'furlongs' for a time", None),
        ("2 GB", Dimension.SECONDS, "'2 GB' is a size in bytes, where a time is wanted", None),
        ("400 Gb/s", Dimension.BYTES, "'400 Gb/s' is a bandwidth, where a size in bytes is wanted", None),
        ("50 ms", Dimension.RATIO, "'50 ms' is a time, where a ratio is wanted", None),
        ("5%", Dimension.COUNT, "'5%' is a ratio, where a count is wanted", None),
        ("1,000", Dimension.COUNT, "unknown unit ',000'", None),
        ("-2 s", Dimension.SECONDS, "-2 s is negative", None),
        (-1, Dimension.BYTES, "-1 is negative", None),
        (float("nan"), Dimension.BYTES, "'nan' is not a finite number", None),
        (float("inf"), Dimension.BYTES, "'inf' is not a finite number", None),
        ("NaN GB", Dimension.BYTES, "'NaN GB' is not a finite number", None),
        (".inf", Dimension.BYTES, "'.inf' is not a finite number", None),
        (10**300, Dimension.BYTES, "an enormous number is too large: at most 1,000 PB", None),
        pytest.param(10**5000, Dimension.BYTES, "an enormous number is too large", None, id="5001 digits"),
        (1e300, Dimension.SECONDS, "1e+300 is too large", None),
        ("1e300 GB", Dimension.BYTES, "1e300 GB is too large", None),
        ("1e99999999999 GB", Dimension.BYTES, "out of range", None),
        ("1e-300 s", Dimension.SECONDS, "1e-300 s is too small", None),
        ("9" * 100, Dimension.COUNT, "is too long for a quantity", None),
        ("", Dimension.BYTES, "an empty text is not a quantity", None),
        ("GB", Dimension.BYTES, "'GB' is not a quantity", None),
        ("1/0", Dimension.RATIO, "unknown unit '/0'", None),
        ("about 5", Dimension.COUNT, "is not a quantity", None),
        (True, Dimension.RATIO, "a ratio is wanted, not true or false", None),
        (None, Dimension.RATIO, "a ratio is wanted, not nothing", None),
        ([1], Dimension.COUNT, "a count is wanted, not a list", None),
        ({}, Dimension.COUNT, "a count is wanted, not a mapping", None),
    ],
)
def test_refuses(value: object, dimension: Dimension, message: str, suggestion: str | None) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_quantity(value, dimension)
    assert message in str(caught.value)
    assert caught.value.suggestion == suggestion


@pytest.mark.parametrize("dimension", Dimension)
@given(data=st.data())
def test_every_unit_scales_exactly(dimension: Dimension, data: st.DataObject) -> None:
    text, expected = data.draw(quantities(dimension))
    if expected <= dimension.largest:
        assert parse_quantity(text, dimension) == expected


@pytest.mark.parametrize("dimension", Dimension)
@given(value=st.fractions(min_value=0, max_value=10**9).filter(lambda value: value == 0 or value > Fraction(1, 10**6)))
def test_what_is_printed_reads_back_within_four_digits(dimension: Dimension, value: Fraction) -> None:
    value = min(value, Fraction(dimension.largest))
    back = parse_quantity(format_quantity(value, dimension).replace(",", ""), dimension)
    assert abs(back - value) * 1999 <= value


@given(st.text(max_size=80) | st.from_regex(r"[-+]?[0-9._]{1,20}([eE][-+]?[0-9]{1,12})? ?[a-zA-Z%$/]{0,8}"))
def test_any_text_reads_or_is_refused(text: str) -> None:
    for dimension in Dimension:
        try:
            value = parse_quantity(text, dimension)
        except QuantityError as error:
            assert str(error)
        else:
            assert 0 <= value <= dimension.largest


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (81_234_567_890, Dimension.BYTES, "81.23 GB"),
        (80 * 10**9, Dimension.BYTES, "80 GB"),
        (0, Dimension.BYTES, "0 B"),
        (999, Dimension.BYTES, "999 B"),
        (999_999, Dimension.BYTES, "1,000 kB"),
        (Fraction(473, 10**4), Dimension.SECONDS, "47.3 ms"),
        (Fraction(12, 10**6), Dimension.SECONDS, "12 us"),
        (59, Dimension.SECONDS, "59 s"),
        (90, Dimension.SECONDS, "1.5 min"),
        (Fraction(931, 1000), Dimension.RATIO, "93.1%"),
        (Fraction(1, 3), Dimension.RATIO, "33.33%"),
        (671_026_419_200, Dimension.COUNT, "671 B"),
        (123_456, Dimension.COUNT, "123,456"),
        (1_979 * 10**12, Dimension.FLOPS, "1.979 PFLOP/s"),
        (50 * 10**9, Dimension.BYTES_PER_SECOND, "50 GB/s"),
        (Fraction(5, 2 * 10**6), Dimension.DOLLARS_PER_TOKEN, "2.5 $/Mtok"),
        (Fraction(123_456_789, 100), Dimension.TOKENS_PER_SECOND, "1,234,568 tokens/s"),
    ],
)
def test_prints(value: Fraction, dimension: Dimension, text: str) -> None:
    assert format_quantity(value, dimension) == text


def test_a_narrower_limit_wins() -> None:
    with pytest.raises(QuantityError, match="200% is too large: at most 100%"):
        parse_quantity("200%", Dimension.RATIO, largest=1)


@pytest.mark.parametrize(
    ("text", "value"),
    [("3/2", Fraction(3, 2)), ("-7", Fraction(-7)), ("0.125", Fraction(1, 8)), ("1e-05", Fraction(1, 100_000))],
)
def test_a_fraction_of_a_document_is_exact(text: str, value: Fraction) -> None:
    assert parse_fraction(text) == value


@pytest.mark.parametrize(
    "text", ["1e999999999", "1e-999999999", "1/0", "nan", "inf", "", " 1", "1_0", "1/2/3", "9" * 4001]
)
def test_a_fraction_that_its_text_does_not_bound_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a fraction"):
        parse_fraction(text)


@pytest.mark.parametrize(("count", "said"), [(1, "1 node"), (2, "2 nodes"), (0, "0 nodes"), (1200, "1,200 nodes")])
def test_a_count_has_its_noun(count, said):
    assert counted(count, "nodes") == said


@pytest.mark.parametrize(
    "value", [Fraction(1, 3), Fraction(2, 3), Fraction(637437300582444, 10**15) + Fraction(1, 3 * 10**15)]
)
def test_an_eased_limit_is_written_no_tighter(value: Fraction) -> None:
    down, up = plain(value, eased(value, 10)), plain(value, eased(value, 0))
    assert Fraction(repr(down)) < value < Fraction(repr(up))
    assert float(value) in (down, up)
    assert plain(Fraction(1, 4), ceil) == plain(Fraction(1, 4), floor) == 0.25
    assert plain(Fraction(8), ceil) == 8


@pytest.mark.parametrize(
    ("value", "dimension", "least", "most"),
    [
        (Fraction(521509, 10**8), Dimension.SECONDS, "5.215 ms", "5.216 ms"),
        (Fraction(637437, 10**6), Dimension.PER_SECOND, "0.6374 requests/s", "0.6375 requests/s"),
        (Fraction(839511, 10**6), Dimension.RATIO, "83.95%", "83.96%"),
        (Fraction(14_335_976), Dimension.BYTES_PER_SECOND, "14.33 MB/s", "14.34 MB/s"),
        (Fraction(5), Dimension.SECONDS, "5 s", "5 s"),
    ],
)
def test_text_is_rounded_to_the_side_asked_for(value: Fraction, dimension: Dimension, least: str, most: str) -> None:
    assert (format_quantity(value, dimension, floor), format_quantity(value, dimension, ceil)) == (least, most)


@pytest.mark.parametrize("dimension", list(Dimension))
def test_a_dimension_is_printed_in_units_of_its_own_row_largest_first(dimension: Dimension) -> None:
    """A row that lacks what it is printed in could not be made: nothing else has to know of it."""
    sizes = [dimension.units[unit] for unit in dimension.printed]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes
    assert format_quantity(Fraction(0), dimension).startswith("0")

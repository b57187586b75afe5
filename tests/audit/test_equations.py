"""Written arithmetic is found, read as it was meant, and judged exactly."""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.audit import audit_document
from optimizer.audit.equation import Equation
from optimizer.audit.verdict import Verdict


def one(text: str) -> Equation:
    found = audit_document(text, "x").equations
    assert len(found) == 1, found
    return found[0]


HOLDS = [
    "$70{,}272 / 2 = 35{,}136$ B",
    "$6.6 + 3.22 = 9.82$ GFLOP",
    r"$24 \cdot 32 \cdot 24{,}883{,}200 \approx 19.1 \text{ B}$",
    "58 × 44.04 M = 2.554 B",
    "4 × 58 × 44.04 M ≈ 10.2 GB",
    "2,000 × 1,150 = 2.3 M input tok/s",
    "2,000 × 280 = 560 k output tok/s",
    "671B × 0.5 B/param = 335.5 GB",
    "8 × 50 comes to 400 GB/s",
    "The chance is 0.75^32 ≈ 1.0e-4.",
    "32 leaves × 32 uplinks / 64 ports = 16 spines",
    "32 × 32 up = 1,024",
    "4 × 5120² = 104 857 600",
    "512 chips × 43.1 days × 24 h = 529,613 chip-hours",
    "1.08e23 / 1.44e18 = 75,000 H100-hours",
    "sqrt(144) × 2 = 24",
    "6.3e24 / 4.59e14 = 435 years",
    "60% of 4 x 9,000 = 36,000",
    "85 min x 64 GPUs = 90.7 GPU-hours",
    "3 days × 128 GPUs = 9,216 GPU-h",
    "6 x 1.8 kW = 10.8 at most",
    "90 h x 256 = 23.0 k",
    "8.1e14 / 3.2 × 10^11 = 2,531 tok/s",
    r"$$24 \cdot 4096 \cdot 4096 / 8 = 50.3\ \text{MB}.$$",
    "14.8e3 * 3600 = 53M output tokens per hour",
    "342B × $0.14/M + 266B × $0.55/M + 168B × $2.19/M = $47,880 + $146,300 + $367,920",
    "8 × 4 × 16 × 4 = 2048",
    "8x4x16x4 = 2048",
    "8*4*16*4=2048",
    "8 · 4 = 32",
    "1024 ÷ 128 = 8",
    "1024/128 = 8",
    "2 + 3 × 4 = 14",
    "(2 + 3) × 4 = 20",
    "100 − 24 = 76",
    "2^10 = 1024",
    "2**10 = 1024",
    "2¹⁰ = 1024",
    "10^9 = 1,000,000,000",
    "1e9 / 8 = 125,000,000",
    "64 experts/layer × 16 layers = 1024 expert instances",
    "16 layers × 0.5 experts per GPU per layer = 8 expert instances",
    "1024 total expert instances ÷ 128 GPUs = 8 experts per GPU",
    "120 tokens/ms per GPU × 32 GPUs = 3,840 tokens/ms",
    "120 tokens/ms × 32 = 3.84M tokens/s",
    "4.4B parameters × 2 bytes = 8.8 GB",
    "4.4B × 2 / 128 = 69 MB",
    "64 GB (HBM3) × 8 = 512 GB",
    "8 × H100 80GB = 640 GB",
    "0.62 + 18.58 GB = 19.2 GB",
    "0.62 GB = 620 MB",
    "1 MiB = 1,048,576 bytes",
    "8.5 s = 8500 ms",
    "30% of 64 GB = 19.2 GB",
    "19.2GB (30% of 64GB VRAM)",
    "18.6GB (29% of 64GB VRAM)",
    "Total experts: 256 (16 layers × 16 experts per layer)",
    "19.2 / 64 = 30%",
    "19.2 / 64 × 100 = 30%",
    "100 - 0.02 = 99.98%",
    "7 / 3 ≈ 2.33",
    "120,000 / 79 ≈ 1,500",
    "8 × 4 → 32",
    "8 times 4 is 32",
    "256 divided by 32 equals 8",
    "the sum 8 plus 4 yields 12",
    "ceil(61/4) = 16",
    "⌈61/4⌉ = 16",
    "TP8 × PP4 = 32",
    "8 × 4 ≠ 33",
    "16 × 16 == 256",
    "$8 \\times 4 = 32$",
    "-3 + 5 = 2",
    "1.5e3 × 2 = 3000",
    "12’000 × 2 = 24’000",
    "3.35 TB/s ÷ 140 GB ≈ 24 tokens/s",
    "989 TFLOP/s × 40% = 396 TFLOP/s",
    "8 × 700 W = 5.6 kW",
    "100 W × 8 h = 0.8 kWh",
    "100 - 12% = 88%",
    "3 of 48 nodes = 6.25%",
    "$64 / 0.0052 \\approx 12{,}308$",
    "$\\frac{70 \\times 10^9 \\cdot 2}{3.35 \\times 10^{12}} \\approx 41.8\\,\\mathrm{ms}$",
    "$2150 / 3130 = 69\\,\\%$",
    "12 times 8 and gets 96",
    "144 × 186,5 GB = 26,856 TB",
    "1.200 × 144 = 172.800 and 4,66 GB",
    "400 Gb/s = 50 GB/s per NIC",
    "$2,736 / 746.5 = $3.67 per million",
    "20,183M x $0.90 = $18,165",
    "3.5B x 0.53 B = 1.9 GB",
    "micro-batch 2 x accumulation 8 x DP 16 = 256 sequences",
    "48 x $2.20 x 730 h = $77,088",
    "39 kW x 730 h x EUR 0.11 = EUR 3,132",
    "4 x 750 W x $0.20/kWh x 24 h = $14.40",
]
FAILS = [
    "16 GPUs at 26% of 4,000 tok/s give 20,640 tok/s",
    "Four GPUs at 45% of 989 TFLOPS give 2,780 TFLOP/s",
    "300 B / 4,194,304 = 91,500 steps",
    "6.6 + 3.22 = 8.92 GFLOP",
    "61 × 576 × 2 = 70.3 MB",
    "1.08e23 / 1.44e18 = 85,000 H100-hours",
    "4.5 B × 3 = 9 B",
    "8 × 64 = 500,000",
    "2 × 2550 = 4 100",
    "8 × 4 × 16 × 4 = 512",
    "8x4x16x4 = ~512",
    "1024 ÷ 128 = 9",
    "8 × 4 → 33",
    "8 times 4 is 33",
    "64 experts/layer × 16 layers = 1000 expert instances",
    "0.62GB (8 experts × 3 × 512 × 1024 × 2 bytes)",
    "256 experts (16 layers × 15 experts)",
    "4.4B parameters × 2 bytes = 4.4 GB",
    "19.2 / 64 = 35%",
    "30% of 64 GB = 23 GB",
    "1 GiB = 1,000,000,000 bytes",
    "8 × 4 ≠ 32",
    "120 tokens/ms × 32 = 3,480 tokens/ms",
    "TP8 × PP4 × EP16 × DP4 = 512",
    "2^10 = 1000",
    "2 + 3 × 4 = 20",
    "100 − 24 = 66",
    "120,000 / 79 ≈ 2,500",
    "8 × 700 W = 6.6 kW",
    "3 of 48 nodes = 7.25%",
    "1.200 × 144 = 182.800 and 4,66 GB",
    "micro-batch 2 x accumulation 8 x DP 16 = 512 sequences",
    "48 x $2.20 x 730 h = $70,080",
    "39 kW x 730 h x EUR 0.11 = EUR 4,132",
    "0.421 kWh x $0.09/kWh = $0.379",
]
AMBIGUOUS = [
    ("$0.90 / (1,510 × 3,600) = $0.166", "of a million"),
    ("4.5 B × 2 = 9 B", "billions"),
    ("116.4 × 8,760 ≈ 1,020 MWh", "a thousandth of MWh"),
    ("8 × 80 = 0.64 TB", "a thousandth of TB"),
    ("(384 / 6) * 1390 = 89,000 tokens per GPU", "digits that are not zero"),
    ("0.02GB (8 experts × 3 × 512 × 1024 × 2 bytes)", "read as GiB"),
    ("2 / 3 = 0.66", "cut off"),
    ("100 / 8 = 13", "rounded up"),
    ("0.6 GB × 32 = 19.8 GB", "more digits"),
    ("128 × 1024 = 128K", "Ki"),
    ("120,000 / 79 = 1,500", "digits that are not zero"),
]
NOTHING = [
    "acos 1e-305 -0.0 -> 1.5708",
    "erfc -40 -> 2.0",
    'subf("{0} => {2} {1}")',
    "x[0][1] = 2",
    "step 3 [2] = 4",
    r"$$2 \cdot 2550^2 / F = 453$$",
    "Images (a 4k×4k image is ~200 MB)",
    "288.7 PFLOPS ⇒ ~752 TFLOPS/slot",
    "64.00 GiB (3,276 chunks × 20,971,520 bytes/chunk)",
    "3 matrices (512 × 1024)",
    "1 layer = 4 × 512",
    "2 experts = 2 × 1.6M parameters",
    "TP=8, PP=4",
    "from 2×4 → 16 GPUs",
    "on 2024-11-21 at 24/7, version 3.11",
    "x = 8 * n + 4",
    "f(3) = 4 × 2",
    "total = EP × 8 = 64",
    "Memory for 8 experts = 2.48 GB",
    "8-way = fast",
    "0x10 = 16",
    "80 GB per GPU (8 × 80 GB)",
    "4 nodes (4 × 8 = 32 GPUs)".replace("4 × 8 = 32", "8 GPUs × H100"),
    "EP 8 = 16/8",
    "8 × Gaudi 3 = 8 cards",
    "700 W x 24 h x $0.11 = $1.85",
    "12 GPUs x 6 weeks x $2.10 = $25,401",
    "$12 for 3 h × 4 = $48",
    "Each is 320,960 / 16 = EUR 20,060 over three years. The GPUs of a server may draw 8 × 350 = 2,800 W",
    "3,572 × 10.2 = 36 TFLOPS",
    "```\n  a night   1,584 GPUs x 3.2\n  x 86,400 s x 0.55 = 2,395 M tokens a day\n```",
]


@pytest.mark.parametrize(
    "text",
    [
        "235B at 1 byte = 235 GB",
        "70B in 4 bit = 35 GB",
        "12 GPUs at 30% of 5,000 tok/s give 18K tok/s",
        "two cards at 45% of 733 TFLOPS are 660 TFLOP/s",
        "Both nodes of 8 cards at 40% of 989 TFLOPS make 6,330 TFLOP/s",
        "120 B / 1,048,576 = 114,400 steps",
        "15 T / 2,097,152 = 7,150,000 steps",
        "32k × 4 = 131,000 tokens",
        "A prompt of 8,192 tokens at 2 × 70 GFLOP/token ≈ 1.15 PFLOP",
        "8 cards, 350 W/card = 2.8 kW",
        "2 nodes with 8 x 80 = 1,280 GB",
        "900 tok/s x 3,600 = 3.24M tokens/h x 24 = 77.8M a day",
        "70.6e9 × 2 B = 141 GB / 4 = 35.3 GB per card",
        "99.9% of 30 d = 43.2 min left",
        "99.5% of 720 h = 3.6 h over",
        "5.3 / 4.8 = +10%",
    ],
)
def test_arithmetic_that_a_figure_before_it_multiplies_is_not_accused(text: str) -> None:
    assert not any(equation.verdict.wrong for equation in audit_document(text, "x").equations)


@pytest.mark.parametrize(
    "text",
    ["8 x 700 W = 4.9", "85 min x 64 GPUs = 80.7 GPU-hours", "In all 4 x 8 = 36 GPUs", "0.62 GB = 0.06 TB"],
)
def test_a_result_whose_unit_is_unsaid_is_still_judged(text: str) -> None:
    assert one(text).verdict is Verdict.FAILS


@pytest.mark.parametrize("text", HOLDS)
def test_right_arithmetic_holds(text: str) -> None:
    assert one(text).verdict == "holds", one(text)


@pytest.mark.parametrize("text", FAILS)
def test_wrong_arithmetic_fails(text: str) -> None:
    assert one(text).verdict == "fails", one(text)


@pytest.mark.parametrize(("text", "why"), AMBIGUOUS)
def test_what_is_true_in_one_reading_names_it(text: str, why: str) -> None:
    assert one(text).verdict == "ambiguous"
    assert why in one(text).reading


@pytest.mark.parametrize("text", NOTHING)
def test_what_is_no_equation_is_not_accused(text: str) -> None:
    assert not [equation for equation in audit_document(text, "x").equations if equation.verdict == "fails"]


@pytest.mark.parametrize(
    "text", ["layers 0 - 15 = 16 layers", "ranks 8–15 = 8 ranks", "Stage 2 - 8 × 4 = 32", "10-20 = 5"]
)
def test_a_range_or_a_dash_is_never_accused(text: str) -> None:
    assert {equation.verdict for equation in audit_document(text, "x").equations} <= {"unsupported", "holds"}


def test_a_bare_result_is_shown_in_the_stated_unit() -> None:
    assert one("6.6 + 3.22 = 8.92 GFLOP").arithmetic == "6.6 + 3.22 = 9.82 GFLOP"
    assert one("61 × 576 × 2 = 70.3 MB").arithmetic == "61 × 576 × 2 = 0.070272 MB"


def test_the_left_out_factor_is_named() -> None:
    found = one("8 × 4 × 16 × 4 = 512")
    assert found.evaluated == 2048
    assert "512 = 8 × 4 × 16: the factor 4 is left out" in found.explanation
    named = one("TP8 × PP4 × EP16 × DP4 = 512").explanation
    assert "the factor 4 dp is left out" in named
    assert "the factor 4 pp is left out" in named


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("4.4B parameters × 2 bytes = 4.4 GB", "parameters taken for bytes"),
        ("0.3 × 100 GB = 3 GB", "decimal place"),
        ("10 GB/s × 8 = 640 GB/s", "bytes and bits"),
        ("3 GB × 2 = 6 MB", "one unit prefix"),
    ],
)
def test_a_confusion_that_gives_the_figure_exactly_is_named(text: str, why: str) -> None:
    assert why in one(text).explanation


def test_line_column_and_figures() -> None:
    found = one("intro\n\n- so it is **8** × 4 = 33 GPUs\n")
    assert (found.place.line, found.place.column) == (3, 14)
    assert (found.stated, found.evaluated) == (33, 32)
    assert one("It takes 0.02GB (8 experts × 3 × 512 × 1024 × 2 bytes)").evaluated == Fraction(25165824, 10**9)


def test_a_derivation_over_lines_is_one_chain() -> None:
    found = one("```\nper device = all ÷ devices\n           = 256 ÷ 32\n           = 8\n```\n")
    assert (found.place.line, found.verdict) == (3, "holds")


def test_a_chain_that_runs_on_is_followed() -> None:
    text = "64 × 16 = 1024 ÷ 128 = 8"
    assert {equation.verdict for equation in audit_document(text, "x").equations} == {"holds"}


def test_table_rows_are_read_across() -> None:
    text = "| Item | Formula | Result |\n|--|--|--|\n| a | 8 × 4 | 32 |\n| b | 8 × 5 | 32 |\n"
    found = audit_document(text, "x").equations
    assert [(equation.place.line, equation.verdict) for equation in found] == [(3, "holds"), (4, "fails")]


@given(
    numbers=st.lists(st.integers(1, 5000), min_size=2, max_size=6),
    sign=st.sampled_from(["×", "x", "*", "·"]),
    grouped=st.booleans(),
)
def test_random_products_hold_and_wrong_ones_fail(numbers: list[int], sign: str, *, grouped: bool) -> None:
    value = 1
    for number in numbers:
        value *= number
    left = f" {sign} ".join(f"{number:,}" if grouped else str(number) for number in numbers)
    assert one(f"{left} = {value:,}").verdict == "holds"
    wrong = value + (1 if (value + 1) % 1000 else 2)  # three noughts at the end are a rounding
    assert one(f"{left} = {wrong}").verdict == "fails"


@given(st.lists(st.tuples(st.sampled_from("+-*/"), st.integers(1, 400)), min_size=1, max_size=6), st.integers(1, 400))
def test_random_mixed_arithmetic_agrees_with_python(parts: list[tuple[str, int]], first: int) -> None:
    text = f"{first} " + " ".join(f"{sign} {number}" for sign, number in parts)
    value = eval(" ".join(f"Fraction({word})" if word.isdigit() else word for word in text.split()))  # noqa: S307
    if value.denominator == 1 and value >= 0:
        assert one(f"{text} = {value}").verdict == "holds"
        assert one(f"{text} = {value + 7}").verdict == "fails"


@given(st.integers(1, 10**6), st.integers(1, 10**4), st.integers(1, 4))
def test_random_quotients_hold_to_the_digits_written(top: int, bottom: int, digits: int) -> None:
    with localcontext() as context:
        context.prec = 40
        exact = Decimal(top) / Decimal(bottom)
        stated = exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_EVEN)
        wrong = (stated * 2 + 1).quantize(Decimal(1).scaleb(-digits))
    assert one(f"{top} / {bottom} = {stated:f}").verdict == "holds"
    assert one(f"{top} / {bottom} = {wrong:f}").verdict == "fails"


def test_a_difference_is_open_by_the_last_digits_of_both() -> None:
    assert one("10.0 GB − 9.5 GB = 0.4 GB").verdict == "ambiguous"
    assert one("10.0 GB − 9.5 GB = 0.6 GB").verdict == "ambiguous"
    assert one("10.0 GB − 9.5 GB = 0.8 GB").verdict == "fails"


def test_a_factor_left_out_of_two_is_named() -> None:
    (equation,) = audit_document("8 × 4 = 4", "x").equations
    assert equation.explanation == "4 = 4: the factor 8 is left out"


def test_cells_that_come_back_keep_their_own_places() -> None:
    text = "| a | b |\n|-|-|\n| 3 × 3 = 9 | 3 × 3 = 9 |\n| 3 × 3 = 9 | 3 × 3 = 8 |\n"
    found = audit_document(text, "x").equations
    assert [(item.place.line, item.place.column, str(item.verdict)) for item in found] == [
        (3, 3, "holds"),
        (3, 15, "holds"),
        (4, 3, "holds"),
        (4, 15, "fails"),
    ]


@pytest.mark.parametrize("sign", ["x", "X", "×", "*"])
@pytest.mark.parametrize(
    "degrees", ["TP 4 {} PP 2 {} DP 8", "TP4 {} PP2 {} DP8", "TP=4 {} PP=2 {} DP=8", "4 {} PP-2 {} dp 8"]
)
def test_a_letter_multiplies_degrees_as_a_sign_does(sign, degrees):
    written = degrees.format(sign, sign)
    assert one(f"We use {written} = 64 GPUs.").verdict is Verdict.HOLDS
    assert one(f"We use {written} = 32 GPUs.").verdict is Verdict.FAILS

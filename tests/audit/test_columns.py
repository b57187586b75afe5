"""One row of a table against the rule that all its other rows keep."""

import pytest

from optimizer.audit import audit_document


def table(header: str, *rows: str) -> str:
    lines = [header, "|".join("-" for _ in header.split("|")), *rows]
    return "\n".join(f"| {line} |" for line in lines)


def told(text: str) -> list[tuple[tuple[int, ...], str]]:
    found = audit_document(text, "x").contradictions
    return [(item.lines, item.explanation) for item in found if item.name == "column"]


CHANGES = ("4 | 800 | 840 | +5 %", "8 | 1,600 | 2,000 | +25 %", "16 | 310 | 248 | −20 %", "32 | 24 | 21 | −12.5 %")
SHARES = ("web | 900 | 45 %", "other | 400 | 20 %", "code | 300 | 15 %", "math | 240 | 12 %", "books | 120 | 6 %")
PRODUCTS = ("a | 4 | 8 | 32", "b | 6 | 8 | 48", "c | 5 | 4 | 20", "d | 9 | 8 | 72")


def test_a_change_that_does_not_follow_from_its_two_figures() -> None:
    found = told(table("rate | before | after | change", *CHANGES, "64 | 1,250 | 900 | −38 %"))
    assert found == [((7,), "change: every other row is (after − before) / before, which here is -28 %, not -38 %")]


def test_a_share_that_is_not_one() -> None:
    found = told(table("what | tokens | share", *SHARES, "talk | 40 | 4 %", "total | 2,000 | "))
    assert found == [((8,), "share: every other row is tokens × 0.0005, which here is 2 %, not 4 %")]


def test_a_product_that_is_not_one() -> None:
    found = told(table("pool | nodes | GPUs each | GPUs", *PRODUCTS, "e | 7 | 8 | 65"))
    assert found == [((7,), "GPUs: every other row is nodes × GPUs each, which here is 56, not 65")]


def test_a_row_that_its_parts_do_not_give() -> None:
    rows = ("0 | 5.95 | 1.59 | 47.5 | 55.04", "1 | 5.95 | 1.59 | 46.0 | 53.54", "2 | 5.28 | 1.41 | 30.0 | 46.69")
    found = told(table("stage | experts | attention | cache | total (GB)", *rows))
    assert found == [
        ((5,), "total (GB): every other row is experts + attention + cache, which here is 36.69, not 46.69")
    ]


SPEEDS = ("1 | 240.0 | 1.00", "2 | 123.1 | 1.95", "4 | 64.0 | 3.75", "16 | 19.4 | 12.37")


def test_a_speed_up_that_its_times_do_not_give() -> None:
    found = told(table("nodes | minutes | speed-up", *SPEEDS, "8 | 34.3 | 9.00"))
    assert [lines for lines, _ in found] == [(7,)]
    assert "every other row is 240 / minutes, which here is 6.997" in found[0][1]


def test_amounts_that_do_not_add_up() -> None:
    rows = ("server | 3 | 84,000 | 252,000", "switch | 2 | 11,500 | 23,000", "optics | 48 | 210 | 10,080")
    found = audit_document(
        table("item | count | unit price | amount", *rows, "total | | | 295,080"), "x"
    ).contradictions
    assert [(item.name, item.values) for item in found] == [("total", (285_080, 295_080))]


RATES = ("1 | 5.0 | 200", "16 | 12.5 | 1,280", "64 | 25 | 2,560", "128 | 32 | 4,000", "256 | 40 | 6,400")


def test_a_column_that_follows_by_a_conversion_of_units() -> None:
    found = told(table("users | TPOT (ms) | tokens/s", *RATES, "64 | 50 | 1,780"))
    assert found == [((8,), "tokens/s: every other row is users × 1000 / TPOT (ms), which here is 1,280, not 1,780")]
    assert told(table("users | TPOT (ms) | tokens/s", *RATES, "64 | 50 | 1,280")) == []


def test_a_ratio_of_two_columns_with_its_sign() -> None:
    rows = ("memory | 80 GB | 192 GB | 2.4x", "bandwidth | 2.04 TB/s | 5.3 TB/s | 2.6x", "power | 400 W | 750 W | 1.9x")
    found = told(table("card | A100 | MI300X | ratio", *rows, "dense | 312 TFLOPS | 1,307 TFLOPS | 3.2x"))
    assert [lines for lines, _ in found] == [(6,)]


HELD = ("4,096 | 322", "8,192 | 161", "16,384 | 80", "32,768 | 40")


def test_a_column_that_is_a_number_over_another() -> None:
    found = told(table("context | sequences", *HELD, "65,536 | 31"))
    assert [lines for lines, _ in found] == [(7,)]
    assert "every other row is 1.32e+06 / context, which here is 20.14, not 31" in found[0][1]
    cached = ("8,192 | 0.58 GB", "32,768 | 2.30 GB", "131,072 | 4.61 GB")
    assert told("# Cache\n\n" + table("context | cache", *cached)) == []
    assert told("A token takes 70,272 bytes.\n\n" + table("context | cache", *cached))[0][0] == (7,)


RUNS = ("H100 | 16 | 441 | 1,161", "H100 | 64 | 176 | 2,909", "H200 | 16 | 400 | 1,280", "H200 | 128 | 104 | 4,923")


def test_a_product_that_all_rows_have() -> None:
    found = told(table("card | users | seconds | tokens/s", *RUNS, "H200 | 64 | 160 | 4,020"))
    assert [lines for lines, _ in found] == [(7,)]


def test_a_price_from_two_tables_about_the_same_things() -> None:
    hours = table("card | $/h", "A | 5.00", "B | 3.40", "C | 2.60")
    made = ("A | 17.46 | 0.286", "B | 10.66 | 0.239", "C | 9.72 | 0.267")
    found = told(f"{hours}\n\nMade:\n\n{table('card | M tokens an hour | $/M tokens', *made)}")
    assert [lines for lines, _ in found] == [(12,)]


@pytest.mark.parametrize(
    "text",
    [
        table("context | sequences", *HELD, "65,536 | 20"),
        table("card | users | seconds | tokens/s", *RUNS[:3], "4 × H200 | 64 | 160 | 12,800"),
        table("card | users | seconds | tokens/s", *RUNS, "H200 | 64 | 160 | 3,200"),
        table("card | GB read | ms", "H100 | 15.0 | 4.48", "H100 | 17.6 | 5.25", "H100 | 22.3 | 6.66",
              "L40S | 15.0 | 17.4"),
        table("what | doc | again", "weights | 141.2 | 141.2", "gradients | 70.6 | 70.6", "states | 228.4 | 282.4"),
        table("rate | before | after | change", *CHANGES, "64 | 1,250 | 900 | −28 %"),
        table("rate | before | after | change", *CHANGES, "64 | 1,250 | 900 | −38 % (cold)"),
        table("rate | before | after | change", *CHANGES, "64 | 1,250 | 900 | about −38 %"),
        table("rate | before | after | change", *CHANGES[:1], "64 | 1,250 | 900 | −38 %"),
        table("rate | before | after | load", *CHANGES, "64 | 1,250 | 900 | 38").replace("%", ""),
        table("what | tokens | share", *SHARES, "talk | 40 | 2 %"),
        table("nodes | minutes | speed-up", *SPEEDS, "8 | 34.3 | 7.02"),
        table("nodes | minutes | speed-up", *SPEEDS[:2], "8 | 34.3 | 9.00"),
        table("pool | nodes | GPUs each | GPUs", *PRODUCTS, "e | 7 | 8 | 65", "f | 3 | 8 | 25"),
        table("pool | nodes | GPUs each | GPUs", *PRODUCTS, "total | 31 | 8 | 172"),
        table("GPUs | per GPU | tok/s", "8 | 100 | 800", "16 | 100 | 1600", "32 | 100 | 3200", "64 | 100 | 6400",
              "128 | 100 | 11900"),
        table("a | b | c", "1 | 1 | 1", "1 | 2 | 2", "1 | 3 | 3", "1 | 4 | 4", "1 | 5 | 6"),
    ],
)  # fmt: skip
def test_nothing_is_said_without_a_rule_that_holds(text: str) -> None:
    assert told(text) == []

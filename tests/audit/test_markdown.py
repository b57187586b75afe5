"""Every figure keeps the line and column it was written at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.audit import audit_document
from optimizer.audit.document import Kind
from optimizer.audit.inline import blank
from optimizer.audit.markdown import read_document

SOURCES = [
    "# Title 11\n\ntext **22** more\n",
    "- a 33\n  - b 44\n    1. c 55\n\n  continued 66\n",
    "> quoted 77\n> > deeper 88\n",
    "| a | b |\n|---|--:|\n| x \\| y 99 | `111` |\n",
    "```yaml\nkey: 122\n```\n\n    indented 133\n",
    "<div>\n144\n</div>\n\nsetext 155\n=====\n",
    "- [ ] task 166\n* [x] done 177\n12. item 188\n",
    "first 199\r\nsecond 200\r\n\r\n- third 211\r\n",
    "wrapped 222\nonto 233\n  third 244\n",
    "| lone | pipe 255\n",
    "text[link 266](http://x/1)  \nbreak 277\\\nlast 288\n",
]


@pytest.mark.parametrize("source", SOURCES)
def test_every_number_is_found_where_it_stands(source: str) -> None:
    lines = source.replace("\r\n", "\n").split("\n")
    found = {}
    for segment in read_document(source).segments:
        for offset, character in enumerate(segment.text):
            place = segment.place(offset)
            if character.isdigit():
                assert lines[place.line - 1][place.column - 1] == character, (segment, offset)
                found[place.line, place.column] = character
    wanted = {
        (number, column): character
        for number, line in enumerate(lines, 1)
        for column, character in enumerate(line, 1)
        if character.isdigit() and "http" not in line and not line.startswith("12. ") and "1. c" not in line
    }
    assert wanted.items() <= found.items()


def test_kinds_sections_and_table_labels() -> None:
    text = "# A\n\n## B\n\nprose 1\n\n| Metric | Claimed |\n|---|---|\n| Memory | 5 GB |\n\n```sh\nrun 2\n```\n"
    segments = read_document(text).segments
    cell = next(s for s in segments if "5 GB" in s.text)
    assert (cell.kind, cell.row_label, cell.column_label, cell.section[:2]) == (
        Kind.CELL,
        "Memory",
        "Claimed",
        ("A", "B"),
    )
    assert next(s for s in segments if "run" in s.text).kind is Kind.CODE
    assert next(s for s in segments if "prose" in s.text).kind is Kind.PROSE


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("**8** × *4*", "  8   ×  4 "),
        ("8 * 4 * 2", "8 * 4 * 2"),
        ("8*4*2", "8*4*2"),
        ("EP64_TP2 and __bold__", "EP64_TP2 and   bold  "),
        ("8 &times; 4", "8 ×       4"),
        ("`8` = 8", " 8  = 8"),
        ("$8 \\times 4$", " 8 ×      4 "),
        ("costs $5", "costs $5"),
    ],
)
def test_markup_is_blanked_in_place(written: str, read: str) -> None:
    assert blank(written) == read


@given(st.text(max_size=300))
def test_blanking_keeps_every_column(text: str) -> None:
    assert len(blank(text)) == len(text)


def test_struck_out_text_and_comments_are_not_said() -> None:
    result = audit_document("~~8 × 4 = 31~~ and 8 × 4 = 32\n\n<!-- 2 × 2 = 5 -->\n", "x")
    assert [equation.text for equation in result.equations] == ["8 × 4 = 32"]


def test_a_hard_break_and_a_label_start_a_new_text() -> None:
    result = audit_document("**Claim**: 8 × 4  \n= is odd\n**Reality**: 2 × 3 = 6\n**More**: 5\n", "x")
    assert [(e.place.line, e.text) for e in result.equations] == [(3, "2 × 3 = 6")]

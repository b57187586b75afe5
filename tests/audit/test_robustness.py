"""Nothing that can be typed makes the audit crash or hang."""

import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.audit import audit_document
from optimizer.audit.annotate import annotated, corrected_table

_PIECES = st.sampled_from(
    [
        "8",
        "4",
        "16",
        "0.62",
        "1e9",
        "99999999999999999999",
        "×",
        "x",
        "*",
        "/",
        "÷",
        "+",
        "-",
        "=",
        "≈",
        "→",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "%",
        "GB",
        "GiB",
        "tokens/s",
        "experts",
        "per",
        "GPU",
        "layer",
        "TP",
        "EP64",
        "_TP2",
        "|",
        "`",
        "**",
        "~",
        "~~",
        "#",
        ">",
        "-",
        "\n",
        "\n\n",
        "---",
        "|",
        "a",
        "|",
        "|-|",
        "<",
        "<b>",
        "&times;",
        "$",
        "\\times",
        "\\frac{1}{2}",
        "ceil(",
        "^",
        "²",
        ",",
        ".",
        ":",
        ";",
        "claims",
        "53x",
        "is",
        "0",
        "/0",
        "layout:",
        "{tp:",
        "claims:",
        "problem:",
        "```yaml",
        "```",
        "total",
        "memory",
        "97%",
        "less",
        "from",
        "to",
    ]
)


@given(st.text(max_size=400))
def test_random_text_never_crashes(text: str) -> None:
    result = audit_document(text, "x")
    result.to_json()
    corrected_table(result)


_LINES = sorted({
    line
    for path in (Path(__file__).parents[1] / "corpora").glob("documents*/*.md")
    for line in path.read_text(encoding="utf-8").split("\n")
})  # fmt: skip
_FIGURE = re.compile(r"\d[\d,.]*")


@given(
    lines=st.lists(st.sampled_from(_LINES), max_size=30),
    figures=st.lists(st.sampled_from(["0", "0.0", "1", "99999999999999999999", "½", "1e400", ""]), min_size=1),
    every=st.integers(1, 6),
)
def test_figures_replaced_in_real_lines_never_crash(lines: list[str], figures: list[str], every: int) -> None:
    seen = 0

    def other(match: re.Match[str]) -> str:
        nonlocal seen
        seen += 1
        return match[0] if seen % every else figures[seen // every % len(figures)]

    result = audit_document(_FIGURE.sub(other, "\n".join(lines)), "x")
    result.to_json()
    corrected_table(result)


@given(st.lists(_PIECES, max_size=60))
def test_random_fragments_of_documents_never_crash(pieces: list[str]) -> None:
    result = audit_document(" ".join(pieces), "x")
    result.to_json()
    assert "\x1b" not in "\n".join(annotated(result))


@pytest.mark.parametrize(
    "text",
    [
        ">" * 20000 + " 8 × 4 = 32",
        "- " * 20000 + "1",
        "(" * 20000 + "1" + ")" * 20000,
        "8 × (" * 5000 + "1",
        "1 " * 20000,
        " = ".join(["8 × 4"] * 5000),
        " + ".join(["1"] * 20000) + " = 20000",
        "2^" * 5000 + "2 = 3",
        "9" * 200000,
        "1," * 50000,
        "2^999999999 = 1",
        "10^400 × 10^400 = 1",
        "1e999999 = 1",
        "1 / 0 = 0",
        "0^-1 = 0",
        "|1" * 5000 + "\n" + "|-" * 5000 + "\n" + "|1" * 5000,
        "*" * 100000,
        "[" * 100000,
        "`" * 100000,
        "<a " * 30000,
        "&" * 100000,
        "50x higher " * 5000,
        "8 GB vs " * 5000,
        "TP8 " * 10000,
        "\\frac{" * 20000,
        "\x00\u2028\x0b8 × 4 = 32\x1f",
        "---\n" * 5000,
        "---\nlayout: &a [*a]\nclaims: *a\n---\n",
        "---\nclaims: {devices: 1e9999, parameters: -5, x: .nan}\n---\n",
        "",
        "EP == 0 and TP=8, DP=4, PP=0: 64 experts per layer on 32 GPUs, 2 experts per GPU, 0 layers",
        "0% bandwidth utilization, 80 GB/s memory bandwidth, 7B parameters, 120 tokens/s per GPU",
        "0 tokens/s per GPU, input 4096 tokens, PP=4, TTFT 50 ms, 0 GB of memory, 0 GPUs",
        "---\nclaims: {devices: 8}\n---\n",
        "<!-- one\ntwo\n\nthree -->\n8 × 4 = 32\n<div>\n<b\n>8 &NewLine; &#10; 4</b\n></div>\n",
        "½ ≈ 0.5 and ½ = 0",
        "\ufeff8 × 4 = 32",
        "\n".join("  " * depth + f"- a {depth}" for depth in range(400)),
        "[1](" * 10000,
        "**1_" * 10000,
        "the model has 12 experts per GPU and " * 5000,
        " ".join(map(str, range(30000))),
        "|" + "8 × 4 = 32|" * 10000 + "\n|" + "-|" * 10000 + "\n|" + "8 × 4 = 32|" * 10000,
        "_" * 1000000,
        "|" * 1000000,
        "```yaml\nlayout: {tp: 8}\n```\n" * 400,
        "97% less 3x lower " * 3000,
        "from 8 GB to 9 GB, 3x lower " * 3000,
        "$" * 300000,
        "\\" * 300000,
        "ceil(" * 30000,
        "2×" * 50000 + "2",
    ],
)
def test_pathological_text_is_survived(text: str) -> None:
    audit_document(text, "x").to_json()


def test_ten_thousand_equations_are_all_judged() -> None:
    text = "\n".join(f"- {number} × 2 = {number * 2 + (number % 2)}" for number in range(1, 10001))
    found = audit_document(text, "x").equations
    assert [equation.verdict for equation in found] == [
        "fails" if number % 2 else "holds" for number in range(1, 10001)
    ]


def test_a_broken_data_block_is_reported_not_raised() -> None:
    found = audit_document("---\nlayout: {tp: 8, tp: 9}\n---\n\n8 × 4 = 32\n", "plan.md")
    assert any("plan.md:2" in text for text in found.missing)
    assert len(found.equations) == 1


GROWING = {
    "equations": lambda n: "\n".join(f"- {i} × 3 = {3 * i + i % 2}" for i in range(1, n)),
    "equations in one line": lambda n: "; ".join(f"{i} × 3 = {3 * i}" for i in range(1, n)),
    "equations called wrong": lambda n: " and ".join(f"{i} × 3 = {3 * i + 1} are wrong" for i in range(1, n)),
    "equations joined and called wrong": lambda n: (
        " and ".join(f"{i} × 3 = {3 * i + 1}" for i in range(1, n)) + " are all wrong"
    ),
    "a chain": lambda n: " = ".join(f"{i} + {n - i}" for i in range(1, n)),
    "numbers": lambda n: " ".join(map(str, range(n))),
    "figures": lambda n: "\n".join(
        f"- {i} GPUs, {i} experts per GPU, {i} GB per GPU, {i} tokens/s per GPU" for i in range(1, n)
    ),
    "figures in one paragraph": lambda n: "\n".join(
        f"Memory {i} GB of 80 GB, {i}B parameters, {i} tokens/s in total, {i}x faster." for i in range(1, n)
    ),
    "layouts": lambda n: "\n".join(
        f"# Plan {i}\n\nTP={i}, DP={i + 1}\n\n- Total GPUs: {i * i + i}\n" for i in range(1, n)
    ),
    "a wide table": lambda n: f"|{'Total claimed|' * n}\n|{'-|' * n}\n|{'8 GB|' * n}\n",
    "a long table": lambda n: (
        "| Item | Claimed | Result |\n|-|-|-|\n" + "".join(f"| a | {i} | 8 × {i} |\n" for i in range(n))
    ),
    "quotes": lambda n: ">" * n + " 8 × 4 = 32",
    "brackets": lambda n: "(" * n + "1" + ")" * n + " = 1",
    "one line": lambda n: "The pool of 8 GPUs holds 418k tokens, 137 GB over 327,680 bytes.\n" * n,
    "ratios": lambda n: "\n".join(f"- memory {i} GB against {i + 1} GB, {i}x higher" for i in range(1, n)),
    "data blocks": lambda n: "".join(f"```yaml\nlayout: {{tp: {i}}}\n```\n" for i in range(1, n)),
}


def _calls(text: str) -> int:
    """Function calls of an audit: the work it takes, whatever the machine."""
    count = 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(counted)
    try:
        result = audit_document(text, "x")
        result.to_json()
        list(annotated(result))
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("shape", GROWING)
def test_work_grows_no_faster_than_the_text(shape: str) -> None:
    text = GROWING[shape]
    _calls(text(12))
    small, large = _calls(text(24)), _calls(text(96))
    assert large <= 5 * small, (small, large)

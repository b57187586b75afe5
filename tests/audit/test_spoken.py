"""Arithmetic whose signs are words."""

import pytest

from optimizer.audit import audit_document


def verdicts(text: str) -> list[str]:
    return [str(equation.verdict) for equation in audit_document(text, "x").equations]


@pytest.mark.parametrize(
    "text",
    [
        "36.0 GB of 80 GB, i.e. 45%",
        "3 of 48 nodes, that is 6.25%",
        "144 GPUs at 1,280 tokens/s each give 184,320 tokens/s",
        "64 requests with 2,048 tokens each make 131,072 tokens",
        "12 nodes of 3.5 kW each come to 42 kW",
        "31.7 and 6.5 give 38.2 GB",
        "31.7 GB and 6.5 GB add up to 38.2 GB",
        "9 racks of 1.4 TB each total 12.6 TB",
        "46.2 / 55.0, i.e. 84%",
        "Of the week: 12/168, that is 7.1%",
        "We saw 9,600 calls and 1,200 of them timed out, which is 12.5% of the traffic",
        "Of 38,600 requests 1,240 failed, an error rate of 3.2 %",
    ],
)
def test_right_figures_hold(text: str) -> None:
    assert verdicts(text) == ["holds"]


@pytest.mark.parametrize(
    ("text", "arithmetic"),
    [
        ("36.0 GB of 80 GB, i.e. 54%", "36.0 GB / 80 GB = 45%"),
        ("144 GPUs at 1,280 tokens/s each give 148,320 tokens/s", "144 × 1,280 = 184,320"),
        ("46.2 / 55.0, i.e. 94%", "46.2 / 55.0 = 84%"),
        ("We saw 9,600 calls and 1,200 of them timed out, which is 15%", "1,200 / 9,600 = 12.5%"),
        ("Of 38,600 requests 1,240 failed, an error rate of 0.32 %", "1,240 / 38,600 = 3.21"),
        ("31.7 and 6.5 give 37.2 GB", "31.7 + 6.5 = 38.2 GB"),
        ("31.7 GB and 6.5 GB give 37.2 GB", "31.7 GB + 6.5 GB = 38.2 GB"),
    ],
)
def test_wrong_figures_fail_with_their_arithmetic(text: str, arithmetic: str) -> None:
    (found,) = audit_document(text, "x").equations
    assert found.verdict == "fails"
    assert found.arithmetic.startswith(arithmetic)


@pytest.mark.parametrize(
    "text",
    [
        "36 of 80 GB, i.e. 55% free",
        "An 80 GB card holds 70 GB of weights, i.e. 5% over our rule of thumb",
        "Latency rose from 30 ms to 40 ms, which is 33%",
        "With 512 clients p50 is 31 ms and p99 is 88 ms, which is 12% above the objective",
        "2 x 8 GPUs, i.e. 2 nodes",
        "18 / 20, i.e. 10% less",
        "36 GB of 80 GB, i.e. 55%",
        "36 GB of 80 GB, 54% of it for the cache",
        "2.1% after 32 of 288 moves, 0.2% after 64",
        "3 of 48 nodes are down (12% of the racks)",
        "8 and 4 give 32",
        "21 passed and 4 failed, a pass rate of 84%",
        "We ran 400 prompts against 12 replicas, a hit rate of 38%",
        "8 nodes and 64 GPUs give 512 GB",
        "if 8 GPUs at 100 tokens/s each gave 900 tokens/s",
        "8 GPUs at 100 tokens/s each; 900 tokens/s are needed",
        "16 of 32 GPUs, that is 2 nodes, and 90% utilization",
        "about 40 of 61 layers, or up to 70%",
    ],
)
def test_what_may_mean_something_else_is_not_accused(text: str) -> None:
    assert "fails" not in verdicts(text)


def test_a_sign_that_is_written_is_not_judged_twice() -> None:
    assert verdicts("3 of 48 nodes = 6.25%") == ["holds"]


def test_a_wrong_figure_said_in_words_and_refuted_is_called_wrong() -> None:
    found = audit_document('The plan has "31.7 and 6.5 give 37.2 GB". Wrong, 38.2 GB.', "x")
    assert [equation.called_wrong for equation in found.equations] == [True]
    assert int(found.exit_status) == 0

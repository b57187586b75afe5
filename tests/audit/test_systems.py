"""The disputed figures of three reviewed deployments, each with its reading."""

from typing import Any

import pytest

from benchmarks.audit_bench import DOCUMENTS
from optimizer.audit import audit_document
from optimizer.readers.read import read_problem


def audited(name: str) -> dict[str, Any]:
    return audit_document((DOCUMENTS / f"{name}.md").read_text(encoding="utf-8"), name).to_json()


def claim(found: dict[str, Any], name: str, line: int, text: str = "") -> dict[str, Any]:
    return next(c for c in found["claims"] if c["name"] == name and c["line"] == line and text in c["text"])


def test_one_expert_per_layer_and_eight_instances_do_not_contradict() -> None:
    found = audited("system-a")
    per_layer = {
        r["name"]: (r["derived"], r["holds"]) for r in claim(found, "experts_per_gpu_per_layer", 6)["readings"]
    }
    assert per_layer == {
        "as defined": (1, True),
        "whole-expert equivalents of one layer": (0.5, False),
    }
    assert found["contradictions"] == []


def test_one_and_eight_in_a_table_are_two_counts() -> None:
    found = audited("system-a-table")
    dispute = next(d for d in found["disputes"] if d["name"] == "experts_per_gpu")
    assert dispute["values"] == [1, 8]
    assert "do not contradict each other" in dispute["explanation"]
    assert "whole-expert equivalents" in dispute["explanation"]
    eight = claim(found, "experts_per_gpu", 7, "8")
    assert {r["name"] for r in eight["readings"] if r["holds"]} >= {"whole-expert equivalents"}


def test_two_is_resident_and_eight_is_instances_on_32_devices() -> None:
    found = audited("system-b")
    two, eight = claim(found, "experts_per_gpu", 6), claim(found, "experts_per_gpu", 7)
    assert [r["name"] for r in two["readings"] if r["holds"]] == ["distinct experts of one layer"]
    assert {r["name"] for r in eight["readings"] if r["holds"]} == {
        "expert instances over the layers of the stage",
        "whole-expert equivalents",
    }
    assert two["verdict"] == eight["verdict"] == "ambiguous"


def test_sixty_nine_megabytes_replicate_nothing() -> None:
    found = claim(audited("system-a-table"), "memory", 8, "69MB")
    assert "nothing replicated" in found["explanation"]
    assert found["derived"] == pytest.approx(68.75e6)


def test_where_53_comes_from() -> None:
    found = audited("system-b-memory")
    ratio = claim(found, "ratio", 3)
    assert ratio["verdict"] == "ambiguous"
    assert "bytes taken for parameters" in ratio["explanation"]
    assert "bytes taken for parameters" in claim(found, "parameters_per_expert", 7, "83M")["explanation"]
    assert claim(found, "expert_weights", 5)["ratio"] == pytest.approx(0.62e9 / 25165824)
    assert "GiB" in claim(found, "expert_weights", 6)["explanation"]


def test_79_tokens_per_second_is_batch_one_decode_of_one_device() -> None:
    found = audited("system-b-rate")
    low = claim(found, "throughput_per_device", 6)
    assert "batch 1" in low["explanation"]
    assert "batched decode and prefill are not bound" in low["explanation"]
    high = claim(found, "throughput_per_device", 5)
    assert high["verdict"] == "unsupported"
    assert "does not hold for batched decode or prefill" in high["explanation"]


def test_512_leaves_out_a_degree_and_folding_gives_128() -> None:
    found = audited("system-c")
    count = claim(found, "devices", 5)
    assert count["verdict"] == "fails"
    assert {r["derived"] for r in count["readings"]} == {128, 2048}
    assert "512 = tp × pp × ep, without dp" in count["explanation"]
    assert "512 = tp × ep × dp, without pp" in count["explanation"]


def test_a_quoted_figure_and_its_correction_keep_their_roles() -> None:
    text = "| Metric | Claimed | Calculated |\n|--|--|--|\n| Memory per GPU | 150MB | 69MB |\n"
    roles = [(c["text"], c["role"]) for c in audit_document(text, "x").to_json()["claims"]]
    assert roles == [("150MB", "claimed"), ("69MB", "calculated")]
    text = "Update from 0.62GB to 2.48GB per GPU for experts. NOT 1 expert per GPU."
    roles = [(c["text"], c["role"]) for c in audit_document(text, "x").to_json()["claims"]]
    assert roles == [("0.62GB", "claimed"), ("2.48GB per GPU", "calculated"), ("1 expert per GPU", "claimed")]


@pytest.mark.parametrize(
    "text",
    ["EP64_TP2", "TP=2 and EP=64", ("tensor parallel size 2, expert parallel size "
                                   "64"), "tp_size: 2\nep_size: 64", "TP2/EP64",
     ("2-way tensor parallelism with 64-way expert "
     "parallelism"), "`--tp 2 --ep 64`", '{"tp": 2, "ep": 64}', "TP: 2, EP: 64"],
)  # fmt: skip
def test_degrees_in_their_spellings(text: str) -> None:
    facts = {(f["name"], f["value"]) for f in audit_document(text, "x").to_json()["facts"]}
    assert {("tp", 2), ("ep", 64)} <= facts


SYSTEMS = DOCUMENTS.with_name("systems")


def with_problem(name: str, scenario: str) -> dict[str, Any]:
    text = (SYSTEMS / f"{name}.md").read_text(encoding="utf-8")
    return audit_document(text, name, read_problem(scenario)).to_json()


@pytest.fixture(scope="module", name="judged")
def judged_fixture() -> dict[str, dict[str, Any]]:
    return {
        "a": with_problem("a", "seed-a-ep64-tp2"),
        "b": with_problem("b", "seed-b-4x4x2"),
        "c": with_problem("c", "seed-c-8x4x16x4"),
    }


DISPUTED = [
    ("a", "experts_per_gpu", "1", "ambiguous", "one layer"),
    ("a", "experts_per_gpu", "8", "ambiguous", "whole-expert equivalents"),
    ("a", "memory", "150 MB", "ambiguous", "weights alone, per device (201.918464 MB)"),
    ("a", "memory", "69 MB", "ambiguous", "nothing replicated"),
    ("a", "compute_utilization", "12.6%", "ambiguous", "prefill and decode mixed at batch 64"),
    (
        "a",
        "compute_utilization",
        "0.02%",
        "ambiguous",
        "decode at batch 1, 2 · active parameters a token over the peak",
    ),
    ("a", "memory_utilization", "0.11%", "holds", ""),
    ("a", "parameters", "4.4B", "holds", ""),
    ("b", "experts_per_gpu", "2 experts", "ambiguous", "one layer"),
    ("b", "experts_per_gpu", "8 experts", "ambiguous", "expert instances over the layers of the stage"),
    ("b", "expert_weights", "0.62 GB", "fails", "24.64 times"),
    ("b", "expert_weights", "2.48 GB", "fails", "98.55 times"),
    ("b", "expert_weights", "0.02 GB", "ambiguous", "GB read as GiB"),
    ("b", "ratio", "53x", "ambiguous", "bytes taken for parameters"),
    ("b", "parameters_per_expert", "83M", "fails", "bytes taken for parameters"),
    ("b", "parameters_per_expert", "1.6M", "holds", ""),
    ("b", "memory", "19.2 GB", "ambiguous", "batch 512"),
    ("b", "memory", "21.06 GB", "ambiguous", "batch 512"),
    ("b", "memory", "18.6 GB", "ambiguous", "batch 512"),
    ("b", "parameters", "10B", "fails", "22.11 times"),
    ("b", "parameters", "2.6B", "fails", "5.748 times"),
    ("b", "expert_parameters", "0.4B", "holds", ""),
    ("b", "throughput_per_device", "120,000", "ambiguous", "prefill at batch 2"),
    ("b", "throughput_per_device", "79", "ambiguous", "decode at batch 1, one device reading every weight"),
    ("b", "hbm_bandwidth_utilization", "151,582%", "ambiguous", "it is no utilisation"),
    ("b", "ttft", "8.5 s", "ambiguous", "prefill at batch 512"),
    ("b", "ttft", "0.34 s", "ambiguous", "one prompt through every stage in turn"),
    ("c", "parameters", "4.4B", "holds", ""),
    ("c", "parameters", "30B", "fails", "6.774 times"),
    ("c", "memory_total", "52.3 GB", "ambiguous", "all weights once"),
    ("c", "memory_total", "149.2 GB", "ambiguous", "all weights once"),
]


@pytest.mark.parametrize(("system", "name", "text", "verdict", "told"), DISPUTED)
def test_every_disputed_figure_has_a_verdict_and_its_reading(
    judged: dict[str, dict[str, Any]], system: str, name: str, text: str, verdict: str, told: str
) -> None:
    found = next(c for c in judged[system]["claims"] if c["name"] == name and text in c["text"])
    assert found["verdict"] == verdict
    assert told in found["explanation"]


def test_the_product_of_four_degrees(judged: dict[str, dict[str, Any]]) -> None:
    right, wrong = judged["c"]["equations"]
    assert (right["verdict"], wrong["verdict"], wrong["evaluated"]) == ("holds", "fails", 2048)
    assert "8 × 4 × 16: the factor 4 is left out" in wrong["explanation"]


def test_only_what_is_wrong_under_every_reading_fails(judged: dict[str, dict[str, Any]]) -> None:
    wrong = {c["text"] for found in judged.values() for c in found["claims"] if c["verdict"] in {"fails", "impossible"}}
    assert wrong == {
        "0.62 GB per GPU", "2.48 GB per GPU", "83M parameters per expert", "10B parameters", "2.6B parameters",
        "30B parameters",
    }  # fmt: skip


@pytest.mark.parametrize("stamp", ["", "2026-11-30 10:02:11 "])
def test_the_ranks_that_log_a_line_are_no_degrees(stamp: str) -> None:
    log = f"```\n[{stamp}DP7 TP7 EP7] Load weight end. mem usage=59.8 GB, at TP 16\n```\n"
    facts = {(f["name"], f["value"]) for f in audit_document(log, "x").to_json()["facts"]}
    assert facts & {("tp", 7), ("dp", 7), ("ep", 7), ("tp", 16)} == {("tp", 16)}

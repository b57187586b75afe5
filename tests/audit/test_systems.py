"""The disputed figures of three reviewed deployments, each with its reading."""

from typing import Any

import pytest

from benchmarks.audit_bench import DOCUMENTS
from optimizer.audit import audit_document


def audited(name: str) -> dict[str, Any]:
    return audit_document((DOCUMENTS / f"{name}.md").read_text(encoding="utf-8"), name).to_json()


def claim(found: dict[str, Any], name: str, line: int, text: str = "") -> dict[str, Any]:
    return next(c for c in found["claims"] if c["name"] == name and c["line"] == line and text in c["text"])


def test_one_expert_per_layer_and_eight_instances_do_not_contradict() -> None:
    found = audited("system-a")
    per_layer = {
        r["name"]: (r["derived"], r["holds"]) for r in claim(found, "experts_per_gpu_per_layer", 6)["readings"]
    }
    assert per_layer == {"experts_resident_per_layer": (1, True), "expert_equivalents per layer": (0.5, False)}
    assert found["contradictions"] == []


def test_one_and_eight_in_a_table_are_two_counts() -> None:
    found = audited("system-a-table")
    dispute = next(d for d in found["disputes"] if d["name"] == "experts_per_gpu")
    assert dispute["values"] == [1, 8]
    assert "do not contradict each other" in dispute["explanation"]
    assert "8 expert_equivalents" in dispute["explanation"] or "expert_equivalents" in dispute["explanation"]
    eight = claim(found, "experts_per_gpu", 7, "8")
    assert {r["name"] for r in eight["readings"] if r["holds"]} >= {"expert_equivalents"}


def test_two_is_resident_and_eight_is_instances_on_32_devices() -> None:
    found = audited("system-b")
    two, eight = claim(found, "experts_per_gpu", 6), claim(found, "experts_per_gpu", 7)
    assert [r["name"] for r in two["readings"] if r["holds"]] == ["experts_resident_per_layer"]
    assert {r["name"] for r in eight["readings"] if r["holds"]} == {"expert_instances", "expert_equivalents"}
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

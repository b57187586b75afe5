"""Conventions read the same four numbers differently; every reading keeps both meshes equal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.domain.convention import CONVENTIONS
from optimizer.domain.layout import WrittenLayout

DEGREES = st.sampled_from([1, 2, 3, 4, 8, 16])


def read(convention: str, **degrees: int) -> tuple[int, tuple[int, int, int], tuple[int, int, int]]:
    layout = WrittenLayout.model_validate({"convention": convention, **degrees}).resolve()
    return layout.devices, (layout.tp, layout.cp, layout.dp), (layout.etp, layout.ep, layout.edp)


@pytest.mark.parametrize(
    ("convention", "degrees", "expected"),
    [
        # "TP4 DP80 EP320 on 320 devices": DeepSeek-V3 decode, arXiv 2412.19437 section 3.4.2.
        ("folded", {"tp": 4, "dp": 80, "ep": 320}, (320, (4, 1, 80), (1, 320, 1))),
        ("vllm", {"tp": 4, "dp": 80, "ep": 320}, (320, (4, 1, 80), (1, 320, 1))),
        ("stage-product", {"tp": 4, "dp": 80, "ep": 320}, (320, (4, 1, 80), (1, 320, 1))),
        ("fsdp", {"tp": 4, "dp": 80, "ep": 320}, (320, (4, 1, 80), (1, 320, 1))),
        ("product", {"tp": 4, "dp": 80, "ep": 320}, (102400, (4, 1, 25600), (4, 320, 80))),
        # "TP8 PP2 DP4 EP8" is 512 devices as an expert grid and 64 where EP re-uses ranks.
        ("expert-grid", {"tp": 8, "pp": 2, "dp": 4, "ep": 8}, (512, (8, 1, 32), (8, 8, 4))),
        ("replica-outer", {"tp": 8, "pp": 2, "dp": 4, "ep": 8}, (512, (8, 1, 32), (8, 8, 4))),
        ("folded", {"tp": 8, "pp": 2, "dp": 4, "ep": 8}, (64, (8, 1, 4), (4, 8, 1))),
        ("sglang-replicas", {"tp": 8, "pp": 2, "dp": 4, "ep": 8}, (64, (8, 1, 4), (1, 8, 4))),
        ("sglang", {"tp": 16, "dp": 16, "ep": 16}, (16, (1, 1, 16), (1, 16, 1))),
        ("trtllm", {"tp": 8, "ep": 2}, (8, (8, 1, 1), (4, 2, 1))),
        ("megatron", {"tp": 4, "dp": 8, "ep": 8}, (32, (4, 1, 8), (4, 8, 1))),
        ("deepspeed", {"tp": 2, "dp": 8, "ep": 4}, (16, (2, 1, 8), (2, 4, 2))),
        ("vllm", {"tp": 4, "dp": 2}, (8, (4, 1, 2), (8, 1, 1))),
        ("folded", {"tp": 4, "dp": 2}, (8, (4, 1, 2), (4, 1, 2))),
        ("folded", {"tp": 4, "cp": 2, "dp": 2, "ep": 2, "edp": 4}, (16, (4, 2, 2), (2, 2, 4))),
    ],
)
def test_what_a_convention_makes_of_the_degrees(
    convention: str, degrees: dict[str, int], expected: tuple[int, tuple[int, int, int], tuple[int, int, int]]
) -> None:
    assert read(convention, **degrees) == expected


@pytest.mark.parametrize(
    ("convention", "degrees", "message"),
    [
        ("folded", {"tp": 4, "dp": 2, "ep": 3}, "8 devices per stage, but etp·ep·edp = 2·3·1 = 6"),
        ("megatron", {"tp": 4, "dp": 4, "ep": 8}, "32 does not divide 16"),
        ("sglang", {"tp": 4, "dp": 8}, "8 does not divide 4"),
        ("trtllm", {"tp": 8, "dp": 4}, "all or nothing: dp=4 is neither 1 nor tp=8"),
        ("deepspeed", {"tp": 2, "dp": 2, "ep": 4}, "4 does not divide 2"),
    ],
)
def test_what_contradicts_a_convention(convention: str, degrees: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(convention, **degrees)


@given(st.sampled_from(sorted(CONVENTIONS)), DEGREES, DEGREES, DEGREES, DEGREES, st.sampled_from([1, 2]))
def test_both_meshes_hold_the_same_devices(convention: str, tp: int, dp: int, pp: int, ep: int, cp: int) -> None:
    try:
        devices, attention, experts = read(convention, tp=tp, dp=dp, pp=pp, ep=ep, cp=cp)
    except ValueError:
        return
    stage = attention[0] * attention[1] * attention[2]
    assert stage == experts[0] * experts[1] * experts[2]
    assert devices == stage * pp
    assert experts[1] == ep


def test_a_model_without_experts_has_no_expert_mesh() -> None:
    dense = WrittenLayout(tp=4, dp=2).resolve(experts=False)
    assert (dense.etp, dense.ep, dense.edp) == (1, 1, 1)
    assert dense.replicas == 2

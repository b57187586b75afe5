"""Parameter counts of every configuration against an independent count of the same file."""

from __future__ import annotations

import csv
import functools
from dataclasses import asdict
from pathlib import Path

import pytest

from optimizer.domain.model import ModelSpec
from optimizer.figures.parameters import ParameterTable, parameter_table
from optimizer.readers.huggingface import read_config, read_config_file

DATA = Path(__file__).resolve().parents[2] / "data"

with (DATA / "parameter_counts.csv").open() as _file:
    COUNTED = {row["model"]: row for row in csv.DictReader(_file)}

COMPONENTS = ("embeddings", "attention", "dense", "experts", "shared", "router", "norms", "lm_head", "other")

# What the classes count elsewhere, and this project by what it is.
MOVED = {
    # Hyper-connections: the classes name one after attention and one after the feed-forward block.
    "DeepSeek-V4-Flash": {"attention": -16_909_449, "dense": -16_909_449, "other": 2 * 16_909_449},
    # Norms of 80 layers, weights and biases, which the class names ln_attn and ln_mlp.
    "Falcon-180B": {"attention": -2_375_680, "dense": -2_375_680, "norms": 2 * 2_375_680},
    # Projections around latent experts.
    "Nemotron-3-Ultra-550B-A55B": {"dense": -1_610_612_736, "other": 1_610_612_736},
}


@functools.cache
def model(name: str) -> ModelSpec:
    return read_config_file(DATA / "configs" / f"{name}.json")


@functools.cache
def table(name: str) -> ParameterTable:
    return parameter_table(model(name))


@pytest.mark.parametrize("name", COUNTED)
def test_total_and_active_equal_the_independent_count(name: str) -> None:
    row, found = COUNTED[name], table(name)
    assert found.total == int(row["total"])
    assert found.active_with_embedding == int(row["active_with_embedding"])
    assert found.active_without_embedding == int(row["active_without_embedding"])


@pytest.mark.parametrize("name", COUNTED)
def test_components_equal_the_independent_count(name: str) -> None:
    row, found = COUNTED[name], asdict(table(name).components)
    expected = {part: int(row[part]) + MOVED.get(name, {}).get(part, 0) for part in COMPONENTS}
    assert found == expected
    assert sum(found.values()) == table(name).total


@pytest.mark.parametrize("name", COUNTED)
def test_score_correction_biases_are_buffers(name: str) -> None:
    moe = [model(name).blocks[layer].moe for layer in model(name).layer_names]
    assert sum(m.experts for m in moe if m is not None and m.router_correction) == int(
        COUNTED[name]["correction_biases"]
    )


def test_every_configuration_is_read() -> None:
    files = {file.stem for file in (DATA / "configs").glob("*.json")}
    assert files - COUNTED.keys() == {"MiMo-7B"}  # no class in transformers
    for name in sorted(files):
        assert model(name).layer_count > 0


@pytest.mark.parametrize(
    ("name", "mtp", "checkpoint_billions"),
    [
        # DeepSeek-V3's README: 11.5B unique parameters, 14B with embedding and head; the Hub shows 685B.
        ("DeepSeek-V3", 11_610_067_968, "684.5"),
        # The Hub shows 358B.
        ("GLM-4.5", 3_988_069_632, "358.3"),
        # The model page shows 7.83B.
        ("MiMo-7B", 210_790_400, "7.8"),
        ("Kimi-K2", 0, "1026.4"),
        # The vision tower of 0.46B included; the Hub shows 403B.
        ("Qwen3.5-397B-A17B", 6_595_568_128, "403.4"),
        ("Nemotron-3-Ultra-550B-A55B", 11_215_609_856, "560.5"),
    ],
)
def test_mtp_layers_are_counted_apart(name: str, mtp: int, checkpoint_billions: str) -> None:
    found = table(name)
    assert found.mtp == mtp
    assert f"{found.checkpoint / 1e9:.1f}" == checkpoint_billions


def test_deepseek_v3_mtp_is_a_layer_a_projection_and_three_norms() -> None:
    spec = model("DeepSeek-V3")
    layer = sum(t.elements for t in spec.blocks["moe"].tensors(7168) if not t.buffer)
    assert table("DeepSeek-V3").mtp == layer + 2 * 7168 * 7168 + 3 * 7168
    assert table("DeepSeek-V3").mtp_copies == 2 * 129280 * 7168
    assert table("DeepSeek-V3").buffers == (58 + 1) * 256


def dense(
    kind: str, hidden: int, wide: int, layers: int, heads: int, kv: int, vocab: int, **more: object
) -> dict[str, object]:
    return {
        "model_type": kind,
        "hidden_size": hidden,
        "intermediate_size": wide,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "vocab_size": vocab,
        **more,
    }


@pytest.mark.parametrize(
    ("config", "total"),
    [
        # Totals of the safetensors files, as the model pages show them.
        pytest.param(dense("phi3", 3072, 8192, 32, 32, 32, 32064), 3_821_079_552, id="Phi-3-mini"),
        pytest.param(dense("phi3", 5120, 17920, 40, 40, 10, 100352), 14_659_507_200, id="phi-4"),
        pytest.param(dense("olmo2", 4096, 11008, 32, 32, 32, 100352), 7_298_617_344, id="OLMo-2-1124-7B"),
        pytest.param(dense("smollm3", 2048, 11008, 36, 16, 4, 128256), 3_075_098_624, id="SmolLM3-3B"),
        pytest.param(
            dense("seed_oss", 5120, 27648, 64, 80, 8, 155136, head_dim=128), 36_151_104_512, id="Seed-OSS-36B"
        ),
        pytest.param(dense("glm4", 4096, 13696, 40, 32, 2, 151552, head_dim=128), 9_400_279_040, id="GLM-4-9B-0414"),
    ],
)
def test_dense_relatives_of_llama(config: dict[str, object], total: int) -> None:
    assert parameter_table(read_config(config, name="m", source="test")).total == total


def test_mixtures_without_a_configuration_here() -> None:
    granite = dense(
        "granitemoe", 64, 32, 2, 4, 2, 100, num_local_experts=8, num_experts_per_tok=2, tie_word_embeddings=True
    )
    found = parameter_table(read_config(granite, name="m", source="test")).components
    assert (found.experts, found.router, found.lm_head) == (2 * 8 * 3 * 64 * 32, 2 * 8 * 64, 0)
    dots = dense("dots1", 4096, 10944, 62, 32, 32, 152064, head_dim=128, moe_intermediate_size=1408)
    dots |= {"n_routed_experts": 128, "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1}
    # dots.llm1: 142B total, 14B active.
    table = parameter_table(read_config(dots, name="m", source="test"))
    assert (round(table.total / 1e9), round(table.active_with_embedding / 1e9)) == (143, 14)
    assert table.buffers == 61 * 128

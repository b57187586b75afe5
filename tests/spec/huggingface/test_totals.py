"""Parameter counts of every configuration against an independent count of the same file."""

from __future__ import annotations

import csv
import functools
from dataclasses import asdict
from pathlib import Path

import pytest

from optimizer.figures.parameters import ParameterTable, parameter_table
from optimizer.spec.huggingface import read_config_file
from optimizer.spec.model import ModelSpec

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
        ("Qwen3.5-397B-A17B", 6_595_568_128, "402.9"),
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
    assert table("DeepSeek-V3").buffers == 58 * 256
    assert table("DeepSeek-V3").mtp_buffers == 256

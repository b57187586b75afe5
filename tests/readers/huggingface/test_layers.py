"""Which layer is what: the patterns that configurations state."""

from __future__ import annotations

import functools
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest

from optimizer.domain.attention import BlockSparseAttention, CompressedAttention, GroupedQueryAttention, LatentAttention
from optimizer.domain.model import ModelSpec
from optimizer.errors import SpecError
from optimizer.figures.parameters import parameter_table
from optimizer.readers.catalog import load_model
from optimizer.readers.huggingface import read_config, read_config_file
from optimizer.readers.huggingface.parts import runs_of

DATA = Path(__file__).resolve().parents[2] / "data" / "configs"
Kind = TypeVar("Kind", LatentAttention, CompressedAttention)


@functools.cache
def model(name: str) -> ModelSpec:
    return read_config_file(DATA / f"{name}.json")


def attentions(spec: ModelSpec, kind: type[Kind]) -> list[Kind]:
    found = [spec.blocks[name].attention for name in spec.layer_names]
    assert all(isinstance(attention, kind) for attention in found)
    return [attention for attention in found if isinstance(attention, kind)]


def gqa(name: str, layer: int) -> GroupedQueryAttention:
    attention = model(name).blocks[model(name).layer_names[layer]].attention
    assert isinstance(attention, GroupedQueryAttention)
    return attention


def test_deepseek_v3_has_three_dense_layers_first() -> None:
    assert model("DeepSeek-V3").layer_names == ("dense",) * 3 + ("moe",) * 58
    assert model("DeepSeek-V3").moe_layer_count == 58
    moe = model("DeepSeek-V3").moe
    assert moe is not None
    assert (moe.group_count, moe.group_limit, moe.router_correction) == (8, 4, True)


def test_gpt_oss_alternates_windows() -> None:
    windows = [gqa("gpt-oss-120b", layer).window for layer in range(36)]
    assert windows == [128, None] * 18


def test_gemma_3_has_a_full_layer_every_six() -> None:
    windows = [gqa("gemma-3-27b-text", layer).window for layer in range(62)]
    assert [layer for layer, window in enumerate(windows) if window is None] == list(range(5, 62, 6))


def test_gemma_4_full_layers_have_other_heads_whose_values_are_keys() -> None:
    full, sliding = gqa("gemma-4-26B-A4B", 5), gqa("gemma-4-26B-A4B", 4)
    assert (full.kv_heads, full.head_dim, full.values_are_keys, full.window) == (2, 512, True, None)
    assert (sliding.kv_heads, sliding.head_dim, sliding.values_are_keys, sliding.window) == (8, 256, False, 1024)
    # The cache holds keys and values both, though one projection makes them.
    assert full.cache_elements(1, 1) == 2 * 2 * 512


def test_llama_4_has_chunks_where_positions_rotate_and_experts_in_every_second_layer() -> None:
    names = model("Llama-4-Maverick-17B-128E").layer_names
    assert names[:4] == ("chunk-dense", "chunk-moe", "chunk-dense", "full-moe")
    assert names == names[:4] * 12
    assert gqa("Llama-4-Maverick-17B-128E", 0).window == 8192


def test_glm_5_2_shares_most_indexers() -> None:
    indexers = [attention.indexer for attention in attentions(model("GLM-5.2"), LatentAttention)]
    kinds = [indexer is not None and indexer.shared for indexer in indexers]
    assert None not in indexers
    assert kinds == [False] * 3 + [True, True, True, False] * 18 + [True] * 3
    assert kinds.count(False) == 21


def test_hunyuan_shares_keys_and_values_between_pairs_of_layers() -> None:
    spec = model("Hunyuan-Large")
    assert spec.layer_names == ("owning", "sharing") * 32
    whole = sum(gqa("Hunyuan-Large", layer).cache_elements(100, 1) for layer in range(64))
    assert whole == 32 * 100 * 2 * 8 * 80


def test_minimax_m1_has_softmax_attention_every_eighth_layer() -> None:
    assert model("MiniMax-M1").layer_names == (("lightning",) * 7 + ("softmax",)) * 10


def test_nemotron_layers_are_one_mixer_or_one_feed_forward_block_each() -> None:
    counted = Counter(model("Nemotron-3-Nano-30B-A3B").layer_names)
    assert counted == {"mamba": 23, "moe": 23, "attention": 6}
    assert Counter(model("Nemotron-3-Ultra-550B-A55B").layer_names) == {"mamba": 48, "moe": 48, "attention": 12}


def test_deepseek_v4_follows_its_compress_ratios() -> None:
    spec = model("DeepSeek-V4-Flash")
    found = attentions(spec, CompressedAttention)
    assert all((attention.indexer is not None) == (attention.compress_ratio == 4) for attention in found)
    ratios = [attention.compress_ratio for attention in found]
    assert ratios == [0, 0] + [4, 128] * 20 + [4]
    hashed = [spec.blocks[name].moe.hash_vocabulary > 0 for name in spec.layer_names]  # type: ignore[union-attr]
    assert hashed == [True] * 3 + [False] * 40
    assert spec.mtp is not None
    assert spec.mtp.block == "window-moe"


def test_qwen_hybrid_has_gated_full_attention_every_fourth_layer() -> None:
    spec = model("Qwen3.5-35B-A3B")
    assert spec.layer_names == ("linear-moe", "linear-moe", "linear-moe", "full-moe") * 10
    assert gqa("Qwen3.5-35B-A3B", 3).output_gate
    assert model("Qwen3.6-27B").layer_names[3] == "full-dense"


def test_qwen2_windows_start_at_max_window_layers() -> None:
    config = {
        "model_type": "qwen2",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "vocab_size": 100,
        "use_sliding_window": True,
        "sliding_window": 32,
        "max_window_layers": 4,
    }
    spec = read_config(config, name="small", source="test")
    windows = [spec.blocks[name].attention.window for name in spec.layer_names]  # type: ignore[union-attr]
    assert windows == [None] * 4 + [32] * 2
    spec = read_config(config | {"use_sliding_window": False}, name="small", source="test")
    assert set(spec.layer_names) == {"full_attention"}


def test_qwen3_moe_may_keep_layers_dense() -> None:
    config = {
        "model_type": "qwen3_moe",
        "hidden_size": 64,
        "intermediate_size": 128,
        "moe_intermediate_size": 32,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "vocab_size": 100,
        "decoder_sparse_step": 2,
        "mlp_only_layers": [3],
    }
    spec = read_config(config, name="small", source="test")
    assert [spec.blocks[name].moe is not None for name in spec.layer_names] == [False, True, False, False, False, True]


@pytest.mark.parametrize(
    ("layers", "runs"),
    [
        (["a"] * 5, [(("a",), 5)]),
        (["a", "b"] * 3, [(("a", "b"), 3)]),
        (["d"] * 3 + ["m"] * 4, [(("d",), 3), (("m",), 4)]),
        (["a", "b", "c"], [(("a",), 1), (("b",), 1), (("c",), 1)]),
        (["a", "a", "b"] * 4 + ["a"], [(("a", "a", "b"), 4), (("a",), 1)]),
    ],
)
def test_runs_are_the_longest_repeated_patterns(layers: list[str], runs: list[tuple[tuple[str, ...], int]]) -> None:
    assert [(run.pattern, run.count) for run in runs_of(layers)] == runs


@pytest.mark.parametrize("name", ["Nemotron-3-Ultra-550B-A55B", "GLM-5.2", "gemma-3-27b-text", "DeepSeek-V4-Flash"])
def test_runs_repeat_the_listed_layers(name: str) -> None:
    spec = model(name)
    again = [block for run in spec.layers for _ in range(run.count) for block in run.pattern]
    assert tuple(again) == spec.layer_names
    assert all(first != second for first, second in pairwise(spec.layers))


def test_nemotron_nas_rounds_its_widths_up_to_256() -> None:
    attention = {"n_heads_in_group": 8, "no_op": False, "replace_with_linear": False}
    config = {
        "model_type": "nemotron-nas",
        "hidden_size": 8192,
        "num_hidden_layers": 2,
        "num_attention_heads": 64,
        "vocab_size": 128256,
        "block_configs": [
            {"attention": attention, "ffn": {"ffn_mult": 2.625, "no_op": False}},
            {"attention": {"n_heads_in_group": None, "no_op": True}, "ffn": {"ffn_mult": 5.25}},
        ],
    }
    spec = read_config(config, name="nas", source="test")
    # Llama-3_3-Nemotron-Super-49B: 2 * 2.625 * 8192 / 3 = 14,336 and 2 * 5.25 * 8192 / 3 = 28,672.
    assert [spec.blocks[name].ffn.intermediate for name in spec.layer_names] == [14336, 28672]  # type: ignore[union-attr]
    assert spec.blocks[spec.layer_names[1]].attention is None
    assert spec.blocks[spec.layer_names[1]].norms == 1


MIMO_V2 = {
    "model_type": "mimo_v2_flash",
    "num_hidden_layers": 7,
    "hidden_size": 64,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "v_head_dim": 8,
    "swa_num_key_value_heads": 4,
    "sliding_window": 16,
    "hybrid_layer_pattern": [0, 1, 1, 1, 1, 0, 1],
    "moe_layer_freq": [0, 1, 1, 1, 1, 1, 1],
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "topk_method": "noaux_tc",
    "vocab_size": 100,
}


def test_mimo_v2_layers_in_windows_have_heads_and_sinks_of_their_own() -> None:
    spec = read_config(MIMO_V2, name="mimo", source="test")
    assert spec.layer_names == ("full-dense", *["sliding-moe"] * 4, "full-moe", "sliding-moe")
    full, sliding = spec.blocks["full-moe"].attention, spec.blocks["sliding-moe"].attention
    assert isinstance(full, GroupedQueryAttention)
    assert isinstance(sliding, GroupedQueryAttention)
    assert (full.kv_heads, full.window, full.sinks) == (2, None, False)
    assert (sliding.kv_heads, sliding.window, sliding.sinks) == (4, 16, True)
    assert full.cache_elements(10, 1) == 10 * 2 * (12 + 8)
    renamed = {key: value for key, value in MIMO_V2.items() if key not in ("hybrid_layer_pattern", "moe_layer_freq")}
    full_first = ["full_attention"] + ["sliding_attention"] * 4 + ["full_attention", "sliding_attention"]
    renamed |= {"layer_types": full_first, "mlp_layer_types": ["dense"] + ["sparse"] * 6}
    assert read_config(renamed, name="mimo", source="test") == spec


def test_the_text_part_says_whether_the_head_is_tied() -> None:
    text = {
        "model_type": "mistral",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vocab_size": 100,
    }
    outer = {"model_type": "mistral3", "tie_word_embeddings": True}
    assert read_config(outer | {"text_config": text}, name="m", source="test").tie_embeddings
    said = text | {"tie_word_embeddings": False}
    assert not read_config(outer | {"text_config": said}, name="m", source="test").tie_embeddings
    assert not read_config({"model_type": "mistral3", "text_config": text}, name="m", source="test").tie_embeddings


def test_minimax_m3_mixes_by_its_two_lists() -> None:
    config = {
        "model_type": "minimax_m3",
        "hidden_size": 64,
        "intermediate_size": 32,
        "dense_intermediate_size": 128,
        "shared_intermediate_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "vocab_size": 100,
        "moe_layer_freq": [0, 1, 1, 1],
        "sparse_attention_config": {
            "sparse_attention_freq": [0, 0, 1, 1],
            "sparse_num_index_heads": 2,
            "sparse_index_dim": 8,
            "sparse_topk_blocks": 3,
            "sparse_block_size": 4,
        },
    }
    spec = read_config(config, name="m3", source="test")
    assert spec.layer_names == ("whole-dense", "whole-moe", "sparse-moe", "sparse-moe")
    sparse = spec.blocks["sparse-moe"].attention
    assert isinstance(sparse, BlockSparseAttention)
    assert sparse.indexer.top_k == 12
    config["sparse_attention_config"] |= {"use_sparse_attention": False}  # type: ignore[operator]
    assert "sparse-moe" not in read_config(config, name="m3", source="test").layer_names


def test_kimi_linear_names_its_layers_by_number() -> None:
    attention: dict[str, object] = {"full_attn_layers": [3], "kda_layers": [1, 2, 4], "head_dim": 16, "num_heads": 4}
    config = {
        "model_type": "kimi_linear",
        "hidden_size": 64,
        "intermediate_size": 128,
        "moe_intermediate_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "kv_lora_rank": 32,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 16,
        "num_experts": 8,
        "num_experts_per_token": 2,
        "num_shared_experts": 1,
        "first_k_dense_replace": 1,
        "vocab_size": 100,
        "linear_attn_config": attention,
    }
    spec = read_config(config, name="kimi", source="test")
    assert spec.layer_names == ("delta-dense", "delta-moe", "full-moe", "delta-moe")
    for wrong in ([1, 2], [1, 2, 3, 4], [0, 1, 2]):
        with pytest.raises(SpecError, match="together must name each of the 4 layers once, from 1"):
            read_config(config | {"linear_attn_config": attention | {"kda_layers": wrong}}, name="k", source="test")


@pytest.mark.parametrize(
    ("stated", "context"),
    [
        ({"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}}, 2_048),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 32, "original_max_position_embeddings": 128}}, 4_096),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.5}}, 1_280),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2}}, 1_024),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 64}}, 512),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 8.0}}, 512),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}, 512),
        ({"rope_scaling": {"rope_type": "yarn", "factor": "four"}}, 512),
        ({"rope_scaling": None}, 512),
        ({"max_position_embeddings": None, "model_max_length": 1_024}, 1_024),
        ({"max_position_embeddings": None}, None),
    ],
)
def test_the_context_is_what_the_scaling_of_positions_declares(stated: dict[str, object], context: int | None) -> None:
    config = {
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100, "max_position_embeddings": 512,
    }  # fmt: skip
    assert read_config(config | stated, name="m", source="s").max_context == context


GEMMA3 = {"rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}
LLAVA = {"max_position_embeddings": 4096, "vocab_size": 32_064}


@pytest.mark.parametrize(
    ("outer", "inner", "text", "total"),
    [
        ("gemma3", "gemma3_text", GEMMA3 | {"hidden_size": 2560, "intermediate_size": 10_240,
         "num_hidden_layers": 34}, "gemma-3-4b"),
        ("gemma3", "gemma3_text", GEMMA3 | {"hidden_size": 3840, "intermediate_size": 15_360, "num_hidden_layers": 48,
         "num_attention_heads": 16, "num_key_value_heads": 8}, "gemma-3-12b"),
        ("gemma3", "gemma3_text", GEMMA3 | {"hidden_size": 5376, "intermediate_size": 21_504, "num_hidden_layers": 62,
         "num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 128}, "gemma-3-27b"),
        # Llama 2 7B with 64 more tokens, at the width of both embeddings
        ("llava", "llama", LLAVA, 6_738_415_616 + 2 * 64 * 4096),
        ("llava_next", "mistral", LLAVA | {"sliding_window": None}, "mistral-7b-v0.2"),
        ("llama4", "llama4_text", {}, "llama-4-scout"),
    ],
)  # fmt: skip
def test_what_a_text_part_leaves_out_is_as_its_class_has_it(
    outer: str, inner: str, text: dict[str, Any], total: int | str
) -> None:
    config = {"model_type": outer, "text_config": {"model_type": inner, **text}}
    found = read_config(config, name="m", source="test")
    if isinstance(total, int):
        assert parameter_table(found).total == total
        return
    entry = load_model(total)
    assert parameter_table(found.model_copy(update={"vocab_size": entry.vocab_size, "vision": None})).total == (
        parameter_table(entry.model_copy(update={"vision": None})).total
    )
    assert found.max_context == {"mistral": 4096, "llama4_text": 131_072}.get(inner, entry.max_context)


def test_a_file_of_its_own_leaves_nothing_out() -> None:
    with pytest.raises(SpecError, match="num_attention_heads: is required but missing"):
        read_config({"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2}, name="m", source="test")
    nothing = {"model_type": "llava", "text_config": {"model_type": "llama", "num_attention_heads": None}}
    with pytest.raises(SpecError, match="num_attention_heads: is required but missing"):
        read_config(nothing, name="m", source="test")
    layered = {"model_type": "gemma4", "text_config": {"model_type": "gemma4_text"}}
    with pytest.raises(SpecError, match="per-layer embeddings"):
        read_config(layered, name="m", source="test")

"""What the reader does not understand it refuses by name, with what it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.errors import SpecError
from optimizer.readers.huggingface import SUPPORTED, read_config, read_config_file

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "max_position_embeddings": 512,
}


def refusal(config: Any, name: str = "m") -> str:
    with pytest.raises(SpecError) as caught:
        read_config(config, name=name, source="config.json")
    return str(caught.value)


def test_unknown_architectures_are_refused_with_the_supported_ones() -> None:
    message = refusal(LLAMA | {"model_type": "llamma"})
    assert message.startswith(
        "config.json: model_type: architecture 'llamma' is not supported; supported: bloom, dbrx,"
    )
    assert message.endswith("(did you mean 'llama'?)")
    assert all(name in message for name in SUPPORTED)
    assert len(SUPPORTED) == len(set(SUPPORTED)) > 50


def test_a_missing_model_type_is_said() -> None:
    assert "model_type: is required but missing; supported: bloom" in refusal({"hidden_size": 64})


def test_an_unknown_key_is_refused_by_name() -> None:
    message = refusal(LLAMA | {"num_key_value_head": 2, "cross_layer_sharing": 2})
    first, second = message.split("\n")
    assert first.startswith("config.json: num_key_value_head: is not understood for llama models, and it may change")
    assert "understood: attention_bias, " in first
    assert first.endswith("(did you mean 'num_key_value_heads'?)")
    assert second.startswith("config.json: cross_layer_sharing: is not understood")


def test_keys_without_a_value_and_keys_that_cannot_change_a_shape_are_passed_over() -> None:
    harmless = {"bos_token_id": 1, "rope_scaling": {"factor": 8}, "attention_dropout": 0.1, "cross_layer_sharing": None}
    plain = read_config(LLAMA, name="m", source="s")
    assert read_config(LLAMA | harmless, name="m", source="s") == plain


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": None}, "hidden_size: is required but missing"),
        ({"hidden_size": "64"}, "hidden_size: a whole number is wanted, not the text '64'"),
        ({"hidden_size": 0}, "hidden_size: must be between 1 and"),
        ({"hidden_size": -64}, "hidden_size: must be between 1 and"),
        ({"hidden_size": True}, "hidden_size: a whole number is wanted, not true"),
        ({"hidden_size": 10**41}, "hidden_size: must be between 1 and 1,000,000,000,000, not an enormous number"),
        ({"hidden_size": 10**9}, "does not describe a llama model: "),
        ({"hidden_size": 65}, "num_attention_heads: 4 does not divide hidden_size 65, and there is no head_dim"),
        ({"num_key_value_heads": 3}, "num_key_value_heads: 3 does not divide the 4 attention heads"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers: must be at most 10,000, not 1000000"),
        ({"attention_bias": 1}, "attention_bias: true or false is wanted, not 1"),
        ({"torch_dtype": "float8"}, "torch_dtype: 'float8' is not understood; understood: bfloat16"),
        ({"quantization_config": [1]}, "quantization_config: a mapping is wanted, not a list"),
        ({"model_type": 3}, "model_type: text is wanted, not 3"),
    ],
)
def test_wrong_values(change: dict[str, Any], message: str) -> None:
    assert message in refusal(LLAMA | change)


@pytest.mark.parametrize("config", [[], "llama", None, 3])
def test_other_than_a_mapping(config: object) -> None:
    assert "a mapping is wanted" in refusal(config)


def test_a_wrapper_needs_its_text_config() -> None:
    assert "text_config: is required but missing" in refusal({"model_type": "gemma3", "vision_config": {}})
    message = refusal({"model_type": "gemma3", "text_config": LLAMA})
    assert "text_config.model_type: 'llama' is not supported inside gemma3; supported: gemma3_text" in message
    inner = {k: v for k, v in LLAMA.items() if k != "model_type"}
    message = refusal({"model_type": "gemma3", "text_config": inner | {"per_layer_embedding": 4}})
    assert "text_config.per_layer_embedding: is not understood for gemma3_text models" in message
    message = refusal({"model_type": "gemma3", "text_config": inner, "talker_config": {"layers": 3}})
    assert "talker_config: is not understood for gemma3 models" in message


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("DeepSeek-V3", "moe_layer_freq", 2, "moe_layer_freq: 2 is not understood here"),
        ("DeepSeek-V3", "attention_bias", True, "attention_bias: True is not understood here"),
        ("DeepSeek-V4-Flash", "compress_ratios", [0] * 43 + [8], None),
        ("DeepSeek-V4-Flash", "compress_ratios", [8] * 44, "compress_ratios: entry 0 is 8, which is not understood"),
        ("DeepSeek-V4-Flash", "compress_ratios", [0] * 9, "compress_ratios: has 9 entries for 43 layers"),
        (
            "gpt-oss-120b",
            "layer_types",
            ["full"] * 36,
            "entry 0 is 'full'; understood: full_attention, sliding_attention",
        ),
        ("Nemotron-3-Nano-30B-A3B", "hybrid_override_pattern", "MEX", "entry 2 is 'X'; understood: mamba, attention"),
        ("Nemotron-3-Nano-30B-A3B", "num_hidden_layers", 51, "num_hidden_layers: is 51, but 52 layers are listed"),
        ("MiniMax-M1", "attn_type_list", [2] * 80, "attn_type_list: entry 0 is 2; understood: 0 (linear), 1 (softmax)"),
        ("MiniMax-M2", "qk_norm_type", "per_head", "qk_norm_type: 'per_head' is not understood here"),
        ("Hunyuan-Large", "moe_topk", [1] * 32 + [2] * 32, "moe_topk: differs from layer to layer"),
        ("DBRX", "ffn_config", None, "ffn_config: is required but missing"),
    ],
)
def test_values_that_a_family_does_not_know(name: str, key: str, value: object, message: str | None) -> None:
    path = Path(__file__).resolve().parents[2] / "data" / "configs" / f"{name}.json"
    config = json.loads(path.read_text()) | {key: value}
    if message is None:
        read_config(config, name="m", source="config.json")
    else:
        assert message in refusal(config)


def test_a_file_gives_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{\n  "model_type": "llama",\n  "hidden_size": 64,\n  "hiden_act2": "x"\n}\n')
    with pytest.raises(SpecError) as caught:
        read_config_file(file)
    assert f"{file}:1:1: num_attention_heads: is required but missing" in str(caught.value)
    file.write_text(json.dumps(LLAMA, indent=1).replace('"hidden_size": 64', '"hidden_size": 64,\n  "new_shape": 3'))
    with pytest.raises(SpecError) as caught:
        read_config_file(file)
    assert f"{file}:4:3: new_shape: is not understood" in str(caught.value)


def test_files_with_an_infinite_time_step_are_read(tmp_path: Path) -> None:
    file = tmp_path / "small" / "config.json"
    file.parent.mkdir()
    file.write_text(json.dumps(LLAMA | {"time_step_limit": [0.0, float("inf")]}))
    spec = read_config_file(file)
    assert spec.name == "small"
    file.write_text('{"model_type": "llama", "note": "to Infinity, and beyond"')
    with pytest.raises(SpecError):
        read_config_file(file)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_configuration_escapes_as_another_error(data: st.DataObject) -> None:
    path = Path(__file__).resolve().parents[2] / "data" / "configs"
    name = data.draw(st.sampled_from(["DBRX", "DeepSeek-V4-Flash", "Falcon-180B", "gemma-4-26B-A4B", "Hunyuan-Large"]))
    config = json.loads((path / f"{name}.json").read_text())
    part = config.get("text_config", config)
    for _ in range(data.draw(st.integers(1, 3))):
        part[data.draw(st.sampled_from(sorted(part)))] = data.draw(VALUES)
    try:
        read_config(config, name="m", source="config.json")
    except SpecError as error:
        assert str(error)

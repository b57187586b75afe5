"""From quantisation sections to formats by role."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from optimizer.domain.precision import FORMATS
from optimizer.errors import SpecError
from optimizer.readers.huggingface import read_config, read_config_file
from optimizer.readers.huggingface.modules import Patterns

DATA = Path(__file__).resolve().parents[2] / "data" / "configs"

MOE: dict[str, Any] = {
    "model_type": "deepseek_v3",
    "hidden_size": 256,
    "intermediate_size": 512,
    "moe_intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "q_lora_rank": 64,
    "kv_lora_rank": 64,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "topk_method": "noaux_tc",
    "num_nextn_predict_layers": 1,
    "vocab_size": 1000,
}
NVFP4 = {"num_bits": 4, "type": "float", "group_size": 16, "dynamic": False}


def formats(section: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    config = MOE | more | ({"quantization_config": section} if section else {})
    spec = read_config(config, name="small", source="config.json")
    return spec.precision.model_dump(exclude_defaults=True)


def refusal(section: dict[str, Any]) -> str:
    with pytest.raises(SpecError) as caught:
        formats(section)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DeepSeek-V3", {"weights": "fp8_block"}),
        ("MiniMax-M2", {"weights": "fp8_block"}),
        ("gpt-oss-120b", {"attention": "bf16", "experts": "mxfp4"}),
        (
            "DeepSeek-V4-Flash",
            {"attention": "fp8_block", "indexer": "fp8_block", "experts": "mxfp4", "shared_experts": "fp8_block"},
        ),
        (
            "Kimi-K2.6",
            {
                "attention": "bf16",
                "dense_ffn": "bf16",
                "experts": "nvfp4",
                "shared_experts": "bf16",
                "kv_cache": "fp8",
            },
        ),
        (
            "Qwen3.6-27B",
            {"attention": "fp8", "dense_ffn": "nvfp4", "lm_head": "nvfp4", "mtp": "bf16", "kv_cache": "fp8"},
        ),
        (
            "Qwen3.6-35B-A3B",
            {"attention": "fp8", "experts": "nvfp4", "shared_experts": "nvfp4", "lm_head": "nvfp4", "mtp": "bf16"},
        ),
        ("Llama-2-70B", {"weights": "fp16", "router": "fp16", "embedding": "fp16", "lm_head": "fp16"}),
        ("Llama-3.1-8B", {}),
    ],
)
def test_published_checkpoints(name: str, expected: dict[str, str]) -> None:
    assert read_config_file(DATA / f"{name}.json").precision.model_dump(exclude_defaults=True) == expected


def test_fp8_by_blocks_and_by_tensor() -> None:
    assert formats({"quant_method": "fp8", "weight_block_size": [128, 128]}) == {"weights": "fp8_block"}
    assert formats({"quant_method": "fp8", "activation_scheme": "static"}) == {"weights": "fp8"}
    assert "[64, 64] is not understood" in refusal({"quant_method": "fp8", "weight_block_size": [64, 64]})


def test_modules_that_are_not_converted_stay_in_16_bit() -> None:
    kept = ["lm_head", "self_attn", "model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj"]
    found = formats({"quant_method": "fp8", "weight_block_size": [128, 128], "modules_to_not_convert": kept})
    assert found["attention"] == "bf16"
    assert found["experts"] == "fp8_block"
    # Two of the three dense matrices: the role has their format, the third is an exception.
    assert found["dense_ffn"] == "bf16"
    assert found["exceptions"] == (("down_proj", "fp8_block"),)


def test_one_tensor_of_a_role_may_differ() -> None:
    # DeepSeek-V3.1-NVFP4 quantises the output projection of attention and nothing else of it.
    layers = [f"model.layers.{i}.self_attn.{n}" for i in range(4) for n in ("q_a_proj", "q_b_proj", "kv_b_proj")]
    layers += [f"model.layers.{i}.self_attn.kv_a_proj_with_mqa" for i in range(4)]
    section = {"quant_algo": "NVFP4", "group_size": 16, "kv_cache_quant_algo": "FP8"}
    found = formats(section | {"exclude_modules": ["lm_head", "model.layers.4*", *layers]})
    assert found["attention"] == "bf16"
    assert found["exceptions"] == (("o_proj", "nvfp4"),)
    assert found["experts"] == "nvfp4"
    assert found["mtp"] == "bf16"
    assert found["kv_cache"] == "fp8"


def test_a_format_that_differs_from_layer_to_layer_is_refused() -> None:
    kept = ["model.layers.2.self_attn*"]
    message = refusal({"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": kept})
    assert "q_a_proj is stored in nvfp4 in 3 layers and bf16 in 1 layers" in message


def test_integers_are_multiplied_where_activations_have_8_bits_too() -> None:
    """vllm docs/features/quantization/int8: W8A8; without `input_activations` the weights alone are (w8a16)."""
    eight = {"num_bits": 8, "type": "int", "strategy": "channel"}
    groups = {
        "group_0": {"targets": ["Linear"], "weights": eight, "input_activations": {"num_bits": 8, "dynamic": True}}
    }
    section = {"quant_method": "compressed-tensors", "config_groups": groups, "ignore": ["lm_head"]}
    assert formats(section) == {"weights": "int8"}


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        ({"num_bits": 8, "type": "float", "strategy": "channel"}, "fp8_channel"),
        ({"num_bits": 8, "type": "float", "strategy": "tensor"}, "fp8"),
        ({"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [128, 128]}, "fp8_block"),
        ({"num_bits": 8, "type": "int", "strategy": "channel"}, "int8_channel"),
        ({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}, "int4"),
        ({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32}, "int4_g32"),
        ({"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32}, "mxfp4"),
        ({"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}, "nvfp4"),
    ],
)
def test_compressed_tensors(weights: dict[str, Any], wanted: str) -> None:
    more = {"symmetric": True, "dynamic": False, "observer": "minmax", "actorder": None}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights | more, "input_activations": None}}
    section = {"quant_method": "compressed-tensors", "format": "any", "config_groups": groups, "ignore": ["lm_head"]}
    assert formats(section) == {"weights": wanted}
    ignore = ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", r"re:.*mlp\.(gate|up|gate_up|down)_proj.*"]
    found = formats(section | {"ignore": ignore})
    assert found == {
        "attention": "bf16",
        "dense_ffn": "bf16",
        "experts": wanted,
        "shared_experts": "bf16",
        # None of its layers is left out by name, but what it is made of is.
    }


def test_compressed_tensors_refuses_other_formats() -> None:
    groups = {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 3, "type": "int", "strategy": "channel"}}}
    message = refusal({"quant_method": "compressed-tensors", "config_groups": groups})
    assert "3-bit int by channel" in message
    assert "understood: 8-bit float by channel" in message


def test_awq_and_gptq() -> None:
    assert formats({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}) == {"weights": "int4"}
    assert formats({"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True}) == {"weights": "int4_g32"}
    assert formats({"quant_method": "awq", "bits": 4, "group_size": 64}) == {"weights": "int4_g64"}
    assert formats({"quant_method": "gptq", "bits": 8, "group_size": 128}) == {"weights": "int8_g128"}
    assert "3 bits in groups of 128" in refusal({"quant_method": "gptq", "bits": 3, "group_size": 128})


def test_autogptq_as_it_writes_itself() -> None:
    section = {
        "bits": 4, "damp_percent": 0.01, "desc_act": True, "group_size": -1, "model_file_base_name": "model",
        "model_name_or_path": None, "quant_method": "gptq", "static_groups": False, "sym": True,
        "true_sequential": True, "use_exllama": True, "exllama_config": {"version": 1},
    }  # fmt: skip
    assert formats(section) == {"weights": "int4_channel"}


def test_gptqmodel_keeps_and_overrides_by_pattern() -> None:
    section: dict[str, Any] = {
        "bits": 4, "checkpoint_format": "gptq", "desc_act": True, "group_size": 128, "lm_head": False,
        "meta": {"quantizer": ["gptqmodel:2.2.0"], "damp_percent": 0.1}, "pack_dtype": "int32", "quant_method": "gptq",
        "sym": True, "dynamic": {"-:.*self_attn.*": {}, r"+:.*shared_experts.*": {"bits": 8}},
    }  # fmt: skip
    found = formats(section)
    assert (found["attention"], found["shared_experts"]) == ("bf16", "int8_g128")
    assert found["experts"] == "int4"


def test_auto_round_with_modules_of_their_own() -> None:
    extra = {f"model.layers.{i}.self_attn.{p}_proj": {"bits": 16, "data_type": "float"} for i in range(4) for p in "o"}
    section = {
        "amp": True, "autoround_version": "0.5.1", "bits": 4, "data_type": "int", "group_size": 128, "iters": 200,
        "packing_format": "auto_round:auto_gptq", "quant_method": "auto-round", "sym": True, "extra_config": extra,
        "block_name_to_quantize": "model.layers", "nsamples": 128, "seqlen": 2048, "lr": None,
    }  # fmt: skip
    found = formats(section)
    assert found["exceptions"] == (("o_proj", "bf16"),)
    assert found["experts"] == "int4"
    assert "mx_fp" in refusal(section | {"data_type": "mx_fp"})


def test_bitsandbytes_in_four_and_eight_bits() -> None:
    section = {
        "_load_in_4bit": True, "_load_in_8bit": False, "bnb_4bit_compute_dtype": "bfloat16",
        "bnb_4bit_quant_storage": "uint8", "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
        "llm_int8_enable_fp32_cpu_offload": False, "llm_int8_has_fp16_weight": False,
        "llm_int8_skip_modules": ["lm_head", "self_attn"], "llm_int8_threshold": 6.0, "load_in_4bit": True,
        "load_in_8bit": False, "quant_method": "bitsandbytes",
    }  # fmt: skip
    found = formats(section)
    assert (found["attention"], found["experts"]) == ("bf16", "nf4_double")
    assert formats({"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}) == {"weights": "nf4"}
    assert formats({"load_in_8bit": True, "quant_method": "bitsandbytes"}) == {"weights": "int8_channel"}
    # 64 elements in 4 bits, and their maximum in 4 bytes or in 1.
    assert [FORMATS[name].stored_bytes(64, 1) for name in ("nf4", "nf4_double")] == [36, 33]


def test_mixed_precision_names_every_module() -> None:
    listed: dict[str, Any] = {f"model.layers.{i}.mlp.experts": {"quant_algo": "NVFP4"} for i in (1, 2, 3)}
    listed |= {f"model.layers.{i}.self_attn.o_proj": {"quant_algo": "FP8"} for i in range(4)}
    section = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": listed}
    found = formats(section)
    assert found["experts"] == "nvfp4"
    assert found["attention"] == "bf16"
    assert found["exceptions"] == (("o_proj", "fp8"),)
    assert found["shared_experts"] == "bf16"


def test_unknown_methods_and_keys_are_refused_by_name() -> None:
    message = refusal({"quant_method": "aqlm", "nbits_per_codebook": 16})
    assert "quantization_config.quant_method: 'aqlm' is not understood" in message
    assert "fp8, mxfp4, modelopt, compressed-tensors, awq, gptq, auto-round, bitsandbytes" in message
    message = refusal({"quant_method": "fp8", "rotate_weights": True})
    assert "quantization_config.rotate_weights: is not understood" in message


def test_modelopt_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(MOE))
    quantizer = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(quantizer))
    found = read_config_file(tmp_path / "config.json").precision
    assert (found.weights, found.kv_cache, found.lm_head, found.embedding) == ("fp8", "fp8", "bf16", "bf16")
    own = MOE | {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
    (tmp_path / "config.json").write_text(json.dumps(own))
    assert read_config_file(tmp_path / "config.json").precision.weights == "fp8_block"


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("gate", "model.layers.3.mlp.gate", True),
        ("gate", "model.layers.3.mlp.gate_proj", False),
        ("model.layers.3", "model.layers.3.mlp.up_proj", True),
        ("model.layers.3", "model.layers.31.mlp.up_proj", False),
        ("model.layers.*.self_attn", "model.layers.7.self_attn", True),
        ("*.self_attn*", "model.layers.7.self_attn.q_proj", True),
        ("mtp*", "model.mtp.layers.0", False),
        ("re:.*self_attn.*", "model.layers.7.self_attn.q_proj", True),
        ("re:self_attn", "model.layers.7.self_attn.q_proj", False),
    ],
)
def test_patterns(pattern: str, name: str, *, covered: bool) -> None:
    assert Patterns([pattern]).match(name) is covered

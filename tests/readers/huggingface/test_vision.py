"""Vision towers: every parameter of a checkpoint beside its language model, against published or independent counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from optimizer.errors import SpecError
from optimizer.figures.parameters import parameter_table
from optimizer.readers.huggingface import read_config, read_config_file
from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.vision import vision_of

CONFIGS = Path(__file__).resolve().parents[2] / "data" / "configs"
QWEN = {
    "depth": 27, "hidden_size": 1152, "in_channels": 3, "intermediate_size": 4304, "num_heads": 16,
    "num_position_embeddings": 2304, "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2,
}  # fmt: skip
SIGLIP = {
    "hidden_size": 1152, "image_size": 896, "intermediate_size": 4304, "num_attention_heads": 16,
    "num_hidden_layers": 27, "patch_size": 14,
}  # fmt: skip
QWEN25 = {
    "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "in_chans": 3, "patch_size": 14,
    "spatial_merge_size": 2, "spatial_patch_size": 14, "temporal_patch_size": 2,
}  # fmt: skip
LLAMA4 = {
    "hidden_size": 1408, "intermediate_size": 5632, "num_hidden_layers": 34, "num_attention_heads": 16,
    "image_size": 336, "patch_size": 14, "vision_output_dim": 4096, "projector_input_dim": 4096,
    "projector_output_dim": 4096,
}  # fmt: skip
PIXTRAL = {
    "hidden_size": 1024, "image_size": 1540, "intermediate_size": 4096, "num_attention_heads": 16,
    "num_hidden_layers": 24, "patch_size": 14,
}  # fmt: skip
MOON = {
    "hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16, "num_hidden_layers": 27,
    "patch_size": 14, "init_pos_emb_height": 64, "init_pos_emb_width": 64, "merge_kernel_size": [2, 2],
}  # fmt: skip
GEMMA4 = SIGLIP | {"head_dim": 72, "num_key_value_heads": 16, "patch_size": 16, "position_embedding_size": 10240}
TEXT = {
    "num_hidden_layers": 1, "num_attention_heads": 8, "num_key_value_heads": 8, "intermediate_size": 64,
    "vocab_size": 128, "head_dim": 64,
}  # fmt: skip


def read(kind: str, inner: str, hidden: int, tower: dict[str, Any]) -> Any:
    text = {"model_type": inner, "hidden_size": hidden, **TEXT}
    if inner == "gemma4_text":
        text["hidden_size_per_layer_input"] = 0
    return read_config(
        {"model_type": kind, "text_config": text, "vision_config": tower}, name="m", source="config.json"
    )


@pytest.mark.parametrize(
    ("kind", "inner", "hidden", "tower", "elements"),
    [
        # Safetensors index of the checkpoint less the language model's own count.
        ("qwen3_vl", "qwen3_vl_text", 4096, QWEN | {"deepstack_visual_indexes": [8, 16, 24], "out_hidden_size": 4096},
         17_534_247_392 // 2 - 8_190_735_360),
        ("qwen3_vl", "qwen3_vl_text", 2560, QWEN | {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096,
         "deepstack_visual_indexes": [5, 11, 17], "out_hidden_size": 2560}, 8_875_631_616 // 2 - 4_022_468_096),
        ("qwen2_5_vl", "qwen2_5_vl_text", 3584, QWEN25 | {"out_hidden_size": 3584},
         16_584_333_312 // 2 - 7_615_616_512),
        ("gemma3", "gemma3_text", 5376, SIGLIP, 54_864_813_280 // 2 - 27_009_346_304),
        ("gemma3", "gemma3_text", 2560, SIGLIP, 8_600_158_944 // 2 - 3_880_263_168),
        ("mistral3", "mistral", 5120, PIXTRAL, 24_011_361_280 - 23_572_403_200),
        # The classes' own count on the meta device (transformers 5.24.0).
        ("llama4", "llama4_text", 5120, LLAMA4, 871_932_416),
        ("gemma4", "gemma4_text", 2816, GEMMA4, 572_792_112),
        # The checkpoint of Kimi-VL-A3B, as the catalog has it.
        ("kimi_vl", "deepseek_v3", 2048, MOON, 447_545_840),
    ],
)  # fmt: skip
def test_towers_are_counted_exactly(kind: str, inner: str, hidden: int, tower: dict[str, Any], elements: int) -> None:
    if inner in {"llama4_text", "deepseek_v3"}:
        # The language model around it has no one-layer example here.
        found, assumed = vision_of(Config({"model_type": kind, "vision_config": tower}, "config.json"), hidden)
        assert (found.parameters if found else None, assumed) == (elements, ())
        return
    model = read(kind, inner, hidden, tower)
    assert parameter_table(model).vision == elements
    assert model.assumed == ()


def test_qwen2_5_vl_keeps_its_language_model_at_the_top() -> None:
    flat = {"model_type": "qwen2_5_vl", "hidden_size": 2048, **TEXT, "tie_word_embeddings": True}
    flat |= {"vision_config": QWEN25 | {"out_hidden_size": 2048}, "vision_token_id": 151654}
    assert parameter_table(read_config(flat, name="m", source="s")).vision == 668_684_288


def test_what_is_not_counted_is_named() -> None:
    model = read("llava", "mistral", 4096, SIGLIP)
    assert (model.vision, model.assumed) == (None, ("vision tower of llava: not counted",))


def test_a_tower_without_its_sizes_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match=r"vision_config\.hidden_size: is required but missing"):
        read("qwen3_vl", "qwen3_vl_text", 4096, {"depth": 27})


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN"])
def test_what_python_writes_is_read_where_nothing_reads_it(tmp_path: Path, number: str) -> None:
    file = tmp_path / "config.json"
    plain = json.loads((CONFIGS / "Qwen3-8B.json").read_text())
    file.write_text(json.dumps(plain)[:-1] + f', "time_step_limit": [0.0, {number}]}}')
    assert parameter_table(read_config_file(file)).total == 8_190_735_360
    file.write_text(
        json.dumps(plain | {"_name_or_path": "NaN Infinity"})[:-1] + f', "router_aux_loss_coef": {number}}}'
    )
    assert read_config_file(file).source == str(file)
    del plain["hidden_size"]
    file.write_text(json.dumps(plain)[:-1] + f', "hidden_size": {number}}}')
    with pytest.raises(SpecError, match="a whole number is wanted"):
        read_config_file(file)

"""What a config.json's `text_config` leaves to the class that reads it.

transformers writes of a configuration within another what differs from the class's own values alone
(`configuration_utils.py`, `to_diff_dict`); what it leaves out is as the class has it: `models/*/configuration_*.py` of
4.57.3 and 5.24.0, which agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_LLAMA: Final[Mapping[str, Any]] = {
    "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "max_position_embeddings": 2048,
}  # fmt: skip
_GEMMA: Final[Mapping[str, Any]] = {
    "hidden_size": 2304, "intermediate_size": 9216, "num_attention_heads": 8, "num_key_value_heads": 4,
    "head_dim": 256, "max_position_embeddings": 131_072,
}  # fmt: skip
_QWEN3_5: Final[Mapping[str, Any]] = {
    "vocab_size": 248_320, "num_attention_heads": 16, "head_dim": 256, "max_position_embeddings": 32_768,
    "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
    "linear_num_key_heads": 16, "linear_num_value_heads": 32,
}  # fmt: skip

DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "gemma3_text": {**_GEMMA, "vocab_size": 262_208, "num_hidden_layers": 26, "sliding_window": 4096},
    "gemma4_text": {
        **_GEMMA, "vocab_size": 262_144, "num_hidden_layers": 30, "sliding_window": 512,
        "hidden_size_per_layer_input": 256,
    },
    "llama": _LLAMA,
    "granite": _LLAMA,
    "mistral": {
        **_LLAMA, "intermediate_size": 14_336, "num_key_value_heads": 8, "max_position_embeddings": 131_072,
        "sliding_window": 4096,
    },
    "llama4_text": {
        "vocab_size": 202_048, "hidden_size": 5120, "intermediate_size": 8192, "intermediate_size_mlp": 16_384,
        "num_hidden_layers": 48, "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128,
        "max_position_embeddings": 131_072, "num_experts_per_tok": 1, "num_local_experts": 16,
        "interleave_moe_layer_step": 1, "attention_chunk_size": 8192,
    },
    "qwen2_5_vl_text": {
        "vocab_size": 152_064, "hidden_size": 8192, "intermediate_size": 29_568, "num_hidden_layers": 80,
        "num_attention_heads": 64, "num_key_value_heads": 8, "max_position_embeddings": 32_768,
    },
    "qwen3_vl_text": {
        "vocab_size": 151_936, "hidden_size": 4096, "intermediate_size": 22_016, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 128, "max_position_embeddings": 128_000,
    },
    "qwen3_vl_moe_text": {
        "vocab_size": 151_936, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24,
        "num_attention_heads": 16, "num_key_value_heads": 16, "max_position_embeddings": 128_000,
        "moe_intermediate_size": 1408, "num_experts_per_tok": 4, "num_experts": 60,
    },
    "qwen3_5_text": {
        **_QWEN3_5, "hidden_size": 4096, "intermediate_size": 12_288, "num_hidden_layers": 32,
        "num_key_value_heads": 4,
    },
    "qwen3_5_moe_text": {
        **_QWEN3_5, "hidden_size": 2048, "num_hidden_layers": 40, "num_key_value_heads": 2,
        "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512, "num_experts_per_tok": 8,
        "num_experts": 256,
    },
}  # fmt: skip
"""By the `model_type` of a `text_config`."""

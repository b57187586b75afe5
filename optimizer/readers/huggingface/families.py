"""Which family reads which `model_type`: one row an architecture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.deepseek import (
    read_deepseek,
    read_deepseek_v4,
    read_dots,
    read_glm4_moe,
    read_kimi_linear,
    read_sparse_attention,
)
from optimizer.readers.huggingface.dense import (
    read_bloom,
    read_falcon,
    read_glm4,
    read_gpt2,
    read_olmo2,
    read_phi,
    read_phi3,
    read_seed_oss,
)
from optimizer.readers.huggingface.experts import (
    read_dbrx,
    read_ernie,
    read_gpt_oss,
    read_granite_moe,
    read_grok,
    read_hunyuan,
    read_llama4,
    read_mixtral,
    read_olmoe,
    read_phimoe,
)
from optimizer.readers.huggingface.gemma import read_gemma2, read_gemma3, read_gemma4
from optimizer.readers.huggingface.llama import read_llama, read_mistral, read_nemotron_nas, read_qwen2, read_qwen3
from optimizer.readers.huggingface.mimo import read_hy3, read_mimo_v2
from optimizer.readers.huggingface.minimax import read_minimax_m1, read_minimax_m2, read_minimax_m3
from optimizer.readers.huggingface.nemotron import read_granite_hybrid, read_nemotron_h
from optimizer.readers.huggingface.parts import ReadParts
from optimizer.readers.huggingface.qwen import read_hybrid, read_qwen2_moe, read_qwen3_moe


@dataclass(frozen=True)
class Architecture:
    """How to read one architecture.

    Attributes
    ----------
    read
        From its keys to blocks and layers.
    tied
        Whether the head is tied where the file does not say.
    style
        Whose module names its checkpoints use (see `modules.py`).
    """

    read: Callable[[Config], ReadParts]
    tied: bool = False
    style: str = "llama"


FAMILIES: Final[dict[str, Architecture]] = {
    "bloom": Architecture(read_bloom, tied=True),
    "dbrx": Architecture(read_dbrx),
    "deepseek_v2": Architecture(read_deepseek),
    "deepseek_v3": Architecture(read_deepseek),
    "deepseek_v32": Architecture(read_sparse_attention),
    "deepseek_v4": Architecture(read_deepseek_v4, style="deepseek_v4"),
    "dots1": Architecture(read_dots),
    "ernie4_5_moe": Architecture(read_ernie, tied=True),
    "falcon": Architecture(read_falcon, tied=True),
    "gemma": Architecture(read_llama, tied=True),
    "gemma2": Architecture(read_gemma2, tied=True),
    "gemma3_text": Architecture(read_gemma3, tied=True),
    "gemma4_text": Architecture(read_gemma4, tied=True, style="gemma"),
    "glm4": Architecture(read_glm4),
    "glm4_moe": Architecture(read_glm4_moe),
    "glm_moe_dsa": Architecture(read_sparse_attention),
    "gpt2": Architecture(read_gpt2, tied=True),
    "gpt_oss": Architecture(read_gpt_oss),
    "granite": Architecture(read_llama),
    "granitemoe": Architecture(read_granite_moe, style="mixtral"),
    "granitemoehybrid": Architecture(read_granite_hybrid, tied=True),
    "grok-1": Architecture(read_grok, tied=True),
    "hunyuan": Architecture(read_hunyuan, tied=True),
    "hunyuan_v1_moe": Architecture(read_hunyuan),
    "hy_v3": Architecture(read_hy3),
    "kimi_k2": Architecture(read_deepseek),
    "kimi_linear": Architecture(read_kimi_linear),
    "llama": Architecture(read_llama),
    "llama4_text": Architecture(read_llama4, style="llama4"),
    "mimo": Architecture(read_qwen2),
    "mimo_v2_flash": Architecture(read_mimo_v2),
    "minimax": Architecture(read_minimax_m1),
    "minimax_m1": Architecture(read_minimax_m1),
    "minimax_m2": Architecture(read_minimax_m2, style="mixtral"),
    "minimax_m3": Architecture(read_minimax_m3, style="mixtral"),
    "minimax_text_01": Architecture(read_minimax_m1),
    "ministral": Architecture(read_mistral),
    "mistral": Architecture(read_mistral),
    "mistral4": Architecture(read_deepseek),
    "mixtral": Architecture(read_mixtral, style="mixtral"),
    "nemotron-nas": Architecture(read_nemotron_nas),
    "nemotron_h": Architecture(read_nemotron_h, style="nemotron_h"),
    "olmo2": Architecture(read_olmo2),
    "olmoe": Architecture(read_olmoe),
    "phi": Architecture(read_phi),
    "phi3": Architecture(read_phi3),
    "phimoe": Architecture(read_phimoe, style="mixtral"),
    "qwen2": Architecture(read_qwen2),
    "qwen2_5_vl": Architecture(read_qwen2),
    "qwen2_5_vl_text": Architecture(read_qwen2),
    "qwen2_moe": Architecture(read_qwen2_moe),
    "qwen3": Architecture(read_qwen3),
    "qwen3_5_moe_text": Architecture(read_hybrid),
    "qwen3_5_text": Architecture(read_hybrid),
    "qwen3_moe": Architecture(read_qwen3_moe),
    "qwen3_next": Architecture(read_hybrid),
    "qwen3_vl_moe_text": Architecture(read_qwen3_moe),
    "qwen3_vl_text": Architecture(read_qwen3),
    "seed_oss": Architecture(read_seed_oss),
    "smollm3": Architecture(read_llama, tied=True),
}

WRAPPERS: Final[dict[str, tuple[str, ...]]] = {
    "gemma3": ("gemma3_text",),
    "gemma4": ("gemma4_text",),
    "kimi_k25": ("deepseek_v3", "kimi_k2"),
    "kimi_vl": ("deepseek_v3",),
    "llama4": ("llama4_text",),
    "llava": ("llama", "mistral", "granite"),
    "llava_next": ("llama", "mistral", "granite"),
    "minimax_m3_vl": ("minimax_m3",),
    "mistral3": ("mistral", "mistral4"),
    "qwen2_5_vl": ("qwen2_5_vl_text",),
    "qwen3_5": ("qwen3_5_text",),
    "qwen3_5_moe": ("qwen3_5_moe_text",),
    "qwen3_vl": ("qwen3_vl_text",),
    "qwen3_vl_moe": ("qwen3_vl_moe_text",),
}
"""Multimodal architectures whose `text_config` is one of these; `vision` counts the towers beside it."""

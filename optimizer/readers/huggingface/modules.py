"""What checkpoints call the modules behind each tensor, and which modules a pattern of a quantiser names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from typing import Final

from optimizer.errors import SpecError

_PREFIXES: Final = (
    "model.layers.{}.",
    "model.language_model.layers.{}.",
    "language_model.model.layers.{}.",
    "backbone.layers.{}.",
    "layers.{}.",
)

_FFN: Final = ("gate_proj", "up_proj", "down_proj")

_LLAMA: Final[dict[str, tuple[str, ...]]] = {
    **{
        name: (f"self_attn.{name}",)
        for name in ("q_proj", "k_proj", "v_proj", "o_proj", "q_a_proj", "q_b_proj", "kv_b_proj", "qkv_proj")
    },
    **{name: (f"mlp.{name}",) for name in _FFN},
    **{f"expert_{name}": (f"mlp.experts.0.{name}",) for name in _FFN},
    **{f"shared_{name}": (f"mlp.shared_experts.{name}", f"mlp.shared_expert.{name}") for name in _FFN},
    "kv_a_proj": ("self_attn.kv_a_proj_with_mqa",),
    "indexer_q": ("self_attn.indexer.wq_b",),
    "indexer_k": ("self_attn.indexer.wk",),
    "indexer_weights": ("self_attn.indexer.weights_proj", "self_attn.indexers_proj"),
    "in_proj_qkvz": ("linear_attn.in_proj_qkvz", "linear_attn.in_proj_qkv", "linear_attn.in_proj_z"),
    "out_proj": ("linear_attn.out_proj", "self_attn.out_proj"),
    "output_gate": ("self_attn.output_gate",),
}
_OLD: Final = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}

_STYLES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "llama": {},
    "mixtral": {
        **{f"expert_{name}": (f"block_sparse_moe.experts.0.{old}",) for name, old in _OLD.items()},
        **{f"shared_{name}": (f"block_sparse_moe.shared_experts.{name}",) for name in _FFN},
        "indexer_q": ("self_attn.index_q_proj",),
        "indexer_k": ("self_attn.index_k_proj",),
    },
    "gemma": {f"expert_{name}": (f"experts.0.{name}",) for name in _FFN},
    "llama4": {
        **{name: (f"feed_forward.{name}",) for name in _FFN},
        **{f"shared_{name}": (f"feed_forward.shared_expert.{name}",) for name in _FFN},
        **{f"expert_{name}": (f"feed_forward.experts.0.{name}", f"feed_forward.experts.{name}") for name in _FFN},
    },
    "nemotron_h": {
        **{name: (f"mixer.{name}",) for name in ("q_proj", "k_proj", "v_proj", "o_proj", "in_proj", "out_proj", *_FFN)},
        **{f"expert_{name}": (f"mixer.experts.0.{name}",) for name in _FFN},
        **{f"shared_{name}": (f"mixer.shared_experts.{name}",) for name in _FFN},
        "latent_in": ("mixer.fc1_latent_proj",),
        "latent_out": ("mixer.fc2_latent_proj",),
    },
    "deepseek_v4": {
        "q_a_proj": ("attn.wq_a",),
        "q_b_proj": ("attn.wq_b",),
        "kv_proj": ("attn.wkv",),
        "o_a_proj": ("attn.wo_a",),
        "o_b_proj": ("attn.wo_b",),
        "compressor_kv_proj": ("attn.compressor.wkv",),
        "compressor_gate_proj": ("attn.compressor.wgate",),
        "indexer_q": ("attn.indexer.wq_b",),
        "indexer_weights": ("attn.indexer.weights_proj",),
        "indexer_kv_proj": ("attn.indexer.compressor.wkv",),
        "indexer_gate_proj": ("attn.indexer.compressor.wgate",),
        **{f"expert_{name}": (f"ffn.experts.0.{old}",) for name, old in _OLD.items()},
        **{f"shared_{name}": (f"ffn.shared_experts.{old}",) for name, old in _OLD.items()},
    },
}
"""By architecture, where its names differ from those of the Llama and DeepSeek-V3 checkpoints."""


def module_names(tensor: str, style: str, layer: int, *, mtp: bool = False) -> tuple[str, ...]:
    """Full names that checkpoints may give the module of a tensor of a layer."""
    below = _STYLES.get(style, {}).get(tensor) or _LLAMA.get(tensor) or (tensor,)
    prefixes = (*_PREFIXES, "mtp.layers.{}.", "mtp.{}.") if mtp else _PREFIXES
    return tuple(
        prefix.format(0 if prefix.startswith("mtp") else layer) + module for prefix in prefixes for module in below
    )


class Patterns:
    """Names and patterns by which quantisers list modules.

    `re:` begins a regular expression matched from the start (compressed-tensors), `*` stands for anything (modelopt),
    and a plain name covers every module that has it as a run of whole dotted parts (transformers).
    """

    def __init__(self, patterns: Iterable[str], *, source: str = "") -> None:
        expressions: list[str] = []
        self._plain: set[tuple[str, ...]] = set()
        for pattern in patterns:
            if pattern.startswith("re:"):
                try:
                    re.compile(pattern[3:])
                except re.error:
                    raise SpecError(f"{source}: {pattern!r} is not a regular expression") from None
                expressions.append(f"(?:{pattern[3:]})")
            elif "*" in pattern:
                expressions.append(translate(pattern))
            else:
                self._plain.add(tuple(pattern.split(".")))
        self._expression = re.compile("|".join(expressions)) if expressions else None
        self._lengths = sorted({len(parts) for parts in self._plain})

    def match(self, *names: str) -> bool:
        """Whether one of these full module names is covered."""
        return any(self._match(name) for name in names)

    def _match(self, name: str) -> bool:
        parts = tuple(name.split("."))
        for length in self._lengths:
            if any(parts[start : start + length] in self._plain for start in range(len(parts) - length + 1)):
                return True
        return self._expression is not None and self._expression.match(name) is not None

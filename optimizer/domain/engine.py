"""Serving engines as data: which validity rules bind a layout, and what an engine keeps for itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

GIB = 2**30


class EngineRule(StrEnum):
    """A validity rule that some engines have; each is stated in rules/ and, apart, in verify/."""

    EXPERTS_USE_ALL_RANKS = "experts_use_all_ranks"
    """The expert mesh is either all EP or all TP over tp·cp·dp ranks (vLLM, parallel.py and fused_moe/config.py)."""
    QUANT_BLOCKS_DIVIDE = "quant_blocks_divide"
    """A dense FP8-block layer's local width must be whole blocks (vLLM, SGLang: 128)."""
    VOCABULARY_DIVIDES = "vocabulary_divides"
    """The vocabulary, padded to 64, must divide by tp (vLLM, vocab_parallel_embedding.py)."""
    EVEN_EXPERTS = "even_experts"
    """Physical experts must divide by ep where experts are replicated (vLLM EPLB, layer.py:276)."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What the product needs to know of an engine; `version` is that of the source that was read."""

    name: str
    version: str
    rules: frozenset[EngineRule]
    memory_utilization: Fraction
    reserve_single_bytes: int
    reserve_multi_bytes: int
    cuda_graph_bytes: int
    kv_block_tokens: int
    vocabulary_padding: int
    source: str


ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine(
            name="any",
            version="",
            rules=frozenset(),
            memory_utilization=Fraction(9, 10),
            reserve_single_bytes=GIB // 4,
            reserve_multi_bytes=2 * GIB,
            cuda_graph_bytes=GIB,
            kv_block_tokens=16,
            vocabulary_padding=64,
            source="assumed: rounded from vLLM 0.19 start-up logs on H100",
        ),
        Engine(
            name="vllm",
            version="0.33.0",
            rules=frozenset(EngineRule),
            memory_utilization=Fraction(92, 100),
            # non-torch memory of 86 logged runs: 0.25 GiB on one GPU, 2.06-2.21 GiB with TP; graphs 0.5-1.9 GiB
            reserve_single_bytes=GIB // 4,
            reserve_multi_bytes=22 * GIB // 10,
            cuda_graph_bytes=19 * GIB // 10,
            kv_block_tokens=16,
            vocabulary_padding=64,
            source="vLLM 0.19.0 logs on H100 (llm-d-planner PR 205); rules read from vLLM 0.33.0",
        ),
    )
}

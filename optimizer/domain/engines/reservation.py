"""What an engine keeps for itself, as data: constants of one release, each fitted to logs or read from its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

MIB = 2**20
GIB = 2**30

LARGE_DEVICE_BYTES = 70 * GIB
"""From this memory on engines take their larger defaults (vLLM `get_batch_defaults`: 70 GiB)."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What an engine sizes itself for unless told: on devices of `LARGE_DEVICE_BYTES` and on smaller ones."""

    sequences: tuple[int, int]
    batched_tokens: tuple[int, int]
    largest_capture: int

    def max_num_seqs(self, memory_bytes: int) -> int:
        """Sequences in flight."""
        return self.sequences[memory_bytes < LARGE_DEVICE_BYTES]

    def max_num_batched_tokens(self, memory_bytes: int) -> int:
        """Tokens of the largest step."""
        return self.batched_tokens[memory_bytes < LARGE_DEVICE_BYTES]


@dataclass(frozen=True, slots=True)
class Reservation:
    """Bytes that a device does not give to weights, cache and the tensors of a step.

    Attributes
    ----------
    context_bytes
        Context and libraries of a device that works alone.
    direct_group_bytes, switched_group_bytes
        Communicators and their buffers of a group in a stage: of tensor-parallel ranks over direct links (NVLink,
        xGMI), or of others and over PCIe and network alone.
    stage_bytes
        The same between pipeline stages alone.
    graph_bytes, graph_layer_bytes, graph_latent_layer_bytes
        Captured graphs: for each captured size; and for each size and layer, more with latent attention.
    graphs_in_budget
        Whether the graphs come out of the share of memory that the engine may use, or out of the rest.
    static_fraction
        The share of memory that the engine is told is that of weights and cache alone (SGLang); a step's tensors and
        the graphs come out of the rest.
    low_latency_capture
        Captured graphs hold a receive buffer of experts · largest captured batch · hidden bytes in every MoE layer,
        where experts are dispatched between data-parallel ranks.
    gathers_tokens
        Experts of data-parallel ranks work on the gathered tokens of all ranks, with room for every chosen expert.
    sampler_bytes
        Bytes for each vocabulary entry of each sequence while it is sampled.
    error
        90% of logged rooms for the cache lie within this share of a device's memory.
    source
        What the numbers were fitted to or read from.
    """

    context_bytes: int
    direct_group_bytes: int
    switched_group_bytes: int
    stage_bytes: int
    graph_bytes: int
    graph_layer_bytes: int
    graph_latent_layer_bytes: int
    defaults: Defaults
    sampler_bytes: int
    source: str
    graphs_in_budget: bool = True
    static_fraction: bool = False
    low_latency_capture: bool = False
    gathers_tokens: bool = False
    error: Fraction = Fraction(3, 100)


def capture_sizes(largest: int) -> int:
    """Batch sizes that are captured up to a largest: 1, 2, 4, then every 8 up to 256, then every 16 (vLLM, SGLang)."""
    found = sum(size <= largest for size in (1, 2, 4))
    found += max(0, min(largest, 255) // 8)
    return found + (0 if largest < 256 else (largest - 256) // 16 + 1)


@dataclass(frozen=True, slots=True)
class CacheRules:
    """How an engine lays out the cache.

    Attributes
    ----------
    block_tokens
        Tokens of one block.
    holds_step_in_window
        A sequence of a sliding window is admitted with window − 1 + the tokens of the largest step.
    equal_groups
        Layers of several kinds are kept in groups of equal size, so that a kind with a remainder is padded.
    sparse_latent_fp8
        Sparse latent attention keeps 8-bit entries with a 32-bit scale every 128 elements and a 16-bit rotary key.
    admits_longest
        The engine does not start where its cache cannot hold one sequence of `max_model_len`.
    compressed_pages
        DeepSeek-V4's windows, entries and compressor states lie in pages of one size: see `figures.cache`.
    expert_padding
        Multiples to which kernels pad an expert's width and its intermediate size, by weight format.
    """

    block_tokens: int
    holds_step_in_window: bool = False
    equal_groups: bool = False
    sparse_latent_fp8: bool = False
    compressed_pages: bool = False
    admits_longest: bool = False
    expert_padding: Mapping[str, tuple[int, int]] = field(default_factory=dict)

"""What an engine keeps for itself, as data: constants of one release, each fitted to logs or read from its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

from optimizer.domain.attention import AttentionKind, Heads, State
from optimizer.domain.hardware import Device
from optimizer.domain.model import ModelSpec

MIB = 2**20
GIB = 2**30

UNLOGGED_ERROR = Fraction(9, 100)
"""Share of a device's memory within which rooms lie where no log of its maker was fitted: as wide as vLLM's V0."""

WIDE = 4
"""Ranks of a stage from which on SGLang captures larger batches."""


@dataclass(frozen=True, slots=True)
class DefaultsTier:
    """What an engine sizes itself for unless told, on devices of `memory_bytes` and more.

    Attributes
    ----------
    sequences, batched_tokens
        Sequences in flight and tokens of the largest step, of one data-parallel rank.
    largest_capture, narrow_capture
        Largest batch that a graph is captured for; and that of stages narrower than `WIDE` (None: the same).
    offline_tokens
        Tokens of the largest step without a server, where they are more.
    """

    memory_bytes: int
    sequences: int
    batched_tokens: int
    largest_capture: int
    narrow_capture: int | None = None
    offline_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Defaults:
    """What an engine sizes itself for unless told.

    Attributes
    ----------
    tiers
        By falling memory; the last is of any device.
    modest
        Parts of the names of devices that take the last tier whatever memory they have.
    captures
        Largest captured batch by part of a device's name, where it is not its tier's.
    low_latency_tokens
        Tokens of a step where experts are exchanged with low latency between data-parallel ranks; None: its tier's.
    whole_prompts
        Longest sequence that the engine is told to admit up to which it computes every prompt in one step; 0: never.
    whole_kinds
        Prompts of latent attention and of models with a vision encoder are computed in one step at any length.
    capture_step
        Captured batches beyond 256 are so far apart.
    """

    tiers: tuple[DefaultsTier, ...]
    modest: tuple[str, ...] = ()
    captures: Mapping[str, int] = field(default_factory=dict)
    low_latency_tokens: int | None = None
    whole_prompts: int = 0
    whole_kinds: bool = False
    capture_step: int = 16

    def of(self, device: Device) -> DefaultsTier:
        """The tier of a device."""
        if any(part in device.name.casefold() for part in self.modest):
            return self.tiers[-1]
        return next(tier for tier in self.tiers if device.exposed_memory >= tier.memory_bytes)

    def largest_capture(self, device: Device, width: int) -> int:
        """Largest batch that a graph is captured for on a device of a stage of `width` ranks."""
        named = [size for part, size in self.captures.items() if part in device.name.casefold()]
        tier = self.of(device)
        if named:
            return named[0]
        return tier.narrow_capture if tier.narrow_capture is not None and width < WIDE else tier.largest_capture


def least_defaults(several: Sequence[Defaults]) -> Defaults:
    """The least that any of several engines sizes itself for."""
    edges = sorted({tier.memory_bytes for defaults in several for tier in defaults.tiers}, reverse=True)

    def at(edge: int) -> DefaultsTier:
        tiers = [next(tier for tier in defaults.tiers if edge >= tier.memory_bytes) for defaults in several]
        return DefaultsTier(
            edge, min(tier.sequences for tier in tiers), min(tier.batched_tokens for tier in tiers),
            min(min(tier.largest_capture, tier.narrow_capture or tier.largest_capture) for tier in tiers),
        )  # fmt: skip

    return Defaults(
        tuple(at(edge) for edge in edges), modest=tuple(part for defaults in several for part in defaults.modest)
    )


@dataclass(frozen=True, slots=True)
class StaticShare:
    """What an engine chooses its share of memory for weights and cache by.

    Attributes
    ----------
    width, pp, attention_dp
        Ranks of a stage, stages, and data-parallel ranks of attention.
    chunk
        Prompt tokens of a step over all data-parallel ranks.
    capture
        Largest captured batch; 0: none is captured.
    latent, deepep, drafts
        Whether attention is latent, experts are exchanged by DeepEP, and tokens are drafted.
    vision_parameters
        Of the vision encoder; 0: none.
    """

    device: Device
    width: int
    pp: int
    attention_dp: int
    chunk: int
    capture: int
    latent: bool = False
    deepep: bool = False
    drafts: bool = False
    vision_parameters: int = 0


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
        the graphs come out of the rest. It is the share that the engine chooses for a launch that names none.
    free_fraction
        The share of memory that the engine is told is that of what weights, graphs and a step's tensors leave.
    low_latency_tokens
        Captured graphs hold a receive buffer of experts · these tokens (or the largest captured batch, where that is
        less) · hidden bytes in every MoE layer, where experts are dispatched between data-parallel ranks; 0: none.
    gathers_tokens
        Experts of data-parallel ranks work on the gathered tokens of all ranks, with room for every chosen expert.
    sampler_bytes
        Bytes for each vocabulary entry of each sequence while it is sampled.
    sampler_rows
        Further rows of the vocabulary in 32 bits that the sampler's kernel keeps, whatever the sequences.
    keeps_experts
        The tensors between the experts of a step stay while tokens are sampled.
    workspace_bytes
        What matrix kernels hold of the allocator beside a step's tensors.
    gathered_sequences
        Sequences whose compressed cache (DeepSeek-V4) is gathered at once, in memory that is kept for it.
    vision_bytes
        More than is derived that the largest items of a vision encoder were found to take at most.
    vision_scores
        An encoder that tells pictures apart by a mask holds their scores, unless flash-attn is installed.
    falls_back
        Version before which the first engine (V0) may run instead, which the command does not tell; empty: none.
    drafts_beside
        Layers whose cache a model's own drafts keep beside the share, with their weights: "none" (both come out of it),
        "own", or "all" of a model with key/value heads.
    holds_loaded_experts
        Experts in groups of 4 bit as they were loaded stay beside those that are repacked (GPTQ and AWQ for Marlin).
    graph_error
        Captured graphs beside the share may take so much more, as a share of a device's memory.
    graph_most_bytes
        What the engine itself says that they take at most; 0: it does not say.
    error
        90% of logged rooms for the cache lie within this share of a device's memory.
    logged
        Makers of the devices of those logs.
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
    sampler_rows: int = 0
    keeps_experts: bool = False
    workspace_bytes: int = 0
    gathered_sequences: int = 0
    graphs_in_budget: bool = True
    static_fraction: Callable[[StaticShare], Fraction] | None = None
    free_fraction: bool = False
    low_latency_tokens: int = 0
    gathers_tokens: bool = False
    vision_bytes: int = 0
    vision_scores: bool = False
    falls_back: str = ""
    drafts_beside: Literal["none", "own", "all"] = "none"
    holds_loaded_experts: bool = False
    graph_error: Fraction = Fraction(1, 100)
    graph_most_bytes: int = 0
    error: Fraction = Fraction(3, 100)
    logged: tuple[str, ...] = ("NVIDIA",)


def capture_sizes(largest: int, step: int = 16) -> int:
    """Batch sizes that are captured up to a largest: 1, 2, 4, then every 8 up to 256, then every `step`."""
    count = sum(size <= largest for size in (1, 2, 4))
    count += max(0, min(largest, 255) // 8)
    return count + (0 if largest < 256 else (largest - 256) // step + 1)


@dataclass(frozen=True, slots=True)
class Paged:
    """What a page follows from: the model, the device, and what a command says of both.

    Attributes
    ----------
    backends
        Kernels of attention that are named; none: as the engine chooses.
    stated
        Tokens of a page as they are asked for.
    """

    model: ModelSpec
    device: Device
    backends: tuple[str, ...] = ()
    stated: int | None = None


@dataclass(frozen=True, slots=True)
class CacheRules:
    """How an engine lays out the cache.

    Attributes
    ----------
    block_tokens
        Tokens of one block.
    holds_step_in_window
        A sequence of a sliding window is admitted with window − 1 + the tokens of the steps in flight.
    steps_in_flight
        Largest steps that are scheduled and not yet settled at once; more pipeline stages than these are not modelled.
    equal_groups
        Layers of several kinds are kept in groups of equal size, so that a kind with a remainder is padded.
    sparse_latent_fp8
        Sparse latent attention keeps 8-bit entries with a 32-bit scale every 128 elements and a 16-bit rotary key.
    scaled_latent_majors
        Generations of NVIDIA's devices on which alone it does so (Hopper is 9).
    admits_longest
        What the engine says where its cache cannot hold one sequence of `max_model_len`, so that it does not start; it
        takes length, needed and room (GiB) and longest. Empty: it starts all the same.
    compressed_pages
        DeepSeek-V4's windows, entries and compressor states lie in pages of one size: see `figures.cache`.
    sequences_in_blocks
        What the engine says where more sequences may be in flight than its cache has blocks, each of which a sequence
        needs for its state of linear attention: no graphs of whole steps are captured. It takes sequences and blocks.
        Empty: it starts all the same.
    prefix_states
        States of linear attention that a sequence holds at once where prefixes are cached, beside those of drafts, and
        the tokens of which blocks are then a multiple, by kind of layer and device; None: one, and any.
    caches_prefixes
        Prefixes of models with such states are cached unless it is told otherwise.
    prefix_in_step
        What the engine says where a block of such a cache has more tokens than a step takes; it takes both. Empty: it
        starts all the same.
    expert_padding
        Multiples to which kernels pad an expert's width and its intermediate size, by weight format and by part of a
        device's name (none: of any other).
    loaded_scales
        Bytes of each scale of DeepSeek-V4's experts as it was loaded that stay beside the repacked ones, likewise.
    position_tables
        Sines and cosines of every position that the model knows are logged with the weights.
    page
        Tokens of a page, of which a step's prompt tokens have to be whole ones; None: any number will do.
    window_share
        Tokens that layers with windows have room for, of those of the other layers, by a model and what a command
        states; None: a pool of all layers, of which they take no more than their windows.
    window_states
        DeepSeek-V4's states of its long windows are kept for tokens of the windows' pool; else for each request.
    state_ratio, slots_of_request
        States of linear attention have a pool of their own: its room ÷ that of tokens, and how many a request holds.
        `of` leaves it out for models without.
    serves_none
        What the engine says where that pool has no room for one request. Empty: it starts all the same.
    windows_freed
        Layers with sliding windows give back what lies before them where other layers hold every token.
    chunks
        The same of layers with chunks: freed; held, though the check at start counts chunks alone; or whole.
    checked
        What is counted where one sequence is to fit: each layer by its own kind, whatever it is given; the first group
        of layers alone; or all that is allocated.
    checked_on_every_stage
        The layers of all pipeline stages are counted against the room of each.
    tokens_by_groups
        Tokens are logged as blocks ÷ groups of layers, whatever of them is freed.
    whole
        Every layer holds every token: what `of` finds for a model.
    """

    block_tokens: int
    holds_step_in_window: bool = False
    steps_in_flight: int = 1
    equal_groups: bool = False
    sparse_latent_fp8: bool = False
    scaled_latent_majors: tuple[int, ...] = ()
    compressed_pages: bool = False
    admits_longest: str = ""
    sequences_in_blocks: str = ""
    prefix_states: Callable[[State, Device], tuple[int, int]] | None = None
    caches_prefixes: bool = False
    prefix_in_step: str = ""
    expert_padding: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)
    loaded_scales: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    position_tables: bool = False
    page: Callable[[Paged], int] | None = None
    window_share: Callable[[ModelSpec, Fraction | None], Fraction] | None = None
    window_states: bool = False
    state_ratio: Fraction | None = None
    slots_of_request: int = 1
    serves_none: str = ""
    windows_freed: bool = True
    chunks: Literal["freed", "held", "whole"] = "freed"
    checked: Literal["own", "first", "all"] = "all"
    checked_on_every_stage: bool = False
    tokens_by_groups: bool = False
    whole: bool = False

    def of(
        self,
        layers: Sequence[AttentionKind],
        *,
        hybrid: bool | None = None,
        prefixes: bool | None = None,
        ahead: bool | None = None,
    ) -> CacheRules:
        """The rules for a model's layers that keep a cache, as an engine is told.

        Parameters
        ----------
        hybrid, prefixes, ahead
            Whether its hybrid allocator is on, prefixes stay in the cache, a step is scheduled while one runs; None: as
            the engine has it.

        Without `admits_longest` where the engine's check lets a model start whose cache holds no longest sequence.
        """
        flight = 1 if ahead is False else self.steps_in_flight
        if len(set(layers)) < 2:
            return replace(
                self, steps_in_flight=flight, windows_freed=True, chunks="freed", checked="all", tokens_by_groups=False,
                prefix_states=None, state_ratio=None,
            )  # fmt: skip
        kept = [layer.keeps for layer in layers]
        local = [heads for heads in kept if isinstance(heads, Heads) and heads.window is not None]
        beside = 0 < len(local) < len(layers)
        chunked = any(heads.chunked for heads in local)
        able, usual = (self.chunks != "whole", self.chunks == "freed") if chunked else (self.windows_freed,) * 2
        whole = beside and not (able and (usual if hybrid is None else hybrid))
        lax = self.checked == "own" and whole and not (chunked and self.chunks == "whole")
        if self.checked == "first" and not whole:
            # where it holds every token that is next to all
            lax = isinstance(kept[0], State) or kept[0] in local
        states = self.prefix_states if (self.caches_prefixes if prefixes is None else prefixes) else None
        return replace(
            self, whole=whole, admits_longest="" if lax else self.admits_longest, prefix_states=states,
            steps_in_flight=flight,
            state_ratio=self.state_ratio if any(isinstance(state, State) for state in kept) else None,
        )  # fmt: skip

    def scales_left(self, weights: str, device: Device) -> int:
        """Bytes of each scale of an expert in a format that stay on a device beside those that kernels read."""
        scales, name = self.loaded_scales.get(weights, {}), device.name.casefold()
        return next((size for part, size in scales.items() if part in name), 0)

    def padding(self, weights: str, device: Device) -> tuple[int, int]:
        """Multiples of an expert's width and intermediate size in a format on a device; 1 and 1: none."""
        multiples = self.expert_padding.get(weights, {})
        name = device.name.casefold()
        return next((multiple for part, multiple in multiples.items() if part in name), (1, 1))

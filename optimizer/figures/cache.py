"""Bytes of cache that one sequence takes in a layer as its engine lays the cache out.

- A sliding window: its last tokens; when it is admitted, window − 1 + the tokens of the largest step (vLLM
  `SlidingWindowSpec.max_memory_usage_bytes`), in whole blocks and one more; a chunk: chunk + the same, in whole blocks
  (`ChunkedLocalAttentionSpec`). Where the engine frees neither, every token (`unify_hybrid_kv_cache_specs`).
- Windows in a pool of their own (SGLang pool_configurator.py HybridSWAPoolConfigurator): of F tokens in the layers
  without, these have room for share · F, taken or not. A sequence of n tokens takes max(n, held ÷ share) of the F; with
  share 1 every layer holds every token. Of DeepSeek-V4 (DSV4PoolConfigurator) a token of the F has its entries and
  index keys, and one of the windows' 584 bytes in every layer and 8/128 of a state of the overlapping compressors; the
  states of the others are of each request, before 0.5.15 of each of the windows' tokens (7,705 bytes of Flash, 15,897).
- Decode context parallelism over d of the tensor-parallel ranks: each holds 1/d of the tokens, with the key/value heads
  of tp/d ranks (vLLM v1/kv_cache_interface.py; SGLang pool_configurator.py:340). States are not divided.
- Kinds of layers in equal groups (vLLM `kv_cache_utils`): groups as large as the smallest kind, or as the largest
  where that is less than 1.5 times as many; a kind that leaves a remainder is padded.
- States of linear attention beside layers of tokens (vLLM HybridAttentionMambaModelConfig): a block of every layer has
  as many tokens as fill a state, in whole 16 (64 of latent attention), and the convolution's row of every drafted token
  is part of a state. A sequence that is admitted takes whole blocks of every group, padded layers included.
- A model's own drafts: the draft layer keeps its cache beside the layers that it is alike (here shared out over them),
  and in vLLM a state of linear attention is held for every drafted token too, and padded to the group's layers
  (MambaSpec.max_memory_usage_bytes).
- Sparse latent attention in 8 bit (vLLM's `fp8_ds_mla`; SGLang's on Hopper, calculate_mla_kv_cache_dim): latent, 4
  bytes every 128 elements, rotary key in 16 bit: 656 bytes. TensorRT-LLM's kernels, SGLang's on Blackwell, take 576.
- DeepSeek-V4 (vllm issue 54703): every block, of whatever group, is as large as that of the compressed entries, a
  multiple of 576 bytes in each layer; a sequence holds ceil(n/256) of these, of two groups of windows ceil(w/64) + 1
  each, and of the compressors' states ceil(s/4) + 1 (overlapping) and ceil(s/8) + 1, where w and s are the window or
  the state's reach − 1 + the tokens of the largest step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from optimizer.domain.attention import AttentionKind, Entries, Heads, Kept, Latents, Mixer, State
from optimizer.domain.attention.compressed import INDEX_SCALE_BYTES, STATE_BYTES
from optimizer.domain.capability import capability
from optimizer.domain.precision import KV_BYTES
from optimizer.domain.problem import Problem
from optimizer.figures.reserve import default_tokens
from optimizer.figures.weights import round_up

STATES = (State(mixer=Mixer.GATED_DELTA), State(mixer=Mixer.KIMI_DELTA))
"""States of every sequence, of the models that draft by themselves."""
SCALE_GROUP = 128
"""Elements of an 8-bit latent that share one 32-bit scale."""
ENTRY_BYTES = 584
"""An entry or window token of DeepSeek-V4 in 8 bit: 448 elements, 64 rotary ones in 16 bit, 8 bytes of scales."""
PAGE_ALIGNMENT = 576
PAGE_TOKENS = 256
WINDOW_PAGE_TOKENS = 64
WINDOW_GROUPS = 2
OVERLAPPING_STATE_TOKENS = 4
STATE_TOKENS = 8
LATENT_BLOCK = 64
"""Tokens that blocks of latent attention are whole multiples of beside states."""


@dataclass(frozen=True, slots=True)
class StateBlocks:
    """Blocks of a model of states and layers of tokens.

    Attributes
    ----------
    tokens, bytes
        Of one block in one layer, and its bytes.
    padded
        Layers of the groups of each kind of layer ÷ those of the model.
    """

    tokens: int
    bytes: Fraction
    padded: dict[bool, Fraction]


class CacheLayout:
    """Cache bytes of one sequence, by attention kind, for one problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.rules = problem.cache
        self.element = KV_BYTES[problem.precision.kv_cache]
        self.step = self.rules.steps_in_flight * default_tokens(problem)
        self.shared_by = problem.workload.decode_context_parallel
        self.window_share = window_share(problem)
        self._padding = self._group_padding()
        self._state_blocks: dict[int, StateBlocks | None] = {}

    def steady_bytes(self, attention: AttentionKind, tokens: int, tp: int) -> Fraction:
        """Bytes of a sequence of `tokens` tokens that decodes."""
        return self._bytes(attention, tokens, tp, step=1) * self._drafted(attention)

    def admitted_bytes(self, attention: AttentionKind, tokens: int, tp: int) -> Fraction:
        """Bytes of a sequence while its prompt is computed in the largest steps: what an engine asks of its pool."""
        states, _ = self.prefix_states(attention.keeps)
        blocks = self.state_blocks(tp)
        if blocks is None:
            return self._bytes(attention, tokens, tp, step=self.step) * self._drafted(attention, states)
        stated = isinstance(attention.keeps, State)
        drafts = self._drafts if attention.keeps in STATES else 0
        held = states + drafts if stated else -(-tokens // blocks.tokens)
        return held * blocks.bytes * blocks.padded[stated]

    @property
    def _drafts(self) -> int:
        return self.problem.workload.mtp_tokens if self.problem.model.mtp is not None else 0

    def state_bytes(self, attention: AttentionKind, tp: int) -> Fraction:
        """Bytes of a state of a sequence in a layer, the convolution's rows of drafted tokens included."""
        drafts = self._drafts if self.rules.equal_groups else 0
        return Fraction(attention.cache_fixed_bytes(1, tp) + drafts * attention.drafted_bytes(tp))

    def block_tokens(self, tp: int) -> int:
        """Tokens of a block: as many as fill a state, where layers keep any."""
        attentions = [self.problem.model.blocks[name].attention for name in self.problem.model.layer_names]
        states = [kind for kind in attentions if kind and isinstance(kind.keeps, State)]
        tokens = [self.token_bytes(kind, tp) for kind in attentions if kind and not isinstance(kind.keeps, State)]
        block = LATENT_BLOCK if states and self.problem.model.latent else self.rules.block_tokens
        aligned = lcm(block, *(self.prefix_states(kind.keeps)[1] for kind in states))
        state = max((self.state_bytes(kind, tp) for kind in states), default=Fraction(0))
        return max(aligned, round_up(-(-state // max(tokens)), aligned))

    def state_blocks(self, tp: int) -> StateBlocks | None:
        """Blocks of a model that has states and one kind of layers that hold every token, in an engine with groups."""
        if tp not in self._state_blocks:
            self._state_blocks[tp] = self._blocks_of_states(tp)
        return self._state_blocks[tp]

    def _blocks_of_states(self, tp: int) -> StateBlocks | None:
        model = self.problem.model
        attentions = [model.blocks[name].attention for name in model.layer_names]
        kinds = Counter(kind for kind in attentions if kind is not None)
        whole = [kind for kind in kinds if not isinstance(kind.keeps, State)]
        if not self.rules.equal_groups or len(kinds) != 2 or len(whole) != 1 or self.shared_by > 1:
            return None
        (full,) = whole
        if full.keeps.window is not None or (isinstance(full.keeps, Heads) and full.keeps.shared):
            return None
        drafts = model.mtp.count if model.mtp is not None and self._drafts else 0
        held = {isinstance(kind.keeps, State): count for kind, count in kinds.items()}
        alike = drafts if model.mtp is not None and model.blocks[model.mtp.block].attention == full else 0
        size = group_size([held[True], held[False] + alike])
        padded = {
            stated: Fraction(round_up(count + (0 if stated else alike), size), count) for stated, count in held.items()
        }
        tokens = self.block_tokens(tp)
        return StateBlocks(tokens, tokens * self.token_bytes(full, tp), padded)

    def token_bytes(self, attention: AttentionKind, tp: int) -> Fraction:
        """Bytes of one token in a layer of a kind, however its group is padded."""
        if isinstance(attention.keeps, Heads):
            heads = attention.cache_elements(1, max(1, tp // self.shared_by))
            return (heads * self.element + Fraction(attention.cache_fixed_bytes(1, tp))) / self.shared_by
        return self._bytes(attention, 1, tp, step=1)

    def prefix_states(self, kept: Kept) -> tuple[int, int]:
        """States that a sequence holds of a layer as it is admitted, and the tokens of which blocks are a multiple."""
        rule, device = self.rules.prefix_states, self.problem.hardware.device
        return (1, 1) if rule is None or not isinstance(kept, State) else rule(kept, device)

    def _drafted(self, attention: AttentionKind, states: int = 1) -> Fraction:
        """Layers that keep a cache of this kind, with the draft's own, ÷ those of the model; of each so many states."""
        mtp, drafted = self.problem.model.mtp, self.problem.workload.mtp_tokens
        if not drafted or mtp is None:
            return Fraction(states)
        draft = self.problem.model.blocks[mtp.block].attention
        alike = self._layers_of(draft)
        if attention == draft:
            return Fraction(alike + mtp.count, alike)
        if not (self.rules.equal_groups and attention.keeps in STATES):
            return Fraction(states)
        count, group = self._layers_of(attention), alike + mtp.count
        padded = round_up(count, group) if count > group else count
        return Fraction(padded, count) * (states + drafted)

    def _layers_of(self, attention: AttentionKind | None) -> int:
        blocks = self.problem.model.blocks
        return max(1, sum(blocks[name].attention == attention for name in self.problem.model.layer_names))

    def _bytes(self, attention: AttentionKind, tokens: int, tp: int, step: int) -> Fraction:
        kept, pool = attention.keeps, self.window_share
        if isinstance(kept, Entries) and pool is not None:
            return self._pooled(tokens, pool) * self._entry_bytes(kept, pool) + self.request_bytes(attention)
        if isinstance(kept, Entries) and self._in_pages():
            return Fraction(self._blocks(tokens, step) * self._page_bytes(kept))
        if isinstance(kept, Heads):
            return self._tokens_held(kept, tokens, step) * self.token_bytes(attention, tp)
        if isinstance(kept, Latents) and self._scaled_latent(kept):
            size = Fraction((kept.rank + 4 * -(-kept.rank // SCALE_GROUP) + 2 * kept.rotary_dim) * tokens)
        else:
            size = attention.cache_elements(tokens, tp) * self.element
        size += attention.cache_fixed_bytes(tokens, tp)
        return size / self.shared_by if isinstance(kept, Latents) else size

    def _tokens_held(self, kept: Heads, tokens: int, step: int) -> Fraction:
        """Tokens that a layer holds of a sequence, with its share of what pads the groups."""
        if self.window_share is not None:
            return self._pooled(tokens, self.window_share) * (1 if kept.window is None else self.window_share)
        if kept.window is None:
            return tokens * self._padding.get("full", Fraction(1))
        held = tokens if self.rules.whole else self._in_window(kept, kept.window, tokens, step)
        return held * self._padding.get("window", Fraction(1))

    def _pooled(self, tokens: int, share: Fraction) -> Fraction:
        """Tokens that a sequence takes of the layers without windows, where the others have room for a share."""
        return max(Fraction(tokens), min(tokens, max(self.problem.model.windows)) / share)

    def _entry_bytes(self, kept: Entries, share: Fraction) -> Fraction:
        """Bytes of DeepSeek-V4's pools for each token of the longest."""
        size, ratio, index = share * ENTRY_BYTES, kept.ratio, kept.indexer
        if not ratio:
            return size
        size += Fraction(ENTRY_BYTES, ratio)
        if index is not None:
            size += Fraction(index.head_dim + INDEX_SCALE_BYTES, ratio)
        if index is not None or self.rules.window_states:
            tokens = 2 * OVERLAPPING_STATE_TOKENS if index is not None else ratio
            width = 2 * (kept.head_dim + index.head_dim) if index is not None else kept.head_dim
            size += share * Fraction(tokens, kept.window) * 2 * width * STATE_BYTES
        return size

    def request_bytes(self, attention: AttentionKind | None) -> int:
        """Bytes that SGLang keeps of a layer for every request that may be in flight: DeepSeek-V4's longer states."""
        kept = attention.keeps if attention is not None and self.window_share is not None else None
        if attention is None or not isinstance(kept, Entries) or kept.indexer is not None or self.rules.window_states:
            return 0
        return attention.cache_fixed_bytes(0, 1)

    def _in_window(self, kept: Heads, window: int, tokens: int, step: int) -> int:
        block = self.rules.block_tokens
        if not self.rules.holds_step_in_window or step == 1:
            return min(tokens, window)
        if kept.chunked:
            return min(round_up(window + step, block), tokens)
        return min((-(-(window - 1 + step) // block) + 1) * block, tokens)

    def _scaled_latent(self, kept: Latents) -> bool:
        known = capability(self.problem.hardware.device)
        scaled = self.rules.sparse_latent_fp8 or (known is not None and known[0] in self.rules.scaled_latent_majors)
        return scaled and kept.indexer is not None and self.element == 1

    def _in_pages(self) -> bool:
        return self.rules.compressed_pages and self.element == 1

    @staticmethod
    def _page_bytes(kept: Entries) -> int:
        """Bytes of one block of a layer's compressed entries and index keys."""
        if not kept.ratio:
            return 0
        entries = PAGE_TOKENS // kept.ratio
        size = round_up(entries * ENTRY_BYTES, PAGE_ALIGNMENT)
        if kept.indexer is not None:
            size += round_up(entries * (kept.indexer.head_dim + 4), PAGE_ALIGNMENT)
        return size

    def _blocks(self, tokens: int, step: int) -> int:
        """Blocks of one sequence over all groups."""
        kinds = {kept for kept in self.problem.model.kept if isinstance(kept, Entries)}
        blocks = -(-tokens // PAGE_TOKENS)

        def group(reach: int, block: int) -> int:
            return -(-min(reach - 1 + step, tokens) // block) + 1

        blocks += WINDOW_GROUPS * group(max(kind.window for kind in kinds), WINDOW_PAGE_TOKENS)
        for overlapping, block in ((True, OVERLAPPING_STATE_TOKENS), (False, STATE_TOKENS)):
            ratios = [k.ratio for k in kinds if k.ratio and (k.indexer is not None) is overlapping]
            if ratios:
                blocks += group(max(ratios) * (2 if overlapping else 1), block)
        return blocks

    def _group_padding(self) -> dict[str, Fraction]:
        """Held ÷ used layers of full and of window attention."""
        counts = {"full": 0, "window": 0}
        for name in self.problem.model.layer_names:
            kept = self.problem.model.blocks[name].keeps
            if isinstance(kept, Heads) and not kept.shared:
                counts["full" if kept.window is None else "window"] += 1
        if self.rules.whole or not self.rules.equal_groups or min(counts.values()) in {0, max(counts.values())}:
            return {}
        size = group_size(counts.values())
        return {kind: Fraction(round_up(count, size), count) for kind, count in counts.items()}


def group_size(layers: Collection[int]) -> int:
    """Layers of a group, of kinds with so many: of the fewest, or of the most where those are less than 1.5 times."""
    least, most = min(layers), max(layers)
    return most if 2 * most < 3 * least else least


def window_share(problem: Problem) -> Fraction | None:
    """Tokens that layers with windows have room for, of those of the others; None: none has one, or what it holds."""
    rule, stated = problem.engine.cache.window_share, problem.limits.window_share
    if not problem.model.windows:
        return None
    return stated if rule is None else rule(problem.model, stated)

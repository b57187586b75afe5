"""Groups of layers that share blocks, where a model's layers keep their cache in several ways, as vLLM makes them.

    size of a group = layers of the kind that has fewest, or of the one with most where those are less than 1.5 times as
                      many; kinds with more layers have several groups
    block           = 16 tokens of the layers whose tokens are largest; beside states as many tokens as fill a state,
                      in whole 16 (64 of latent attention)
    blocks          = min over stages of floor(room ÷ (layers of its largest group · block))
    tokens logged   = blocks ÷ groups · tokens of a block

Sources: vLLM 0.20.0 v1/core/kv_cache_utils.py _get_kv_cache_groups_uniform_page_size, unify_kv_cache_spec_page_size,
_report_kv_cache_config; model_executor/models/config.py HybridAttentionMambaModelConfig. Since 0.21 (pull request
40694) the log has concurrency · length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from optimizer.domain.attention import AttentionKind, Heads, State
from optimizer.domain.problem import Problem
from optimizer.figures.cache import CacheLayout, group_size

Kind = tuple[int | None, Fraction]
"""Tokens that a layer holds (None: all of them; 0: a state), and bytes of one of them, or of the state."""


@dataclass(frozen=True, slots=True)
class BlockGroups:
    """Groups of a model's layers.

    Attributes
    ----------
    layers
        Kind of each layer; None: it keeps nothing of its own.
    drafts
        Kinds of the draft layers, which the last stage has.
    of
        Groups of each kind.
    block_tokens, block_bytes
        Of one block in one layer, and its bytes.
    states
        States that a sequence holds at once of a layer that keeps any; 0: none does.
    """

    layers: tuple[Kind | None, ...]
    drafts: tuple[Kind, ...]
    of: dict[Kind, int]
    block_tokens: int
    block_bytes: Fraction
    states: int

    def tokens(self, rooms: Sequence[int], cuts: Sequence[int]) -> int:
        """Tokens that the engine logs of stages with some room and layers."""
        return self.blocks(rooms, cuts) // sum(self.of.values()) * self.block_tokens

    def blocks(self, rooms: Sequence[int], cuts: Sequence[int]) -> int:
        """Blocks of every group, of stages with some room and layers."""
        sizes = zip(rooms, self._sizes(cuts), strict=True)
        return int(min((max(room, 0) // size for room, size in sizes if size), default=0))

    def whole(self, rooms: Sequence[int], cuts: Sequence[int]) -> list[int]:
        """Bytes of each stage's room that are these blocks."""
        blocks = self.blocks(rooms, cuts)
        return [int(blocks * size) if size else room for room, size in zip(rooms, self._sizes(cuts), strict=True)]

    def _sizes(self, cuts: Sequence[int]) -> list[Fraction]:
        """Bytes of a block in all layers of the largest group of each stage."""
        sizes, first = [], 0
        for count in cuts:
            held = Counter(kind for kind in self.layers[first : first + count] if kind is not None)
            first += count
            held.update(self.drafts if first == len(self.layers) else ())
            sizes.append(
                self.block_bytes * max((-(-layers // self.of[kind]) for kind, layers in held.items()), default=0)
            )
        return sizes


def groups(problem: Problem, tp: int) -> BlockGroups | None:
    """Groups of the layers of a model, in an engine that makes them; None where all layers are of one kind."""
    rules, model, layout = problem.cache, problem.model, CacheLayout(problem)
    if not rules.equal_groups or model.compressed:
        return None
    attentions = [model.blocks[name].attention for name in model.layer_names]

    def kind_of(attention: AttentionKind | None) -> Kind | None:
        if attention is None or (isinstance(attention.keeps, Heads) and attention.keeps.shared):
            return None
        if isinstance(attention.keeps, State):
            return 0, layout.state_bytes(attention, tp)
        return None if rules.whole else attention.keeps.window, layout.token_bytes(attention, tp)

    layers = tuple(map(kind_of, attentions))
    counts = Counter(kind for kind in layers if kind is not None)
    draft = kind_of(model.blocks[model.mtp.block].attention) if model.mtp and problem.workload.mtp_tokens else None
    drafts = (draft,) * model.mtp.count if model.mtp is not None and draft is not None else ()
    counts.update(drafts)
    token_bytes = max((size for held, size in counts if held != 0), default=Fraction(0))
    if len({held for held, _ in counts}) < 2 or not token_bytes:
        return None
    size = group_size(counts.values())
    tokens = layout.block_tokens(tp)
    states = [layout.prefix_states(kept)[0] for kept in model.kept if isinstance(kept, State)]
    of = {kind: -(-count // size) for kind, count in counts.items()}
    return BlockGroups(layers, drafts, of, tokens, tokens * token_bytes, max(states, default=0))

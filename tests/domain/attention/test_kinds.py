"""Attention kinds against sums written out position by position."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.domain.attention import (
    BlockSparseAttention,
    CompressedAttention,
    GatedDeltaNet,
    GroupedQueryAttention,
    Indexer,
    KimiDeltaAttention,
    LatentAttention,
    LightningAttention,
    Mamba2,
)
from optimizer.domain.attention.kind import AttentionKind, sum_capped, sum_floored

GQA = GroupedQueryAttention(heads=12, kv_heads=4, head_dim=16)
WINDOW = GroupedQueryAttention(heads=12, kv_heads=4, head_dim=16, value_dim=8, window=5)
MLA = LatentAttention(heads=8, q_lora_rank=32, kv_lora_rank=24, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=12)
DSA = MLA.model_copy(update={"indexer": Indexer(heads=4, head_dim=16, top_k=6)})
SHARED = MLA.model_copy(update={"indexer": Indexer(heads=4, head_dim=16, top_k=6, shared=True)})
SPARSE = CompressedAttention(
    heads=8,
    head_dim=16,
    q_lora_rank=32,
    o_groups=4,
    o_lora_rank=8,
    window=3,
    compress_ratio=4,
    indexer=Indexer(heads=2, head_dim=8, top_k=2),
)
HEAVY = SPARSE.model_copy(update={"indexer": None, "compress_ratio": 8})
LOCAL = HEAVY.model_copy(update={"compress_ratio": 0})
DELTA = GatedDeltaNet(key_heads=2, value_heads=4, key_dim=8, value_dim=16)
MAMBA = Mamba2(heads=8, head_dim=4, groups=2, state_size=16)
KDA = KimiDeltaAttention(heads=4, head_dim=8)
BLOCKS = BlockSparseAttention(heads=12, kv_heads=4, head_dim=16, indexer=Indexer(heads=4, head_dim=8, top_k=6))
LIGHTNING = LightningAttention(heads=4, head_dim=8)

KINDS: dict[str, AttentionKind] = {
    "gqa": GQA,
    "window": WINDOW,
    "mla": MLA,
    "dsa": DSA,
    "shared": SHARED,
    "sparse": SPARSE,
    "heavy": HEAVY,
    "local": LOCAL,
    "delta": DELTA,
    "mamba": MAMBA,
    "lightning": LIGHTNING,
    "kda": KDA,
    "blocks": BLOCKS,
}

spans = st.tuples(st.integers(1, 60), st.integers(0, 60)).map(lambda pair: (pair[0], pair[0] + pair[1] - 1))


@given(span=spans, cap=st.none() | st.integers(1, 70))
def test_capped_sums(span: tuple[int, int], cap: int | None) -> None:
    first, last = span
    expected = sum(min(i, cap) if cap is not None else i for i in range(first, last + 1))
    assert sum_capped(first, last, cap) == expected


@given(span=spans, divisor=st.integers(1, 20), cap=st.none() | st.integers(0, 12))
def test_floored_sums(span: tuple[int, int], divisor: int, cap: int | None) -> None:
    first, last = span
    seen = [i // divisor for i in range(first, last + 1)]
    assert sum_floored(first, last, divisor, cap) == sum(s if cap is None else min(s, cap) for s in seen)


@pytest.mark.parametrize("kind", KINDS)
@given(span=spans, tp=st.sampled_from([1, 2, 4]))
def test_a_span_is_the_sum_of_its_positions(kind: str, span: tuple[int, int], tp: int) -> None:
    attention, (first, last) = KINDS[kind], span
    positions = range(first, last + 1)
    for figure in (
        attention.prefill_flops,
        attention.decode_flops,
        attention.decode_read_elements,
        attention.decode_read_fixed_bytes,
    ):
        assert figure(first, last, tp) == sum(figure(i, i, tp) for i in positions)


@pytest.mark.parametrize("kind", KINDS)
def test_more_ranks_never_hold_more(kind: str) -> None:
    attention = KINDS[kind]
    for tp in (1, 2, 4):
        assert attention.cache_elements(50, 2 * tp) <= attention.cache_elements(50, tp)
        assert attention.cache_fixed_bytes(50, 2 * tp) <= attention.cache_fixed_bytes(50, tp)
        assert attention.decode_flops(1, 50, 2 * tp) <= attention.decode_flops(1, 50, tp)
        for tensor in attention.tensors(64):
            rows, cols = tensor.local_shape(2 * tp)
            assert rows * cols <= tensor.local_shape(tp)[0] * tensor.local_shape(tp)[1]


def test_grouped_query_attention() -> None:
    assert GQA.cache_elements(10, 1) == 10 * 2 * 4 * 16
    # Three key/value heads on the fullest of two ranks would be a mistake: two each; on eight ranks one is copied.
    assert GQA.cache_elements(10, 2) == 10 * 2 * 2 * 16
    assert GQA.cache_elements(10, 8) == 10 * 2 * 1 * 16
    assert WINDOW.cache_elements(10, 1) == 5 * 4 * (16 + 8)
    # Scores and values: 2 FLOPs an element of each head, over what the window shows.
    assert GQA.decode_flops(7, 7, 1) == 7 * 2 * 12 * (16 + 16)
    assert WINDOW.decode_flops(7, 7, 1) == 5 * 2 * 12 * (16 + 8)
    assert WINDOW.decode_read_elements(7, 7, 2) == 5 * 2 * (16 + 8)


def test_grouped_query_tensors() -> None:
    full = GroupedQueryAttention(heads=4, kv_heads=2, head_dim=8, qkv_bias=True, out_bias=True, sinks=True)
    sizes = {tensor.name: tensor.elements for tensor in full.tensors(32)}
    assert sizes == {
        "q_proj": 32 * 32,
        "k_proj": 16 * 32,
        "v_proj": 16 * 32,
        "o_proj": 32 * 32,
        "q_bias": 32,
        "k_bias": 16,
        "v_bias": 16,
        "o_bias": 32,
        "sinks": 4,
    }
    gated = GroupedQueryAttention(heads=4, kv_heads=2, head_dim=8, output_gate=True, qk_norm="full")
    sizes = {tensor.name: tensor.elements for tensor in gated.tensors(32)}
    assert (sizes["q_proj"], sizes["o_proj"], sizes["q_norm"], sizes["k_norm"]) == (2 * 32 * 32, 32 * 32, 32, 16)
    sharing = GroupedQueryAttention(heads=4, kv_heads=2, head_dim=8, shares_cache=True)
    assert {tensor.name for tensor in sharing.tensors(32)} == {"q_proj", "o_proj"}
    assert sharing.cache_elements(100, 1) == 0
    assert sharing.decode_read_elements(100, 100, 1) == 100 * 2 * 2 * 8


def test_latent_attention_caches_its_latent_on_every_rank() -> None:
    assert MLA.cache_elements(10, 1) == MLA.cache_elements(10, 8) == 10 * (24 + 8)
    assert DSA.cache_fixed_bytes(10, 4) == 10 * (16 + 4)
    assert SHARED.cache_fixed_bytes(10, 4) == MLA.cache_fixed_bytes(10, 4) == 0
    # Sparse: at most six tokens are attended to, but the indexer scores every one.
    assert DSA.decode_read_elements(20, 20, 1) == 6 * 32
    assert DSA.decode_flops(20, 20, 2) == 6 * 2 * 4 * (24 + 8 + 24) + 2 * 4 * 16 * 20
    assert MLA.prefill_flops(3, 3, 1) == 3 * 2 * 8 * (16 + 8 + 12)


def test_compressed_attention_reads_its_window_and_what_the_indexer_chose() -> None:
    # At 30 tokens: 3 in the window, 7 entries of 4 tokens (2 chosen), or 3 entries of 8 tokens (all read).
    assert SPARSE.cache_elements(30, 4) == 16 * (3 + 7)
    assert HEAVY.cache_elements(30, 4) == 16 * (3 + 3)
    assert LOCAL.cache_elements(30, 4) == 16 * 3
    assert SPARSE.decode_read_elements(30, 30, 1) == 16 * (3 + 2)
    assert HEAVY.decode_read_elements(30, 30, 1) == 16 * (3 + 3)
    assert SPARSE.decode_flops(30, 30, 2) == 4 * 4 * 16 * 5 + 2 * 2 * 8 * 7
    assert SPARSE.decode_read_fixed_bytes(30, 30, 1) == 7 * (8 + 4)
    # Open windows, values and scores in FP32: 8 tokens of 2 x 16 and of 2 x 8; 8 tokens of 16; none.
    assert SPARSE.cache_fixed_bytes(30, 1) == 2 * 4 * 8 * 2 * (16 + 8) + 7 * 12
    assert HEAVY.cache_fixed_bytes(30, 1) == 2 * 4 * 8 * 16
    assert LOCAL.cache_fixed_bytes(30, 1) == 0


def test_block_sparse_attention_holds_every_token_and_reads_the_chosen_ones() -> None:
    assert BLOCKS.cache_elements(20, 2) == GQA.cache_elements(20, 2)
    assert BLOCKS.cache_fixed_bytes(20, 2) == 20 * 8 * 2
    assert BLOCKS.decode_read_elements(20, 20, 2) == 6 * 2 * 2 * 16
    assert BLOCKS.decode_read_fixed_bytes(20, 20, 2) == 20 * 8 * 2
    assert BLOCKS.decode_flops(20, 20, 1) == 6 * 2 * 12 * (16 + 16) + 2 * 4 * 8 * 20
    added = sum(tensor.elements for tensor in BLOCKS.tensors(64)) - sum(tensor.elements for tensor in GQA.tensors(64))
    assert added == 4 * 8 * 64 + 8 * 64 + 2 * 8


def test_recurrent_states_do_not_grow_and_are_read_and_written_each_step() -> None:
    delta_state = 4 * 8 * 16 * 4 + (2 * 2 * 8 + 4 * 16) * 3 * 2
    mamba_state = 8 * 4 * 16 * 4 + (8 * 4 + 2 * 2 * 16) * 3 * 2
    for attention, state in (
        (DELTA, delta_state),
        (MAMBA, mamba_state),
        (LIGHTNING, 4 * 8 * 8 * 4),
        (KDA, 4 * 8 * 8 * 4 + 3 * 4 * 8 * 3 * 2),
    ):
        assert attention.cache_elements(1000, 1) == 0
        assert attention.cache_fixed_bytes(1, 1) == attention.cache_fixed_bytes(1000, 1) == state
        assert attention.cache_fixed_bytes(1, 2) * 2 == state
        assert attention.decode_read_fixed_bytes(11, 20, 1) == 10 * 2 * state
    assert DELTA.decode_flops(5, 5, 1) == 7 * 4 * 8 * 16 + 2 * 4 * 96
    assert MAMBA.decode_flops(5, 5, 1) == 5 * 8 * 4 * 16 + 2 * 4 * 96
    assert LIGHTNING.decode_flops(5, 5, 1) == 5 * 4 * 8 * 8
    assert KDA.decode_flops(5, 5, 1) == 7 * 4 * 8 * 8 + 2 * 4 * 3 * 4 * 8


def test_head_counts_that_ranks_must_divide() -> None:
    assert DELTA.head_counts == (2, 4)
    assert MAMBA.head_counts == (8, 2)
    assert MAMBA.model_copy(update={"groups": 1}).head_counts == (8,)
    assert SPARSE.head_counts == (8, 4)
    assert (GQA.kv_head_count, MLA.kv_head_count, DELTA.kv_head_count) == (4, None, None)


def test_inconsistent_compression_is_refused() -> None:
    with pytest.raises(ValueError, match="an indexer needs a compress_ratio"):
        CompressedAttention.model_validate(SPARSE.model_dump() | {"compress_ratio": 0})
    with pytest.raises(ValueError, match="o_groups 3 does not divide 8 heads"):
        CompressedAttention.model_validate(SPARSE.model_dump() | {"o_groups": 3})

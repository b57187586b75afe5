"""MiniMax: M1 (lightning attention between full layers), M2, and M3 (attention to chosen blocks)."""

from __future__ import annotations

from optimizer.domain.attention import BlockSparseAttention, Indexer, LightningAttention
from optimizer.domain.feedforward import DenseFeedForward, MixtureOfExperts
from optimizer.domain.model import Block
from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.parts import ReadParts, gqa, layer_count, uniform

LINEAR, SOFTMAX = 0, 1


def _kinds(config: Config, layers: int) -> list[int]:
    """Kind of each layer: 0 linear, 1 softmax attention."""
    listed = config.integers("attn_type_list", length=layers)
    for index, kind in enumerate(listed or ()):
        if kind not in (LINEAR, SOFTMAX):
            config.refuse("attn_type_list", f"entry {index} is {kind}; understood: 0 (linear), 1 (softmax)")
    return listed or [SOFTMAX] * layers


def _experts(config: Config, *, correction: bool) -> MixtureOfExperts:
    return MixtureOfExperts(
        experts=config.integer("num_local_experts"),
        top_k=config.integer("num_experts_per_tok"),
        intermediate=config.integer("intermediate_size"),
        shared_intermediate=config.integer("shared_intermediate_size", default=0, least=0),
        router_correction=correction,
    )


def read_minimax_m1(config: Config) -> ReadParts:
    """`minimax_m1`, `minimax_text_01`, `minimax`: seven lightning layers, then one of softmax attention."""
    kinds = _kinds(config, layer_count(config))
    attention = gqa(config)
    config.skip("shared_moe_mode", "mlp_layer_types", "block_size")
    experts = _experts(config, correction=False)
    blocks = {
        "lightning": Block(
            attention=LightningAttention(heads=attention.heads, head_dim=attention.head_dim), ffn=experts
        ),
        "softmax": Block(attention=attention, ffn=experts),
    }
    return ReadParts(blocks, ["softmax" if kind == SOFTMAX else "lightning" for kind in kinds])


def read_minimax_m2(config: Config) -> ReadParts:
    """`minimax_m2`: norms over all heads. The MTP modules it declares are not in the published checkpoints."""
    layers = layer_count(config)
    if LINEAR in _kinds(config, layers):
        config.refuse("attn_type_list", "linear layers are not described for this family")
    config.only("qk_norm_type", "per_layer", why="other norms are not described for this family")
    config.skip("use_mtp", "num_mtp_modules", "mtp_transformer_layers")
    norm = config.flag("use_qk_norm", default=True)
    correction = config.flag("use_routing_bias", default=True)
    block = Block(
        attention=gqa(config, qk_norm="full" if norm else "none"), ffn=_experts(config, correction=correction)
    )
    return uniform(config, block)


def read_minimax_m3(config: Config) -> ReadParts:
    """`minimax_m3` (text model of `minimax_m3_vl`): dense layers that see everything, then sparse ones."""
    layers = layer_count(config)
    config.only("attention_output_gate", False, why="its gate is not described for this family")  # noqa: FBT003
    config.only("qk_norm_type", "per_head", why="other norms are not described for this family")
    config.only("use_qk_norm", True, why="these models have norms on queries and keys")  # noqa: FBT003
    config.skip("use_gemma_norm", "num_mtp_modules", "num_nextn_predict_layers", "first_k_dense_replace")
    config.only("n_shared_experts", 1, why="shared_intermediate_size is the width of one")
    config.only("moe_intermediate_size", config.data.get("intermediate_size"), why="another width than the experts'")
    correction = config.flag("use_routing_bias", default=True)
    sparse, has_experts = _sparse_attention(config, layers), config.integers("moe_layer_freq", length=layers)
    if has_experts is None:
        config.refuse("moe_layer_freq", "is required but missing")
    plain = gqa(config, qk_norm="head")
    indexer = _block_indexer(config)
    chosen = BlockSparseAttention(
        heads=plain.heads, kv_heads=plain.kv_heads, head_dim=plain.head_dim, qk_norm="head", indexer=indexer
    )
    dense = DenseFeedForward(intermediate=config.integer("dense_intermediate_size"))
    experts = _experts(config, correction=correction)
    blocks = {
        f"{place}-{kind}": Block(
            attention=chosen if place == "sparse" else plain, ffn=experts if kind == "moe" else dense
        )
        for place in ("whole", "sparse")
        for kind in ("dense", "moe")
    }
    names = [
        f"{'sparse' if chosen_here else 'whole'}-{'moe' if moe else 'dense'}"
        for chosen_here, moe in zip(sparse, has_experts, strict=True)
    ]
    return ReadParts(blocks, names)


def _sparse_attention(config: Config, layers: int) -> list[bool]:
    """Which layers have sparse attention."""
    section = config.section("sparse_attention_config")
    if section is None:
        config.refuse("sparse_attention_config", "is required but missing")
    listed = section.integers("sparse_attention_freq", length=layers)
    if not section.flag("use_sparse_attention", default=True):
        return [False] * layers
    if listed is None:
        section.refuse("sparse_attention_freq", "is required but missing")
    return [bool(flag) for flag in listed]


def _block_indexer(config: Config) -> Indexer:
    section = config.section("sparse_attention_config") or config
    section.skip("use_sparse_attention", "sparse_attention_freq", "sparse_score_type", "sparse_init_block")
    section.skip("sparse_local_block", "sparse_disable_index_value")
    indexer = Indexer(
        heads=section.integer("sparse_num_index_heads"),
        head_dim=section.integer("sparse_index_dim"),
        top_k=section.integer("sparse_topk_blocks") * section.integer("sparse_block_size"),
    )
    section.finish("minimax_m3 sparse attention")
    return indexer

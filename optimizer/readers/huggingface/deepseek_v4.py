"""DeepSeek-V4: compressed attention, hyper-connections, experts that the first layers look up by token."""

from __future__ import annotations

from optimizer.domain.attention import CompressedAttention, Indexer
from optimizer.domain.feedforward import MixtureOfExperts
from optimizer.domain.model import Block, Mtp
from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.parts import Reading, layer_count

SPARSE_RATIO, HEAVY_RATIO = 4, 128
_KINDS = {0: "window", SPARSE_RATIO: "sparse", HEAVY_RATIO: "heavy"}


def read_deepseek_v4(config: Config) -> Reading:
    """`deepseek_v4`: `compress_ratios` names each layer's attention, its last entries that of MTP layers."""
    layers = layer_count(config)
    extra = config.integer("num_nextn_predict_layers", default=0, least=0)
    ratios = config.integers("compress_ratios", length=layers)
    if ratios is None:
        config.refuse("compress_ratios", "is required but missing")
    for index, ratio in enumerate(ratios):
        if ratio not in _KINDS:
            known = ", ".join(map(str, _KINDS))
            config.refuse("compress_ratios", f"entry {index} is {ratio}, which is not understood; understood: {known}")
    hashed = config.integer("num_hash_layers", default=0, least=0)
    streams = config.integer("hc_mult", default=0, least=0)
    config.only("attention_bias", False, why="biases are not described for this family")  # noqa: FBT003
    config.only("num_key_value_heads", 1, why="one key/value head serves all query heads")
    config.skip("qk_rope_head_dim")
    blocks: dict[str, Block] = {}
    names = []
    for index, ratio in enumerate(ratios):
        name = f"{_KINDS[ratio]}-{'hash' if index < hashed else 'moe'}"
        names.append(name)
        blocks[name] = _block(config, ratio, hashed=index < hashed, streams=streams)
    mtp = None
    if extra:
        blocks["window-moe"] = _block(config, 0, hashed=False, streams=streams)
        mtp = Mtp(block="window-moe", count=extra)
    return Reading(blocks, names, mtp, {"hyper_streams": streams})


def _block(config: Config, ratio: int, *, hashed: bool, streams: int) -> Block:
    attention = CompressedAttention(
        heads=config.integer("num_attention_heads"),
        head_dim=config.integer("head_dim"),
        q_lora_rank=config.integer("q_lora_rank"),
        o_groups=config.integer("o_groups"),
        o_lora_rank=config.integer("o_lora_rank"),
        window=config.integer("sliding_window"),
        compress_ratio=ratio,
        indexer=_indexer(config) if ratio == SPARSE_RATIO else None,
    )
    _indexer(config)
    width = config.integer("moe_intermediate_size")
    top_k = config.integer("num_experts_per_tok")
    ffn = MixtureOfExperts(
        experts=config.integer("n_routed_experts"),
        top_k=top_k,
        intermediate=width,
        shared_intermediate=width * config.integer("n_shared_experts", default=0, least=0),
        router_correction=not hashed,
        hash_vocabulary=config.integer("vocab_size") if hashed else 0,
    )
    return Block(attention=attention, ffn=ffn, hyper_streams=streams)


def _indexer(config: Config) -> Indexer:
    return Indexer(
        heads=config.integer("index_n_heads"),
        head_dim=config.integer("index_head_dim"),
        top_k=config.integer("index_topk"),
    )

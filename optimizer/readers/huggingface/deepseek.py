"""DeepSeek-V2 and V3 and what follows them (Kimi-K2, V3.2, GLM-5), and GLM-4.5."""

from __future__ import annotations

from optimizer.domain.attention import GroupedQueryAttention, Indexer, LatentAttention
from optimizer.domain.feedforward import DenseFeedForward, MixtureOfExperts
from optimizer.domain.model import Block
from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.parts import Reading, gqa, layer_count, next_token_layers


def experts(config: Config) -> MixtureOfExperts:
    """Routed and shared experts; `noaux_tc` routing has a score-correction bias."""
    width = config.integer("moe_intermediate_size")
    groups = config.integer("n_group", default=1)
    config.skip("ep_size")
    return MixtureOfExperts(
        experts=config.integer("n_routed_experts"),
        top_k=config.integer("num_experts_per_tok"),
        intermediate=width,
        shared_intermediate=width * config.integer("n_shared_experts", default=0, least=0),
        router_correction=config.text("topk_method") == "noaux_tc",
        group_count=groups,
        group_limit=config.integer("topk_group", default=groups),
    )


def sparse_layers(config: Config, layers: int) -> list[bool]:
    """Which layers have experts: those after the first `first_k_dense_replace`, or as `mlp_layer_types` names them."""
    config.only("moe_layer_freq", 1, why="experts in every layer after the first dense ones")
    first = config.integer("first_k_dense_replace", default=0, least=0)
    listed = config.names("mlp_layer_types", ("dense", "sparse"), length=layers)
    if listed is not None:
        return [kind == "sparse" for kind in listed]
    return [index >= first for index in range(layers)]


def latent(config: Config, indexer: Indexer | None) -> LatentAttention:
    """Latent attention from DeepSeek's keys."""
    config.only("mlp_bias", False, why="biases of experts are not described for this family")  # noqa: FBT003
    config.only("attention_bias", False, why="biases of latent attention are not described")  # noqa: FBT003
    config.skip("num_key_value_heads", "head_dim", "qk_head_dim")
    return LatentAttention(
        heads=config.integer("num_attention_heads"),
        q_lora_rank=config.optional("q_lora_rank"),
        kv_lora_rank=config.integer("kv_lora_rank"),
        qk_nope_head_dim=config.integer("qk_nope_head_dim"),
        qk_rope_head_dim=config.integer("qk_rope_head_dim", least=0),
        v_head_dim=config.integer("v_head_dim"),
        indexer=indexer,
    )


def read_deepseek(config: Config) -> Reading:
    """`deepseek_v2`, `deepseek_v3`, `kimi_k2`: latent attention, a few dense layers, then experts."""
    attention = latent(config, None)
    blocks = {
        "dense": Block(attention=attention, ffn=DenseFeedForward(intermediate=config.integer("intermediate_size"))),
        "moe": Block(attention=attention, ffn=experts(config)),
    }
    names = ["moe" if sparse else "dense" for sparse in sparse_layers(config, layer_count(config))]
    return Reading(blocks, names, next_token_layers(config, "moe", own_embedding=True))


def read_sparse_attention(config: Config) -> Reading:
    """`deepseek_v32`, `glm_moe_dsa`: the same with a lightning indexer, of its own or shared with a layer below."""
    layers = layer_count(config)
    config.only("num_experts", config.data.get("n_routed_experts"), why="another count than n_routed_experts")
    config.names("layer_types", ("deepseek_sparse_attention",), length=layers)
    kinds = config.names("indexer_types", ("full", "shared"), length=layers) or ["full"] * layers
    config.skip("index_share_for_mtp_iteration", "index_skip_topk_offset", "index_topk_freq", "index_topk_pattern")
    blocks: dict[str, Block] = {}
    for kind in ("full", "shared"):
        indexer = Indexer(
            heads=config.integer("index_n_heads"),
            head_dim=config.integer("index_head_dim"),
            top_k=config.integer("index_topk"),
            shared=kind == "shared",
        )
        attention = latent(config, indexer)
        dense = DenseFeedForward(intermediate=config.integer("intermediate_size"))
        blocks[f"{kind}-dense"] = Block(attention=attention, ffn=dense)
        blocks[f"{kind}-moe"] = Block(attention=attention, ffn=experts(config))
    names = [
        f"{kind}-{'moe' if sparse else 'dense'}"
        for kind, sparse in zip(kinds, sparse_layers(config, layers), strict=True)
    ]
    return Reading(blocks, names, next_token_layers(config, "full-moe", own_embedding=True))


def read_glm4_moe(config: Config) -> Reading:
    """`glm4_moe` (GLM-4.5 to 4.7): grouped-query attention, DeepSeek-V3's experts with its correction bias."""
    norm = config.flag("use_qk_norm")
    bias = config.flag("attention_bias")
    attention = gqa(config, qkv_bias=bias, qk_norm="head" if norm else "none")
    return _grouped(config, attention, own_embedding=True)


def read_dots(config: Config) -> Reading:
    """`dots1`: grouped-query attention with norms on queries and keys, the same experts."""
    bias = config.flag("attention_bias")
    config.skip("sliding_window", "max_window_layers", "use_sliding_window")
    config.only("use_sliding_window", False, why="windows are not described for this family")  # noqa: FBT003
    return _grouped(config, gqa(config, qkv_bias=bias, out_bias=bias, qk_norm="head"), own_embedding=False)


def _grouped(config: Config, attention: GroupedQueryAttention, *, own_embedding: bool) -> Reading:
    routed = experts(config).model_copy(update={"router_correction": True})
    blocks = {
        "dense": Block(attention=attention, ffn=DenseFeedForward(intermediate=config.integer("intermediate_size"))),
        "moe": Block(attention=attention, ffn=routed),
    }
    names = ["moe" if sparse else "dense" for sparse in sparse_layers(config, layer_count(config))]
    return Reading(blocks, names, next_token_layers(config, "moe", own_embedding=own_embedding))

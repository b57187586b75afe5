"""DeepSeek-V2 and V3 and what follows them (Kimi-K2 and Kimi Linear, V3.2, V4, GLM-5), and GLM-4.5."""

from __future__ import annotations

from optimizer.domain.attention import (
    Attention,
    CompressedAttention,
    GroupedQueryAttention,
    Indexer,
    KimiDeltaAttention,
    LatentAttention,
)
from optimizer.domain.feedforward import DenseFeedForward, MixtureOfExperts
from optimizer.domain.model import Block, Mtp
from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.parts import ReadParts, gqa, layer_count, mixture, next_token_layers


def experts(config: Config) -> MixtureOfExperts:
    """Routed and shared experts; `noaux_tc` routing has a score-correction bias."""
    config.skip("ep_size")
    correction = config.text("topk_method") == "noaux_tc"
    return mixture(
        config, experts="n_routed_experts", shared="n_shared_experts", groups="n_group", router_correction=correction
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


def read_deepseek(config: Config) -> ReadParts:
    """`deepseek_v2`, `deepseek_v3`, `kimi_k2`: latent attention, a few dense layers, then experts."""
    attention = latent(config, None)
    blocks = {
        "dense": Block(attention=attention, ffn=DenseFeedForward(intermediate=config.integer("intermediate_size"))),
        "moe": Block(attention=attention, ffn=experts(config)),
    }
    names = ["moe" if sparse else "dense" for sparse in sparse_layers(config, layer_count(config))]
    return ReadParts(blocks, names, next_token_layers(config, "moe", own_embedding=True))


def read_sparse_attention(config: Config) -> ReadParts:
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
    return ReadParts(blocks, names, next_token_layers(config, "full-moe", own_embedding=True))


def read_glm4_moe(config: Config) -> ReadParts:
    """`glm4_moe` (GLM-4.5 to 4.7): grouped-query attention, DeepSeek-V3's experts with its correction bias."""
    norm = config.flag("use_qk_norm")
    bias = config.flag("attention_bias")
    attention = gqa(config, qkv_bias=bias, qk_norm="head" if norm else "none")
    return _grouped(config, attention, own_embedding=True)


def read_dots(config: Config) -> ReadParts:
    """`dots1`: grouped-query attention with norms on queries and keys, the same experts."""
    bias = config.flag("attention_bias")
    config.skip("sliding_window", "max_window_layers", "use_sliding_window")
    config.only("use_sliding_window", False, why="windows are not described for this family")  # noqa: FBT003
    return _grouped(config, gqa(config, qkv_bias=bias, out_bias=bias, qk_norm="head"), own_embedding=False)


def _grouped(config: Config, attention: GroupedQueryAttention, *, own_embedding: bool) -> ReadParts:
    routed = experts(config).model_copy(update={"router_correction": True})
    blocks = {
        "dense": Block(attention=attention, ffn=DenseFeedForward(intermediate=config.integer("intermediate_size"))),
        "moe": Block(attention=attention, ffn=routed),
    }
    names = ["moe" if sparse else "dense" for sparse in sparse_layers(config, layer_count(config))]
    return ReadParts(blocks, names, next_token_layers(config, "moe", own_embedding=own_embedding))


SPARSE_RATIO, HEAVY_RATIO = 4, 128
_KINDS = {0: "window", SPARSE_RATIO: "sparse", HEAVY_RATIO: "heavy"}


def read_deepseek_v4(config: Config) -> ReadParts:
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
    return ReadParts(blocks, names, mtp, {"hyper_streams": streams})


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
    table = config.integer("vocab_size") if hashed else 0
    ffn = mixture(
        config,
        experts="n_routed_experts",
        shared="n_shared_experts",
        router_correction=not hashed,
        hash_vocabulary=table,
    )
    return Block(attention=attention, ffn=ffn, hyper_streams=streams)


def _indexer(config: Config) -> Indexer:
    return Indexer(
        heads=config.integer("index_n_heads"),
        head_dim=config.integer("index_head_dim"),
        top_k=config.integer("index_topk"),
    )


def _kinds(config: Config, section: Config, layers: int) -> list[str]:
    """Kind of each layer, from two lists of layer numbers that count from 1 and cover every layer once."""
    delta, full = section.integers("kda_layers") or [], section.integers("full_attn_layers") or []
    if sorted([*delta, *full]) != list(range(1, layers + 1)):
        message = f"kda_layers and full_attn_layers together must name each of the {layers} layers once, from 1"
        config.refuse("linear_attn_config", message)
    return ["delta" if number in set(delta) else "full" for number in range(1, layers + 1)]


def read_kimi_linear(config: Config) -> ReadParts:
    """`kimi_linear`."""
    layers, section = layer_count(config), config.section("linear_attn_config")
    if section is None:
        config.refuse("linear_attn_config", "is required but missing")
    config.skip("head_dim", "mla_use_nope", "moe_renormalize", "moe_router_activation_func", "use_grouped_topk")
    config.only("moe_layer_freq", 1, why="experts in every layer after the first dense ones")
    config.only("num_nextn_predict_layers", 0, why="MTP layers are not described for this family")
    attention: dict[str, Attention] = {
        "full": latent(config, None),
        "delta": KimiDeltaAttention(
            heads=section.integer("num_heads"),
            head_dim=section.integer("head_dim"),
            conv_kernel=section.integer("short_conv_kernel_size", default=4),
        ),
    }
    experts = mixture(config, top_k="num_experts_per_token", groups="num_expert_group", router_correction=True)
    dense = DenseFeedForward(intermediate=config.integer("intermediate_size"))
    first = config.integer("first_k_dense_replace", default=0, least=0)
    kinds = _kinds(config, section, layers)
    section.finish("kimi_linear delta attention")
    names = [f"{kind}-{'moe' if index >= first else 'dense'}" for index, kind in enumerate(kinds)]
    blocks = {
        f"{kind}-{place}": Block(attention=attention[kind], ffn=experts if place == "moe" else dense)
        for kind in ("delta", "full")
        for place in ("moe", "dense")
    }
    return ReadParts(blocks, names)

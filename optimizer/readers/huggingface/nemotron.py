"""Hybrids of state-space mixers and attention: Nemotron-H and Nemotron 3, Granite 4."""

from __future__ import annotations

from optimizer.domain.attention import GroupedQueryAttention, Mamba2
from optimizer.domain.feedforward import DenseFeedForward, MixtureOfExperts
from optimizer.domain.model import Block, Mtp
from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.parts import ReadParts, gqa, layer_count

_LETTERS = {"M": "mamba", "*": "attention", "E": "moe", "-": "mlp"}
KINDS = tuple(_LETTERS.values())
_MIXERS = {"linear_attention": "mamba", "full_attention": "attention"}
"""What transformers has called Granite 4's mixers since 5.20."""


def _order(config: Config, listed: str, lettered: str) -> list[str] | None:
    """Kinds of layers, from a list of names or a text of letters."""
    names = config.items(listed)
    text = config.text(lettered)
    if names is None and text is None:
        return None
    order = names if names is not None else [_LETTERS.get(letter, letter) for letter in text or ""]
    for index, kind in enumerate(order):
        if kind not in KINDS:
            name = listed if names is not None else lettered
            config.refuse(name, f"entry {index} is {kind!r}; understood: {', '.join(KINDS)} ({', '.join(_LETTERS)})")
    if not order:
        config.refuse(listed if names is not None else lettered, "must not be empty")
    return order


def read_nemotron_h(config: Config) -> ReadParts:
    """`nemotron_h`: state-space mixers, few attention layers, plain or expert feed-forward blocks."""
    names = _order(config, "layers_block_type", "hybrid_override_pattern")
    if names is None:
        config.refuse("layers_block_type", "is required but missing")
    stated = config.integer("num_hidden_layers", default=len(names))
    if stated != len(names):
        config.refuse("num_hidden_layers", f"is {stated}, but {len(names)} layers are listed")
    config.only("sliding_window", why="windows are not described for this family")
    config.skip("expand", "time_step_rank", "moe_shared_expert_overlap", "mlp_hidden_act")
    extra = config.integer("num_nextn_predict_layers", default=0, least=0)
    last = _order(config, "mtp_layers_block_type", "mtp_hybrid_override_pattern")
    blocks = {
        "mamba": Block(attention=_mamba(config), norms=1),
        "attention": Block(attention=_attention(config), norms=1),
        "mlp": Block(ffn=_plain(config), norms=1),
    }
    if "moe" in names or (extra and last is not None and "moe" in last):
        blocks["moe"] = Block(ffn=_experts(config), norms=1)
    mtp = None
    if extra:
        if last != ["attention", "moe"]:
            config.refuse("mtp_layers_block_type", "only an attention and an expert layer are described for MTP")
        blocks["mtp"] = Block(attention=_attention(config), ffn=_experts(config))
        mtp = Mtp(block="mtp", count=extra)
    return ReadParts(blocks, names, mtp)


def read_granite_hybrid(config: Config) -> ReadParts:
    """`granitemoehybrid` (Granite 4): a mixer or attention in each layer, then experts (if any) and a shared block."""
    layers = layer_count(config)
    listed = config.names("layer_types", (*_MIXERS, *_MIXERS.values()), length=layers)
    names = ["mamba"] * layers if listed is None else [_MIXERS.get(name, name) for name in listed]
    config.skip("mamba_expand", "mamba_proj_bias", "position_embedding_type", "normalization_function", "init_method")
    mixers: dict[str, Mamba2 | GroupedQueryAttention] = {"attention": _attention(config)}
    if "mamba" in names:
        mixers["mamba"] = Mamba2(
            heads=config.integer("mamba_n_heads"),
            head_dim=config.integer("mamba_d_head"),
            groups=config.integer("mamba_n_groups", default=1),
            state_size=config.integer("mamba_d_state"),
            conv_kernel=config.integer("mamba_d_conv", default=4),
            conv_bias=config.flag("mamba_conv_bias", default=True),
            proj_bias=config.flag("mamba_proj_bias"),
        )
    else:
        config.skip(
            "mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_d_state", "mamba_d_conv", "mamba_conv_bias"
        )
    shared, routed = config.integer("shared_intermediate_size"), config.integer("num_local_experts", default=0, least=0)
    ffn: DenseFeedForward | MixtureOfExperts = DenseFeedForward(intermediate=shared)
    if routed:
        ffn = MixtureOfExperts(
            experts=routed,
            top_k=config.integer("num_experts_per_tok"),
            intermediate=config.integer("intermediate_size"),
            shared_intermediate=shared,
        )
    else:
        config.skip("intermediate_size", "num_experts_per_tok")
    return ReadParts({name: Block(attention=mixer, ffn=ffn) for name, mixer in mixers.items()}, names)


def _attention(config: Config) -> GroupedQueryAttention:
    bias = config.flag("attention_bias")
    return gqa(config, qkv_bias=bias, out_bias=bias)


def _mamba(config: Config) -> Mamba2:
    config.skip("mamba_proj_bias")
    return Mamba2(
        heads=config.integer("mamba_num_heads"),
        head_dim=config.integer("mamba_head_dim"),
        groups=config.integer("n_groups"),
        state_size=config.integer("ssm_state_size"),
        conv_kernel=config.integer("conv_kernel", default=4),
        conv_bias=config.flag("use_conv_bias", default=True),
        proj_bias=config.flag("use_bias"),
        state_bytes=4 if config.text("mamba_ssm_cache_dtype") in (None, "float32") else 2,
    )


def _plain(config: Config) -> DenseFeedForward:
    return DenseFeedForward(intermediate=config.integer("intermediate_size"), gated=False, bias=config.flag("mlp_bias"))


def _experts(config: Config) -> MixtureOfExperts:
    config.skip("intermediate_size")
    groups = config.integer("n_group", default=1)
    shared = config.integer("moe_shared_expert_intermediate_size", default=0, least=0)
    return MixtureOfExperts(
        experts=config.integer("n_routed_experts"),
        top_k=config.integer("num_experts_per_tok"),
        intermediate=config.integer("moe_intermediate_size"),
        gated=False,
        bias=config.flag("mlp_bias"),
        shared_intermediate=shared * config.integer("n_shared_experts", default=1, least=0),
        router_correction=True,
        latent_size=config.optional("moe_latent_size"),
        group_count=groups,
        group_limit=config.integer("topk_group", default=groups),
    )

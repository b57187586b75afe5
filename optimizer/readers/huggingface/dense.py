"""Dense decoders other than Llama.

GPT-2 (and GPT-3's shape), BLOOM, Falcon and Phi-2, whose layer norms have biases; and those that differ from Llama in
a norm or a bias: Phi-3 and 4, OLMo 2, Seed-OSS, GLM-4.
"""

from __future__ import annotations

from optimizer.domain.feedforward import DenseFeedForward
from optimizer.domain.model import Block
from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.llama import ReadFeedForward, ffn
from optimizer.readers.huggingface.parts import ReadParts, gqa, uniform


def read_gpt2(config: Config) -> ReadParts:
    """`gpt2`: learned positions, biases everywhere."""
    hidden = config.integer("n_embd", "hidden_size")
    config.only("add_cross_attention", False, why="cross-attention is not described")  # noqa: FBT003
    width = config.integer("n_inner", default=4 * hidden)
    block = Block(
        attention=gqa(config, qkv_bias=True, out_bias=True),
        ffn=DenseFeedForward(intermediate=width, gated=False, bias=True),
        norm_bias=True,
    )
    config.skip("n_ctx", "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels")
    config.skip("summary_first_dropout")
    positions = config.integer("n_positions", "max_position_embeddings", default=1024)
    return uniform(config, block, norm_bias=True, learned_positions=positions, max_context=positions)


def read_bloom(config: Config) -> ReadParts:
    """`bloom`: attention by distance (no positions), a norm on the embeddings, biases everywhere."""
    hidden = config.integer("hidden_size", "n_embed")
    config.skip("num_attention_heads", "offset_alibi", "unk_token_id", "masked_softmax_fusion", "bias_dropout_fusion")
    block = Block(
        attention=gqa(config, qkv_bias=True, out_bias=True),
        ffn=DenseFeedForward(intermediate=4 * hidden, gated=False, bias=True),
        norm_bias=True,
    )
    return uniform(config, block, norm_bias=True, embedding_norm=True, max_context=config.optional("seq_length"))


def read_falcon(config: Config) -> ReadParts:
    """`falcon`: attention and feed-forward block in parallel, behind one norm or one each."""
    hidden, bias = config.integer("hidden_size"), config.flag("bias")
    heads = config.integer("num_attention_heads", "n_head")
    new, parallel = config.flag("new_decoder_architecture"), config.flag("parallel_attn", default=True)
    shared = config.flag("multi_query", default=True)
    own_kv = config.integer("num_kv_heads", "n_head_kv", default=heads)
    config.skip("alibi")
    parallel_norms = config.integer("num_ln_in_parallel_attn", default=2 if new else 1)
    block = Block(
        attention=gqa(
            config,
            heads=heads,
            kv_heads=own_kv if new or not shared else 1,
            qkv_bias=bias,
            out_bias=bias,
        ),
        ffn=DenseFeedForward(
            intermediate=config.integer("ffn_hidden_size", default=4 * hidden), gated=False, bias=bias
        ),
        norms=parallel_norms if new or parallel else 2,
        norm_bias=True,
    )
    # older files leave it to FalconConfig
    return uniform(config, block, norm_bias=True, max_context=config.integer("max_position_embeddings", default=2048))


def read_phi(config: Config) -> ReadParts:
    """`phi` (Phi-1 to 2): attention and feed-forward block in parallel behind one norm; a bias on the head too."""
    config.only("qk_layernorm", False, why="its norms with biases are not described")  # noqa: FBT003
    block = Block(
        attention=gqa(config, qkv_bias=True, out_bias=True),
        ffn=DenseFeedForward(intermediate=config.integer("intermediate_size"), gated=False, bias=True),
        norms=1,
        norm_bias=True,
    )
    return uniform(config, block, norm_bias=True, head_bias=True)


def read_phi3(config: Config, feed_forward: ReadFeedForward = ffn) -> ReadParts:
    """`phi3`: no biases; queries, keys and values in one matrix."""
    block = Block(attention=gqa(config, window=config.optional("sliding_window")), ffn=feed_forward(config))
    return uniform(config, block)


def read_olmo2(config: Config, feed_forward: ReadFeedForward = ffn) -> ReadParts:
    """`olmo2`: norms after the blocks, and over all query heads and all key heads."""
    bias = config.flag("attention_bias")
    block = Block(attention=gqa(config, qkv_bias=bias, out_bias=bias, qk_norm="full"), ffn=feed_forward(config))
    return uniform(config, block)


def read_seed_oss(config: Config) -> ReadParts:
    """`seed_oss`: biases on queries, keys and values, and where said on the output."""
    qkv, out = config.flag("attention_bias", default=True), config.flag("attention_out_bias")
    block = Block(attention=gqa(config, qkv_bias=qkv, out_bias=out), ffn=ffn(config))
    return uniform(config, block)


def read_glm4(config: Config) -> ReadParts:
    """`glm4`: four norms a layer, biases on queries, keys and values."""
    bias = config.flag("attention_bias", default=True)
    block = Block(attention=gqa(config, qkv_bias=bias), ffn=ffn(config), norms=4)
    return uniform(config, block)

"""Models as layers of blocks, their formats, and how their tensors are counted."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from optimizer.domain.engines import engine_named
from optimizer.domain.feedforward import MixtureOfExperts
from optimizer.domain.model import ModelSpec
from optimizer.domain.precision import FORMATS, ModelPrecision, PrecisionOverride
from optimizer.domain.tensor import Split, Tensor, TensorRole
from optimizer.figures.parameters import parameter_table
from optimizer.figures.weights import Division, block_weights, input_weights, mtp_weights, output_weights
from optimizer.readers.catalog import load_hardware

ATTENTION = {"kind": "gqa", "heads": 4, "kv_heads": 2, "head_dim": 8}
SMALL: dict[str, Any] = {
    "name": "small",
    "hidden_size": 32,
    "vocab_size": 100,
    "blocks": {
        "dense": {"attention": ATTENTION, "ffn": {"kind": "dense", "intermediate": 48}},
        "moe": {"attention": ATTENTION, "ffn": {"kind": "moe", "experts": 8, "top_k": 2, "intermediate": 16}},
    },
    "layers": [{"pattern": ["dense"]}, {"pattern": ["moe", "dense"], "count": 2}],
    "mtp": {"block": "moe", "count": 2, "own_embedding": True},
}


def small(**changes: Any) -> ModelSpec:
    return ModelSpec.model_validate(SMALL | changes)


def test_layers_repeat_their_pattern() -> None:
    assert small().layer_names == ("dense", "moe", "dense", "moe", "dense")
    assert (small().layer_count, small().moe_layer_count) == (5, 2)


def test_parameters_by_component() -> None:
    table = parameter_table(small())
    attention, dense, expert = 2 * 32 * 32 + 2 * 16 * 32, 3 * 32 * 48, 3 * 32 * 16
    parts = table.components
    assert parts.attention == 5 * attention
    assert parts.dense == 3 * dense
    assert parts.experts == 2 * 8 * expert
    assert parts.router == 2 * 8 * 32
    assert parts.norms == 5 * 2 * 32 + 32
    assert parts.embeddings == parts.lm_head == 3200
    assert table.active_with_embedding == table.total - 2 * 6 * expert
    assert table.active_without_embedding == table.active_with_embedding - 3200
    block = attention + 8 * expert + 8 * 32 + 2 * 32
    assert table.mtp == 2 * (block + 2 * 32 * 32 + 3 * 32)
    assert table.mtp_copies == 2 * 2 * 3200
    assert table.checkpoint == table.total + table.mtp + table.mtp_copies


def test_tied_embeddings_count_once_and_are_stored_twice_only_on_another_stage() -> None:
    tied = small(tie_embeddings=True)
    assert parameter_table(tied).total == parameter_table(small()).total - 3200
    formats = ModelPrecision()
    # 100 rows are padded to 128.
    assert input_weights(tied, formats, 2).sharded_bytes == 64 * 32 * 2
    assert input_weights(tied, formats, 2, vocab_padding=1).sharded_bytes == 50 * 32 * 2
    assert output_weights(tied, formats, 2, with_tied_head=False).sharded_bytes == 0
    assert output_weights(tied, formats, 2, with_tied_head=True).sharded_bytes == 64 * 32 * 2
    assert output_weights(small(), formats, 2, with_tied_head=True).sharded_bytes == 64 * 32 * 2
    assert output_weights(tied, formats, 2, with_tied_head=True).replicated_bytes == 32 * 2


def test_hyper_connections_are_counted_in_each_layer_and_before_the_head() -> None:
    blocks = {name: block | {"hyper_streams": 4} for name, block in SMALL["blocks"].items()}
    found = parameter_table(small(blocks=blocks, hyper_streams=4))
    site = 24 * 4 * 32 + 24 + 3
    head = 4 * 4 * 32 + 4 + 1
    assert found.components.other == 5 * 2 * site + head
    assert found.mtp - parameter_table(small()).mtp == 2 * (2 * site + head)


def test_vision_is_outside_the_total_and_inside_the_first_stage() -> None:
    seeing = small(vision={"parameters": 1001, "sharded": True})
    assert parameter_table(seeing).total == parameter_table(small()).total
    assert parameter_table(seeing).vision == 1001
    formats = ModelPrecision(weights="fp8_block")
    extra = input_weights(seeing, formats, 2).total_bytes - input_weights(small(), formats, 2).total_bytes
    assert extra == 501 * 2
    whole = small(vision={"parameters": 1001})
    assert input_weights(whole, formats, 2).replicated_bytes == 1001 * 2


def test_mtp_layers_may_have_a_format_of_their_own() -> None:
    over = Division(1, local_experts=8)
    wide = mtp_weights(small(), ModelPrecision(weights="nvfp4", mtp="bf16"), over)
    assert wide == mtp_weights(small(), ModelPrecision(), over)
    assert wide.total_bytes == parameter_table(small()).mtp * 2
    assert mtp_weights(small(), ModelPrecision(weights="nvfp4"), over).total_bytes < wide.total_bytes


@pytest.mark.parametrize(
    ("hardware", "multiples"),
    [("h100-sxm-8", (256, 1)), ("gh200", (256, 1)), ("mi300x-8", (256, 256)), ("b200-sxm-8", (256, 128))],
)
def test_kernels_pad_experts_by_the_device(hardware: str, multiples: tuple[int, int]) -> None:
    cache = engine_named("vllm").cache
    assert cache.padding("mxfp4", load_hardware(hardware).device) == multiples
    assert cache.padding("bf16", load_hardware(hardware).device) == (1, 1)


def test_expert_padding_rounds_width_and_intermediate_size_up() -> None:
    over = Division(1, 2, 3)
    plain = block_weights(small(), "moe", ModelPrecision(), over)
    assert plain.expert_bytes == 3 * 3 * 32 * 8 * 2
    padded = block_weights(small(), "moe", ModelPrecision(), over, expert_padding=(64, 16))
    assert padded.expert_bytes == 3 * 3 * 64 * 16 * 2
    assert padded.sharded_bytes == plain.sharded_bytes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": [{"pattern": ["sparse"]}]}, "block 'sparse' is not defined; blocks: dense, moe"),
        ({"mtp": {"block": "none", "count": 1}}, "block 'none' is not defined"),
        ({"layers": [{"pattern": ["dense"], "count": 10_001}]}, "10001 layers are more than 10,000"),
        ({"blocks": {"dense": {}}}, "a block needs attention, ffn or both"),
    ],
)
def test_inconsistent_models_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        small(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top_k": 9}, "top_k 9 is more than the 8 experts"),
        ({"group_count": 3}, "group_count 3 does not divide 8 experts"),
        ({"group_count": 2, "group_limit": 3}, "group_limit 3 is more than group_count 2"),
        ({"shared_gate": True}, "shared_gate needs shared_intermediate"),
    ],
)
def test_inconsistent_experts_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MixtureOfExperts(**({"experts": 8, "top_k": 2, "intermediate": 16} | change))


def test_experts_in_a_latent_space_beside_shared_and_dense_ones() -> None:
    moe = MixtureOfExperts(
        experts=8,
        top_k=2,
        intermediate=16,
        gated=False,
        latent_size=12,
        shared_intermediate=20,
        shared_gate=True,
        dense_intermediate=24,
        router_bias=True,
        router_correction=True,
        router_scales=True,
        hash_vocabulary=100,
    )
    sizes = {tensor.name: tensor.elements for tensor in moe.tensors(32)}
    assert sizes == {
        "router": 8 * 32,
        "router_bias": 8,
        "router_scales": 32 + 8,
        "hash_table": 100 * 2,
        "router_correction": 8,
        "latent_in": 12 * 32,
        "latent_out": 12 * 32,
        "expert_up_proj": 8 * 16 * 12,
        "expert_down_proj": 8 * 16 * 12,
        "shared_up_proj": 20 * 32,
        "shared_down_proj": 20 * 32,
        "shared_gate": 32,
        "up_proj": 24 * 32,
        "down_proj": 24 * 32,
    }
    assert {t.name for t in moe.tensors(32) if t.buffer} == {"hash_table", "router_correction"}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        # 200 x 300 elements; blocks of 128 x 128 (2 x 3), of a row, of 32, 16 and 128 columns, or one.
        ("fp32", 240_000),
        ("bf16", 120_000),
        ("fp8", 60_000 + 4),
        ("fp8_channel", 60_000 + 200 * 4),
        ("fp8_block", 60_000 + 6 * 4),
        ("int8", 60_000 + 200 * 4),
        ("mxfp8", 60_000 + 200 * 10),
        ("mxfp4", 30_000 + 200 * 10),
        ("nvfp4", 30_000 + 200 * 19),
        ("int4", 30_000 + 200 * 3 * 2),
        ("int4_g32", 30_000 + 200 * 10 * 2),
    ],
)
def test_stored_bytes_include_scales(name: str, size: int) -> None:
    assert FORMATS[name].stored_bytes(200, 300) == size


def test_vectors_routers_and_kept_tensors_stay_wide() -> None:
    formats = ModelPrecision(weights="nvfp4", exceptions=(("o_proj", "fp8"),))
    named = {t.name: formats.of(t) for t in small().blocks["moe"].tensors(32)}
    assert named["q_proj"] is named["expert_up_proj"] is FORMATS["nvfp4"]
    assert named["o_proj"] is FORMATS["fp8"]
    assert named["router"] is named["norms"] is FORMATS["bf16"]
    assert formats.of(Tensor("x", 2, 2, TensorRole.ATTENTION, bytes_each=4)) is FORMATS["fp32"]
    assert formats.of(Tensor("x", 2, 2, TensorRole.ATTENTION, bytes_each=2)) is FORMATS["bf16"]
    written = ModelPrecision.model_validate({"weights": "nvfp4", "exceptions": {"o_proj": "fp8"}})
    assert written == formats


def test_a_new_weight_format_resets_what_was_quantised_apart() -> None:
    own = ModelPrecision(weights="bf16", experts="nvfp4", lm_head="nvfp4", kv_cache="fp8", exceptions=(("a", "fp8"),))
    changed = PrecisionOverride(weights="fp8").applied_to(own)
    assert changed == ModelPrecision(weights="fp8", kv_cache="fp8")
    assert PrecisionOverride(kv_cache="bf16").applied_to(own) == own.model_copy(update={"kv_cache": "bf16"})
    both = PrecisionOverride(weights="fp8", experts="mxfp4").applied_to(own)
    assert (both.weights, both.experts) == ("fp8", "mxfp4")


@pytest.mark.parametrize(
    ("split", "heads", "ranks", "shape"),
    [
        (Split.REPLICATED, 1, 4, (12, 10)),
        (Split.ROWS, 1, 4, (3, 10)),
        (Split.ROWS, 1, 5, (3, 10)),
        (Split.COLS, 1, 4, (12, 3)),
        (Split.VOCAB, 1, 8, (2, 10)),
        (Split.KV_ROWS, 3, 1, (12, 10)),
        (Split.KV_ROWS, 3, 2, (8, 10)),
        (Split.KV_ROWS, 3, 3, (4, 10)),
        (Split.KV_ROWS, 3, 12, (4, 10)),
    ],
)
def test_local_shapes_are_those_of_the_fullest_rank(
    split: Split, heads: int, ranks: int, shape: tuple[int, int]
) -> None:
    assert Tensor("x", 12, 10, TensorRole.ATTENTION, split, heads=heads).local_shape(ranks) == shape


def _unbounded(schema: object, at: str = "") -> list[str]:
    """Where a JSON Schema lets a whole number be of any size."""
    if isinstance(schema, list):
        return [found for part in schema for found in _unbounded(part, at)]
    if not isinstance(schema, dict):
        return []
    own = [at] if schema.get("type") == "integer" and not {"maximum", "const", "enum"} & schema.keys() else []
    return own + [found for name, part in schema.items() for found in _unbounded(part, f"{at}.{name}")]


def test_no_number_of_a_model_is_beyond_64_bits() -> None:
    assert _unbounded(ModelSpec.model_json_schema()) == []


@pytest.mark.parametrize(
    ("block", "field", "value"),
    [
        ("dense", "intermediate", 10**30),
        ("dense", "intermediate", 2**63),
        ("moe", "intermediate", 10**7 + 1),
        ("moe", "shared_intermediate", 10**12),
        ("moe", "dense_intermediate", 2**62),
        ("moe", "latent_size", 10**9),
        ("moe", "hash_vocabulary", 10**15),
    ],
)
def test_a_width_beyond_any_model_is_refused_by_name(block: str, field: str, value: int) -> None:
    feed_forward = SMALL["blocks"][block]["ffn"] | {field: value}
    blocks = SMALL["blocks"] | {block: {"attention": ATTENTION, "ffn": feed_forward}}
    with pytest.raises(ValidationError) as refused:
        small(blocks=blocks)
    assert [(error["loc"][-1], error["type"]) for error in refused.value.errors()] == [(field, "less_than_equal")]


def test_widths_that_are_too_many_together_are_refused() -> None:
    wide = {"kind": "moe", "experts": 65536, "top_k": 2, "intermediate": 10**7}
    assert small(hidden_size=16, blocks=SMALL["blocks"] | {"moe": {"ffn": wide | {"experts": 1024}}}).layer_count == 5
    with pytest.raises(ValidationError, match="parameters in all are more than 1,000,000,000,000,000"):
        small(hidden_size=10**6, blocks=SMALL["blocks"] | {"moe": {"ffn": wide}})

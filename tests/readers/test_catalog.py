"""The catalog: found, loadable, sourced, and counted."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from optimizer.domain.feedforward import DenseFeedForward
from optimizer.domain.model import ModelSpec
from optimizer.errors import SpecError
from optimizer.figures.parameters import parameter_table
from optimizer.figures.weights import Division, block_weights
from optimizer.readers import catalog
from optimizer.readers.document import load_text
from optimizer.readers.huggingface import read_config_file
from optimizer.readers.read import Override, read_problem
from optimizer.readers.source import read_text

DATA = Path(__file__).resolve().parents[1] / "data"

# Catalog entries and the configurations they were read from.
READ_FROM = {
    "bloom-176b": "BLOOM-176B",
    "dbrx": "DBRX",
    "deepseek-r1": "DeepSeek-R1",
    "deepseek-v2-lite": "DeepSeek-V2-Lite",
    "deepseek-v3": "DeepSeek-V3",
    "deepseek-v4-flash": "DeepSeek-V4-Flash",
    "ernie-4.5-300b-a47b": "ERNIE-4.5-300B-A47B",
    "falcon-180b": "Falcon-180B",
    "gemma-3-27b": "gemma-3-27b-text",
    "gemma-4-26b-a4b": "gemma-4-26B-A4B",
    "glm-4.5": "GLM-4.5",
    "glm-4.6": "GLM-4.6",
    "glm-4.7": "GLM-4.7",
    "glm-5.1": "GLM-5.1",
    "glm-5.2": "GLM-5.2",
    "glm-5.3": "GLM-5.3",
    "gpt-3-175b": "GPT-3-175B",
    "gpt-oss-120b": "gpt-oss-120b",
    "grok-1": "Grok-1",
    "hy3": "Hy3",
    "granite-4.0-h-small": "Granite-4.0-H-Small",
    "granite-4.0-h-micro": "Granite-4.0-H-Micro",
    "granite-4.0-micro": "Granite-4.0-Micro",
    "hunyuan-large": "Hunyuan-Large",
    "kimi-k2": "Kimi-K2",
    "kimi-k2.6-nvfp4": "Kimi-K2.6",
    "kimi-k2.7-code-nvfp4": "Kimi-K2.7-Code",
    "llama-2-70b": "Llama-2-70B",
    "llama-3.1-70b": "Llama-3.1-70B",
    "llama-3.1-8b": "Llama-3.1-8B",
    "llama-4-maverick": "Llama-4-Maverick-17B-128E",
    "mimo-7b": "MiMo-7B",
    "minimax-m1": "MiniMax-M1",
    "minimax-m2": "MiniMax-M2",
    "minimax-m2.7": "MiniMax-M2.7",
    "mixtral-8x7b": "Mixtral-8x7B",
    "nemotron-3-nano-30b-a3b": "Nemotron-3-Nano-30B-A3B",
    "nemotron-3-ultra-550b-a55b": "Nemotron-3-Ultra-550B-A55B",
    "nemotron-3.5-lightning-30b-a3b": "Nemotron-3.5-Lightning-30B-A3B",
    "olmoe-1b-7b": "OLMoE-1B-7B",
    "qwen2.5-72b": "Qwen2.5-72B",
    "qwen3-0.6b": "Qwen3-0.6B",
    "qwen3-235b-a22b": "Qwen3-235B-A22B",
    "qwen3-32b": "Qwen3-32B",
    "qwen3-8b": "Qwen3-8B",
    "qwen3-next-80b-a3b": "Qwen3-Next-80B-A3B",
    "qwen3.5-35b-a3b": "Qwen3.5-35B-A3B",
    "qwen3.5-397b-a17b": "Qwen3.5-397B-A17B",
    "qwen3.6-27b-nvfp4": "Qwen3.6-27B",
    "qwen3.6-35b-a3b-nvfp4": "Qwen3.6-35B-A3B",
}

# Totals of entries without such a configuration: published exactly, or as the checkpoint's index adds up to.
EXACT = {
    "codellama-7b": 6_738_546_688,
    "gemma-2-27b": 27_227_128_320,
    "gemma-2-9b": 9_241_705_984,
    "gemma-7b": 8_537_680_896,
    "llama-3-8b": 8_030_261_248,
    "llama-3.1-405b": 405_853_388_800,
    "mistral-7b": 7_241_732_096,
    "mixtral-8x22b": 140_620_634_112,
    "phi-2": 2_779_683_840,
    "gpt-oss-20b": 20_914_757_184,
    # Counted over the parameters of the model's own class in transformers 5.24.
    "hy3": 295_033_528_320,
    "granite-4.0-h-small": 32_207_337_984,
    "granite-4.0-h-micro": 3_191_396_096,
    "granite-4.0-micro": 3_402_836_480,
    "qwen3-30b-a3b": 30_532_122_624,
    "deepseek-v3.1": 671_026_404_352,
    # The Hub shows 49,122,681,728: the correction biases of 26 layers are stored with it.
    "kimi-linear-48b-a3b": 49_122_681_728 - 26 * 256,
}

# What the safetensors of whole checkpoints hold, vision towers included, as their index or the Hub says.
CHECKPOINTS = {
    "qwen3-4b": 4_022_468_096,
    "qwen3-14b": 14_768_307_200,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "phi-4": 14_659_507_200,
    "phi-4-mini": 3_836_021_760,
    "seed-oss-36b": 36_151_104_512,
    "smollm3-3b": 3_075_098_624,
    "mistral-nemo-12b": 12_247_782_400,
    "olmo-2-32b": 32_234_279_936,
    "granite-3.3-8b": 8_170_864_640,
    "gemma-3-1b": 999_885_952,
    "gemma-3-4b": 4_300_079_472,
    "gemma-3-12b": 12_187_325_040,
    "qwen2.5-vl-3b": 3_754_622_976,
    "qwen2.5-vl-7b": 8_292_166_656,
    "qwen2.5-vl-32b": 33_452_718_336,
    "qwen3-vl-2b": 2_127_532_032,
    "qwen3-vl-4b": 4_437_815_808,
    "qwen3-vl-8b": 8_767_123_696,
    "qwen3-vl-32b": 33_357_390_064,
    "qwen3-vl-30b-a3b": 31_070_754_032,
    "qwen3-vl-235b-a22b": 235_670_022_896,
    "gemma-3-27b": 27_432_406_640,
    "mistral-small-3.1-24b": 24_011_361_280,
}


@pytest.mark.parametrize(("name", "elements"), CHECKPOINTS.items())
def test_checkpoints_hold_what_their_index_says(name: str, elements: int) -> None:
    assert parameter_table(catalog.load_model(name)).checkpoint == elements


@pytest.mark.parametrize("name", catalog.names("models"))
def test_every_model_loads_says_where_it_comes_from_and_fits_a_device_figure(name: str) -> None:
    spec = catalog.load_model(name)
    assert spec.name == name
    assert len(spec.source) > 20
    table = parameter_table(spec)
    assert 0 < table.active_without_embedding <= table.active_with_embedding <= table.total
    held = [
        block_weights(spec, b, spec.precision, Division(1, local_experts=1)).total_bytes for b in set(spec.layer_names)
    ]
    assert all(size > 0 for size in held)


@pytest.mark.parametrize(("name", "config"), READ_FROM.items())
def test_entries_say_what_their_configuration_says(name: str, config: str) -> None:
    ours, read = catalog.load_model(name), read_config_file(DATA / "configs" / f"{config}.json")
    differs = {"name", "source", "published", "assumed"}
    if read.vision is None:
        # The configuration is of the language model alone.
        differs.add("vision")
    if not read.architecture or name in {"gemma-3-27b", "gpt-3-175b"}:
        # A class's defaults name none; the text model alone has another; nobody published a checkpoint.
        differs.add("architecture")
    if name == "glm-5.3":
        # Shipped without the quantisation section that the repository has.
        differs.add("precision")
        assert ours.precision == catalog.load_model("glm-5.2-fp8").precision
    if name == "hy3":
        # What is published states more than the class's default.
        differs.add("max_context")
    assert ours.model_dump(exclude=differs) == read.model_dump(exclude=differs)


@pytest.mark.parametrize(("name", "total"), EXACT.items())
def test_totals_without_a_configuration(name: str, total: int) -> None:
    assert parameter_table(catalog.load_model(name)).total == total


@pytest.mark.parametrize("name", catalog.names("models"))
def test_published_totals_agree_or_say_why(name: str) -> None:
    spec = catalog.load_model(name)
    if spec.published is None or spec.published.total is None:
        assert name.startswith("seed-") or name == "minimax-m3"
        return
    table, published = parameter_table(spec), spec.published
    near = min(abs(count / published.total - 1) for count in (table.total, table.checkpoint))
    assert near < 0.012 or published.note


@pytest.mark.parametrize("name", catalog.names("models"))
def test_published_active_counts_agree_with_a_definition_or_are_known_to_differ(name: str) -> None:
    spec = catalog.load_model(name)
    if spec.published is None or spec.published.active is None:
        return
    table, active = parameter_table(spec), spec.published.active
    near = min(abs(count / active - 1) for count in (table.active_with_embedding, table.active_without_embedding))
    # GLM-4.5's 32B, MiniMax-M2's 10B and Qwen3-Next's 3B match neither definition.
    known = name.startswith(("glm-4", "minimax-m", "qwen3-next", "nemotron-3.5"))
    assert near < 0.03 or known or spec.published.note


def test_the_catalog_is_large_enough() -> None:
    assert len(catalog.names("models")) >= 45
    assert {"seed-a-16l-64e", "seed-b-16l-16e", "seed-c-16l-64e"} <= set(catalog.names("models"))
    assert catalog.KINDS == ("models", "hardware", "scenarios", "clusters")


@pytest.mark.parametrize(
    ("name", "experts", "expert_parameters", "total_billions"),
    [
        # 2 x 1024 x 2048 an expert: the 4.4B that the plan's own script counts.
        ("seed-a-16l-64e", 64, 2 * 1024 * 2048, 4.43),
        ("seed-c-16l-64e", 64, 2 * 1024 * 2048, 4.43),
        # 3 x 512 x 1024 an expert gives 0.4B, not 10B.
        ("seed-b-16l-16e", 16, 3 * 512 * 1024, 0.45),
    ],
)
def test_plans_under_review(name: str, experts: int, expert_parameters: int, total_billions: float) -> None:
    spec = catalog.load_model(name)
    table = parameter_table(spec)
    assert spec.layer_count == 16
    assert table.components.experts == 16 * experts * expert_parameters
    assert table.total / 1e9 == pytest.approx(total_billions, abs=0.01)
    assert {"vocab_size", "heads"} <= set(spec.assumed)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError) as caught:
        catalog.load_model("deepseek-v33")
    assert "'deepseek-v33' is no model of the catalog and no file: `shardproof catalog models` lists" in str(
        caught.value
    )
    assert "(did you mean 'deepseek-v3'?)" in str(caught.value)
    with pytest.raises(SpecError) as caught:
        catalog.path("models", "DeepSeek-V3")
    assert "(did you mean 'deepseek-v3'?)" in str(caught.value)
    with pytest.raises(SpecError, match="no such file"):
        catalog.load_model("models/none.yaml")


def test_models_come_from_files_of_either_form(tmp_path: Path) -> None:
    shutil.copy(catalog.path("models", "mixtral-8x7b"), tmp_path / "mine.yaml")
    (tmp_path / "hub").mkdir()
    shutil.copy(DATA / "configs" / "Mixtral-8x7B.json", tmp_path / "hub" / "config.json")
    ours = catalog.load_model("mine.yaml", beside=tmp_path)
    theirs = catalog.load_model("hub/config.json", beside=tmp_path)
    assert theirs.name == "hub"
    assert ours.blocks == theirs.blocks
    assert ours.layers == theirs.layers
    assert catalog.load_model(tmp_path / "mine.yaml") == ours
    (tmp_path / "dump.json").write_text(json.dumps(ours.model_dump(mode="json")))
    assert catalog.load_model(tmp_path / "dump.json") == ours


def test_documents_refer_to_models_or_describe_them() -> None:
    document = load_text("model: mixtral-8x7b\nother:\n  model: mixtral-8x7\n", "p.yaml")
    assert catalog.model_in(document, ("model",)).name == "mixtral-8x7b"
    with pytest.raises(SpecError) as caught:
        catalog.model_in(document, ("other", "model"))
    assert str(caught.value).startswith("p.yaml:3:10: other.model: 'mixtral-8x7' is no model of the catalog")
    text = catalog.path("models", "mixtral-8x7b").read_text().replace("\n", "\n  ")
    inline = load_text(f"model:\n  {text}", "p.yaml")
    assert catalog.model_in(inline, ("model",)) == catalog.load_model("mixtral-8x7b")
    wrong = load_text(f"model:\n  {text}".replace("top_k: 2", "top_k: 9"), "p.yaml")
    with pytest.raises(SpecError, match="top_k 9 is more than the 8 experts"):
        catalog.model_in(wrong, ("model",))


def test_hardware_is_found_too() -> None:
    name = catalog.names("hardware")[0]
    assert catalog.load_hardware(name).name == name
    with pytest.raises(SpecError, match="is no hardware of the catalog"):
        catalog.load_hardware("h1000")


@pytest.mark.parametrize(("figure", "said"), [("price", "a price of your own: "), ("power", "needs one of your own: ")])
def test_prices_and_powers_have_a_source_and_what_has_none_is_named(figure: str, said: str) -> None:
    found = {name: catalog.load_hardware(name) for name in catalog.names("hardware")}
    without = {name for name, own in found.items() if getattr(own.device, figure) is None}
    for name in found.keys() - without:
        told = [found[name].source, *found[name].assumed]
        assert any(f"{figure}: " in text for text in told), name
    boundaries = (Path(__file__).parents[2] / "docs" / "boundaries.md").read_text()
    named = boundaries.split(said)[1].split(".\n")[0]
    assert set(named.replace("\n", " ").replace(",", " ").split()) == without


def test_a_wheel_keeps_the_catalog_inside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "optimizer" / "spec"
    package.mkdir(parents=True)
    (tmp_path / "problems" / "models").mkdir(parents=True)
    monkeypatch.setattr(catalog, "__file__", str(package / "catalog.py"))
    catalog.root.cache_clear()
    try:
        assert catalog.root() == tmp_path / "problems"
        (tmp_path / "optimizer" / "problems" / "models").mkdir(parents=True)
        catalog.root.cache_clear()
        assert catalog.root() == tmp_path / "optimizer" / "problems"
    finally:
        catalog.root.cache_clear()


def test_models_survive_a_round_trip() -> None:
    for name in ("deepseek-v4-flash", "qwen3.6-27b-nvfp4", "nemotron-3-ultra-550b-a55b"):
        spec = catalog.load_model(name)
        assert ModelSpec.model_validate(json.loads(spec.model_dump_json())) == spec


@pytest.mark.parametrize(
    ("reference", "entry"),
    [
        ("Qwen/Qwen3-32B", "qwen3-32b"),
        ("Qwen/Qwen3-235B-A22B-FP8", "qwen3-235b-a22b-fp8"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b"),
        ("google/gemma-3-27b-it", "gemma-3-27b"),
    ],
)
def test_a_name_of_the_hub_is_a_catalog_entry(reference: str, entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    assert catalog.load_model(reference) == catalog.load_model(entry)


CONTEXTS = {
    "Qwen/Qwen2.5-7B": 131_072,
    "Qwen/Qwen2.5-7B-Instruct": 32_768,
    "RedHatAI/Qwen2.5-72B-Instruct-FP8-dynamic": 32_768,
    "Qwen/Qwen2.5-32B-Instruct-GPTQ-Int4": 32_768,
    "Qwen/Qwen2.5-14B-Instruct-1M": 1_010_000,
    "Qwen/Qwen2.5-Coder-32B-Instruct-AWQ": 32_768,
    "/models/Qwen3-30B-A3B-Instruct-2507-FP8": 262_144,
    "Qwen/Qwen3-4B-Thinking-2507": 262_144,
    "nvidia/Qwen3-235B-A22B-Instruct-2507-NVFP4": 262_144,
    "Qwen/Qwen3-Coder-30B-A3B-Instruct": 262_144,
    "Qwen/Qwen3-30B-A3B-FP8": 40_960,
    "microsoft/Phi-4-reasoning": 32_768,
    "moonshotai/Kimi-K2-Thinking": 262_144,
    "moonshotai/Kimi-K2.6": 262_144,
    "MiniMaxAI/MiniMax-M2.1": 196_608,
    "deepseek-ai/DeepSeek-V4-Flash-Base": None,
    "nvidia/MiniMax-M2.7-NVFP4": 196_608,
    "MiniMaxAI/MiniMax-M2.7": 204_800,
    "nvidia/DeepSeek-R1-0528-FP4-V2": 163_840,
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": 10_485_760,
    # of the same shapes, and nothing says of what length: the base, later releases, what somebody tuned
    "meta-llama/Llama-4-Scout-17B-16E": None,
    "Qwen/Qwen3-30B-A3B-Instruct-2512": None,
    "Qwen/QwQ-32B": None,
    "deepseek-ai/DeepSeek-R1-1231": None,
    "someone/Qwen3-8B-Instruct": None,
}


@pytest.mark.parametrize(("name", "context"), CONTEXTS.items())
def test_a_checkpoint_has_its_own_context(name: str, context: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    known = catalog.checkpoint(name)
    assert known is not None
    assert known.model.max_context == known.context == context
    same = context == known.shapes.max_context and not known.precision
    assert known.model.name == (known.shapes.name if same else name.removeprefix("/models/"))
    if known.weights is None and not name.startswith("/"):
        assert catalog.load_model(name) == known.model


@pytest.mark.parametrize(
    ("name", "experts", "attention", "ending"),
    [
        ("moonshotai/Kimi-K2-Thinking", "int4_g32", "bf16", None),
        ("/models/Kimi-K2-Thinking", "int4_g32", "bf16", None),
        ("nvidia/Kimi-K2-Thinking-NVFP4", "int4_g32", "bf16", "nvfp4"),
        ("nvidia/Gemma-4-31B-IT-NVFP4", "bf16", "bf16", None),
        ("someone/Gemma-4-31B-IT-NVFP4", "bf16", "bf16", "nvfp4"),
        ("nvidia/GLM-5.1-NVFP4", "nvfp4", "bf16", None),
        ("RedHatAI/GLM-5.1-NVFP4", "bf16", "bf16", "nvfp4"),
        ("nvidia/DeepSeek-V4-Pro-NVFP4", "nvfp4", "fp8_block", None),
        ("nvidia/Qwen3-235B-A22B-NVFP4", "nvfp4", "nvfp4", None),
        ("nvidia/Llama-3.1-70B-Instruct-FP8", "fp8", "fp8", None),
        ("moonshotai/Kimi-K2-Instruct", "fp8_block", "fp8_block", None),
        ("moonshotai/Kimi-K2.7-Code", "int4_g32", "bf16", None),
        ("deepseek-ai/DeepSeek-V4-Pro", "mxfp4", "fp8_block", None),
        ("deepseek-ai/DeepSeek-V4-Pro-Base", "fp8_block", "fp8_block", None),
    ],
)
def test_a_checkpoint_has_the_formats_it_was_published_in(
    name: str, experts: str, attention: str, ending: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    known = catalog.checkpoint(name)
    assert known is not None
    assert known.weights == ending
    for model in (known.shapes, known.model):
        own = model.precision
        assert (own.experts or own.weights, own.attention or own.weights) == (experts, attention)


@pytest.mark.parametrize(
    ("name", "width", "weights"),
    [
        # 29,568 is no multiple of two groups of 128: Qwen padded its own before it quantised them
        ("Qwen/Qwen2.5-72B-Instruct-AWQ", 29_696, "int4"),
        ("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int8", 29_696, "int8_g128"),
        ("/models/Qwen2.5-72B-Instruct-AWQ", 29_696, "int4"),
        ("someone/Qwen2.5-72B-Instruct-AWQ", 29_568, "bf16"),
        ("Qwen/Qwen2.5-72B-Instruct", 29_568, "bf16"),
    ],
)
def test_a_checkpoint_is_as_wide_as_its_maker_padded_it(
    name: str, width: int, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    known = catalog.checkpoint(name)
    assert known is not None
    for model in (known.shapes, known.model):
        ffn = model.blocks["full_attention"].ffn
        assert isinstance(ffn, DenseFeedForward)
        assert (ffn.intermediate, model.precision.weights) == (width, weights)


def test_every_context_is_of_a_checkpoint_that_is_known_and_has_its_source() -> None:
    with (catalog.root() / "models" / "checkpoints.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({row["checkpoint"].casefold() for row in rows}) == len(rows)
    for row in rows:
        known = catalog.checkpoint(row["checkpoint"])
        assert known is not None
        assert known.context == (int(row["context"]) if row["context"] else None)
        assert row["context"] or row["precision"]
        assert known.file.stem != row["checkpoint"].rpartition("/")[2].casefold(), "an entry has its own context"
        assert len(row["source"]) > 10


def test_a_name_of_the_hub_is_what_the_local_cache_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SpecError, match=r"nothing is fetched: `hf download someone/Own-7B config.json"):
        catalog.load_model("someone/Own-7B")
    for revision, source in (("a1", "Qwen3-0.6B"), ("b2", "Qwen3-8B")):
        folder = tmp_path / "models--someone--Own-7B" / "snapshots" / revision
        folder.mkdir(parents=True)
        (folder / "config.json").write_text((DATA / "configs" / f"{source}.json").read_text())
    refs = tmp_path / "models--someone--Own-7B" / "refs"
    refs.mkdir()
    (refs / "main").write_text("b2")
    assert parameter_table(catalog.load_model("someone/Own-7B")).total == 8_190_735_360
    # A folder that holds a config.json will do as well.
    assert parameter_table(catalog.load_model(str(refs.parent / "snapshots" / "a1"))).total == 596_049_920
    # FP8 is not BF16: no other checkpoint stands in for one that is not here.
    with pytest.raises(SpecError, match="nothing is fetched"):
        catalog.load_model("Qwen/Qwen3-32B-AWQ")


@pytest.mark.parametrize(
    ("reference", "has"),
    [
        ("kimi-k3", "attention residuals"),
        ("moonshotai/Kimi-K3", "attention residuals"),
        ("deepseek-ai/DeepSeek-V4.1-Flash", "encoder and decoder"),
        ("glm-5.3-flash", "hyper-connections"),
        ("stepfun-ai/Step-3.7-Flash-FP8", "a gate for each head"),
    ],
)
def test_a_published_model_that_no_layer_describes_is_named_with_what_to_do(
    reference: str, has: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    with pytest.raises(SpecError, match=f"has .*{has}.*: no kind of layer here .*`shardproof schema model`") as refused:
        catalog.load_model(reference)
    # neither a neighbour of another shape nor a download that would not be read
    assert "did you mean" not in str(refused.value)
    assert "hf download" not in str(refused.value)


@pytest.mark.parametrize("kind", catalog.KINDS)
@pytest.mark.parametrize("name", ["x" * 5000, "x/" + "y" * 5000, "x\0y", "./" + "x" * 300])
def test_a_name_that_no_file_can_have_is_refused(kind: catalog.Shelf, name: str) -> None:
    with pytest.raises(SpecError):
        read_text(catalog.find(kind, name))


@pytest.mark.parametrize(
    ("name", "window", "parameters"),
    [
        ("mistralai/Mistral-7B-v0.1", 4096, 7_241_732_096), ("mistralai/Mistral-7B-Instruct-v0.1", 4096, 7_241_732_096),
        ("mistralai/Mistral-7B-Instruct-v0.2", None, 7_241_732_096), ("mistralai/Mistral-7B-v0.3", None, 7_248_023_552),
        ("mistralai/Mistral-7B-Instruct-v0.3", None, 7_248_023_552),
    ],
)  # fmt: skip
def test_a_tuned_release_has_the_shapes_of_its_own_release(name: str, window: int | None, parameters: int) -> None:
    """The second release dropped the sliding window, and the third has a larger vocabulary."""
    model = catalog.load_model(name)
    assert {getattr(block.attention, "window", None) for block in model.blocks.values()} == {window}
    assert parameter_table(model).total == parameters


@pytest.mark.parametrize(
    ("name", "meant"), [("H100-SXM-8", "h100-sxm-8"), ("MI300X-8", "mi300x-8"), ("h100-sxm", "h100-sxm-8")]
)
def test_a_name_in_another_case_is_what_is_meant(name: str, meant: str) -> None:
    with pytest.raises(SpecError) as caught:
        catalog.find("hardware", name)
    assert caught.value.faults[0].suggestion == meant


def test_a_name_that_nothing_has_is_said_with_what_is_missing() -> None:
    options = [Override("--model", ("model",), "nope"), Override("--hardware", ("hardware",), "h100-sxm-8")]
    with pytest.raises(SpecError) as caught:
        read_problem(None, options)
    assert [fault.field for fault in caught.value.faults] == ["--devices", "--model"]

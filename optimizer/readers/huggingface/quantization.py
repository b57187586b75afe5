"""From `quantization_config` to the format of each part of a model.

Every matrix of the model is looked up by the names that checkpoints give its module. What is quantised in some layers
and not in others has no format by role and is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from optimizer.domain.model import ModelSpec
from optimizer.domain.precision import ModelPrecision
from optimizer.domain.tensor import Tensor, TensorRole
from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.modules import Patterns, module_names
from optimizer.readers.messages import shown

METHODS = ("fp8", "mxfp4", "modelopt", "compressed-tensors", "awq", "gptq", "auto-round", "bitsandbytes")

_UNREAD: Final = """
    producer activation_scheme fmt scale_fmt version format quantization_status global_compression_ratio actorder
    desc_act damp_percent sym true_sequential static_groups zero_point backend do_fuse checkpoint_format meta
    is_marlin_format input_activations output_activations sparsity_config transform_config quant_type dtype
    modules_in_block_to_quantize batch_size block_name_to_quantize cache_block_outputs dataset max_input_length
    model_seqlen module_name_preceding_first_block pad_token_id tokenizer use_cuda_fp16 use_exllama exllama_config
    disable_exllama inference_only use_exllama_v2 use_marlin model_file_base_name model_name_or_path pack_dtype
    pack_impl hyb_act act_group_aware adapter damp_auto_increment mse rotation v2 uri lora offload_to_disk
    autoround_version packing_format iters lr minmax_lr nsamples seqlen low_gpu_mem_usage low_cpu_mem_usage amp
    enable_quanted_input enable_minmax_tuning enable_norm_bias_tuning gradient_accumulate_steps scale_dtype
    to_quant_block_names quant_block_list supported_types act_bits act_data_type act_dynamic act_group_size act_sym
    super_bits super_group_size not_use_best_mse dynamic_max_gap device_map quant_nontext_module layer_config
    enable_quanted_input_layerwise nblocks sampler enable_deterministic_algorithms
    bnb_4bit_compute_dtype bnb_4bit_quant_storage llm_int8_enable_fp32_cpu_offload llm_int8_has_fp16_weight
    llm_int8_threshold _load_in_4bit _load_in_8bit
"""
"""Keys of a quantisation section that say how it was made or run, not what is stored."""

_QUANTISED = (
    TensorRole.ATTENTION,
    TensorRole.INDEXER,
    TensorRole.DENSE_FFN,
    TensorRole.EXPERTS,
    TensorRole.SHARED_EXPERTS,
    TensorRole.OTHER,
)

_ALGORITHMS = {"FP8": "fp8", "NVFP4": "nvfp4", "W4A16_NVFP4": "nvfp4", "MXFP8": "mxfp8", "MXFP4": "mxfp4"}

_COMPRESSED = {
    ("float", 8, "channel", None): "fp8_channel",
    ("float", 8, "tensor", None): "fp8",
    ("float", 8, "block", None): "fp8_block",
    ("int", 8, "channel", None): "int8",
    ("int", 4, "group", 32): "int4_g32",
    ("int", 4, "group", 128): "int4",
    ("float", 4, "group", 32): "mxfp4",
    ("float", 4, "group", 16): "nvfp4",
    ("float", 4, "tensor_group", 16): "nvfp4",
}

_GROUPED = {
    (4, 32): "int4_g32",
    (4, 64): "int4_g64",
    (4, 128): "int4",
    (4, -1): "int4_channel",
    (8, 32): "int8_g32",
    (8, 128): "int8_g128",
    (8, -1): "int8_channel",
}
"""Formats of weights alone, by bits and group; -1: one group a row."""
_UNQUANTISED_BITS = 16

FormatOf = Callable[[Tensor, tuple[str, ...]], str | None]
"""Format of a tensor whose module has one of these full names; None: 16 bit."""


def precision_of(
    config: Config, model: ModelSpec, *, style: str, base: str, beside: Config | None = None
) -> ModelPrecision:
    """Formats that a checkpoint stores `model` in.

    Parameters
    ----------
    config
        The configuration that may hold `quantization_config` (and DeepSeek-V4's `expert_dtype`).
    style
        Whose module names the checkpoint uses.
    base
        Format of what is not quantised (`bf16`, `fp16`, `fp32`).
    beside
        A quantisation section found elsewhere (`hf_quant_config.json`); the configuration's own otherwise.
    """
    section = config.section("quantization_config") or config.section("compression_config") or beside
    expert_dtype = config.text("expert_dtype")
    unquantised = {"weights": base, "router": base, "embedding": base, "lm_head": base}
    if section is None:
        return ModelPrecision.model_validate(unquantised)
    section.skip(*_UNREAD.split())
    format_of = _reader(section)(section)
    expert_format = section.text("expert_dtype") or expert_dtype
    if expert_format == "fp4" and not section.has("moe_quant_algo"):
        format_of = _with_experts(format_of, "mxfp4")
    elif expert_format not in (None, "fp4", "fp8"):
        config.refuse("expert_dtype", f"{shown(expert_format)} is not understood; understood: fp4, fp8")
    section.skip("moe_quant_algo")
    kv_cache = _kv_cache(section)
    section.finish("quantised")
    formats = _by_role(section, model, style, format_of, base)
    if kv_cache is not None:
        formats["kv_cache"] = kv_cache
    return ModelPrecision.model_validate(unquantised | formats)


def _reader(section: Config) -> Callable[[Config], FormatOf]:
    method = section.text("quant_method") or ("modelopt" if section.has("quant_algo") else None)
    if method is None and (section.has("load_in_4bit") or section.has("load_in_8bit")):
        method = "bitsandbytes"
    if method == "fp8" and section.has("quantized_layers"):
        return _fp8_with_layers
    readers = {
        "fp8": _fp8,
        "mxfp4": _mxfp4,
        "modelopt": _modelopt,
        "compressed-tensors": _compressed,
        "awq": _grouped,
        "gptq": _grouped,
        "gptqmodel": _grouped,
        "auto-round": _auto_round,
        "auto_round": _auto_round,
        "intel/auto-round": _auto_round,
        "bitsandbytes": _bitsandbytes,
    }
    if method not in readers:
        section.refuse("quant_method", f"{shown(method)} is not understood; understood: {', '.join(METHODS)}")
    return readers[method]


def _patterns(section: Config, *names: str) -> Patterns:
    patterns: list[str] = []
    for name in names:
        for entry in section.items(name) or ():
            if not isinstance(entry, str):
                section.refuse(name, f"text is wanted in this list, not {shown(entry)}")
            patterns.append(entry)
    return Patterns(patterns, source=section.source)


def _all_but(unquantised: Patterns, wanted: str) -> FormatOf:
    return lambda tensor, names: None if tensor.role is TensorRole.LM_HEAD or unquantised.match(*names) else wanted


def _with_experts(inner: FormatOf, wanted: str) -> FormatOf:
    return lambda tensor, names: wanted if tensor.role is TensorRole.EXPERTS else inner(tensor, names)


def _fp8(section: Config) -> FormatOf:
    block = section.items("weight_block_size")
    if block not in (None, [128, 128]):
        section.refuse("weight_block_size", f"{shown(block)} is not understood; understood: [128, 128] or none")
    unquantised = _patterns(section, "modules_to_not_convert", "ignored_layers")
    return _all_but(unquantised, "fp8" if block is None else "fp8_block")


def _fp8_with_layers(section: Config) -> FormatOf:
    """FP8 as the file was published, with some modules requantised (`quantized_layers`)."""
    section.skip("ignore", "quant_algo", "config_groups", "group_size")
    dense, layers = _fp8(section), _layers(section)
    return lambda tensor, names: layers(tensor, names) or dense(tensor, names)


def _mxfp4(section: Config) -> FormatOf:
    section.skip("modules_to_not_convert")
    return lambda tensor, _: "mxfp4" if tensor.role is TensorRole.EXPERTS else None


def _modelopt(section: Config) -> FormatOf:
    algorithm = section.text("quant_algo") or "MIXED_PRECISION"
    unquantised = _patterns(section, "ignore", "exclude_modules")
    section.skip("config_groups", "group_size", "block_size")
    if algorithm == "MIXED_PRECISION":
        layers = _layers(section)
        return lambda tensor, names: None if unquantised.match(*names) else layers(tensor, names)
    if algorithm not in _ALGORITHMS:
        known = ", ".join((*_ALGORITHMS, "MIXED_PRECISION"))
        section.refuse("quant_algo", f"{shown(algorithm)} is not understood; understood: {known}")
    return _all_but(unquantised, _ALGORITHMS[algorithm])


def _layers(section: Config) -> FormatOf:
    """Formats from modelopt's `quantized_layers`: an entry a module, the experts of a layer under one name or each."""
    listed = section.section("quantized_layers")
    if listed is None:
        section.refuse("quantized_layers", "is required for mixed precision but missing")
    formats: dict[str, str] = {}
    for name in listed.data:
        entry = listed.section(name)
        algorithm = entry.text("quant_algo") if entry is not None else None
        if algorithm not in _ALGORITHMS:
            listed.refuse(name, f"{shown(algorithm)} is not understood; understood: {', '.join(_ALGORITHMS)}")
        formats[name] = _ALGORITHMS[algorithm]

    def format_of(_: Tensor, names: tuple[str, ...]) -> str | None:
        listed_as = (*names, *(name.split(".experts.", maxsplit=1)[0] + ".experts" for name in names))
        return next((formats[name] for name in listed_as if name in formats), None)

    return format_of


def _compressed(section: Config) -> FormatOf:
    unquantised = _patterns(section, "ignore")
    groups = section.section("config_groups")
    if groups is None or not groups.data:
        section.refuse("config_groups", "is required but missing")
    formats: list[tuple[Patterns | None, str]] = []
    for name in groups.data:
        group = groups.section(name)
        weights = group.section("weights") if group is not None else None
        if group is None or weights is None:
            groups.refuse(name, "has no weights")
        targets = [target for target in group.items("targets") or ["Linear"] if isinstance(target, str)]
        everything = "Linear" in targets
        wanted = _weights_format(weights)
        if wanted == "int8" and group.section("input_activations") is None:
            wanted = "int8_channel"
        formats.append((None if everything else Patterns(targets, source=section.source), wanted))

    def format_of(tensor: Tensor, names: tuple[str, ...]) -> str | None:
        if unquantised.match(*names):
            return None
        for targets, wanted in formats:
            if targets is not None and targets.match(*names):
                return wanted
        everywhere = [wanted for targets, wanted in formats if targets is None]
        return everywhere[0] if everywhere and tensor.role is not TensorRole.LM_HEAD else None

    return format_of


def _weights_format(weights: Config) -> str:
    bits, kind = weights.integer("num_bits"), weights.text("type") or "int"
    group = weights.optional("group_size")
    strategy = weights.text("strategy") or ("group" if group else "tensor")
    key = (kind, bits, strategy, group if "group" in strategy else None)
    if key not in _COMPRESSED or weights.items("block_structure") not in (None, [128, 128]):
        known = "; ".join(f"{b}-bit {k} by {s}{f' of {g}' if g else ''}" for k, b, s, g in _COMPRESSED)
        weights.refuse("num_bits", f"{bits}-bit {kind} by {strategy} of {group} is not understood; understood: {known}")
    return _COMPRESSED[key]


def _group_format(section: Config, bits: int | None = None, group: int | None = None) -> str:
    """Format of a section's bits and group, those of the whole file where it does not say."""
    bits = section.integer("bits", "w_bit", default=bits)
    group = section.integer("group_size", "q_group_size", default=group, least=-1)
    if (bits, group) not in _GROUPED:
        known = "; ".join(f"{b} bits in groups of {g}" if g > 0 else f"{b} bits a row" for b, g in _GROUPED)
        section.refuse("bits", f"{bits} bits in groups of {group} are not understood; understood: {known}")
    return _GROUPED[bits, group]


def _grouped(section: Config) -> FormatOf:
    """AWQ, AutoGPTQ, GPTQModel: one format, modules kept, and GPTQModel's `dynamic` rules by regular expression."""
    wanted = _group_format(section)
    if section.flag("lm_head"):
        section.refuse("lm_head", "a quantised lm_head is not understood here")
    model_format = _all_but(_patterns(section, "modules_to_not_convert"), wanted)
    rules = section.section("dynamic")
    if rules is None:
        return model_format
    bits, group = section.integer("bits", "w_bit"), section.integer("group_size", "q_group_size", least=-1)
    listed: list[tuple[Patterns, str | None]] = []
    for rule in rules.data:
        group_section = rules.section(rule)
        pattern = Patterns([f"re:{rule.removeprefix('-:').removeprefix('+:')}"], source=section.source)
        if group_section is not None and group_section.data and not rule.startswith("-:"):
            group_section.skip(*_UNREAD.split())
            listed.append((pattern, _group_format(group_section, bits, group)))
            group_section.finish("quantised")
        elif rule.startswith("-:"):
            listed.append((pattern, None))
    return _first_of(listed, model_format)


def _first_of(listed: Sequence[tuple[Patterns, str | None]], otherwise: FormatOf) -> FormatOf:
    def format_of(tensor: Tensor, names: tuple[str, ...]) -> str | None:
        for pattern, wanted in listed:
            if pattern.match(*names):
                return wanted
        return otherwise(tensor, names)

    return format_of


def _auto_round(section: Config) -> FormatOf:
    """AutoRound: one format, and `extra_config` with an entry for each module, or pattern, that differs."""
    section.only("data_type", "int", why="other number formats of AutoRound are not described")
    wanted = _group_format(section)
    bits, group = section.integer("bits"), section.integer("group_size", least=-1)
    model_format = _all_but(_patterns(section, "modules_to_not_convert"), wanted)
    extra = section.section("extra_config")
    modules: dict[str | None, list[str]] = {}
    for name in extra.data if extra is not None else ():
        layer = extra.section(name) if extra is not None else None
        if layer is None:
            continue
        layer.skip(*_UNREAD.split())
        layer.skip("data_type", "sym")
        unquantised = layer.integer("bits", default=bits) >= _UNQUANTISED_BITS
        layer.skip("group_size")
        plain = all(part.isidentifier() or part.isdigit() for part in name.split("."))
        modules.setdefault(None if unquantised else _group_format(layer, bits, group), []).append(
            name if plain else f"re:{name}"
        )
    listed = [(Patterns(names, source=section.source), form) for form, names in modules.items()]
    return _first_of(listed, model_format)


def _bitsandbytes(section: Config) -> FormatOf:
    """Read bitsandbytes: NF4 or FP4 in blocks of 64, whose maximum has 32 bits or, quantised once more, 8; or INT8."""
    four, eight = section.flag("load_in_4bit"), section.flag("load_in_8bit")
    if four == eight:
        section.refuse("load_in_4bit", "one of load_in_4bit and load_in_8bit must be true")
    section.only("bnb_4bit_quant_type", "nf4", "fp4", why="the library has these two")
    double = section.flag("bnb_4bit_use_double_quant")
    unquantised = _patterns(section, "llm_int8_skip_modules")
    return _all_but(unquantised, "int8_channel" if eight else "nf4_double" if double else "nf4")


def _kv_cache(section: Config) -> str | None:
    if isinstance(section.data.get("kv_cache_scheme"), str):
        algorithm = section.text("kv_cache_scheme")
    else:
        algorithm = section.text("kv_cache_quant_algo")
        scheme = section.section("kv_cache_scheme")
        if scheme is not None:
            algorithm = "FP8" if (scheme.integer("num_bits"), scheme.text("type")) == (8, "float") else "other"
    if algorithm not in (None, "FP8"):
        section.refuse("kv_cache_scheme", f"{shown(algorithm)} is not understood; understood: FP8 (8-bit float)")
    return None if algorithm is None else "fp8"


Votes = dict[tuple[TensorRole, str], Counter[str]]


def _by_role(section: Config, model: ModelSpec, style: str, format_of: FormatOf, base: str) -> dict[str, Any]:
    """Format of each role, with the tensors that differ from their role as exceptions."""
    votes: Votes = {}
    for layer, name in enumerate(model.layer_names):
        for tensor in _matrices(model.blocks[name].tensors(model.hidden_size)):
            wanted = format_of(tensor, module_names(tensor.name, style, layer)) or base
            votes.setdefault((tensor.role, tensor.name), Counter())[wanted] += 1
    formats: dict[str, Any] = {}
    exceptions: dict[str, str] = {}
    for role in _QUANTISED:
        mine = {tensor: next(iter(count)) for (of, tensor), count in votes.items() if of is role}
        if mine:
            formats[role.value] = Counter(mine.values()).most_common(1)[0][0]
            exceptions |= {tensor: wanted for tensor, wanted in mine.items() if wanted != formats[role.value]}
    _refuse_mixtures(section, votes)
    if set(formats.values()) == {base} and not exceptions:
        formats = {}
    elif len(set(formats.values())) == 1 and not exceptions:
        formats = {"weights": next(iter(formats.values()))}
    if exceptions:
        formats["exceptions"] = exceptions
    heads = [tensor for tensor in model.output_tensors() if tensor.role is TensorRole.LM_HEAD and tensor.matrix]
    wanted_head = format_of(heads[0], ("lm_head", "model.lm_head", "head")) if heads else None
    if wanted_head is not None:
        formats["lm_head"] = wanted_head
    if model.mtp is not None and formats:
        tensors = _matrices(model.blocks[model.mtp.block].tensors(model.hidden_size))
        names = [(tensor, module_names(tensor.name, style, model.layer_count, mtp=True)) for tensor in tensors]
        if all(format_of(tensor, modules) is None for tensor, modules in names):
            formats["mtp"] = base
    return formats


def _refuse_mixtures(section: Config, votes: Votes) -> None:
    for (_, name), count in votes.items():
        if len(count) > 1:
            formats = " and ".join(f"{wanted} in {layers} layers" for wanted, layers in count.most_common())
            section.refuse(
                "quant_method", f"{name} is stored in {formats}; only one format for all layers is understood"
            )


def _matrices(tensors: Iterable[Tensor]) -> list[Tensor]:
    """The tensors that a quantiser may choose to quantise."""
    return [t for t in tensors if t.matrix and t.bytes_each is None and t.role in _QUANTISED]

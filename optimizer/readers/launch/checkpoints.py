"""What engines refuse of a checkpoint's own quantisation: another method, a cache, devices, ranks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from optimizer.domain.capability import ADA, capability
from optimizer.domain.engines.architectures import has
from optimizer.domain.problem import Problem
from optimizer.readers.launch.flags import Given
from optimizer.readers.launch.launch import Launch

Refusal = tuple[Given | str, str]
"""The flag, or the variable, that is refused, and the engine's words."""

_COMPRESSED: Final = frozenset({"compressed-tensors", "compressed_tensors", "w8a8_fp8", "w8a8_int8", "auto-round-int8"})
_GROUPED: Final = frozenset({"moe_wna16", "auto-round", "inc", "marlin", "humming", "ipex"}) | _COMPRESSED
_METHODS: Final = (
    # the first whose pattern a name ends in
    (r"-quantized\.w\d+a\d+|-fp8-(?:dynamic|block)", _COMPRESSED | {"humming"}),
    (r"-awq(?:-\w+)?", _GROUPED | {"awq", "awq_marlin", "auto_awq"}),
    (r"-gptq(?:-int\d)?", _GROUPED | {"gptq", "gptq_marlin", "auto_gptq", "gptqmodel"}),
    (r"-bnb-4bit", frozenset({"bitsandbytes"})),
    (
        r"-(?:nv)?fp4(?:-v\d)?",
        _COMPRESSED | {"modelopt", "modelopt_fp4", "modelopt_mixed", "petit_nvfp4", "quark", "humming"},
    ),
    (
        r"-fp8",
        _COMPRESSED
        | {"fp8", "modelopt", "modelopt_fp8", "modelopt_fp4", "fbgemm_fp8", "quark", "humming", "nvfp4_online"},
    ),
)
"""How checkpoints were quantised, by the ends of their names, and what engines may be told of it: vLLM 0.33.0
config/model.py:1457 with each method's override_quantization_method, SGLang 0.5.23 srt/configs/model_config.py:2042."""
_KNOWN: Final = frozenset().union(*(methods for _, methods in _METHODS)) | {"experts_int8"}
"""Methods of the engines themselves: plugins add others."""
_COMPRESSED_NAME: Final = re.compile(_METHODS[0][0] + "$|^(?:redhatai|neuralmagic|nm-testing)/", re.IGNORECASE)
"""Checkpoints of llm-compressor."""
_UNSCALED_SINCE: Final = "0.23"
"""Release of vLLM from which on a checkpoint without scales of the cache may have it (0.25 attention.py:205)."""
_MODELOPT_ON_AMPERE: Final = "0.27"
"""Release of vLLM from which on ModelOpt's FP8 runs before Ada (layers/quantization/modelopt.py get_min_capability)."""
_MODELOPT_METHODS: Final = {"fp8": "modelopt", "fp4": "modelopt_fp4"}
_MODELOPT_ON_ROCM: Final = {"modelopt": "0.21", "modelopt_fp4": "0.20"}
"""Releases of vLLM from which on ModelOpt's formats may be had on AMD's devices: 0.19 has neither, 0.20 the second."""
_NVFP4_CACHE_SINCE: Final = "0.20"
_E5M2: Final = "fp8_e5m2"
LORA_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""vLLM 0.33.0 config/lora.py:27."""


def _has_fp8(problem: Problem) -> bool:
    precision = problem.model.precision
    return any("fp8" in (form or "") for form in (precision.weights, precision.experts, precision.dense_ffn))


def other_method(launch: Launch, _: Problem) -> Iterator[Refusal]:
    """The method that a checkpoint was written in is not the one that the engine is told."""
    option, name = launch.flag("--quantization"), (launch.model or "").casefold()
    told = "" if option is None else option.text.casefold()
    own = next((methods for ends, methods in _METHODS if re.search(ends + "$", name)), None)
    if option is not None and own is not None and told in _KNOWN - own:
        yield (
            option,
            (
                f"Quantization method specified in the model config of {launch.model} does not match the quantization "
                f"method specified in the `quantization` argument ({told})"
            ),
        )


def cache_of_checkpoint(launch: Launch, problem: Problem) -> Iterator[Refusal]:
    """Checkpoints that may have scales of the cache keep it in E4M3."""
    option, name = launch.flag("--kv-cache-dtype"), launch.model or ""
    if option is None or option.text != _E5M2:
        return
    if _COMPRESSED_NAME.search(name):
        refused = launch.before(_UNSCALED_SINCE)
    else:
        refused = _has_fp8(problem) and not launch.flag("--quantization")
    if refused:
        yield option, "fp8_e5m2 kv-cache is not supported with fp8 checkpoints"


def cache_of_latents(launch: Launch, problem: Problem) -> Iterator[Refusal]:
    """No kernel reads latents in NVFP4 (config/vllm.py:3432), and none reads it before 0.21."""
    option = launch.flag("--kv-cache-dtype")
    if option is None or not re.fullmatch("nvfp4(?:_4over6)?", option.text):
        return
    if problem.model.latent:
        yield option, "nvfp4 KV cache is not supported with MLA (Multi-head Latent Attention) backends"
    elif launch.before(_NVFP4_CACHE_SINCE):
        yield option, f"invalid choice: {option.text} is a format of the cache from {_NVFP4_CACHE_SINCE} on"


def sparse_cache(launch: Launch, problem: Problem) -> Iterator[Refusal]:
    """DeepSeek's sparse attention has a cache of 16 bits or E4M3 (srt/arg_groups/overrides.py:541, 907)."""
    option = launch.flag("--kv-cache-dtype")
    sparse = problem.model.compressed or problem.model.indexed
    if option is not None and option.text == _E5M2 and sparse:
        yield option, "DeepSeek DSA only supports bf16/bfloat16 or fp8_e4m3 kv_cache_dtype"


def written_by_modelopt(launch: Launch, problem: Problem) -> Iterator[Refusal]:
    """ModelOpt's FP8 asks for Ada, where engines have kernels of weights alone for other checkpoints.

    On AMD's devices vLLM takes ModelOpt's formats from later releases on (platforms/rocm.py supported_quantization).
    """
    name, device = (launch.model or "").casefold(), problem.hardware.device
    method = next((method for part, method in _MODELOPT_METHODS.items() if part in name), None)
    if not name.startswith("nvidia/") or method is None:
        return
    option, own = launch.flag("--quantization") or "model", capability(device)
    if launch.engine == "vllm" and device.vendor == "AMD" and launch.before(_MODELOPT_ON_ROCM[method]):
        yield option, f"{method} quantization is currently not supported in rocm."
    runs = launch.engine == "vllm" and not launch.before(_MODELOPT_ON_AMPERE)
    if method != "modelopt" or own is None or own >= ADA or runs:
        return
    message = (
        "The quantization method modelopt is not supported for the current GPU. Minimum capability: 89. "
        f"Current capability: {10 * own[0] + own[1]}."
    )
    yield option, message


_NO_HALF: Final = {
    "Gemma2ForCausalLM": "gemma2", "Gemma3ForCausalLM": "gemma3_text", "Gemma3ForConditionalGeneration": "gemma3",
    "Glm4ForCausalLM": "glm4",
}  # fmt: skip
"""Model types that vLLM does not run in float16 (0.9.1 config.py:3121 to 0.33.0 config/model.py:2398)."""
_HALVES: Final = frozenset({"half", "float16"})
_AWQ_IN_BF16: Final = "0.23"
"""Release of vLLM from which on AWQ may be had in bfloat16: 0.22.0 has it in float16 alone, 0.25.0 in both."""


def dtypes(launch: Launch, problem: Problem) -> Iterator[Refusal]:
    """Formats of activations that vLLM has no kernels in (get_supported_act_dtypes of 0.11.0, 0.19.0, 0.33.0)."""
    option, model, precision = launch.flag("--dtype"), problem.model, problem.precision
    if option is None:
        return
    told = "float16" if option.text in _HALVES else "float32" if option.text == "float" else option.text
    stored = precision.experts or precision.weights
    kind = _NO_HALF.get(model.architecture)
    if told == "float16" and kind is not None:
        yield option, (
            f"The model type {kind!r} does not support float16. Reason: Numerical instability. Please use bfloat16 or "
            "float32 instead."
        )  # fmt: skip
    if told == "float16" and stored == "mxfp4":
        yield option, _other_dtypes(told, stored, "[torch.bfloat16]")
    elif told == "float32" and stored.startswith(("fp8", "mxfp", "nvfp", "int4")) and not launch.operating.weights:
        yield option, _other_dtypes(told, stored, "[torch.bfloat16, torch.float16]")
    awq = launch.flag("--quantization")
    if told in {"bfloat16", "float32"} and awq is not None and awq.text == "awq" and launch.before(_AWQ_IN_BF16):
        yield option, _other_dtypes(told, "awq", "[torch.float16]")


def _other_dtypes(told: str, method: str, supported: str) -> str:
    return f"torch.{told} is not supported for quantization method {method}. Supported dtypes: {supported}"


def not_on_ascend(launch: Launch, problem: Problem) -> Iterator[Refusal]:
    """AWQ and GPTQ are no compressed-tensors, which vLLM's plugin for Ascend takes (its issue 6800)."""
    found = re.search("(awq|gptq)", (launch.model or "").casefold())
    if launch.engine == "vllm" and problem.hardware.device.vendor == "Huawei" and found:
        yield launch.flag("--quantization") or "model", f"{found[1]} quantization is currently not supported in npu."


def whole_blocks_of_bitsandbytes(launch: Launch, problem: Problem) -> Iterator[Refusal]:
    """Blocks that a checkpoint was quantised in run on over the rows of a matrix: no rank has a share of its own."""
    online = launch.operating.quantization == "bitsandbytes" and not re.search("-bnb-", launch.model or "")
    if problem.precision.weights.startswith("nf4") and launch.dense["tp"] > 1 and not online:
        option = launch.flag("--tensor-parallel-size") or launch.flag("--tp-size")
        message = "Prequant BitsAndBytes models with tensor parallelism is not supported. Please try with pipeline"
        yield option or "model", f"{message} parallelism"


def adapters(launch: Launch, problem: Problem) -> Iterator[Refusal]:
    """Models that vLLM has adapters for, ranks that it has kernels for, and how many it keeps."""
    rank, most, kept = (launch.flag(f"--max-{what}") for what in ("lora-rank", "loras", "cpu-loras"))
    wanted, model = launch.flag("--enable-lora"), problem.model.architecture
    if wanted is None:
        return
    if not has(problem, "vllm", problem.engine.version, "adapters"):
        yield wanted, f"{model} does not support LoRA yet."
    if rank is not None and _whole(rank) not in {None, *LORA_RANKS}:
        yield rank, f"max_lora_rank ({rank.text}) must be one of {LORA_RANKS}"
    if most is not None and kept is not None and (_whole(kept) or 0) < (_whole(most) or 0):
        yield kept, f"max_cpu_loras ({kept.text}) must be >= max_loras ({most.text})"


def _whole(option: Given) -> int | None:
    return int(option.text) if option.text.isdigit() else None


def head_of_ranks(launch: Launch, _: Problem) -> Iterator[Refusal]:
    """The head of each attention data-parallel rank (srt/arg_groups/overrides.py:1425)."""
    option = launch.flag("--enable-dp-lm-head")
    if option is not None and not launch.flag("--enable-dp-attention") and not launch.flag("--attn-dp-size"):
        yield option, "--enable-dp-lm-head requires attention DP (--attn-dp-size)"


VLLM: Final = (
    other_method,
    cache_of_checkpoint,
    cache_of_latents,
    written_by_modelopt,
    not_on_ascend,
    dtypes,
    whole_blocks_of_bitsandbytes,
    adapters,
)
SGLANG: Final = (other_method, sparse_cache, written_by_modelopt, whole_blocks_of_bitsandbytes, head_of_ranks)

"""Kernels of attention that a command names, and the models and devices that they exist for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from optimizer.domain.attention import Heads
from optimizer.domain.capability import ADA, capability
from optimizer.domain.problem import Problem
from optimizer.readers.launch.flags import Given
from optimizer.readers.launch.launch import Launch

ATTENTION_BACKENDS: Final = ("--attention-backend", "--decode-attention-backend", "--prefill-attention-backend")
_STEPS: Final = {"prefill": ATTENTION_BACKENDS[2], "decode": ATTENTION_BACKENDS[1]}
_VARIABLE: Final = "VLLM_ATTENTION_BACKEND"
"""By which vLLM is told of them before `_VARIABLE_UNTIL`; later releases read no such variable (its issue 50292)."""
_VARIABLE_UNTIL: Final = "0.15"
"""0.14.1 still reads it, and warns (EuroEval issue 1488)."""
_CHECKED_SINCE: Final = "0.11.1"
"""Release from which on vLLM refuses what it is told (attention/backends/abstract.py validate_configuration)."""


def kind(problem: Problem) -> str | None:
    """`latent` or `full` attention; None where a model has kernels of its own, or neither."""
    model = problem.model
    own = model.compressed or model.indexed
    full = any(isinstance(kept, Heads) for kept in model.kept)
    return None if own or model.latent is full else "latent" if model.latent else "full"


@dataclass(frozen=True, slots=True)
class _Kernels:
    """What an engine asks of kernels by a name.

    Attributes
    ----------
    majors
        Generations of NVIDIA's devices that they exist for.
    says
        What the engine says on others.
    kinds
        Of attention; others are refused with `says_kind`.
    step
        The step that they are asked for; None: any.
    since, until
        First release of which this is so, and first of which it is no more.
    """

    name: str
    majors: frozenset[int]
    says: str
    kinds: frozenset[str] = frozenset({"latent", "full"})
    says_kind: str = ""
    step: str | None = None
    since: str = ""
    until: str | None = None


def _mla(name: str) -> str:
    return f"{name} backend can only be used with MLA models."


def _no_mla(name: str) -> str:
    return f"{name} backend can only be used with non-MLA models."


_ONLY, _OTHER = "is only supported on Blackwell GPUs (SM100", "Please use a different"
_LATENT, _FULL = frozenset({"latent"}), frozenset({"full"})
_SM90_ON: Final = frozenset({9, 10, 12})
_FA3: Final = "FlashAttention v3 Backend requires SM>=80 and SM<=90. Please use `--attention-backend flashinfer`."
_SGLANG: Final = (
    # layers/attention/attention_registry.py:237; model_runner.py of 0.4.9
    _Kernels("fa3", frozenset({9}), _FA3, kinds=_LATENT),
    _Kernels("fa3", frozenset({8, 9}), _FA3, kinds=_FULL),
    # server_args.py:579 of 0.5.2, :1370 of 0.5.6; arg_groups/overrides.py:1212
    _Kernels("trtllm_mla", frozenset({10}), f"TRTLLM MLA backend {_ONLY}). {_OTHER} backend.", step="decode",
             kinds=_LATENT, says_kind=_mla("trtllm_mla"), until="0.5.3"),
    _Kernels("trtllm_mla", frozenset({10, 12}), f"TRTLLM MLA backend {_ONLY}/SM12x). {_OTHER} backend.", step="decode",
             kinds=_LATENT, says_kind=_mla("trtllm_mla"), since="0.5.3"),
    _Kernels("cutedsl_mla", frozenset({10}), f"CuteDSL MLA backend {_ONLY}). {_OTHER} backend.",
             kinds=_LATENT, says_kind=_mla("cutedsl_mla")),
    # server_args.py:603 of 0.5.2, :2373 of 0.5.10; arg_groups/attention_hook.py:132 of 0.5.19
    _Kernels("trtllm_mha", frozenset({10}), f"TRTLLM MHA backend {_ONLY}). {_OTHER} backend.",
             kinds=_FULL, says_kind=_no_mla("trtllm_mha"), until="0.5.10"),
    _Kernels("trtllm_mha", frozenset({10}), f"TRTLLM MHA backend for prefill {_ONLY}). {_OTHER} prefill backend.",
             kinds=_FULL, says_kind=_no_mla("trtllm_mha"), step="prefill", since="0.5.10", until="0.5.17"),
    _Kernels("trtllm_mha", _SM90_ON, "TRTLLM MHA backend for prefill requires Hopper (SM90), Blackwell (SM100), or "
             f"SM120 GPUs. {_OTHER} prefill backend.", kinds=_FULL, says_kind=_no_mla("trtllm_mha"), step="prefill",
             since="0.5.17"),
    _Kernels("trtllm_mha", _SM90_ON, "TRTLLM MHA backend for decode is only supported on Hopper (SM90), Blackwell "
             f"(SM100) and (SM120) GPUs. {_OTHER} decode backend.", kinds=_FULL, says_kind=_no_mla("trtllm_mha"),
             step="decode", since="0.5.10"),
)  # fmt: skip

_VLLM: Final[Mapping[str, tuple[str, frozenset[int] | None]]] = {
    "FLASHMLA": ("latent", frozenset({9, 10})), "CUTLASS_MLA": ("latent", frozenset({10})),
    "FLASHINFER_MLA": ("latent", frozenset({10})), "FLASH_ATTN_MLA": ("latent", frozenset({9})),
    "TRITON_MLA": ("latent", None), "FLASH_ATTN": ("full", None), "FLASHINFER": ("full", None),
    "TRITON_ATTN": ("full", None), "FLEX_ATTENTION": ("full", None),
}  # fmt: skip
"""Kind of attention and generations of vLLM's kernels (v1/attention/backends of 0.12.0, 0.14.0, 0.19.0 and 0.33.0)."""


_OF_SINKS: Final = ("triton", "trtllm_mha", "fa3", "fa4", "ascend", "intel_amx", "intel_xpu", "aiter")
"""SGLang's kernels with sinks (srt/arg_groups/model_hook.py:523 of 0.5.23)."""
_OF_LATENTS: Final = frozenset({"flashmla", "cutlass_mla"})
"""Kernels that read kv_lora_rank of the model; trtllm_mla and cutedsl_mla say so themselves."""
_OF_NVIDIA: Final = frozenset({"fa3", "fa4", "flashinfer", "flashmla", "cutlass_mla", "trtllm_mla", "trtllm_mha"})
"""Kernels that are CUDA's; on AMD's devices there are aiter, triton and wave (docs.sglang.io attention_backend)."""
_SINKS_ASKED: Final = "0.5.23"


def _by_name(launch: Launch, problem: Problem) -> Iterator[tuple[Given, str]]:
    """Kernels that a model or a maker's devices do not have whatever the step."""
    architecture, amd = problem.model.architecture, problem.hardware.device.vendor == "AMD"
    for option in filter(None, map(launch.flag, ATTENTION_BACKENDS)):
        if amd and option.text in _OF_NVIDIA:
            yield option, f"{option.text} has kernels for NVIDIA's devices alone: aiter, triton or wave run on AMD's"
        elif architecture == _SINKS and option.text not in _OF_SINKS and not launch.before(_SINKS_ASKED):
            yield option, f"{_SINKS} requires one of {[*_OF_SINKS]} attention backend, but got {option.text}"
        elif option.text in _OF_LATENTS and kind(problem) == "full":
            yield option, f"{option.text} reads kv_lora_rank of the model, and {problem.model.name} has no latents"


def sglang_kernels(launch: Launch, problem: Problem) -> Iterator[tuple[Given, str]]:
    """What SGLang's kernels of attention are refused for."""
    of_model, known = kind(problem), capability(problem.hardware.device)
    yield from _by_name(launch, problem)
    refused: set[int] = set()
    for kernels in _SGLANG:
        for step in ("prefill", "decode") if kernels.step is None else (kernels.step,):
            option = launch.flag(_STEPS[step]) or launch.flag(ATTENTION_BACKENDS[0])
            if of_model is None or option is None or option.text != kernels.name or id(option) in refused:
                continue
            if launch.before(kernels.since or "0") or not (kernels.until is None or launch.before(kernels.until)):
                continue
            wrong_kind = of_model not in kernels.kinds
            wrong_device = known is not None and known[0] not in kernels.majors
            message = kernels.says_kind if wrong_kind else kernels.says if wrong_device else ""
            if message:
                refused.add(id(option))
                yield option, message


_SINKS: Final = "GptOssForCausalLM"
"""Architecture whose attention has sinks."""
_NO_NATIVE_FP8: Final = (
    "FP8 KV cache is not supported by the {backend} backend on {device} (compute capability {own}); "
)
_NATIVE_SINCE: Final = {"Triton attention": "0.25", "Triton MLA": "0.26"}
"""Releases of vLLM from which on Triton's kernels were read to ask for SM89 of a cache of 8 bits."""
_FLASH_FP8: Final = frozenset({9, 10})
"""Generations with FlashAttention 3 or 4, which read a cache of 8 bits and sinks; 2 does not (fa_utils.py)."""
_FLASHINFER_NVFP4: Final = frozenset({8, 9, 12})
_NVFP4_CHECKED: Final = "0.33"


def vllm_caches(launch: Launch, problem: Problem) -> Iterator[tuple[Given, str]]:
    """Formats of the cache, and sinks, that vLLM's kernels of attention do not read on some of NVIDIA's devices.

    v1/attention/backends of 0.18.0 to 0.33.0: fa_utils.py, triton_attn.py:521, mla/triton_mla.py, flashinfer.py:679.
    """
    option, cache, device = launch.flag(ATTENTION_BACKENDS[0]), launch.flag("--kv-cache-dtype"), problem.hardware.device
    own, of_model, sinks = capability(device), kind(problem), problem.model.architecture == _SINKS
    named = "" if option is None else option.text.upper()
    told = "" if cache is None else cache.text
    if cache is not None and told.startswith("nvfp4"):
        if device.vendor == "AMD" or (
            sinks and own is not None and own[0] in _FLASHINFER_NVFP4 and not launch.before(_NVFP4_CHECKED)
        ):
            yield (
                cache,
                "No valid attention backend found: FlashInfer alone reads a cache in nvfp4, and "
                + ("exists for NVIDIA's devices" if device.vendor == "AMD" else "its sink prefill wrapper cannot"),
            )
        return
    if own is None or launch.before(_CHECKED_SINCE):
        return
    if option is not None and named == "FLASH_ATTN" and own[0] not in _FLASH_FP8:
        reasons = ["kv_cache_dtype not supported"] * told.startswith("fp8") + ["sink setting not supported"] * sinks
        if reasons:
            selected = "Selected backend AttentionBackendEnum.FLASH_ATTN is not valid for this configuration. Reason:"
            yield option, f"{selected} {reasons}"
    if cache is None or not told.startswith("fp8") or own >= ADA:
        return
    triton = "Triton MLA" if of_model == "latent" else "Triton attention"
    alone = named == "TRITON_ATTN" or (not named and sinks) or of_model == "latent"
    if alone and not launch.before(_NATIVE_SINCE[triton]):
        said = _NO_NATIVE_FP8.format(backend=triton, device=device.name, own=f"{own[0]}.{own[1]}")
        yield cache, f"{said}native FP8 (fp8e4nv) requires SM89+."


def vllm_kernels(launch: Launch, problem: Problem) -> Iterator[tuple[Given | str, str]]:
    """What vLLM's kernels of attention are refused for."""
    option, of_model = launch.flag(ATTENTION_BACKENDS[0]), kind(problem)
    told = launch.environment.get(_VARIABLE, "") if launch.before(_VARIABLE_UNTIL) else ""
    named = option.text if option is not None else told
    if of_model is None or launch.before(_CHECKED_SINCE) or "VLLM_MLA_DISABLE" in launch.environment:
        return
    wanted, majors = _VLLM.get(named.upper(), (of_model, None))
    known = capability(problem.hardware.device)
    reasons = []
    if wanted != of_model:
        reasons.append("MLA not supported" if of_model == "latent" else "non-MLA not supported")
    if majors is not None and known is not None and known[0] not in majors:
        reasons.append("compute capability not supported")
    if reasons:
        selected = f"Selected backend AttentionBackendEnum.{named.upper()}"
        yield option or _VARIABLE, f"{selected} is not valid for this configuration. Reason: {reasons}"

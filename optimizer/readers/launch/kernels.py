"""Kernels of attention that a command names, and the models and devices that they exist for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from optimizer.domain.attention import Heads
from optimizer.domain.capability import capability
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
    own = model.compressed or any(kept.indexer is not None for kept in model.kept)
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


def sglang_kernels(launch: Launch, problem: Problem) -> Iterator[tuple[Given, str]]:
    """What SGLang's kernels of attention are refused for."""
    of_model, known = kind(problem), capability(problem.hardware.device)
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

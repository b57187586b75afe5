"""Formats of weights that an engine, or its plugin for a maker's devices, does not take on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from optimizer.domain.engines.rule import EngineRule, Premise
from optimizer.domain.precision import FORMATS
from optimizer.domain.shape import Shape

_FP8: Final = dict.fromkeys(("fp8", "fp8_block", "fp8_channel"), "fp8")
_FP4: Final = {"nvfp4": "modelopt_fp4"}
_MX: Final = {"mxfp8": "mxfp8", "mxfp4": "mxfp4"}
_BNB: Final = dict.fromkeys(("nf4", "nf4_double"), "bitsandbytes")
_GROUPS: Final = dict.fromkeys(("int4", "int4_g32", "int4_g64"), "awq")

VLLM: Final = {
    "Huawei": _FP8 | _MX | _FP4 | _BNB,
    "Intel": _FP4 | _BNB,
    "Google": {"mxfp8": "mxfp8"} | _FP4 | _BNB,
    "AWS": _FP4 | _BNB | _GROUPS,
}
"""By maker: formats and vLLM's names of the methods; what is left is taken, or not known."""
SGLANG: Final = {"Huawei": _FP8 | _MX | _FP4}
"""The same of SGLang on A2 and A3."""


def formats_of_makers(refused: Mapping[str, Mapping[str, str]], source: str) -> EngineRule:
    """Formats of matrices that are not taken on a maker's devices, each with the engine's name of it."""

    def breach(premise: Premise, _: Shape) -> str | None:
        device, model = premise.hardware.device, premise.model
        methods = refused.get(device.vendor)
        if not methods:
            return None
        stored: Collection[object] = [
            model.precision.of(tensor)
            for block in model.blocks.values()
            for tensor in block.tensors(model.hidden_size)
            if tensor.matrix
        ]
        for name, method in methods.items():
            if FORMATS[name] in stored:
                return f"{method} quantization is currently not supported in {device.name} ({name})."
        return None

    statement = f"formats of weights are those that devices of {', '.join(refused)} are given kernels for"
    return EngineRule("formats_of_makers", statement, (), breach, source)

"""Number formats and which of them each part of a model uses."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from pydantic import Field, field_validator

from optimizer.domain.base import Spec
from optimizer.domain.tensor import Tensor, TensorRole

FormatName = Literal[
    "fp32", "bf16", "fp16", "fp8", "fp8_block", "fp8_channel", "int8", "mxfp8", "mxfp4", "nvfp4", "int4", "int4_g32",
    "int4_g64", "int4_channel", "int8_g128", "int8_g32", "int8_channel", "nf4", "nf4_double",
]  # fmt: skip
ComputeName = Literal["fp32", "bf16", "fp8", "fp4", "int8"]


class Format(Spec):
    """A weight format: bits an element, and one scale of `scale_bytes` for each block of rows × columns.

    A block dimension of 0 means the whole dimension.
    """

    bits: int
    compute: ComputeName
    block_rows: int = 0
    block_cols: int = 0
    scale_bytes: int = 0

    def stored_bytes(self, rows: int, cols: int) -> int:
        """Bytes of one matrix of this format, scales included."""
        if not self.scale_bytes:
            return -(-rows * cols * self.bits // 8)
        blocks = -(-rows // (self.block_rows or rows)) * -(-cols // (self.block_cols or cols))
        return -(-rows * cols * self.bits // 8) + self.scale_bytes * blocks

    def with_scales(self, more_bytes: int) -> Format:
        """The same with so many bytes more for each scale."""
        return self.model_copy(update={"scale_bytes": self.scale_bytes + more_bytes}) if more_bytes else self


FORMATS: dict[str, Format] = {
    "fp32": Format(bits=32, compute="fp32"),
    "bf16": Format(bits=16, compute="bf16"),
    "fp16": Format(bits=16, compute="bf16"),
    "fp8": Format(bits=8, compute="fp8", scale_bytes=4),
    "fp8_channel": Format(bits=8, compute="fp8", block_rows=1, scale_bytes=4),
    # DeepSeek-V3 (arXiv 2412.19437 section 3.3.2): 128 × 128 blocks with FP32 scales.
    "fp8_block": Format(bits=8, compute="fp8", block_rows=128, block_cols=128, scale_bytes=4),
    "int8": Format(bits=8, compute="int8", block_rows=1, scale_bytes=4),
    # OCP Microscaling formats v1.0: blocks of 32 with one E8M0 byte.
    "mxfp8": Format(bits=8, compute="fp8", block_rows=1, block_cols=32, scale_bytes=1),
    "mxfp4": Format(bits=4, compute="fp4", block_rows=1, block_cols=32, scale_bytes=1),
    # NVFP4: blocks of 16 with one E4M3 byte (and one FP32 scale a tensor, not counted).
    "nvfp4": Format(bits=4, compute="fp4", block_rows=1, block_cols=16, scale_bytes=1),
    # Weight-only INT4: groups of 128 (or 32) with one 16-bit scale; computes in 16 bit.
    "int4": Format(bits=4, compute="bf16", block_rows=1, block_cols=128, scale_bytes=2),
    "int4_g32": Format(bits=4, compute="bf16", block_rows=1, block_cols=32, scale_bytes=2),
    "int4_g64": Format(bits=4, compute="bf16", block_rows=1, block_cols=64, scale_bytes=2),
    "int4_channel": Format(bits=4, compute="bf16", block_rows=1, scale_bytes=2),
    "int8_g128": Format(bits=8, compute="bf16", block_rows=1, block_cols=128, scale_bytes=2),
    "int8_g32": Format(bits=8, compute="bf16", block_rows=1, block_cols=32, scale_bytes=2),
    "int8_channel": Format(bits=8, compute="bf16", block_rows=1, scale_bytes=2),
    # bitsandbytes 4 bit: blocks of 64 with an FP32 maximum, or one of 8 bit (its own scale, 1/256 of it, not counted);
    # QLoRA (arXiv 2305.14314) section 3: 0.5 and 0.127 bits an element. Blocks run on where a row ends: no share of one
    # breaks them, which those along a column say.
    "nf4": Format(bits=4, compute="bf16", block_rows=64, block_cols=1, scale_bytes=4),
    "nf4_double": Format(bits=4, compute="bf16", block_rows=64, block_cols=1, scale_bytes=1),
}

KV_BYTES: dict[str, Fraction] = {
    "bf16": Fraction(2),
    "fp16": Fraction(2),
    "fp8": Fraction(1),
    "fp32": Fraction(4),
    "int8": Fraction(1),
    # half a byte, and a byte of scale for 16: vllm 0.33.0 utils/torch_utils.py nvfp4_kv_cache_full_dim, SGLang 0.5.23
    # srt/model_executor/pool_configurator.py
    "nvfp4": Fraction(9, 16),
}
ACTIVATION_BYTES: dict[str, Fraction] = {
    "bf16": Fraction(2),
    "fp16": Fraction(2),
    "fp8": Fraction(1),
    "fp32": Fraction(4),
}


class ModelPrecision(Spec):
    """Formats by role; a role not named uses `weights`, and norms, biases and routers stay in 16 bit."""

    weights: FormatName = "bf16"
    attention: FormatName | None = None
    indexer: FormatName | None = None
    dense_ffn: FormatName | None = None
    experts: FormatName | None = None
    shared_experts: FormatName | None = None
    router: FormatName = "bf16"
    embedding: FormatName = "bf16"
    lm_head: FormatName = "bf16"
    mtp: FormatName | None = None
    other: FormatName | None = None
    kv_cache: Literal["bf16", "fp16", "fp8", "fp32", "int8", "nvfp4"] = "bf16"
    activations: Literal["bf16", "fp16", "fp8", "fp32"] = "bf16"
    exceptions: tuple[tuple[str, FormatName], ...] = Field(
        default=(), strict=False, description="formats of single tensors, by name, before those of roles"
    )

    @field_validator("exceptions", mode="before")
    def _pairs(cls, value: object) -> object:
        return tuple(value.items()) if isinstance(value, dict) else value

    def of(self, tensor: Tensor) -> Format:
        """The format that a tensor is stored in; vectors stay in 16 bit."""
        if tensor.bytes_each is not None:
            return FORMATS["fp32" if tensor.bytes_each == 4 else "bf16"]
        if not tensor.matrix and tensor.role is not TensorRole.EMBEDDING:
            return FORMATS["bf16"]
        for name, wanted in self.exceptions:
            if name == tensor.name:
                return FORMATS[wanted]
        return self.of_role(tensor.role)

    def of_role(self, role: TensorRole) -> Format:
        """The format of the matrices of a role."""
        if role in (TensorRole.NORM, TensorRole.VISION):
            return FORMATS["bf16"]
        named: str | None = getattr(self, role.value)
        return FORMATS[named or self.weights]


class PrecisionOverride(Spec):
    """A problem's `precision`: what differs from the model's own."""

    weights: FormatName | None = None
    attention: FormatName | None = None
    experts: FormatName | None = None
    dense_ffn: FormatName | None = None
    shared_experts: FormatName | None = None
    activations: Literal["bf16", "fp16", "fp8", "fp32"] | None = Field(default=None)
    kv_cache: Literal["bf16", "fp16", "fp8", "fp32", "int8", "nvfp4"] | None = Field(default=None)

    def applied_to(self, precision: ModelPrecision) -> ModelPrecision:
        """The model's precision with these changes; a new `weights` resets the parts the model had quantised apart."""
        changes = {name: value for name, value in self if value is not None}
        if self.weights is not None:
            quantised = ("attention", "indexer", "dense_ffn", "experts", "shared_experts", "mtp", "other")
            changes = {**dict.fromkeys(quantised), "lm_head": "bf16", "exceptions": (), **changes}
        return precision.model_copy(update=changes)

"""Feed-forward kinds: dense, and mixture of experts with shared experts."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import Field, model_validator

from optimizer.domain.base import Spec, Width, WidthOrNone
from optimizer.domain.tensor import Split, Tensor, TensorRole


def ffn_tensors(
    hidden: int, intermediate: int, role: TensorRole, *, gated: bool, bias: bool, prefix: str = "", count: int = 1
) -> list[Tensor]:
    """Up (and gate) and down matrices of one feed-forward block, `count` times."""
    ups = ("gate_proj", "up_proj") if gated else ("up_proj",)
    tensors = [Tensor(prefix + name, intermediate, hidden, role, Split.ROWS, count=count, merged=gated) for name in ups]
    tensors.append(Tensor(prefix + "down_proj", hidden, intermediate, role, Split.COLS, count=count))
    if bias:
        tensors += [
            Tensor(f"{prefix}{name}_bias", intermediate, 1, role, Split.ROWS, count=count, matrix=False) for name in ups
        ]
        tensors.append(Tensor(prefix + "down_proj_bias", hidden, 1, role, count=count, matrix=False))
    return tensors


class DenseFeedForward(Spec):
    """One feed-forward block; `gated` has a gate beside the up projection (SwiGLU, GeGLU)."""

    kind: Literal["dense"] = "dense"
    intermediate: Width
    gated: bool = True
    bias: bool = False

    def tensors(self, hidden: int) -> tuple[Tensor, ...]:
        """Weights of one layer."""
        return tuple(ffn_tensors(hidden, self.intermediate, TensorRole.DENSE_FFN, gated=self.gated, bias=self.bias))


class MixtureOfExperts(Spec):
    """`experts` routed experts of which a token uses `top_k`, beside `shared_intermediate` of always-on width."""

    kind: Literal["moe"] = "moe"
    experts: int = Field(ge=1, le=65536)
    top_k: Width
    intermediate: Width
    gated: bool = True
    bias: bool = False
    shared_intermediate: WidthOrNone = Field(default=0, description="width of all shared experts together")
    shared_gate: bool = Field(default=False, description="a learned scalar gate on the shared experts' output")
    router_bias: bool = Field(default=False, description="a learned bias in the router (a parameter)")
    router_scales: bool = Field(default=False, description="learned scales of the router's input and of each expert")
    hash_vocabulary: int = Field(
        default=0, ge=0, le=10**8, description="experts looked up by token in a fixed table of so many rows, not scored"
    )
    router_correction: bool = Field(default=False, description="a score-correction bias (stored in FP32, no parameter)")
    latent_size: Width | None = Field(
        default=None, description="routed experts work in a narrower space, projected in and out"
    )
    group_count: Width = Field(default=1, description="groups of a node-limited router")
    group_limit: Width = Field(default=1, description="groups a token may use")
    dense_intermediate: WidthOrNone = Field(default=0, description="a dense feed-forward block in parallel, width")

    @model_validator(mode="after")
    def _consistent(self) -> MixtureOfExperts:
        if self.top_k > self.experts:
            message = f"top_k {self.top_k} is more than the {self.experts} experts"
            raise ValueError(message)
        if self.shared_gate and not self.shared_intermediate:
            message = "shared_gate needs shared_intermediate"
            raise ValueError(message)
        if self.experts % self.group_count:
            message = f"group_count {self.group_count} does not divide {self.experts} experts"
            raise ValueError(message)
        if self.group_limit > self.group_count:
            message = f"group_limit {self.group_limit} is more than group_count {self.group_count}"
            raise ValueError(message)
        return self

    def expert_width(self, hidden: int) -> int:
        """Width of the vectors that routed experts read and write."""
        return self.latent_size or hidden

    def tensors(self, hidden: int) -> tuple[Tensor, ...]:
        """Weights of one layer, all experts included."""
        width = self.expert_width(hidden)
        tensors = [Tensor("router", self.experts, hidden, TensorRole.ROUTER)]
        if self.router_bias:
            tensors.append(Tensor("router_bias", self.experts, 1, TensorRole.ROUTER, matrix=False))
        if self.router_scales:
            tensors.append(Tensor("router_scales", hidden + self.experts, 1, TensorRole.ROUTER, matrix=False))
        if self.hash_vocabulary:
            tensors.append(
                Tensor(
                    "hash_table",
                    self.hash_vocabulary,
                    self.top_k,
                    TensorRole.ROUTER,
                    matrix=False,
                    buffer=True,
                    bytes_each=4,
                )
            )
        if self.router_correction:
            tensors.append(
                Tensor("router_correction", self.experts, 1, TensorRole.ROUTER, matrix=False, buffer=True, bytes_each=4)
            )
        if self.latent_size is not None:
            tensors.append(Tensor("latent_in", width, hidden, TensorRole.OTHER))
            tensors.append(Tensor("latent_out", hidden, width, TensorRole.OTHER))
        feed_forward = partial(ffn_tensors, gated=self.gated, bias=self.bias)
        tensors += feed_forward(width, self.intermediate, TensorRole.EXPERTS, prefix="expert_", count=self.experts)
        if self.shared_intermediate:
            tensors += feed_forward(hidden, self.shared_intermediate, TensorRole.SHARED_EXPERTS, prefix="shared_")
            if self.shared_gate:
                tensors.append(Tensor("shared_gate", 1, hidden, TensorRole.ROUTER))
        if self.dense_intermediate:
            tensors += feed_forward(hidden, self.dense_intermediate, TensorRole.DENSE_FFN)
        return tuple(tensors)


FeedForward = Annotated[DenseFeedForward | MixtureOfExperts, Field(discriminator="kind")]

"""Bytes of weights that the fullest rank holds: local shapes first, then their format's scales, then the sum.

A rank's slice of a matrix is quantised as it stands, so block scales follow the local shape (vLLM and SGLang do so):
``stored(rows, cols) = ceil(rows * cols * bits / 8) + scale_bytes * ceil(rows / block) * ceil(cols / block)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from optimizer.domain.attention import Latents
from optimizer.domain.feedforward import MixtureOfExperts
from optimizer.domain.model import ModelSpec
from optimizer.domain.precision import ModelPrecision
from optimizer.domain.shape import Shape
from optimizer.domain.tensor import Split, Tensor, TensorRole

VOCAB_PADDING = 64
"""vLLM pads the vocabulary to a multiple of this before it divides it over ranks."""

NO_PADDING = (1, 1)


class Division(NamedTuple):
    """How ranks divide the weights of a layer.

    Attributes
    ----------
    tp
        Ranks that divide attention, dense blocks and (unless `shared_replicated`) shared experts.
    etp
        Ranks that divide each routed expert.
    local_experts
        Experts of a layer on the rank, redundant copies included; 0 for a dense layer.
    shared_replicated
        Shared experts whole on every rank: vLLM does so where tp > 1, dp > 1 and expert parallelism meet.
    """

    tp: int
    etp: int = 1
    local_experts: int = 0
    shared_replicated: bool = False


def division(shape: Shape, moe: MixtureOfExperts | None) -> Division:
    """How the ranks of a shape divide a layer with these experts."""
    local = shape.local_experts(moe.experts) if moe is not None else 0
    return Division(shape.tp, shape.etp, local, shape.shared_replicated)


@dataclass(frozen=True, slots=True)
class BlockWeights:
    """Bytes on the fullest rank, in four disjoint parts.

    Attributes
    ----------
    sharded_bytes
        Tensors that the tensor-parallel group divides (key and value heads too, though ranks may share one).
    replicated_bytes
        Tensors that every tensor-parallel rank holds whole: norms, routers, latent down-projections.
    expert_bytes
        The rank's routed experts.
    shared_expert_bytes
        The shared experts, divided or whole.
    """

    sharded_bytes: int = 0
    replicated_bytes: int = 0
    expert_bytes: int = 0
    shared_expert_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """All four parts."""
        return self.sharded_bytes + self.replicated_bytes + self.expert_bytes + self.shared_expert_bytes

    def __add__(self, other: BlockWeights) -> BlockWeights:
        return BlockWeights(
            self.sharded_bytes + other.sharded_bytes,
            self.replicated_bytes + other.replicated_bytes,
            self.expert_bytes + other.expert_bytes,
            self.shared_expert_bytes + other.shared_expert_bytes,
        )

    def __mul__(self, count: int) -> BlockWeights:
        return BlockWeights(
            self.sharded_bytes * count,
            self.replicated_bytes * count,
            self.expert_bytes * count,
            self.shared_expert_bytes * count,
        )


def round_up(number: int, multiple: int) -> int:
    """The least multiple that is no less."""
    return -(-number // multiple) * multiple


def tensor_bytes(tensor: Tensor, precision: ModelPrecision, ranks: int, *, vocab_padding: int = VOCAB_PADDING) -> int:
    """Bytes of one copy of `tensor` on the fullest of `ranks` ranks, scales included."""
    rows, cols = tensor.local_shape(ranks)
    if tensor.split is Split.VOCAB:
        rows = -(-round_up(tensor.rows, vocab_padding) // ranks)
    return precision.of(tensor).stored_bytes(rows, cols)


def _expert_bytes(
    tensor: Tensor, precision: ModelPrecision, etp: int, padding: tuple[int, int], scales_left: int
) -> int:
    """Bytes of one expert's tensor; `padding` rounds its width and its intermediate size up for a kernel."""
    rows, cols = tensor.local_shape(etp)
    outer, inner = padding
    if tensor.split is Split.ROWS:
        rows, cols = round_up(rows, inner), round_up(cols, outer) if tensor.matrix else cols
    else:
        rows, cols = round_up(rows, outer), round_up(cols, inner) if tensor.matrix else cols
    return precision.of(tensor).with_scales(scales_left).stored_bytes(rows, cols)


def _sum(
    tensors: Iterable[Tensor],
    precision: ModelPrecision,
    over: Division,
    *,
    vocab_padding: int = VOCAB_PADDING,
    expert_padding: tuple[int, int] = NO_PADDING,
    scales_left: int = 0,
) -> BlockWeights:
    sharded = replicated = experts = shared = 0
    for tensor in tensors:
        if tensor.role is TensorRole.EXPERTS:
            experts += _expert_bytes(tensor, precision, over.etp, expert_padding, scales_left) * over.local_experts
        elif tensor.role is TensorRole.SHARED_EXPERTS:
            shared += tensor_bytes(tensor, precision, 1 if over.shared_replicated else over.tp) * tensor.count
        else:
            size = tensor_bytes(tensor, precision, over.tp, vocab_padding=vocab_padding) * tensor.count
            if tensor.split is Split.REPLICATED:
                replicated += size
            else:
                sharded += size
    return BlockWeights(sharded, replicated, experts, shared)


def block_weights(
    model: ModelSpec,
    block_name: str,
    precision: ModelPrecision,
    over: Division,
    *,
    expert_padding: tuple[int, int] = NO_PADDING,
    scales_left: int = 0,
) -> BlockWeights:
    """Weights of one layer of kind `block_name` on its fullest rank.

    Parameters
    ----------
    expert_padding
        Multiples to which a kernel pads the experts' width and intermediate size (vLLM's MXFP4 kernels do).
    scales_left
        Bytes of each scale of an expert as it was loaded that stay beside those that a kernel reads.
    """
    tensors = model.blocks[block_name].tensors(model.hidden_size)
    return _sum(tensors, precision, over, expert_padding=expert_padding, scales_left=scales_left)


def input_weights(
    model: ModelSpec, precision: ModelPrecision, tp: int, *, vocab_padding: int = VOCAB_PADDING
) -> BlockWeights:
    """Embeddings and what else only the first stage holds."""
    return _sum(model.input_tensors(), precision, Division(tp), vocab_padding=vocab_padding)


def output_weights(
    model: ModelSpec,
    precision: ModelPrecision,
    tp: int,
    *,
    with_tied_head: bool,
    vocab_padding: int = VOCAB_PADDING,
) -> BlockWeights:
    """Head and final norm, which only the last stage holds.

    `with_tied_head`: the last stage is not the first, so that a head tied to the embedding is a second copy of it.
    """
    total = _sum(model.output_tensors(), precision, Division(tp), vocab_padding=vocab_padding)
    if model.tie_embeddings and with_tied_head:
        table = Tensor("tied_head", model.vocab_size, model.hidden_size, TensorRole.EMBEDDING, Split.VOCAB)
        total += _sum([table], precision, Division(tp), vocab_padding=vocab_padding)
    return total


def mtp_weights(model: ModelSpec, precision: ModelPrecision, over: Division) -> BlockWeights:
    """Multi-token-prediction layers, which the last stage holds where they are used; embedding and head are shared."""
    mtp_precision = precision if precision.mtp is None else ModelPrecision(weights=precision.mtp)
    return _sum(model.mtp_tensors(), mtp_precision, over)


def absorbed_copy_bytes(model: ModelSpec, block_name: str, tp: int) -> int:
    """Bytes of the 16-bit copies of latent attention's `kv_b_proj` that a rank holds beside the weights, for one layer.

    vLLM and SGLang decode in the absorbed form and unpack the matrix into two when the weights are loaded
    (vLLM `MLACommonImpl.process_weights_after_loading`); the checkpoint's own matrix stays for prefill.
    """
    kept = model.blocks[block_name].keeps
    return 2 * -(-kept.queries // tp) * kept.head_dim * kept.rank if isinstance(kept, Latents) else 0

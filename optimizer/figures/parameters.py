"""Parameters of a model, in all and by component, exactly.

Definitions, used wherever a parameter count is printed:

- *total*: every learned element of the main stack, its embedding and its head (a tied head counts once). Buffers
  (score-correction biases, fixed tables), vision towers and multi-token-prediction layers are apart.
- *active with embedding*: the total less the routed experts that a token does not use: ``experts * (1 - top_k / E)``.
- *active without embedding*: the same less the input embedding (with learned positions), and with a tied head also
  less the head, which is the same matrix. Publishers use either, so both are given.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from optimizer.domain.model import ModelSpec
from optimizer.domain.shape import Shape
from optimizer.domain.tensor import Split, Tensor, TensorRole

_COMPONENT: dict[TensorRole, str] = {
    TensorRole.EMBEDDING: "embeddings",
    TensorRole.ATTENTION: "attention",
    TensorRole.INDEXER: "attention",
    TensorRole.DENSE_FFN: "dense",
    TensorRole.EXPERTS: "experts",
    TensorRole.SHARED_EXPERTS: "shared",
    TensorRole.ROUTER: "router",
    TensorRole.NORM: "norms",
    TensorRole.LM_HEAD: "lm_head",
    TensorRole.OTHER: "other",
    TensorRole.MTP: "other",
}


@dataclass(frozen=True, slots=True)
class Components:
    """Learned elements by what they belong to; disjoint, and they add up to the total.

    `attention` includes indexers, `norms` every norm vector (those inside attention too), `router` the gate of shared
    experts, and `other` hyper-connections and the projections around latent experts.
    """

    embeddings: int = 0
    attention: int = 0
    dense: int = 0
    experts: int = 0
    shared: int = 0
    router: int = 0
    norms: int = 0
    lm_head: int = 0
    other: int = 0

    @property
    def total(self) -> int:
        """Sum of the components."""
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, slots=True)
class ParameterTable:
    """Parameter counts of one model; see the module for the definitions.

    Attributes
    ----------
    mtp
        Multi-token-prediction layers, without what they share with the model.
    mtp_copies
        Embedding and head that the checkpoint stores a second time for them.
    buffers
        Stored elements that are no parameters, those of multi-token-prediction layers included.
    vision
        Vision tower and projector.
    """

    total: int
    active_with_embedding: int
    active_without_embedding: int
    components: Components
    mtp: int
    mtp_copies: int
    buffers: int
    vision: int

    @property
    def checkpoint(self) -> int:
        """Elements that a checkpoint's file holds: totals on model hubs count these (scales of formats excluded)."""
        return self.total + self.mtp + self.mtp_copies + self.buffers + self.vision


def _count(tensors: Iterable[Tensor]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for tensor in tensors:
        name = "buffers" if tensor.buffer else _COMPONENT.get(tensor.role, "vision")
        counts[name] = counts.get(name, 0) + tensor.elements
    return counts


def parameter_table(model: ModelSpec) -> ParameterTable:
    """Count the parameters of `model`."""
    counts = _count((*model.input_tensors(), *model.output_tensors()))
    active_experts = 0
    for name in model.blocks:
        layers = model.layer_names.count(name)
        block = model.blocks[name]
        for component, elements in _count(block.tensors(model.hidden_size)).items():
            counts[component] = counts.get(component, 0) + elements * layers
            if component == "experts" and block.moe is not None:
                # Experts are alike, so the quotient is whole.
                active_experts += elements // block.moe.experts * block.moe.top_k * layers
    buffers, vision = counts.pop("buffers", 0), counts.pop("vision", 0)
    components = Components(**counts)
    active = components.total - components.experts + active_experts
    mtp = _count(model.mtp_tensors())
    copies = 0
    if model.mtp is not None and model.mtp.own_embedding:
        copies = model.mtp.count * 2 * model.vocab_size * model.hidden_size
    return ParameterTable(
        total=components.total,
        active_with_embedding=active,
        active_without_embedding=active - components.embeddings,
        components=components,
        mtp=sum(elements for name, elements in mtp.items() if name != "buffers"),
        mtp_copies=copies,
        buffers=buffers + mtp.get("buffers", 0),
        vision=vision,
    )


def parameters_held(model: ModelSpec, shape: Shape, first: int, layers: int) -> int:
    """Parameters that the fullest device of a stage of `layers` layers from layer `first` holds.

    As `parameter_table` counts: without buffers, vision and multi-token prediction; vocabularies without padding. A
    head tied to the embedding counts once more on a last stage that is not the first, which holds a copy of it.
    """
    names = model.layer_names[first : first + layers]
    parameters = sum(
        names.count(name)
        * sum(_held(t, shape, block.moe.experts if block.moe else 0) for t in block.tensors(model.hidden_size))
        for name, block in model.blocks.items()
        if name in names
    )
    starts, ends = first == 0, first + layers == model.layer_count
    if starts:
        parameters += sum(_held(tensor, shape, 0) for tensor in model.input_tensors())
    if ends:
        parameters += sum(_held(tensor, shape, 0) for tensor in model.output_tensors())
        if model.tie_embeddings and not starts:
            parameters += _held(
                Tensor("tied_head", model.vocab_size, model.hidden_size, TensorRole.EMBEDDING, Split.VOCAB), shape, 0
            )
    return parameters


def _held(tensor: Tensor, shape: Shape, experts: int) -> int:
    """Elements of a tensor, all its copies, on the fullest device."""
    if tensor.buffer or tensor.role is TensorRole.VISION:
        return 0
    if tensor.role is TensorRole.EXPERTS:
        ranks, copies = shape.etp, shape.local_experts(experts)
    else:
        whole = tensor.role is TensorRole.SHARED_EXPERTS and shape.shared_replicated
        ranks, copies = 1 if whole else shape.tp, tensor.count
    rows, cols = tensor.local_shape(ranks)
    return rows * cols * copies

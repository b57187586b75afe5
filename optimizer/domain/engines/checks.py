"""Conditions, and whole rules, that several engines have, each a function of its words: what divides what."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from optimizer.domain.attention import Heads, Latents, Mixer, State
from optimizer.domain.capability import capability
from optimizer.domain.engines.rule import Breach, EngineRule, Premise
from optimizer.domain.feedforward import DenseFeedForward, MixtureOfExperts
from optimizer.domain.precision import FORMATS, Format
from optimizer.domain.shape import Shape
from optimizer.domain.tensor import Split, Tensor, TensorRole

FIRST_COMPRESSED = 9
"""Generation from which on some release has kernels of DeepSeek-V4's attention: on 12 it ran before vLLM's own had."""
SPLIT_BY_TP = frozenset(TensorRole) - {TensorRole.EXPERTS}
"""Roles whose tensors the tensor-parallel ranks share; routed experts are shared by etp."""


def moes(premise: Premise) -> Iterator[tuple[str, MixtureOfExperts]]:
    """Blocks of the main stack that have routed experts."""
    if premise.model.moe is not None:
        for name, block in premise.model.blocks.items():
            if block.moe is not None:
                yield name, block.moe


def devices_of(engine: str, vendors: Collection[str], source: str) -> EngineRule:
    """The engine exists for devices of some vendors; whose a device is that names none, nobody knows."""
    *most, last = sorted(vendors)
    whose = f"{', '.join(most)} and {last}" if most else last

    def breach(premise: Premise, _: Shape) -> str | None:
        device = premise.hardware.device
        if not device.vendor or device.vendor in vendors:
            return None
        return f"{engine} runs on devices of {whose}, and {device.name} is one of {device.vendor}."

    return EngineRule("devices", f"devices are those of {whose}", (), breach, source)


def sparse_attention_devices(majors: Collection[int], source: str, statement: str) -> EngineRule:
    """Sparse latent attention has kernels for some generations of NVIDIA's devices; DeepSeek-V4's for none before 9."""

    def breach(premise: Premise, _: Shape) -> str | None:
        device, model = premise.hardware.device, premise.model
        sparse = any(isinstance(kept, Latents) and kept.indexer is not None for kept in model.kept)
        known = capability(device) if sparse or model.compressed else None
        if known is None or known[0] in majors or (not sparse and known[0] >= FIRST_COMPRESSED):
            return None
        return (
            "No valid attention backend found for cuda with AttentionSelectorConfig(use_mla=True, use_sparse=True): "
            f"compute capability {known[0]}.{known[1]} of {device.name} not supported."
        )

    return EngineRule("sparse_attention", statement, (), breach, source)


Capabilities = tuple[tuple[int, int], tuple[int, int]]
"""The least compute capability, and the first that is none of them any more."""


def number_formats(
    kernels: Mapping[str, Capabilities],
    sentence: str,
    source: str,
    statement: str,
    roles: Collection[TensorRole] = frozenset(TensorRole),
) -> EngineRule:
    """Formats of matrices have kernels for some of NVIDIA's devices; `sentence` takes format, least, own and device."""

    def breach(premise: Premise, _: Shape) -> str | None:
        device, model = premise.hardware.device, premise.model
        own = capability(device)
        if own is None:
            return None
        stored = [
            model.precision.of(tensor)
            for block in model.blocks.values()
            for tensor in block.tensors(model.hidden_size)
            if tensor.matrix and tensor.role in roles
        ]
        for name, (least, beyond) in kernels.items():
            if not least <= own < beyond and FORMATS[name] in stored:
                return sentence.format(format=name, least=_number(least), own=_number(own), device=device.name)
        return None

    return EngineRule("number_formats", statement, (), breach, source)


def _number(capability_of: tuple[int, int]) -> int:
    return 10 * capability_of[0] + capability_of[1]


def no_overlap(source: str, statement: str = "no two-batch overlap") -> EngineRule:
    """The engine runs a step whole."""

    def breach(premise: Premise, shape: Shape) -> str | None:
        message = f"two-batch overlap is not supported for {premise.model.name}: a step runs whole."
        return message if shape.overlap else None

    return EngineRule("two_batch_overlap", statement, ("overlap",), breach, source)


def overlap_hides_exchange(sentence: str) -> Breach:
    """Two-batch overlap hides the exchange between ranks of attention with experts of their own.

    `sentence` takes dp, cp, etp, ep and edp.
    """

    def breach(premise: Premise, shape: Shape) -> str | None:
        if not shape.overlap or (shape.spread and premise.model.moe is not None):
            return None
        if premise.model.moe is None:
            return f"two-batch overlap hides the exchange of experts, and {premise.model.name} has none."
        return sentence.format(dp=shape.dp, cp=shape.cp, etp=shape.etp, ep=shape.ep, edp=shape.edp)

    return breach


def layers_without_experts_lead(premise: Premise) -> bool:
    """Whether no layer without experts comes after the first with them."""
    names = premise.model.layer_names
    sparse = [premise.model.blocks[name].moe is not None for name in names]
    return sparse == sorted(sparse)


MAMBA2 = State(mixer=Mixer.MAMBA2)
MAMBA_HEADS = (
    "Tensor parallel world size must divide num heads. ({heads} heads ÷ tp={tp}.)",
    "If tensor parallel world size does not divide num_groups, then num_groups must equal 1. ({heads}, tp={tp}.)",
)
"""vLLM's words, and SGLang's, of layers of Mamba (mamba_mixer2.py, srt/layers/attention/mamba/mamba.py)."""


def attention_heads(sentence: str, source: str, tp: str = "tp", *, mamba: tuple[str, str] | None = None) -> EngineRule:
    """Query heads (and those of linear attention) divide by tp; `sentence` takes heads and tp, by the engine's name.

    `mamba` is said of layers of Mamba, where all others are kept: of their heads, and of groups of them (heads, tp).
    """

    def breach(premise: Premise, shape: Shape) -> str | None:
        kinds = [block.attention for block in premise.model.blocks.values() if block.attention is not None]
        for kind in sorted(kinds, key=lambda kind: kind.keeps == MAMBA2):
            counts = kind.head_counts
            said = mamba if mamba is not None and kind.keeps == MAMBA2 else (sentence,) * len(counts)
            for heads, words in zip(counts, said, strict=False):
                if heads % shape.tp:
                    return words.format(heads=heads, tp=shape.tp)
        return None

    return EngineRule("attention_heads", f"{tp} divides the attention heads", ("tp",), breach, source)


def kv_heads(
    sentence: str, source: str, tp: str = "tp", *, name: str = "kv_heads", heads: str = "key/value heads"
) -> EngineRule:
    """Key/value heads, as the engine names them, divide by its `tp` or it by them; `sentence` takes kv and tp."""

    def breach(premise: Premise, shape: Shape) -> str | None:
        for block in premise.model.blocks.values():
            kv = block.attention.kv_head_count if block.attention is not None else None
            if kv is not None and kv % shape.tp and shape.tp % kv:
                return sentence.format(kv=kv, tp=shape.tp)
        return None

    return EngineRule(name, f"{tp} divides the {heads} or is a multiple of them", ("tp",), breach, source)


def vision_heads(sentence: str, source: str, tp: str = "tp") -> EngineRule:
    """Heads of a vision encoder that tensor parallelism divides; `sentence` takes heads and tp."""

    def breach(premise: Premise, shape: Shape) -> str | None:
        vision = premise.model.vision
        if vision is None or vision.heads is None or not vision.sharded or vision.heads % shape.tp == 0:
            return None
        return sentence.format(heads=vision.heads, tp=shape.tp)

    statement = f"{tp} divides the heads of the vision encoder, unless it runs data-parallel"
    return EngineRule("vision_heads", statement, ("tp",), breach, source)


def vocabulary_divides(padding: int, sentence: str) -> Breach:
    """The vocabulary padded to `padding` divides by tp; `sentence` takes padded and tp."""

    def breach(premise: Premise, shape: Shape) -> str | None:
        padded = -(-premise.model.vocab_size // padding) * padding
        return sentence.format(padded=padded, tp=shape.tp) if padded % shape.tp else None

    return breach


def experts_use_all_ranks(premise: Premise, shape: Shape) -> str | None:
    """Experts are divided over all ranks of a replica: EP = all of them, or all of them share each expert."""
    if premise.model.moe is None or (shape.edp == 1 and (shape.etp == 1 or shape.ep == 1)):
        return None
    ranks = shape.stage_devices
    return (
        f"experts are divided over all {ranks} ranks of a replica, by ep={ranks} or by etp={ranks}; "
        f"here etp={shape.etp}, ep={shape.ep}, {shape.edp} copies of every expert a replica."
    )


def even_experts(
    sentence: str,
    source: str,
    statement: str,
    *,
    name: str = "even_experts",
    asks: Callable[[Premise, Shape], bool] = lambda _, __: True,
) -> EngineRule:
    """Experts and their redundant copies divide by ep; `sentence` takes experts, redundant, physical and ep.

    `asks` says whether the engine asks it of a model and a shape.
    """

    def breach(premise: Premise, shape: Shape) -> str | None:
        if not asks(premise, shape):
            return None
        for _, moe in moes(premise):
            physical = moe.experts + shape.redundant
            if physical % shape.ep:
                return sentence.format(experts=moe.experts, redundant=shape.redundant, physical=physical, ep=shape.ep)
        return None

    return EngineRule(name, statement, ("ep", "redundant"), breach, source)


def no_redundant_experts(source: str) -> EngineRule:
    """The engine holds every expert of a layer once."""

    def breach(premise: Premise, shape: Shape) -> str | None:
        message = f"{shape.redundant} redundant experts: the engine holds every expert of a layer once."
        return message if shape.redundant and premise.model.moe is not None else None

    return EngineRule("no_redundant_experts", "every expert of a layer is held once", ("redundant",), breach, source)


def expert_width(sentence: str, source: str, statement: str) -> EngineRule:
    """The experts' width divides by etp; `sentence` takes width and etp."""

    def breach(premise: Premise, shape: Shape) -> str | None:
        for _, moe in moes(premise):
            if moe.intermediate % shape.etp:
                return sentence.format(width=moe.intermediate, etp=shape.etp)
        return None

    return EngineRule("expert_width", statement, ("etp",), breach, source)


def tp_within_experts(
    width: str, statement: str, source: str, asks: Callable[[Premise], bool] = lambda _: True
) -> EngineRule:
    """No more of the ranks that the engine calls tensor-parallel (`width` of a shape) than experts, in models asked."""

    def breach(premise: Premise, shape: Shape) -> str | None:
        tp: int = getattr(shape, width)
        for _, moe in moes(premise) if asks(premise) else ():
            if tp > moe.experts:
                return f"Tensor parallel size {tp} is greater than the number of experts {moe.experts}."
        return None

    return EngineRule("tp_within_experts", statement, (width,), breach, source)


def context_parallel_latent(premise: Premise, shape: Shape) -> str | None:
    """Context parallelism is built for latent attention alone."""
    kinds = (block.attention for block in premise.model.blocks.values() if block.attention is not None)
    others = {kind.kind for kind in kinds if not isinstance(kind.keeps, Latents)}
    if shape.cp == 1 or not others:
        return None
    listed = ", ".join(sorted(others))
    return f"prefill context parallelism (cp={shape.cp}) exists for latent attention (MLA) alone, not for {listed}."


def no_context_parallel(premise: Premise, shape: Shape) -> str | None:
    """The engine has no context parallelism for this model."""
    return f"context parallelism (cp={shape.cp}) is not supported for {premise.model.name}." if shape.cp > 1 else None


def states_in_groups(sentence: str) -> Breach:
    """Layers that keep a state and layers that keep tokens cannot share blocks of one kind."""

    def breach(premise: Premise, _: Shape) -> str | None:
        stated = {isinstance(kept, State) for kept in premise.model.kept}
        return sentence if premise.workload.hybrid_cache is False and len(stated) > 1 else None

    return breach


def no_decode_context_parallel(source: str) -> EngineRule:
    """The engine cannot split the cache of a sequence over tensor-parallel ranks."""

    def breach(premise: Premise, shape: Shape) -> str | None:
        dcp = premise.workload.decode_context_parallel
        return None if dcp == 1 else f"decode context parallelism ({dcp}, at tp={shape.tp}) is not supported."

    return EngineRule("decode_context_parallel", "no decode context parallelism", ("tp",), breach, source)


def decode_context_parallel(divides: str, copies: str, statement: str, source: str) -> EngineRule:
    """Copies of key/value heads on tensor-parallel ranks hold a sequence between them.

    Parameters
    ----------
    divides, copies
        Sentences where tp is no multiple of dcp (tp, dcp), and where there are fewer copies of a key/value head than
        dcp (dcp, most, tp, kv).
    """

    def breach(premise: Premise, shape: Shape) -> str | None:
        dcp, tp = premise.workload.decode_context_parallel, shape.tp
        if dcp == 1:
            return None
        if shape.cp > 1:
            return f"decode context parallelism ({dcp}) is not modelled beside context parallelism (cp={shape.cp})."
        if tp % dcp:
            return divides.format(tp=tp, dcp=dcp)
        for name, block in premise.model.blocks.items():
            kept = block.keeps
            if kept is not None and kept.window is not None:
                return f"DCP does not support sliding windows (block {name!r})."
            if not isinstance(kept, Heads):
                continue
            if dcp > tp // kept.kv_heads:
                return copies.format(dcp=dcp, most=max(1, tp // kept.kv_heads), tp=tp, kv=kept.kv_heads)
            queries = kept.queries // kept.kv_heads
            if queries % dcp:
                return (
                    f"The model's number of query heads per KV head ({queries}) must be divisible by "
                    f"`--decode-context-parallel-size` ({dcp}) for GQA/MQA."
                )
        return None

    reads, apart = ("tp", "cp"), ("tp", "context_parallel")
    return EngineRule("decode_context_parallel", statement, reads, breach, source, apart)


def has_latent_experts(premise: Premise) -> bool:
    """The DeepSeek family: latent attention and routed experts."""
    return premise.model.latent and premise.model.moe is not None


def _quantised(premise: Premise, roles: Collection[TensorRole]) -> Iterator[tuple[str, Tensor, Format]]:
    """Matrices of some roles that are stored in blocks or groups."""
    for name, block in premise.model.blocks.items():
        for tensor in block.tensors(premise.model.hidden_size):
            form = premise.model.precision.of(tensor)
            if tensor.matrix and tensor.role in roles and form.block_cols > 1:
                yield name, tensor, form


def _ranks(tensor: Tensor, shape: Shape) -> tuple[str, int]:
    if tensor.role is TensorRole.EXPERTS:
        return "etp", shape.etp
    replicated = tensor.role is TensorRole.SHARED_EXPERTS and shape.shared_replicated
    return "tp", 1 if replicated else shape.tp


Exempt = Callable[[Premise, Tensor], bool]
"""Whether an engine takes any share of a tensor of a model."""


def blocks_of_heads(premise: Premise, tensor: Tensor) -> bool:
    """Queries, keys and values whose blocks end with each head: MiMo's, whose values are narrower than its keys."""
    apart = any(isinstance(kept, Heads) and kept.value_dim != kept.key_dim for kept in premise.model.kept)
    return apart and tensor.merged and tensor.role is TensorRole.ATTENTION


def blocks_of_heads_or_padded(premise: Premise, tensor: Tensor) -> bool:
    """The same, and DeepSeek-V4's shared experts, which are padded to whole blocks of every rank."""
    padded = tensor.role is TensorRole.SHARED_EXPERTS and premise.model.compressed
    return padded or blocks_of_heads(premise, tensor)


def _blocks_divide(
    roles: Collection[TensorRole],
    columns: str,
    rows: str,
    merged: str | None = None,
    exempt: Exempt | None = None,
) -> Breach:
    """A rank's share of a matrix stored in square blocks is whole blocks: inputs along columns, outputs along rows.

    Sentences take size (the rank's) and block. `merged` is said of the outputs of merged layers, whose shape is not
    asked: later, as scales are loaded, some rank's start and length exceed the whole of them.
    """

    def breach(premise: Premise, shape: Shape) -> str | None:
        found = sorted(_quantised(premise, roles), key=lambda entry: merged is not None and entry[1].merged)
        for name, tensor, form in found:
            axis, ranks = _ranks(tensor, shape)
            if form.block_rows <= 1 or ranks == 1 or (exempt is not None and exempt(premise, tensor)):
                continue
            local_rows, local_cols = tensor.local_shape(ranks)
            inward = tensor.split is Split.COLS
            size, block = (local_cols, form.block_cols) if inward else (local_rows, form.block_rows)
            if tensor.split is Split.REPLICATED or size % block == 0:
                continue
            length, where = tensor.cols if inward else tensor.rows, f"{tensor.name} of block {name!r}"
            sentence = columns if inward else merged if merged is not None and tensor.merged else rows
            scales, own = -(-length // block), -(-size // block)
            message = sentence.format(size=size, block=block, start=scales // own * own, length=own, whole=scales)
            return f"{message} ({where}: {length} ÷ {axis}={ranks}.)"
        return None

    return breach


def fp8_blocks(
    columns: str, rows: str, source: str, *, of: str = "", merged: str | None = None, exempt: Exempt | None = None
) -> EngineRule:
    """Matrices that tensor parallelism divides, as `_blocks_divide`; `of` says which, where the engine does."""
    statement = f"a rank's share of every FP8-block linear layer{of} is whole blocks"
    breach = _blocks_divide(SPLIT_BY_TP, columns, rows, merged, exempt)
    return EngineRule("fp8_blocks", statement, ("tp", "shared_replicated"), breach, source)


def fp8_expert_blocks(columns: str, rows: str, source: str) -> EngineRule:
    """Matrices of experts, as `_blocks_divide`."""
    statement = "a rank's share of an FP8-block expert is whole blocks"
    return EngineRule(
        "fp8_expert_blocks", statement, ("etp",), _blocks_divide({TensorRole.EXPERTS}, columns, rows), source
    )


def quantisation_groups(sentence: str, source: str) -> EngineRule:
    """A rank's inputs of a matrix quantised in groups are whole groups; `sentence` takes size and group."""

    def breach(premise: Premise, shape: Shape) -> str | None:
        for name, tensor, form in _quantised(premise, frozenset(TensorRole)):
            axis, ranks = _ranks(tensor, shape)
            if form.block_rows != 1 or (form.bits == 4 and form.compute == "fp4") or tensor.split is not Split.COLS:
                continue
            size = tensor.local_shape(ranks)[1]
            if ranks > 1 and size % form.block_cols:
                where = f"{tensor.name} of block {name!r}: {tensor.cols} ÷ {axis}={ranks}"
                return f"{sentence.format(size=size, group=form.block_cols)} ({where}.)"
        return None

    statement = "a rank's inputs of every group-quantised matrix (GPTQ, AWQ, compressed-tensors) are whole groups"
    return EngineRule("quantisation_groups", statement, ("tp", "etp", "shared_replicated"), breach, source)


def feed_forward_widths(sentence: str, source: str, tp: str = "tp") -> EngineRule:
    """Widths of dense and shared feed-forward blocks divide by tp; `sentence` takes width and tp."""

    def breach(premise: Premise, shape: Shape) -> str | None:
        for block in premise.model.blocks.values():
            ffn, ranks = block.ffn, shape.tp
            widths = [] if ffn is None else [ffn.intermediate] if isinstance(ffn, DenseFeedForward) else [
                ffn.dense_intermediate, 0 if shape.shared_replicated else ffn.shared_intermediate
            ]  # fmt: skip
            for width in widths:
                if width % ranks:
                    return sentence.format(width=width, tp=ranks)
        return None

    statement = f"{tp} divides the widths of dense and shared feed-forward layers"
    return EngineRule("feed_forward_widths", statement, ("tp", "shared_replicated"), breach, source)

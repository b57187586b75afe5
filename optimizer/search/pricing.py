"""Step times and memory of many mesh pairs at once, in floats: the vectorised twin of figures/costs.py and memory.py.

Written apart from the reference on purpose: the two are compared by tests, and whatever lies within `MARGIN` of a limit
or of the incumbent is decided by the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np

from optimizer.domain.attention import Entries
from optimizer.domain.feedforward import MixtureOfExperts
from optimizer.domain.model import Block
from optimizer.domain.precision import ACTIVATION_BYTES, KV_BYTES, Format, ModelPrecision
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.domain.tensor import Split, Tensor, TensorRole
from optimizer.errors import InternalError
from optimizer.figures.cache import CacheLayout
from optimizer.figures.memory import compressed_elements, expert_padding, hidden_elements, keeps_experts, scales_left
from optimizer.figures.overlap import EXCHANGE_UNITS
from optimizer.figures.reserve import context_bytes, default_sequences, default_tokens, fixed_bytes, layer_bytes
from optimizer.figures.routing import (
    EXPERT_UNITS,
    PAIR_UNITS,
    hottest_experts,
    hottest_pairs,
)
from optimizer.figures.skew import Skews
from optimizer.figures.weights import absorbed_copy_bytes
from optimizer.search.collectives import Collectives, OpenCollectives, send
from optimizer.search.kinds import ExpertExchange, KindCost, RooflineGroup, Routed, Table
from optimizer.search.lattice import Floats, Ints, Meshes
from optimizer.search.rates import float_rates

MARGIN = 1e-9
"""Relative margin within which floats decide nothing."""

OPERATIONS = {"attention": 4, "indexer": 2, "dense_ffn": 3, "router": 2, "experts": 4, "shared_experts": 3}


def _ceil_div(top: int, bottom: Ints) -> Ints:
    return -(-top // bottom)


def _local(tensor: Tensor, ranks: Ints) -> tuple[Ints, Ints]:
    rows = np.full_like(ranks, tensor.rows)
    cols = np.full_like(ranks, tensor.cols)
    if tensor.split in (Split.ROWS, Split.VOCAB):
        rows = _ceil_div(tensor.rows, ranks)
    elif tensor.split is Split.COLS:
        cols = _ceil_div(tensor.cols, ranks)
    elif tensor.split is Split.KV_ROWS:
        rows = tensor.rows // tensor.heads * _ceil_div(tensor.heads, ranks)
    return rows, cols


def _stored(form: Format, rows: Ints, cols: Ints) -> Ints:
    size = -(-rows * cols * form.bits // 8)
    if form.scale_bytes:
        block_rows = form.block_rows or rows
        block_cols = form.block_cols or cols
        size = size + form.scale_bytes * (-(-rows // block_rows)) * (-(-cols // block_cols))
    return size


def _padded(tensor: Tensor, rows: Ints, cols: Ints, padding: tuple[int, int]) -> tuple[Ints, Ints]:
    """An expert's matrix as a kernel pads it: width and intermediate size in whole multiples."""
    outer, inner = padding
    if tensor.split is not Split.ROWS:
        outer, inner = inner, outer
    # rows are the intermediate size where the matrix is divided by rows
    rows = -(-rows // inner) * inner
    return rows, -(-cols // outer) * outer if tensor.matrix else cols


class Pricer:
    """Coefficients of every mesh pair of a problem.

    Parameters
    ----------
    problem
        What is priced.
    found
        Mesh pairs.
    replica
        Devices of a replica of each pair: decides which tiers its groups span. Where not given, times bound those of
        every replica from one stage on.
    """

    def __init__(
        self, problem: Problem, meshes: Meshes, replica: Ints | None = None, skews: Skews | None = None
    ) -> None:
        self.problem, self.meshes = problem, meshes
        self.skews = skews or Skews(problem)
        self.padding, self.cache = expert_padding(problem), CacheLayout(problem)
        self.rates = float_rates(problem.priced_hardware)
        shared = 1 - float(EXCHANGE_UNITS) if problem.workload.prompts else 1.0
        self.slower = np.where(meshes.overlap > 0, 1 / shared, 1.0)
        self.collectives = (
            OpenCollectives(problem, meshes) if replica is None else Collectives(problem, meshes, replica)
        )
        self.send_fixed, self.send_each = send(problem, meshes, replica)
        self.whole_shared = (meshes.tp > 1) & (meshes.dp > 1) & (meshes.ep > 1)
        names = list(dict.fromkeys(problem.model.layer_names))
        self.counts = [problem.model.layer_names.count(name) for name in names]
        blocks = [problem.model.blocks[name] for name in names]
        self.kinds = [self._kind(block, self._skew(block)) for block in blocks]
        # a kind stands for the mean of its layers, of which one may be balanced, where loads were measured
        self.cheapest = (
            [self._kind(block, None if block.moe is None else np.ones(len(meshes))) for block in blocks]
            if self.skews.measured
            else self.kinds
        )
        self.head = self._head()
        self.graphs = [self._kept_for(problem.model.blocks[name]) for name in names]
        self.weights = [
            self._weights(problem.model.blocks[name].tensors(problem.model.hidden_size)) + self._absorbed(name) + graphs
            for name, graphs in zip(names, self.graphs, strict=True)
        ]
        reservation, stated = problem.engine.reservation, problem.limits.kv_cache_memory
        self.stated, self.budget = stated is not None, float(problem.capacity_bytes if stated is None else stated)
        self.sized = None if reservation.static_fraction else (default_tokens(problem), default_sequences(problem))
        self.graphs_in_budget = not reservation.static_fraction or problem.limits.reserve is not None
        self._admitted: dict[int, Floats] = {}
        alone, spread, divided = (
            fixed_bytes(problem, shape) for shape in (Shape(1, 1, 1, 1, 1), Shape(1, 1, 1, 2, 1), Shape(2, 1, 1, 1, 1))
        )
        self.reserve = np.where(meshes.tp > 1, divided, np.where(meshes.stage > 1, spread, alone)).astype(float)
        self.input = self._weights(problem.model.input_tensors())
        self.output = self._weights(problem.model.output_tensors())
        tied = problem.model.input_tensors()[0]
        self.tied = self._weights((tied,)) if problem.model.tie_embeddings else np.zeros(len(meshes))
        self.sequence = [self._sequence(problem.model.blocks[name]) for name in names]
        drafting = problem.workload.mtp_tokens > 0 and problem.model.mtp is not None
        drafted = problem.model.blocks[problem.model.mtp.block] if drafting and problem.model.mtp else None
        self.draft = None if drafted is None else self._kind(drafted, self._skew(drafted), whole=True)
        if drafting:
            precision = problem.precision.mtp
            self.output = self.output + self._weights(
                problem.model.mtp_tensors(),
                problem.precision if precision is None else ModelPrecision(weights=precision),
            )
        self.working_token, self.hidden = self._working()

    def _linear(
        self, tensors: list[Tensor], ranks: Ints, spread: Ints, *, split: Floats | None = None
    ) -> RooflineGroup | None:
        """Matrices of one kind; where `split` is 1, of half a step."""
        precision = self.problem.precision
        flop, weight, moved, any_matrix = np.zeros(len(ranks)), np.zeros(len(ranks)), np.zeros(len(ranks)), False
        for tensor in tensors:
            rows, cols = _local(tensor, ranks)
            form = precision.of(tensor)
            padded = rows
            if tensor.split is Split.VOCAB:
                padded = _ceil_div(-(-tensor.rows // 64) * 64, ranks)
            byte = self.rates.byte_4bit if form.bits <= 4 else self.rates.byte
            weight = weight + _stored(form, padded, cols) * float(tensor.count) * byte
            if tensor.matrix:
                any_matrix = True
                moved = moved + (rows + cols) * float(tensor.count)
                flop = flop + 2.0 * rows * cols * tensor.count / spread * self.rates.flop[form.compute]
        if not any_matrix:
            return None
        io = moved * float(ACTIVATION_BYTES[precision.activations]) / spread * self.rates.byte
        slack = spread.astype(float) - 1
        if split is None:
            return RooflineGroup(flop + io, weight, io, slack)
        share = 1 - split / 2
        return RooflineGroup((flop * self.slower + io) * share, weight, io * share, slack / share)

    def _kind(self, block: Block, skew: Floats | None, *, whole: bool = False) -> KindCost:
        """Coefficients of a kind of layer; `whole`: of a step that is not split, whatever the overlap."""
        meshes, problem, rates = self.meshes, self.problem, self.rates
        split = None if whole or not np.any(meshes.overlap) else meshes.overlap.astype(float)
        hidden = problem.model.hidden_size
        by_role: dict[TensorRole, list[Tensor]] = {}
        for tensor in block.tensors(hidden):
            by_role.setdefault(tensor.role, []).append(tensor)
        groups, operations = [], 0
        for role, tensors in by_role.items():
            if role in (TensorRole.NORM, TensorRole.EXPERTS):
                continue
            group = self._matrices(role, tensors, split)
            operations += OPERATIONS.get(role.value, 1)
            if group is not None:
                groups.append(group)
        routed = None
        if block.moe is not None:
            routed = self._routed(block.moe, skew, split)
        cores = self._attention(block, split=split is not None)
        per_token, per_prompt, per_seq, latency = self.collectives.layer(block)
        exchange = self._exchange(block.moe, skew)
        fixed = latency + rates.launch * operations
        share: float | Floats = 1.0
        if split is None:
            fixed = fixed + exchange.dispatch_fixed + exchange.combine_fixed + exchange.launch
            per_token = per_token + exchange.dispatch + exchange.combine
        else:
            share = 1 - split / 2
            exchange = replace(
                exchange, split=split, dispatch=exchange.dispatch * share, combine=exchange.combine * share
            )
        decode, prefill_flop, prefill_read = (core * share for core in cores)
        return KindCost(
            groups=tuple(groups),
            routed=routed,
            decode=decode,
            prefill_flop=prefill_flop,
            prefill_read=prefill_read,
            per_token=per_token * share,
            per_prompt=per_prompt * share,
            per_seq=per_seq * share,
            fixed=fixed,
            exchange=None if split is None else exchange,
        )

    def _matrices(self, role: TensorRole, tensors: list[Tensor], split: Floats | None) -> RooflineGroup | None:
        """Matrices of one role of a layer, routed experts apart."""
        meshes = self.meshes
        if role is not TensorRole.SHARED_EXPERTS:
            return self._linear(tensors, meshes.tp, meshes.cp, split=split)
        ranks, spread = np.where(self.whole_shared, 1, meshes.tp), np.where(self.whole_shared, meshes.tp, 1) * meshes.cp
        return self._linear(tensors, ranks, spread, split=split)

    def _exchange(self, moe: MixtureOfExperts | None, skew: Floats | None) -> ExpertExchange:
        """Dispatch and combine of a whole step."""
        zero = np.zeros(len(self.meshes))
        if moe is None:
            return ExpertExchange(zero, zero, zero, zero, zero, zero)
        dispatch, combine, latency = self.collectives.exchange(moe, skew)
        return ExpertExchange(
            zero, dispatch, latency, combine, latency, zero + self.rates.launch * OPERATIONS["experts"]
        )

    def _skew(self, block: Block) -> Floats | None:
        """Hottest device's load ÷ mean of this kind of layer, the mean over its layers; None: balanced."""
        if block.moe is None or not self.skews.measured:
            return None
        meshes, names = self.meshes, self.problem.model.layer_names
        layer = next(i for i, name in enumerate(names) if self.problem.model.blocks[name] is block)
        skews: dict[tuple[int, int], float] = {}
        for ep, redundant in set(zip(meshes.ep.tolist(), meshes.redundant.tolist(), strict=True)):
            means = self.skews.mean(Shape(1, 1, 1, ep, 1, redundant))
            skews[ep, redundant] = 1.0 if means is None else float(means[layer])
        return np.array([skews[key] for key in zip(meshes.ep.tolist(), meshes.redundant.tolist(), strict=True)])

    def _routed(self, moe: MixtureOfExperts, skew: Floats | None, split: Floats | None) -> Routed | None:
        meshes, precision, hidden = self.meshes, self.problem.precision, self.problem.model.hidden_size
        width = moe.expert_width(hidden)
        size, flop = np.zeros(len(meshes)), np.zeros(len(meshes))
        for tensor in moe.tensors(hidden):
            if tensor.role is not TensorRole.EXPERTS:
                continue
            rows, cols = _local(tensor, meshes.etp)
            size = size + _stored(precision.of(tensor), rows, cols)
            if tensor.matrix:
                flop = flop + 2.0 * rows * cols * self.rates.expert_flop[precision.of(tensor).compute]
        local = np.minimum(-(-(moe.experts + meshes.redundant) // meshes.ep), moe.experts)
        slots = np.where((meshes.redundant > 0) | (skew is not None), local * meshes.ep, moe.experts)
        share = 1.0 if skew is None else skew
        act = float(ACTIVATION_BYTES[precision.activations])
        moved = (2 * width + 3 * -(-moe.intermediate // meshes.etp)) * act * share
        moved = moved * self.rates.byte * self.rates.expert_passes
        if split is not None:
            flop = flop * self.slower
        wanted = np.stack([slots, local, meshes.ep], axis=1)
        return Routed(
            flop=flop * share + moved,
            read=size * self.rates.byte,
            io=np.asarray(moved, dtype=np.float64),
            spread=meshes.dp / meshes.edp * (1.0 if split is None else 1 - split / 2),
            slack=1.0 - np.gcd(meshes.dp, meshes.edp) / meshes.edp,
            reads=Table.of(wanted, lambda _, held, ep: hottest_experts(moe.experts, moe.top_k, held, ep), EXPERT_UNITS),
            pairs=Table.of(wanted, lambda of, held, ep: hottest_pairs(of, moe.top_k, held, ep), PAIR_UNITS),
        )

    def _attention(self, block: Block, *, split: bool) -> tuple[Floats, Floats, Floats]:
        """Seconds a decoding sequence, a prompt token (FLOPs) and a pass over the prefix (bytes) take, by tp and cp.

        `split`: with what an overlapping exchange takes of the compute units.
        """
        attention, work, rates = block.attention, self.problem.workload, self.rates
        if attention is None:
            zeros = np.zeros(len(self.meshes))
            return zeros, zeros, zeros
        kv = float(KV_BYTES[self.problem.precision.kv_cache])
        first, last = work.input_tokens - work.computed_input_tokens + 1, work.input_tokens
        verified = 1 + work.mtp_tokens
        table: dict[int, tuple[float, float, float, float]] = {}
        for tp in np.unique(self.meshes.tp).tolist():
            prompts = last - first + 1
            flop = attention.prefill_flops(first, last, tp) / prompts * rates.attention_flop
            read = attention.decode_read_elements(first, last, tp) * kv + attention.decode_read_fixed_bytes(
                first, last, tp
            )
            computed = decoded = 0.0
            if work.decoded_at is not None:
                start, stop = work.decoded_at
                steps = stop - start + 1
                bytes_read = attention.decode_read_elements(start, stop, tp) * kv
                bytes_read += attention.decode_read_fixed_bytes(start, stop, tp)
                computed = attention.decode_flops(start, stop, tp) * verified / steps * rates.attention_flop
                decoded = bytes_read / steps * rates.attention_byte
            table[tp] = (computed, decoded, flop, read / prompts * rates.attention_byte)
        values = np.array([table[tp] for tp in self.meshes.tp.tolist()]).reshape(-1, 4) / self.meshes.cp[:, None]
        slower = self.slower if split else 1.0
        return np.maximum(values[:, 0] * slower, values[:, 1]), values[:, 2] * slower, values[:, 3]

    def _head(self) -> RooflineGroup:
        model = self.problem.model
        tensors = [t for t in model.output_tensors() if t.matrix]
        if not tensors:
            embedding = model.input_tensors()[0]
            tensors = [Tensor("tied_head", embedding.rows, embedding.cols, TensorRole.LM_HEAD, embedding.split)]
        group = self._linear(tensors, self.meshes.tp, self.meshes.cp)
        if group is None:
            raise InternalError("a head is a matrix")
        return group

    def _weights(self, tensors: tuple[Tensor, ...], precision: ModelPrecision | None = None) -> Floats:
        meshes, total = self.meshes, np.zeros(len(self.meshes))
        scale_bytes = 0 if precision is not None else scales_left(self.problem)
        precision = precision or self.problem.precision
        for tensor in tensors:
            form = precision.of(tensor)
            if tensor.role is TensorRole.EXPERTS:
                form = form.with_scales(scale_bytes)
                rows, cols = _padded(tensor, *_local(tensor, meshes.etp), self.padding)
                total = total + _stored(form, rows, cols) * (-(-(tensor.count + meshes.redundant) // meshes.ep))
                continue
            shared = tensor.role is TensorRole.SHARED_EXPERTS
            ranks = np.where(self.whole_shared, 1, meshes.tp) if shared else meshes.tp
            rows, cols = _local(tensor, ranks)
            if tensor.split is Split.VOCAB:
                padding = self.problem.engine.vocabulary_padding
                rows = _ceil_div(-(-tensor.rows // padding) * padding, ranks)
            total = total + _stored(form, rows, cols) * float(tensor.count)
        return total

    def _absorbed(self, name: str) -> Floats:
        """16-bit copies of latent attention's unpacked key and value matrices."""
        return self._by_tp(partial(absorbed_copy_bytes, self.problem.model, name))

    def _sequence(self, block: Block) -> Floats:
        if block.attention is None:
            return np.zeros(len(self.meshes))
        page = self.problem.engine.cache.block_tokens
        length = -(-self.problem.workload.held_tokens // page) * page
        steady = self._by_tp(partial(self.cache.steady_bytes, block.attention, length))
        return np.ceil(steady / self.meshes.cp)

    def admitted(self, tokens: int) -> Floats:
        """Bytes of a sequence of so many tokens over all layers of each mesh pair, as it is admitted."""
        if tokens not in self._admitted:
            page = self.problem.engine.cache.block_tokens
            length, total = -(-tokens // page) * page, np.zeros(len(self.meshes))
            for name in set(self.problem.model.layer_names):
                attention = self.problem.model.blocks[name].attention
                if attention is None:
                    continue
                kinds = (self.cache.admitted_bytes, self.cache.steady_bytes)
                layer_bytes = np.maximum(*(self._by_tp(partial(kind, attention, length)) for kind in kinds))
                total += self.problem.model.layer_names.count(name) * (layer_bytes / self.meshes.cp)
            self._admitted[tokens] = total
        return self._admitted[tokens]

    def _by_tp(self, figure: Callable[[int], float | Fraction]) -> Floats:
        """A figure of each mesh that its TP decides, reckoned once for each TP."""
        table = {tp: float(figure(tp)) for tp in np.unique(self.meshes.tp).tolist()}
        return np.array([table[tp] for tp in self.meshes.tp.tolist()])

    def _working(self) -> tuple[Floats, Floats]:
        problem, meshes = self.problem, self.meshes
        hidden, widest, experts = problem.model.hidden_size, np.zeros(len(meshes)), np.zeros(len(meshes))
        for block in problem.model.blocks.values():
            ffn, kept = block.ffn, block.keeps
            if isinstance(kept, Entries):
                widest = np.maximum(widest, self._by_tp(partial(compressed_elements, kept)))
            if ffn is None:
                continue
            if isinstance(ffn, MixtureOfExperts):
                intermediate = _ceil_div(ffn.intermediate, meshes.etp)
                pairs = ffn.top_k * (
                    np.maximum((1 + ffn.gated) * intermediate, ffn.expert_width(hidden)) + intermediate
                )
                experts = np.maximum(experts, pairs)
                if problem.engine.reservation.gathers_tokens:
                    pairs = pairs * meshes.dp
                width = pairs + 3 * _ceil_div(ffn.shared_intermediate, meshes.tp)
            else:
                width = 3 * _ceil_div(ffn.intermediate, meshes.tp)
            widest = np.maximum(widest, width)
        act = float(ACTIVATION_BYTES[problem.precision.activations])
        residuals = hidden * (4 + max(0, problem.model.hyper_streams - 1))
        elements = hidden_elements(problem) + (experts if keeps_experts(problem) else 0)
        return np.ceil(act * (residuals + widest) / meshes.cp), np.ceil(act * elements / meshes.cp)

    @property
    def pool(self) -> Floats | None:
        """Most that weights and cache may take where they have a share of their own; None: they have none."""
        problem, share = self.problem, self.problem.limits.mem_fraction_static
        if share is None:
            return None
        first = Shape(1, 1, 1, 1, 1)
        graphs = fixed_bytes(problem, first) - context_bytes(problem, first)
        return float(share) * (problem.hardware.device.exposed_memory - self.reserve + graphs)

    def _kept_for(self, block: Block) -> Floats:
        """What the engine keeps for a layer: more where experts are dispatched between data-parallel ranks."""
        plain, spread = self._graphs_of(block)
        return np.where((self.meshes.dp > 1) & (self.meshes.ep > 1), spread, plain).astype(float)

    def _graphs_of(self, block: Block) -> tuple[int, int]:
        """Bytes kept for a layer, and where experts are dispatched between data-parallel ranks."""
        plain, spread = (
            layer_bytes(self.problem, shape, block) for shape in (Shape(1, 1, 1, 1, 1), Shape(1, 1, 1, 2, 1))
        )
        return plain, spread

"""What one layer costs in a step, as exact integer coefficients of the tokens in it.

A step works, on each attention data-parallel rank, on ``d`` decoded tokens of ``seqs`` sequences and on ``p`` prompt
tokens in ``passes`` pieces; ``x = d + p``. Each group of operations takes the longer of its FLOPs and its bytes:

    time = Σ groups (max(FLOPs ÷ rate, weights ÷ bandwidth) + activations ÷ bandwidth)
         + Σ collectives (latency + bytes ÷ link) + launches

or, in two micro-batches, what `figures.overlap` makes of these.

Activations cross memory between kernels that are launched one after another, so that their time adds to that of the
multiplications: it is counted in a group's `flop` as well as beside its weights. The physical bound hides it.

Sources: roofline (Williams et al. 2009); ring collectives 2·(g−1)/g and (g−1)/g (Thakur et al. 2005); all-to-all with
node-level deduplication (DeepSeek-V3, arXiv 2412.19437 section 3.2.2).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd

from optimizer.domain.feedforward import MixtureOfExperts
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.model import Block
from optimizer.domain.precision import ACTIVATION_BYTES, KV_BYTES
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.domain.tensor import Tensor, TensorRole
from optimizer.figures.overlap import Exchange, halved
from optimizer.figures.rates import TICKS_PER_SECOND, Rates, ceil_fraction
from optimizer.figures.routing import EXPERT_UNITS, PAIR_UNITS, Concave, hottest_experts, hottest_pairs, same_experts
from optimizer.figures.topology import Level, outermost_tier
from optimizer.figures.traffic import Message, around_messages, expert_levels, expert_messages
from optimizer.figures.weights import tensor_bytes


@dataclass(frozen=True, slots=True)
class Step:
    """Tokens of one step on one attention data-parallel rank; `decoded` = `seqs` × tokens verified a sequence."""

    seqs: int
    decoded: int
    prompt: int
    passes: int

    @property
    def tokens(self) -> int:
        """All tokens, decoded and prompt."""
        return self.decoded + self.prompt

    def evened(self) -> Step:
        """The step that two micro-batches as large as the larger of this one's halves make."""
        decoding, prompts = self.seqs > 0, self.prompt > 0
        each = self.decoded // self.seqs if decoding else 0
        return Step(self.seqs + decoding, self.decoded + each, self.prompt + prompts, self.passes + prompts)


@dataclass(frozen=True, slots=True)
class Linear:
    """Matrices of one kind: max(`flop`·y, `weight` + `io`·y) ticks, y = x + `slack`.

    `flop` and `io` are those of a token shared by the ranks that divide the step's tokens. A rank takes whole tokens:
    x ÷ r, rounded up, is at most (x + r − 1) ÷ r, and `slack` is r − 1.
    """

    name: str
    flop: int
    weight: int
    io: int
    slack: int = 0

    def ticks(self, tokens: int) -> int:
        """Ticks on `tokens` tokens."""
        padded = tokens + self.slack
        return max(self.flop * padded, self.weight + self.io * padded)

    def half(self) -> Linear:
        """The same of half the tokens."""
        return Linear(self.name, halved(self.flop), self.weight, halved(self.io), 2 * self.slack)


@dataclass(frozen=True, slots=True)
class Routing:
    """Who is routed what: a token's `top_k` of `experts`, `ranks` devices of `local` each, pairs over `slots`."""

    experts: int
    top_k: int
    local: int
    slots: int
    ranks: int

    def reads(self) -> Concave:
        """Distinct experts that the hottest device reads, by tokens."""
        return hottest_experts(self.experts, self.top_k, self.local, self.ranks)

    def pairs(self) -> Concave:
        """Token-expert pairs of the hottest device, by tokens."""
        return hottest_pairs(self.slots, self.top_k, self.local, self.ranks)


@dataclass(frozen=True, slots=True)
class Experts:
    """Routed experts on the hottest device: max(`flop`·pairs(y), `unit`·reads(y) + `io`·pairs(y)) ticks.

    y is the tokens that each of the `copies` ÷ `ranks` copies of the experts gets for the x of an attention rank:
    x·ranks ÷ copies, rounded up to at most (x·ranks + copies − 1) ÷ copies; the fraction is in lowest terms, and
    `slack` is copies − 1. The coefficients are those of one unit of `figures.routing` ÷ copies.
    """

    flop: int
    unit: int
    io: int
    ranks: int
    copies: int
    slack: int
    routing: Routing
    reads: Concave
    pairs: Concave

    def ticks(self, tokens: int) -> int:
        """Ticks where each attention rank brings `tokens` tokens."""
        padded = tokens * self.ranks + self.slack
        pairs = self.pairs.units(padded, self.copies)
        return max(self.flop * pairs, self.unit * self.reads.units(padded, self.copies) + self.io * pairs)

    def half(self) -> Experts:
        """The same of half the tokens."""
        return replace(
            self, flop=halved(self.flop), unit=halved(self.unit), io=halved(self.io), copies=2 * self.copies,
            slack=2 * self.slack,
        )  # fmt: skip

    def balanced(self) -> Experts:
        """The same on the mean device, tokens divided without rest."""
        mean = replace(self.routing, ranks=1)
        return replace(self, slack=0, routing=mean, reads=mean.reads(), pairs=mean.pairs())

    def least(self) -> Experts:
        """The same where all tokens ask the experts that the first one does: no routing costs the mean device less."""
        routing = self.routing
        alike = replace(routing, local=1, slots=routing.ranks, ranks=1)
        return replace(
            self, slack=0, routing=alike, reads=same_experts(routing.top_k, routing.ranks), pairs=alike.pairs()
        )


@dataclass(frozen=True, slots=True)
class LayerCost:
    """Coefficients of one layer; every number is in ticks.

    Attributes
    ----------
    decode
        Attention scores, values and cache reads of one decoding sequence.
    prefill_flop, prefill_read
        The same of one prompt token (FLOPs), and of one pass over the cached prefix (bytes).
    per_token, per_prompt, per_seq
        Messages that grow with x, p and the decoding sequences.
    fixed
        Latencies and launches.
    exchange
        Dispatch and combine of a step in two micro-batches: all else is that of one of them, for half a token.
    """

    linears: tuple[Linear, ...]
    experts: Experts | None
    decode: int
    prefill_flop: int
    prefill_read: int
    per_token: int
    per_prompt: int
    per_seq: int
    fixed: int
    exchange: Exchange | None = None

    def ticks(self, step: Step) -> int:
        """Duration of this layer in `step`."""
        if self.exchange is not None:
            return self.exchange.layer(*self.computed(step))
        around, routed, _ = self.computed(step)
        return around + routed

    def computed(self, step: Step) -> tuple[int, int, int]:
        """Ticks of routed experts last, of all else first, and the tokens; of one micro-batch where there are two."""
        if self.exchange is not None:
            step = step.evened()
        x = step.decoded + step.prompt
        total = self.fixed + self.per_token * x + (self.decode + self.per_seq) * step.seqs
        for linear in self.linears:
            total += linear.ticks(x)
        if step.prompt:
            total += self.per_prompt * step.prompt
            total += max(self.prefill_flop * step.prompt, self.prefill_read * step.passes)
        return total, 0 if self.experts is None else self.experts.ticks(x), x

    def split(self, exchange: Exchange) -> LayerCost:
        """The same in two micro-batches, with the exchange of a whole step hidden; the rest of its messages is not."""
        exchange = replace(exchange, dispatch=halved(exchange.dispatch), combine=halved(exchange.combine))
        coefficients = ("decode", "prefill_flop", "prefill_read", "per_token", "per_prompt", "per_seq")
        return replace(
            self,
            linears=tuple(linear.half() for linear in self.linears),
            experts=None if self.experts is None else self.experts.half(),
            exchange=exchange,
            **{name: halved(getattr(self, name)) for name in coefficients},
        )

    def whole(self, exchange: Exchange) -> LayerCost:
        """The same with the exchange after and before what it waits for."""
        fixed = exchange.dispatch_fixed + exchange.combine_fixed + exchange.launch
        sent = exchange.dispatch + exchange.combine
        return replace(self, per_token=self.per_token + sent, fixed=self.fixed + fixed)

    def parts(self, step: Step) -> dict[str, int]:
        """The same by operation; of messages what computation does not hide."""
        if self.exchange is not None:
            return self._parts_of_halves(step)
        x = step.tokens
        parts = {linear.name: linear.ticks(x) for linear in self.linears}
        if self.experts is not None:
            parts["experts"] = self.experts.ticks(x)
        if self.decode:
            parts["attention_decode"] = self.decode * step.seqs
        if step.prompt and self.prefill_flop:
            parts["attention_prefill"] = max(self.prefill_flop * step.prompt, self.prefill_read * step.passes)
        parts["communication"] = self.per_token * x + self.per_seq * step.seqs + self.per_prompt * step.prompt
        parts["latency_and_launch"] = self.fixed
        return parts

    def _parts_of_halves(self, step: Step) -> dict[str, int]:
        assert self.exchange is not None  # noqa: S101 - by its caller
        parts = {name: 2 * ticks for name, ticks in replace(self, exchange=None).parts(step.evened()).items()}
        parts["latency_and_launch"] += 2 * self.exchange.launch
        parts["communication"] += sum(self.exchange.exposed(*self.computed(step)))
        return parts


_OPERATIONS = {
    TensorRole.ATTENTION: 4,
    TensorRole.INDEXER: 2,
    TensorRole.DENSE_FFN: 3,
    TensorRole.ROUTER: 2,
    TensorRole.EXPERTS: 4,
    TensorRole.SHARED_EXPERTS: 3,
}
"""Kernels launched a layer for each kind of work (projections, norm, core; gate, permute, two GEMMs). Assumed."""


def linear_group(
    name: str,
    tensors: Iterable[Tensor],
    problem: Problem,
    rates: Rates,
    *,
    ranks: int,
    cp: int,
    io_elements: int,
    slower: Fraction = Fraction(1),
) -> Linear | None:
    """Matrices that one roofline prices together, at their local shapes.

    Every matrix reads its input and writes its output; `io_elements` is the least for each token, with all kernels of
    the group in one. Tokens are shared by the `cp` ranks. Multiplications take `slower` times as long.
    """
    precision = problem.precision
    flop, weight, moved, multiplies = 0, 0, 0, False
    for tensor in tensors:
        form = precision.of(tensor)
        weight += rates.weight_ticks(tensor_bytes(tensor, precision, ranks) * tensor.count, form.bits)
        if tensor.matrix:
            multiplies = True
            rows, cols = tensor.local_shape(ranks)
            moved += (rows + cols) * tensor.count
            work = slower * Fraction(2 * rows * cols * tensor.count, cp)
            flop += rates.flop_ticks(work, form.compute)
    if not multiplies:
        return None
    elements = min(io_elements, moved) if rates.hidden_activations else moved
    io = rates.byte_ticks(elements * ACTIVATION_BYTES[precision.activations] / cp)
    return Linear(name, flop + rates.exposed(io), weight, io, cp - 1)


Ticks = tuple[int, int, int, int]
"""Ticks of messages a token, a prompt token and a sequence, and latency."""


def message_ticks(message: Message, hardware: HardwareSpec, rates: Rates) -> int:
    """Ticks to send a message's bytes: its members share the links of a mesh."""
    return rates.link_ticks(message.bytes_each / hardware.tiers[message.tier].share(message.fanout), message.tier)


def _ticks(messages: Iterable[Message], hardware: HardwareSpec, rates: Rates) -> Ticks:
    totals = {"token": 0, "prompt": 0, "seq": 0}
    latency = 0
    for message in messages:
        totals[message.per] += message_ticks(message, hardware, rates)
        latency += rates.latency_ticks(message.rounds, message.tier)
    return totals["token"], totals["prompt"], totals["seq"], latency


class LayerBook:
    """Layer coefficients of many shapes of one problem; what shapes have in common is computed once."""

    def __init__(self, problem: Problem, rates: Rates) -> None:
        self.problem, self.rates = problem, rates
        self.sizes = tuple(t.size for t in problem.hardware.tiers)
        self._linears: dict[tuple[int, int, int, int, bool], tuple[tuple[Linear, ...], int]] = {}
        self._attention: dict[tuple[int, int, int, bool], tuple[int, int, int]] = {}
        self._experts: dict[tuple[int, int], tuple[int, Fraction]] = {}
        self._hottest: dict[tuple[int, int, int, int, int, bool, Fraction | None], Experts] = {}
        self._twins: dict[int, int] = {}
        self._tensors: dict[int, dict[TensorRole, list[Tensor]]] = {}
        self._launch = rates.launch_ticks(1)
        self._around: dict[tuple[int, int, int, int], Ticks] = {}
        self._exchange: dict[tuple[int, int, int, int, tuple[Level, ...], Fraction | None], Exchange] = {}
        shared = rates.shared_compute if problem.workload.prompts else Fraction(1)
        self._slower = {False: Fraction(1), True: 1 / shared}

    def layer(self, block: Block, shape: Shape, imbalance: Fraction | None = None) -> LayerCost:
        """Coefficients of one layer at a shape.

        Parameters
        ----------
        imbalance
            Hottest device's expert load ÷ the mean of this layer, where it was measured; else balanced routing.
        """
        linears, operations = self._linear_groups(block, shape)
        experts, moe = None, block.moe
        if moe is not None:
            # what a token's experts cost depends on the product of the attention mesh, and not on depth
            key = (
                self._twin(block),
                shape.tp * shape.cp,
                shape.etp,
                shape.ep,
                shape.redundant,
                shape.overlap,
                imbalance,
            )
            if key not in self._hottest:
                self._hottest[key] = self._routed(block, moe, shape, imbalance)
            experts = self._hottest[key]
        decode, prefill_flop, prefill_read = self._attention_core(block, shape)
        (per_token, per_prompt, per_seq, latency), exchange = self._communication(block, shape, imbalance)
        cost = LayerCost(
            linears=linears,
            experts=experts,
            decode=decode,
            prefill_flop=prefill_flop,
            prefill_read=prefill_read,
            per_token=per_token,
            per_prompt=per_prompt,
            per_seq=per_seq,
            fixed=latency + operations * self._launch,
        )
        return cost.split(exchange) if shape.overlap else cost.whole(exchange)

    def _twin(self, block: Block) -> int:
        """What blocks with equal experts have in common."""
        if id(block) not in self._twins:
            equal = (alike for alike in self.problem.model.blocks.values() if alike.moe == block.moe)
            self._twins[id(block)] = id(next(equal, block))
        return self._twins[id(block)]

    def _communication(self, block: Block, shape: Shape, imbalance: Fraction | None) -> tuple[Ticks, Exchange]:
        """Ticks of messages but for the exchange of experts, and that of a whole step."""
        # the same domains hold replicas of any size between two tiers
        tier = outermost_tier(self.sizes, shape.devices)
        key = (id(block), shape.tp, shape.cp, tier)
        if key not in self._around:
            self._around[key] = self._sent(around_messages(block, self.problem, shape, self.sizes))
        near = self._around[key]
        if block.moe is None:
            return near, Exchange(0, 0, 0, 0, 0)
        spanned = expert_levels(self.problem, shape, self.sizes)
        group = (self._twin(block), shape.etp, shape.ep, shape.tp * shape.cp, spanned, imbalance)
        if group not in self._exchange:
            messages = expert_messages(block, self.problem, shape, self.sizes, imbalance)
            sent = (self._sent(m for m in messages if m.collective == name) for name in ("dispatch", "combine"))
            (dispatch, _, _, first), (combine, _, _, last) = sent
            launch = _OPERATIONS[TensorRole.EXPERTS] * self._launch
            self._exchange[group] = Exchange(dispatch, first, combine, last, launch)
        return near, self._exchange[group]

    def _sent(self, messages: Iterable[Message]) -> Ticks:
        return _ticks(messages, self.problem.hardware, self.rates)

    def _by_role(self, block: Block) -> dict[TensorRole, list[Tensor]]:
        tensors = self._tensors.get(id(block))
        if tensors is None:
            tensors = {}
            for tensor in block.tensors(self.problem.model.hidden_size):
                tensors.setdefault(tensor.role, []).append(tensor)
            self._tensors[id(block)] = tensors
        return tensors

    def _linear_groups(self, block: Block, shape: Shape) -> tuple[tuple[Linear, ...], int]:
        """Matrices of attention, dense blocks, routers and shared experts; and how many operations they are."""
        key = (id(block), shape.tp, shape.cp, shape.shared_replicated, shape.overlap)
        if key in self._linears:
            return self._linears[key]
        linears, operations = [], 0
        for role, tensors in self._by_role(block).items():
            if role in (TensorRole.NORM, TensorRole.EXPERTS):
                continue
            whole = role is TensorRole.SHARED_EXPERTS and shape.shared_replicated
            # replicated shared experts see each token once, on one of the tp ranks
            group = linear_group(
                role.value, tensors, self.problem, self.rates,
                ranks=1 if whole else shape.tp, cp=shape.cp * (shape.tp if whole else 1),
                io_elements=2 * self.problem.model.hidden_size, slower=self._slower[shape.overlap],
            )  # fmt: skip
            operations += _OPERATIONS.get(role, 1)
            if group is not None:
                linears.append(group)
        self._linears[key] = (tuple(linears), operations)
        return self._linears[key]

    def _attention_core(self, block: Block, shape: Shape) -> tuple[int, int, int]:
        """Scores, values and cache reads: of a decoding sequence, of a prompt token, of a pass over the prefix."""
        if block.attention is None:
            return 0, 0, 0
        key = (id(block), shape.tp, shape.cp, shape.overlap)
        if key in self._attention:
            return self._attention[key]
        attention, cp, tp, rates = block.attention, shape.cp, shape.tp, self.rates
        slower = self._slower[shape.overlap]
        work, kv = self.problem.workload, KV_BYTES[self.problem.precision.kv_cache]
        first, last = work.input_tokens - work.computed_input_tokens + 1, work.input_tokens
        prompts = last - first + 1
        flops = attention.prefill_flops(first, last, tp)
        prefill_flop = rates.attention_flop_ticks(slower * Fraction(flops, prompts * cp))
        read = attention.decode_read_elements(first, last, tp) * kv + attention.decode_read_fixed_bytes(first, last, tp)
        prefill_read = rates.attention_byte_ticks(Fraction(read) / (prompts * cp))
        decode = 0
        if work.decoded_at is not None:
            first, last = work.decoded_at
            steps = last - first + 1
            flops = attention.decode_flops(first, last, tp) * (1 + work.mtp_tokens)
            read = attention.decode_read_elements(first, last, tp) * kv
            read += attention.decode_read_fixed_bytes(first, last, tp)
            decode = max(
                rates.attention_flop_ticks(slower * Fraction(flops, steps * cp)),
                rates.attention_byte_ticks(Fraction(read) / (steps * cp)),
            )
        self._attention[key] = (decode, prefill_flop, prefill_read)
        return self._attention[key]

    def _expert(self, block: Block, etp: int) -> tuple[int, Fraction]:
        """Bytes of one expert's shard, and seconds that its FLOPs take for one token."""
        key = (id(block), etp)
        if key not in self._experts:
            precision = self.problem.precision
            matrices = self._by_role(block)[TensorRole.EXPERTS]
            flop = Fraction(0)
            for tensor in matrices:
                if tensor.matrix:
                    rows, cols = tensor.local_shape(etp)
                    flop += Fraction(2 * rows * cols) / self.rates.expert_compute[precision.of(tensor).compute]
            self._experts[key] = (sum(tensor_bytes(t, precision, etp) for t in matrices), flop)
        return self._experts[key]

    def _routed(self, block: Block, moe: MixtureOfExperts, shape: Shape, imbalance: Fraction | None) -> Experts:
        """Routed experts; a measured `imbalance` multiplies the pairs of evenly loaded slots."""
        hidden = moe.expert_width(self.problem.model.hidden_size)
        expert_bytes, flop = self._expert(block, shape.etp)
        local = min(shape.local_experts(moe.experts), moe.experts)
        even = shape.redundant > 0 or imbalance is not None
        routing = Routing(moe.experts, moe.top_k, local, local * shape.ep if even else moe.experts, shape.ep)
        skew = Fraction(1) if imbalance is None else imbalance
        width = 2 * hidden + 3 * -(-moe.intermediate // shape.etp)
        common = gcd(shape.dp, shape.edp)
        copies = shape.edp // common
        each = skew / (PAIR_UNITS * copies)
        moved = each * width * ACTIVATION_BYTES[self.problem.precision.activations] * self.rates.expert_passes
        io = self.rates.byte_ticks(moved)
        return Experts(
            flop=ceil_fraction(each * flop * self._slower[shape.overlap] * TICKS_PER_SECOND) + self.rates.exposed(io),
            unit=self.rates.byte_ticks(Fraction(expert_bytes, EXPERT_UNITS * copies)),
            io=io,
            ranks=shape.dp // common,
            copies=copies,
            slack=copies - 1,
            routing=routing,
            reads=routing.reads(),
            pairs=routing.pairs(),
        )


def uneven_residency(moe: MixtureOfExperts, shape: Shape) -> Fraction:
    """Hottest device's share of balanced load ÷ the mean: ceil(E/ep)·ep/E, 1 where redundant slots even it out."""
    if shape.redundant:
        return Fraction(1)
    return Fraction(shape.local_experts(moe.experts) * shape.ep, moe.experts)

"""Bytes on the fullest device of each pipeline stage: weights, KV cache, activations, and what the engine keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import accumulate
from math import ceil

from optimizer.domain.attention import Entries, Heads, Latents
from optimizer.domain.feedforward import DenseFeedForward, MixtureOfExperts
from optimizer.domain.precision import ACTIVATION_BYTES
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.cache import CacheLayout
from optimizer.figures.layer import Step
from optimizer.figures.partition import Track
from optimizer.figures.reserve import (
    default_sequences,
    default_tokens,
    fixed_bytes,
    kept_sequences,
    kept_tokens,
    layer_bytes,
    pool_bytes,
)
from optimizer.figures.weights import (
    BlockWeights,
    Division,
    absorbed_copy_bytes,
    block_weights,
    division,
    input_weights,
    mtp_weights,
    output_weights,
    round_up,
)


@dataclass(frozen=True, slots=True)
class StageMemory:
    """Disjoint parts of the bytes of one stage's fullest device."""

    weights_bytes: int
    expert_weights_bytes: int
    replicated_weights_bytes: int
    kv_cache_bytes: int
    activations_bytes: int
    reserve_bytes: int

    @property
    def total_bytes(self) -> int:
        """All parts."""
        return (
            self.weights_bytes
            + self.expert_weights_bytes
            + self.replicated_weights_bytes
            + self.kv_cache_bytes
            + self.activations_bytes
            + self.reserve_bytes
        )


@dataclass(frozen=True)
class Memory:
    """Byte coefficients of a shape, by kind of layer; `order` says which a layer is, `counts` how many there are.

    `admission` is what a sequence needs more while its prompt is computed, `layer_reserve` what the engine keeps for
    each layer, `kept_tokens` and `kept_sequences` the step that it is told to keep room for.

    A step of t tokens that samples s sequences needs token_bytes · t in its forward pass, and while it samples
    sampled_bytes · s + hidden_bytes · t + sampler_bytes.

    `sized` is the step that the engine sizes itself for (tokens, sequences; None where its share of memory is that of
    weights and cache alone, as are captured graphs then), `budget` the bytes that one device may hold so, or where
    `stated` those of the cache. `admitted` are the bytes of a sequence of so many tokens in each kind of layer. `pool`
    is the most that weights and cache may take where a share of memory is stated for these alone. Where a sequence is
    `asked_whole`, every stage is to have room for the layers of all.
    """

    weights: tuple[BlockWeights, ...]
    sequence: tuple[int, ...]
    order: tuple[int, ...]
    counts: tuple[int, ...]
    input: BlockWeights
    output: BlockWeights
    token_bytes: int
    sampled_bytes: int
    hidden_bytes: int
    sampler_bytes: int
    reserve_bytes: int
    admission: tuple[int, ...]
    layer_reserve: tuple[int, ...]
    kept_tokens: int = 0
    kept_sequences: int = 0
    sized: tuple[int, int] | None = None
    graphs: bool = True
    budget: int = 0
    stated: bool = False
    admitted: Callable[[int], tuple[int, ...]] = field(default=lambda _: (), compare=False)
    pool: int | None = None
    asked_whole: bool = False

    def pooled(self, sizes: Sequence[int]) -> Track | None:
        """Weights and cache of stages, and the most of both that a share of memory leaves; None: no such share.

        Parameters
        ----------
        each
            Both of a layer of each kind.
        """
        if self.pool is None:
            return None
        return Track(
            list(accumulate(map(sizes.__getitem__, self.order), initial=0)), self.input.total_bytes,
            self.output.total_bytes, 0, self.pool,
        )  # fmt: skip

    def pooled_bytes(self, sequences: int) -> list[int]:
        """Weights and cache of a layer of each kind where a rank holds `sequences` sequences."""
        return [w.total_bytes + cache for w, cache in zip(self.weights, self.held_bytes(sequences), strict=True)]

    def kept(self) -> Track:
        """What stages hold beside the cache of an engine that has started, and the limit of both."""
        if self.stated:
            return Track([0] * (len(self.order) + 1), 0, 0, 0, self.budget)
        pooled = self.pooled([w.total_bytes for w in self.weights])
        if pooled is not None:
            return pooled
        graphs = [reserved if self.graphs else 0 for reserved in self.layer_reserve]
        sizes = [w.total_bytes + reserved for w, reserved in zip(self.weights, graphs, strict=True)]
        return Track(
            list(accumulate(map(sizes.__getitem__, self.order), initial=0)), self.input.total_bytes,
            self.output.total_bytes, self.reserve_bytes + self.sized_bytes(), self.budget,
        )  # fmt: skip

    def sized_bytes(self) -> int:
        """Tensors of the step that the engine sizes itself for."""
        if self.sized is None:
            return 0
        return self.tensor_bytes(*self.sized)

    def tensor_bytes(self, tokens: int, sampled: int) -> int:
        """Tensors of a step of so many tokens that samples of so many sequences.

        The forward pass, or the sampler beside the hidden states that it is given, whichever needs more.
        """
        sampling = self.sampled_bytes * sampled + self.hidden_bytes * tokens + self.sampler_bytes
        return max(self.token_bytes * tokens, sampling)

    @property
    def kept_limit(self) -> int:
        """The limit of `kept`."""
        limit = self.kept().limit
        assert limit is not None  # noqa: S101 - it has one
        return limit

    def holding(self, tokens: int) -> Track:
        """`kept` with one sequence of `tokens` tokens as it is admitted."""
        kept, admitted = self.kept(), self.admitted(tokens)
        if self.asked_whole:
            return replace(kept, every=kept.every + sum(admitted[i] for i in self.order))
        cached = accumulate((admitted[i] for i in self.order), initial=0)
        return replace(kept, prefix=[a + b for a, b in zip(kept.prefix, cached, strict=True)])

    def stack_holding(self, tokens: int) -> tuple[int, int]:
        """`holding` of all stages together, apart from what each of them keeps; and that."""
        track = self.holding(tokens)
        return track.prefix[-1] + track.first + track.last, track.every

    def held_bytes(self, sequences: int) -> list[int]:
        """Cache of each kind of layer of a rank with `sequences` sequences, of which one has its prompt computed."""
        return [s * sequences + extra for s, extra in zip(self.sequence, self.admission, strict=True)]

    def layer_bytes(self, sequences: int) -> list[int]:
        """Weights and cache of a layer of each kind where a rank holds `sequences` sequences."""
        kinds = zip(self.weights, self.layer_reserve, self.held_bytes(sequences), strict=True)
        return [w.total_bytes + reserved + cache for w, reserved, cache in kinds]

    def prefix(self, sequences: int) -> list[int]:
        """`layer_bytes` of the first 0, 1, …, L layers."""
        sizes = self.layer_bytes(sequences)
        return list(accumulate(map(sizes.__getitem__, self.order), initial=0))

    def working_bytes(self, step: Step) -> int:
        """Activations and workspace of one step: the forward pass or the sampler, whichever needs more.

        The engine keeps room for the step that it is told, where that is larger.
        """
        tokens, sampled = max(step.tokens, self.kept_tokens), max(step.decoded + step.passes, self.kept_sequences)
        return self.tensor_bytes(tokens, sampled)

    def stack_weights(self) -> int:
        """Weights of all layers, input and output, and what is kept for layers: what all stages hold together."""
        kinds = zip(self.counts, self.weights, self.layer_reserve, strict=True)
        layer_bytes = sum(n * (w.total_bytes + reserved) for n, w, reserved in kinds)
        return layer_bytes + self.input.total_bytes + self.output.total_bytes

    def stack_sequence(self) -> int:
        """Cache bytes of one sequence over all layers: what all stages hold together."""
        return sum(n * size for n, size in zip(self.counts, self.sequence, strict=True))

    def stages(self, step: Step, sequences: int, cuts: Sequence[int]) -> list[StageMemory]:
        """Memory of each stage; `cuts` are the layer counts of the stages, in order."""
        stages, first, cache = [], 0, self.held_bytes(sequences)
        for number, layers in enumerate(cuts):
            layer_kinds = [self.order[i] for i in range(first, first + layers)]
            first += layers
            total = BlockWeights()
            for kind in set(layer_kinds):
                total += self.weights[kind] * layer_kinds.count(kind)
            if number == 0:
                total += self.input
            if number == len(cuts) - 1:
                total += self.output
            stages.append(
                StageMemory(
                    weights_bytes=total.sharded_bytes + total.shared_expert_bytes,
                    expert_weights_bytes=total.expert_bytes,
                    replicated_weights_bytes=total.replicated_bytes,
                    kv_cache_bytes=sum(cache[kind] for kind in layer_kinds),
                    activations_bytes=self.working_bytes(step),
                    reserve_bytes=self.reserve_bytes + sum(self.layer_reserve[kind] for kind in layer_kinds),
                )
            )
        return stages


def sequence_tokens(problem: Problem) -> int:
    """Tokens that a sequence's cache must hold at its longest, in whole blocks."""
    return round_up(problem.workload.held_tokens, problem.engine.cache.block_tokens)


def working_elements(problem: Problem, shape: Shape) -> int:
    """Elements of a step's tensors for each of its tokens, at the layer that needs most.

    Four residuals (and the further streams of hyper-connections) and three tensors of the feed-forward width; in a
    mixture of experts those of the chosen experts; or those of compressed attention, where they are more.
    """
    hidden = problem.model.hidden_size
    residuals, most = hidden * (4 + max(0, problem.model.hyper_streams - 1)), 0
    for block in problem.model.blocks.values():
        ffn, kept, width = block.ffn, block.keeps, 0
        if isinstance(kept, Entries):
            most = max(most, compressed_elements(kept, shape.tp))
        if isinstance(ffn, DenseFeedForward):
            width = 3 * -(-ffn.intermediate // shape.tp)
        elif ffn is not None:
            # the tokens of all data-parallel ranks, where the engine gathers them (vllm pull request 20228)
            gathered = shape.dp if problem.engine.reservation.gathers_tokens else 1
            width = chosen_elements(problem, shape, ffn) * gathered + 3 * -(-ffn.shared_intermediate // shape.tp)
        most = max(most, width)
    return residuals + most


def compressed_elements(kept: Entries, tp: int) -> int:
    """Elements of a step's tensors between the projections of compressed attention for each of its tokens."""
    heads = -(-kept.queries // tp)
    padded = PADDED_QUERIES * (round_up(heads, KERNEL_HEADS) - heads)
    return (COMPRESSED_TENSORS.numerator * heads // COMPRESSED_TENSORS.denominator + padded) * kept.head_dim


COMPRESSED_TENSORS = Fraction(95, 10)
"""Tensors as wide as a rank's queries between those projections: 5.30 and 1.39 GiB of 8,224 and 2,048 tokens of
DeepSeek-V4-Flash (DeepSeek-v4-Flash-One-DGX-Spark issue 4). 11.4 at 1,048,576 tokens of context (vllm issue 51454) are
those and `gathered_bytes`. Prefill of DeepSeek-V4-Pro on B200 ran with no more than 9.6 (InferenceX, disagg-b200)."""
PADDED_QUERIES, KERNEL_HEADS = 2, 64
"""Of them the queries that the attention's kernel reads and what it writes have 64 or 128 heads, however few a rank has
(vllm 0.33.0 models/deepseek_v4/nvidia/flashmla.py get_padded_num_q_heads)."""

SAMPLER_ELEMENT_BYTES = 4


def chosen_elements(problem: Problem, shape: Shape, ffn: MixtureOfExperts) -> int:
    """Elements of a step's tensors between the experts that each of its tokens has chosen.

    The activated width and the larger of what goes in before it and what comes out (vllm fused_moe.py: the two share
    memory).
    """
    intermediate = -(-ffn.intermediate // shape.etp)
    return ffn.top_k * (max((1 + ffn.gated) * intermediate, ffn.expert_width(problem.model.hidden_size)) + intermediate)


def keeps_experts(problem: Problem) -> bool:
    """Whether the tensors between experts stay while tokens are sampled: MXFP4's kernels have none of these."""
    precision = problem.precision
    return problem.engine.reservation.keeps_experts and (precision.experts or precision.weights) != "mxfp4"


def hidden_elements(problem: Problem) -> int:
    """Elements of the hidden states of each token of a step, and of what a vision encoder gave for it.

    Both are held while tokens are sampled (vllm v1/worker/gpu_model_runner.py profile_run).
    """
    return problem.model.hidden_size * (1 if problem.model.vision is None else 2)


def held_elements(problem: Problem, shape: Shape) -> int:
    """Elements of each token of a step that are held while tokens are sampled; of gathered tokens none are logged."""
    experts = [block.ffn for block in problem.model.blocks.values() if isinstance(block.ffn, MixtureOfExperts)]
    kept = experts if keeps_experts(problem) else []
    return hidden_elements(problem) + max((chosen_elements(problem, shape, ffn) for ffn in kept), default=0)


def expert_padding(problem: Problem) -> tuple[int, int]:
    """Multiples to which the engine's kernels pad an expert's width and intermediate size in the experts' format."""
    precision = problem.precision
    return problem.engine.cache.padding(precision.experts or precision.weights, problem.hardware.device)


def tables_bytes(problem: Problem) -> int:
    """Sines and cosines of every position that a model knows, of each width of rotary keys, in the activations' format.

    32 MiB of Llama 3.1 (131,072 · 128 · 2 bytes) in logs of every tp: an engine loads them with its weights. Memory
    counts them in what was fitted to logs of the rest.
    """
    model = problem.model
    if not problem.engine.cache.position_tables or model.max_context is None or model.learned_positions:
        return 0
    widths = {
        kept.rotary_dim if isinstance(kept, Latents) else kept.key_dim
        for kept in model.kept if isinstance(kept, Latents | Heads)
    }  # fmt: skip
    return int(model.max_context * sum(widths) * ACTIVATION_BYTES[problem.precision.activations])


def scales_left(problem: Problem) -> int:
    """Bytes of each scale of an expert as it was loaded that stay beside those that kernels read (DeepSeek-V4)."""
    precision = problem.precision
    if not problem.model.compressed:
        return 0
    return problem.engine.cache.scales_left(precision.experts or precision.weights, problem.hardware.device)


class MemoryBook:
    """Byte coefficients of many shapes of one problem; what shapes have in common is computed once."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        model = problem.model
        self._names = list(dict.fromkeys(model.layer_names))
        self._order = tuple(self._names.index(name) for name in model.layer_names)
        self._counts = tuple(self._order.count(kind) for kind in range(len(self._names)))
        self._tokens = sequence_tokens(problem)
        self._weights: dict[tuple[str, Division], BlockWeights] = {}
        self._sequence: dict[tuple[int, int], tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self._held: dict[tuple[int, int, int], tuple[int, ...]] = {}
        self._block_tokens = problem.engine.cache.block_tokens
        self._cache = CacheLayout(problem)
        self._ends: dict[tuple[int, bool], tuple[BlockWeights, BlockWeights]] = {}

    def memory(self, shape: Shape) -> Memory:
        """Byte coefficients of every layer of the model at a shape."""
        problem = self.problem
        first, last = self._input_and_output(shape)
        last += draft_weights(problem, shape)
        reservation, stated = problem.engine.reservation, problem.limits.kv_cache_memory
        act = ACTIVATION_BYTES[problem.precision.activations]
        token = act * working_elements(problem, shape) / shape.cp
        hidden = act * held_elements(problem, shape) / shape.cp
        steady, admitted = self._sequences(shape)
        return Memory(
            weights=tuple(self._block(name, shape) for name in self._names),
            sequence=steady,
            order=self._order,
            counts=self._counts,
            input=first,
            output=last,
            token_bytes=ceil(token),
            sampled_bytes=reservation.sampler_bytes * problem.model.vocab_size,
            hidden_bytes=ceil(hidden),
            sampler_bytes=reservation.sampler_rows * SAMPLER_ELEMENT_BYTES * problem.model.vocab_size
            + reservation.workspace_bytes,
            reserve_bytes=fixed_bytes(problem, shape),
            layer_reserve=tuple(layer_bytes(problem, shape, problem.model.blocks[name]) for name in self._names),
            admission=tuple(most - least for least, most in zip(steady, admitted, strict=True)),
            kept_tokens=kept_tokens(problem),
            kept_sequences=kept_sequences(problem),
            sized=None if reservation.static_fraction else (default_tokens(problem), default_sequences(problem)),
            graphs=not reservation.static_fraction or problem.limits.reserve is not None,
            budget=problem.capacity_bytes if stated is None else stated,
            stated=stated is not None,
            pool=pool_bytes(problem, shape),
            admitted=lambda tokens: self._admitted(shape, tokens),
            asked_whole=problem.cache.checked_on_every_stage and shape.pp > 1,
        )

    def _block(self, name: str, shape: Shape) -> BlockWeights:
        over = division(shape, self.problem.model.blocks[name].moe)
        key = (name, over)
        if key not in self._weights:
            weights = block_weights(
                self.problem.model, name, self.problem.precision, over,
                expert_padding=expert_padding(self.problem), scales_left=scales_left(self.problem),
            )  # fmt: skip
            absorbed = absorbed_copy_bytes(self.problem.model, name, shape.tp)
            self._weights[key] = replace(weights, sharded_bytes=weights.sharded_bytes + absorbed)
        return self._weights[key]

    def _sequences(self, shape: Shape) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Cache bytes of one sequence in each kind of layer: while it decodes, and while its prompt is computed."""
        key = (shape.tp, shape.cp)
        if key not in self._sequence:
            self._sequence[key] = self.sequence_bytes(shape, self._tokens)
        return self._sequence[key]

    def _admitted(self, shape: Shape, tokens: int) -> tuple[int, ...]:
        key = (shape.tp, shape.cp, tokens)
        if key not in self._held:
            self._held[key] = self.sequence_bytes(shape, round_up(tokens, self._block_tokens))[1]
        return self._held[key]

    def sequence_bytes(self, shape: Shape, tokens: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The same of a sequence of `tokens` tokens."""
        sizes: list[tuple[int, int]] = []
        for name in self._names:
            attention = self.problem.model.blocks[name].attention
            if attention is None:
                sizes.append((0, 0))
                continue
            steady = self._cache.steady_bytes(attention, tokens, shape.tp) / shape.cp
            admitted = self._cache.admitted_bytes(attention, tokens, shape.tp) / shape.cp
            sizes.append((ceil(steady), ceil(max(steady, admitted))))
        return tuple(steady for steady, _ in sizes), tuple(admitted for _, admitted in sizes)

    def _input_and_output(self, shape: Shape) -> tuple[BlockWeights, BlockWeights]:
        key = (shape.tp, shape.pp > 1)
        if key not in self._ends:
            model, precision, padding = (
                self.problem.model,
                self.problem.precision,
                self.problem.engine.vocabulary_padding,
            )
            self._ends[key] = (
                input_weights(model, precision, shape.tp, vocab_padding=padding),
                output_weights(model, precision, shape.tp, with_tied_head=shape.pp > 1, vocab_padding=padding),
            )
        return self._ends[key]


def draft_weights(problem: Problem, shape: Shape) -> BlockWeights:
    """Weights of a model's own drafts on a rank; none where none is asked for."""
    if not problem.workload.mtp_tokens or problem.model.mtp is None:
        return BlockWeights()
    moe = problem.model.blocks[problem.model.mtp.block].moe
    return mtp_weights(problem.model, problem.precision, division(shape, moe))


def build_memory(problem: Problem, shape: Shape) -> Memory:
    """Byte coefficients of one shape."""
    return MemoryBook(problem).memory(shape)

"""Bytes on the fullest device of each pipeline stage: weights, KV cache, activations, and what the engine keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate

from optimizer.domain.feedforward import DenseFeedForward
from optimizer.domain.precision import ACTIVATION_BYTES, KV_BYTES
from optimizer.domain.problem import Problem
from optimizer.figures.layer import Step
from optimizer.figures.shape import Shape
from optimizer.figures.weights import (
    BlockWeights,
    absorbed_copy_bytes,
    block_weights,
    input_weights,
    mtp_weights,
    output_weights,
)

SAMPLER_BYTES = 16
"""Bytes a vocabulary entry needs for each sampled token: FP32 logits, their sorted copy, indices and probabilities.

Fitted to vLLM 0.19.0 start-up logs (llm-d-planner PR 205): peak activation 1.96 GiB at 128,256 entries, 3.65 GiB at
256,000, both with 1,024 sequences: 15.6 and 14.9 bytes.
"""


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


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


@dataclass(frozen=True)
class Memory:
    """Byte coefficients of a shape, by kind of layer; `order` says which a layer is, `counts` how many there are."""

    weights: tuple[BlockWeights, ...]
    sequence: tuple[int, ...]
    order: tuple[int, ...]
    counts: tuple[int, ...]
    input: BlockWeights
    output: BlockWeights
    token_bytes: int
    sampled_bytes: int
    reserve_bytes: int

    def prefix(self, sequences: int) -> list[int]:
        """Weights and cache of the first 0, 1, …, L layers where a rank holds `sequences` sequences."""
        each = [w.total_bytes + s * sequences for w, s in zip(self.weights, self.sequence, strict=True)]
        return list(accumulate((each[i] for i in self.order), initial=0))

    def working_bytes(self, step: Step) -> int:
        """Activations and workspace of one step: the forward pass or the sampler, whichever needs more."""
        return max(self.token_bytes * step.tokens, self.sampled_bytes * (step.decoded + step.passes))

    def stack_weights(self) -> int:
        """Weights of all layers, input and output: what all stages hold together."""
        each = sum(n * w.total_bytes for n, w in zip(self.counts, self.weights, strict=True))
        return each + self.input.total_bytes + self.output.total_bytes

    def stack_sequence(self) -> int:
        """Cache bytes of one sequence over all layers: what all stages hold together."""
        return sum(n * size for n, size in zip(self.counts, self.sequence, strict=True))

    def stages(self, step: Step, sequences: int, cuts: Sequence[int]) -> list[StageMemory]:
        """Memory of each stage; `cuts` are the layer counts of the stages, in order."""
        found, first = [], 0
        for number, layers in enumerate(cuts):
            held = [self.order[i] for i in range(first, first + layers)]
            first += layers
            total = BlockWeights()
            for kind in set(held):
                total += self.weights[kind] * held.count(kind)
            if number == 0:
                total += self.input
            if number == len(cuts) - 1:
                total += self.output
            found.append(
                StageMemory(
                    weights_bytes=total.sharded_bytes + total.shared_expert_bytes,
                    expert_weights_bytes=total.expert_bytes,
                    replicated_weights_bytes=total.replicated_bytes,
                    kv_cache_bytes=sequences * sum(self.sequence[kind] for kind in held),
                    activations_bytes=self.working_bytes(step),
                    reserve_bytes=self.reserve_bytes,
                )
            )
        return found


def sequence_tokens(problem: Problem) -> int:
    """Tokens that a sequence's cache must hold at its longest, in whole blocks."""
    work = problem.workload
    length = work.input_tokens + (work.output_tokens if work.phase != "prefill" else 0)
    return _round_up(length, problem.engine.kv_block_tokens)


def _widest(problem: Problem, tp: int, etp: int) -> int:
    widths = [0]
    for block in problem.model.blocks.values():
        if isinstance(block.ffn, DenseFeedForward):
            widths.append(-(-block.ffn.intermediate // tp))
        elif block.ffn is not None:
            widths.append(-(-block.ffn.intermediate // etp) * block.ffn.top_k + -(-block.ffn.shared_intermediate // tp))
    return max(widths)


class MemoryBook:
    """Byte coefficients of many shapes of one problem; what shapes have in common is computed once."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        model = problem.model
        self._names = list(dict.fromkeys(model.layer_names))
        self._order = tuple(self._names.index(name) for name in model.layer_names)
        self._counts = tuple(self._order.count(kind) for kind in range(len(self._names)))
        self._tokens = sequence_tokens(problem)
        self._weights: dict[tuple[str, int, int, int, bool], BlockWeights] = {}
        self._sequence: dict[tuple[int, int], tuple[int, ...]] = {}
        self._ends: dict[tuple[int, bool], tuple[BlockWeights, BlockWeights]] = {}

    def memory(self, shape: Shape) -> Memory:
        """Byte coefficients of every layer of the model at a shape."""
        problem, engine = self.problem, self.problem.engine
        first, last = self._input_and_output(shape)
        if problem.workload.mtp_tokens and problem.model.mtp is not None:
            moe = problem.model.blocks[problem.model.mtp.block].moe
            last += mtp_weights(
                problem.model, problem.precision, tp=shape.tp, etp=shape.etp,
                local_experts=shape.local_experts(moe.experts) if moe else 0, shared_replicated=shape.shared_replicated,
            )  # fmt: skip
        act = ACTIVATION_BYTES[problem.precision.activations]
        token = act * (4 * problem.model.hidden_size + 3 * _widest(problem, shape.tp, shape.etp)) / shape.cp
        graphs = 0 if problem.workload.phase == "prefill" else engine.cuda_graph_bytes
        reserve = engine.reserve_multi_bytes if shape.stage_devices > 1 else engine.reserve_single_bytes
        return Memory(
            weights=tuple(self._block(name, shape) for name in self._names),
            sequence=self._sequences(shape),
            order=self._order,
            counts=self._counts,
            input=first,
            output=last,
            token_bytes=-(-token.numerator // token.denominator),
            sampled_bytes=SAMPLER_BYTES * problem.model.vocab_size,
            reserve_bytes=reserve + graphs,
        )

    def _block(self, name: str, shape: Shape) -> BlockWeights:
        moe = self.problem.model.blocks[name].moe
        local = shape.local_experts(moe.experts) if moe else 0
        key = (name, shape.tp, shape.etp, local, shape.shared_replicated)
        if key not in self._weights:
            found = block_weights(
                self.problem.model, name, self.problem.precision, tp=shape.tp, etp=shape.etp, local_experts=local,
                shared_replicated=shape.shared_replicated,
            )  # fmt: skip
            absorbed = absorbed_copy_bytes(self.problem.model, name, shape.tp)
            self._weights[key] = replace(found, sharded_bytes=found.sharded_bytes + absorbed)
        return self._weights[key]

    def _sequences(self, shape: Shape) -> tuple[int, ...]:
        """Cache bytes of one sequence in each kind of layer."""
        key = (shape.tp, shape.cp)
        if key not in self._sequence:
            kv, found = KV_BYTES[self.problem.precision.kv_cache], []
            for name in self._names:
                attention = self.problem.model.blocks[name].attention
                cached = Fraction(0)
                if attention is not None:
                    cached = attention.cache_elements(self._tokens, shape.tp) * kv
                    cached = (cached + attention.cache_fixed_bytes(self._tokens, shape.tp)) / shape.cp
                found.append(-(-cached.numerator // cached.denominator))
            self._sequence[key] = tuple(found)
        return self._sequence[key]

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


def build_memory(problem: Problem, shape: Shape) -> Memory:
    """Byte coefficients of one shape."""
    return MemoryBook(problem).memory(shape)

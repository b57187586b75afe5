"""Bounds on what a mesh pair can reach over all batches and stage cuts, for many at once.

For any cuts into pp stages: cycle = pp·max A ≥ the whole stack's A + pp sends; one stage holds at least ceil(L/pp)
layers, and one at least ceil(n/pp) of the n layers of a kind; memory of the fullest stage ≥ the mean of all, and what
those layers hold. With pp left open: cycle ≥ the stack at pp = 1, memory ≥ that at the largest pp.

With the chunk left open between two: a step carries ȳ = µ·P ÷ T prompt tokens on average, of requests that keep their
places for T cycles. (1 − φ)·g(x) + φ·g(x + p) with φ·p ≥ ȳ is g(x) and ȳ times the slope of a secant, which for a
convex g is least at the least p (or at ȳ, as φ ≤ 1) and for a concave g at the greatest: h(ȳ). Requests/s are bounded
by T·A ≥ T·h(µ·P ÷ T), which does not fall with T, as h(ȳ) ÷ ȳ does not rise: by the least T, of the fewest pieces and
the largest pp. A itself is no less than that ÷ the greatest T.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from optimizer.domain.lattice import LARGEST_BATCH, largest_batch
from optimizer.domain.problem import Problem
from optimizer.figures.memory import SAMPLER_ELEMENT_BYTES
from optimizer.figures.room import most_tokens
from optimizer.figures.serving import BURST
from optimizer.search.bottleneck import bottleneck
from optimizer.search.kinds import KindCost, RooflineGroup
from optimizer.search.lattice import Floats, Ints
from optimizer.search.pricing import MARGIN, Pricer
from optimizer.search.rows import Rows
from optimizer.search.targets import Target

_LENGTHS = 128
"""Lengths, evenly apart in ratio (11% up to a million), at one of which a bound on the longest sequence is said."""


class Times(NamedTuple):
    """T·pp·max A, pp·max G, pp·max M, φ, and TTFT without a queue by percentile (no M and TTFT in phase decode).

    `turn` is what a place is taken for, which one request after the other has.
    """

    turn: Floats
    cycle: Floats
    mixed: Floats | None
    share: Floats
    firsts: dict[int | None, Floats]


class Stack(NamedTuple):
    """Seconds of all layers and the head, of the cheapest layer of each kind, of the head, and of a send of a stage."""

    total: Floats
    layers: Floats
    tail: Floats
    send: Floats


class Bounds:
    """Bounds of rows over a pricer's mesh pairs.

    Parameters
    ----------
    deepest
        The largest pp there is.
    cut
        Whether to cut the stack into stages, each of one sum: tight, and some 20 times as slow. Rows must have a pp.
    """

    def __init__(self, pricer: Pricer, rows: Rows, deepest: int, *, cut: bool = False) -> None:
        self.problem: Problem = pricer.problem
        self.rows = rows
        index = rows.mesh
        self.meshes = pricer.meshes.take(index)
        self.counts = pricer.counts
        self.kinds: list[KindCost] = [k.take(index) for k in pricer.kinds]
        self.cheapest = [k.take(index) for k in pricer.cheapest] if pricer.cheapest is not pricer.kinds else self.kinds
        self.head: RooflineGroup = pricer.head.take(index)
        self.draft = pricer.draft.take(index) if pricer.draft is not None else None
        self.pp = np.maximum(rows.pp, 1).astype(float)
        self.pieces, piece, self.packed = self._split(rows.most)
        self.most_pieces, self.piece, self.fewest_packed = self._split(rows.least)
        self.taken = (piece * self.packed).astype(float)
        self._open_chunk = bool(np.any(rows.least != rows.most))
        self.deep = np.where(rows.pp == 0, deepest, rows.pp).astype(float)
        self.turns = self._turns(self.pieces, self.deep)
        weights = sum(
            (n * w[index] for n, w in zip(pricer.counts, pricer.weights, strict=True)),
            start=np.zeros(len(index)),
        )
        tied = np.where(rows.pp > 1, pricer.tied[index], 0.0)
        self.weights = weights + pricer.input[index] + pricer.output[index] + tied
        self._layer_weights, self._layer_sequence = (
            np.array(pricer.weights)[:, index],
            np.array(pricer.sequence)[:, index],
        )
        self.sequence = np.array(pricer.counts, dtype=float) @ self._layer_sequence
        self._of_kind = np.ceil(np.array(pricer.counts)[:, None] / self.pp)
        self._of_any = np.ceil(sum(pricer.counts) / self.pp)
        self.working_token = pricer.working_token[index]
        self.reserve = pricer.reserve[index]
        reservation, entries = self.problem.engine.reservation, self.problem.model.vocab_size
        self.sampler = float(reservation.sampler_bytes * entries)
        self.sampler_fixed = float(
            reservation.sampler_rows * SAMPLER_ELEMENT_BYTES * entries + reservation.workspace_bytes
        )
        self.hidden = pricer.hidden[index]
        self._kept = (self.problem.workload.max_num_batched_tokens or 0, self.problem.workload.max_num_seqs or 0)
        self.send_fixed, self.send_each = pricer.send_fixed[index], pricer.send_each[index]
        self._taken = self._most_taken()
        self._pricer = pricer
        self._contexts: dict[int, NDArray[np.bool_]] = {}
        self._several = rows.pp > 1
        names = self.problem.model.layer_names
        self._order = [list(dict.fromkeys(names)).index(name) for name in names] if cut else []
        self._ends = pricer.output[index] + tied, pricer.input[index]

    def _most_taken(self) -> Floats:
        """Micro-batches of the sequences, and beside the prompt tokens, that the engine is told to take at most."""
        work = self.problem.workload
        most, tokens = np.ceil(largest_batch(self.problem) / self.pp), work.max_num_batched_tokens
        if tokens is not None and not work.decodes:
            most = np.minimum(most, tokens // np.minimum(self.rows.least, work.computed_input_tokens))
        elif tokens is not None:
            most = np.minimum(most, np.maximum(tokens - self.rows.least, 0) // (1 + work.mtp_tokens))
        return most.astype(float)

    def context(self, tokens: int) -> NDArray[np.bool_]:
        """Whether stages may hold a sequence of so many tokens: together they hold all of it and all weights."""
        if tokens not in self._contexts:
            bytes_ = self._pricer.admitted(tokens)[self.rows.mesh] + self._beside
            self._contexts[tokens] = bytes_ / self.deep + self._each <= self._budget * (1 + MARGIN)
        return self._contexts[tokens]

    def longest(self) -> Floats:
        """Tokens of the longest sequence that stages may hold; rounded up to a grid of lengths."""
        free = self.deep * (self._budget * (1 + MARGIN) - self._each) - self._beside
        most = most_tokens(self._pricer.problem)
        lengths = np.unique(np.append(np.geomspace(1, most, _LENGTHS).astype(np.int64), most))
        longest = np.zeros(len(free))
        for number, length in enumerate(lengths.tolist()):
            fits = self._pricer.admitted(length)[self.rows.mesh] <= free
            longest = np.where(fits, float(lengths[min(number + 1, len(lengths) - 1)]), longest)
        return np.maximum(longest, np.where(free >= 0, float(lengths[0]), 0.0))

    @cached_property
    def _budget(self) -> Floats | float:
        """What a device may hold of `_beside`, `_each` and a sequence."""
        pool = self._pricer.pool
        return self._pricer.budget if pool is None or self._pricer.stated else pool[self.rows.mesh]

    @cached_property
    def _graphs(self) -> Floats:
        """Graphs of all stages."""
        index = self.rows.mesh
        zero = np.zeros(len(index))
        return sum((n * g[index] for n, g in zip(self.counts, self._pricer.graphs, strict=True)), start=zero)

    @cached_property
    def _beside(self) -> Floats:
        """Weights of all stages, and graphs where they come out of the same memory."""
        if self._pricer.stated:
            return np.zeros(len(self.rows))
        return self.weights - (0.0 if self._pricer.graphs_in_budget and self._pricer.pool is None else self._graphs)

    def _shared(self, free: Floats) -> Floats:
        """What is left to weights, graphs and cache, where weights and cache have a share of their own."""
        pool = self._pricer.pool
        return free if pool is None else np.minimum(free, pool[self.rows.mesh] * (1 + MARGIN) + self._graphs)

    @cached_property
    def _each(self) -> Floats:
        """What the engine keeps on every stage, and the tensors of the step that it sizes itself for."""
        if self._pricer.stated or self._pricer.pool is not None:
            return np.zeros(len(self.rows))
        sized = self._pricer.sized
        return self.reserve if sized is None else self.reserve + self._tensors(*sized)

    def _split(self, chunk: Ints) -> tuple[Ints, Ints, Ints]:
        """Pieces of a prompt, their tokens, and whole prompts that share a step."""
        prompt, chunk = self.problem.workload.computed_input_tokens, np.maximum(chunk, 1)
        pieces = -(-prompt // chunk)
        return pieces, -(-prompt // pieces), np.maximum(chunk // prompt, 1)

    def _turns(self, pieces: Ints, pp: Floats) -> Floats:
        """Cycles for which a request keeps its place in the batch."""
        work = self.problem.workload
        if not work.decodes:
            return pieces.astype(float)
        return float(work.decode_steps) + ((pieces - 1) / pp + 1 if work.prompts else np.zeros_like(pp))

    def _step(self, seqs: Floats, decoded: Floats, prompt: Floats, passes: Floats) -> Stack:
        """What a step takes."""

        def each(kind: KindCost) -> Floats:
            return kind.seconds(seqs, decoded, prompt, passes)

        tail = self.head.seconds(decoded + passes)
        if self.draft is not None:
            zero = np.zeros_like(seqs)
            drafted = self.draft.seconds(seqs, seqs, zero, zero) + self.head.seconds(seqs)
            tail = tail + np.where(seqs > 0, self.problem.workload.mtp_tokens * drafted, 0.0)
        return self._stack_of(each, tail, decoded + prompt)

    def _mean_step(self, micro: Floats, finished: Floats) -> Stack:
        """`_step` on average over the steps of phase aggregated, for the best chunk of each row.

        Parameters
        ----------
        finished
            Whole prompts of which a step carries the tokens, on average.
        """
        work = self.problem.workload
        decoded = micro * (1 + work.mtp_tokens)
        prompt = finished * work.computed_input_tokens
        least, most = np.maximum(self.piece * self.fewest_packed, prompt), np.maximum(self.taken, prompt)

        def each(kind: KindCost) -> Floats:
            return kind.mean_seconds(micro, decoded, prompt, finished * self.pieces, least, most)

        tail = self.head.seconds(decoded)
        if self.draft is not None:
            zero = np.zeros_like(micro)
            tail = tail + work.mtp_tokens * (self.draft.seconds(micro, micro, zero, zero) + self.head.seconds(micro))
        return self._stack_of(each, tail, decoded + prompt)

    def _stack_of(self, seconds: Callable[[KindCost], Floats], tail: Floats, tokens: Floats) -> Stack:
        layers = [seconds(kind) for kind in self.kinds]
        total = sum((count * layer for count, layer in zip(self.counts, layers, strict=True)), start=tail)
        cheapest = layers if self.cheapest is self.kinds else [seconds(kind) for kind in self.cheapest]
        return Stack(
            total, np.array(cheapest), tail, np.where(self._several, self.send_fixed + self.send_each * tokens, 0.0)
        )

    def _slowest(self, stack: Stack) -> Floats:
        """Least pp·max over stages.

        All stages together; ceil(L/pp) of the cheapest layers; ceil(n/pp) of a kind's; and the last stage beside the
        others: with at most n layers each they leave it L − (pp − 1)·n, else one of them has n + 1. Any n bounds.
        """
        cheapest = np.min(stack.layers, axis=0)
        layers, least = sum(self.counts), np.maximum(cheapest, 1e-300)
        balanced = np.clip(np.floor((layers * least + stack.tail) / (self.pp * least)), 1, layers)
        last = stack.tail + np.maximum(layers - (self.pp - 1) * balanced, 1) * cheapest
        apart = np.where(self.pp > 1, np.minimum(last, (balanced + 1) * cheapest), 0.0)
        alike = np.max(self._of_kind * stack.layers, axis=0)
        most = np.maximum(np.maximum(self._of_any * cheapest, alike), apart)
        slowest: Floats = np.maximum(stack.total, self.pp * most)
        if self._order:
            zero = np.zeros_like(slowest)
            slowest = np.maximum(
                slowest, self.pp * bottleneck(self._order, stack.layers, stack.tail, zero, self.rows.pp)
            )
        return slowest + self.pp * stack.send

    def stack(self, micro: Floats, firsts: Sequence[int | None] = (None,)) -> Times:
        """Least of all times at a micro-batch, of which a batch has pp·(µ − 1) others at least.

        Parameters
        ----------
        firsts
            Percentiles of the TTFT that are wanted; None: the mean.
        """
        work = self.problem.workload
        verified = 1 + work.mtp_tokens
        zero = np.zeros_like(micro)
        if not work.prompts:
            plain_s = self._slowest(self._step(micro, micro * verified, zero, zero))
            return Times(self.turns * plain_s, plain_s, None, zero, {})
        if not work.decodes:
            busy = self._step(zero, zero, micro * self.piece, micro)
            mixed = self._slowest(busy)
            first_tokens = self._first_tokens(micro, busy, busy, busy, firsts)
            return Times(self.turns * mixed, mixed, mixed, np.ones_like(micro), first_tokens)
        # least where a request keeps its place the longest
        share = micro * self.pieces / (self._turns(self.pieces, self.pp) * self.packed)
        steps = float(work.decode_steps)
        passes = self.fewest_packed.astype(float)
        busy = own = self._step(micro, micro * verified, self.piece * passes, passes)
        # prompts that come in a step, on average
        come = np.minimum(np.maximum(np.ceil(share * self.packed * (1 - MARGIN)), 1), passes)
        if firsts and work.arrivals != "poisson" and np.any(come < passes):
            own = self._step(micro, micro * verified, self.piece * come, come)
        if self._open_chunk:
            # of several prompts in every step there are micro ÷ (steps + 1) at least
            mean = self._mean_step(micro, micro / self.turns)
            met = self._mean_step(micro, np.minimum((micro - 1) / steps, micro / (steps + 1)))
        else:
            plain = self._step(micro, micro * verified, zero, zero)
            # one stage bounds the mean by its own decode and mixed steps
            mean, met = (
                Stack(*(d + often * (m - d) for d, m in zip(plain, busy, strict=True)))
                for often in (
                    micro * self.pieces / (self.turns * self.packed),
                    np.minimum((micro - 1) * self.pieces / (steps * self.packed), 1.0),
                )
            )
        shortest = Stack(*(part * (self.turns / self._turns(self.most_pieces, self.pp)) for part in mean))
        first_tokens = self._first_tokens(micro, own, busy, shortest, firsts)
        return Times(self.turns * self._slowest(mean), self._slowest(met), self._slowest(busy), share, first_tokens)

    def requests(self, micro: Floats, turn: Floats) -> Floats:
        """Most requests/s of each device, by what a place is taken for."""
        served: Floats = micro / (turn * (self.meshes.tp * self.meshes.cp))
        return served

    def _first_tokens(
        self, micro: Floats, own: Stack, mixed: Stack, mean: Stack, firsts: Sequence[int | None]
    ) -> dict[int | None, Floats]:
        return {percentile: self._first_token(micro, own, mixed, mean, percentile) for percentile in firsts}

    def _first_token(self, micro: Floats, own: Stack, mixed: Stack, mean: Stack, percentile: int | None) -> Floats:
        """Least seconds to the first token without a queue: the most of k·pp·O + h·pp·M + w·pp·A of one stage."""
        work, waiting = self.problem.workload, self.problem.waiting
        passes = (self.pieces - 1) / self.deep + 1
        if not work.looped:
            light: Floats = float(waiting.overhead_s) + passes * self._slowest(own)
            return light
        prompts = float(BURST) * self.pp * (micro - 1) / 2
        if percentile is not None:
            within = float(1 - (1 - Fraction(percentile, 100)) / BURST)
            prompts = np.maximum(within * (self.pp * (micro - 1) + 1) - 1, 0)
        ahead = prompts * self.pieces / self.packed
        # of a micro-batch of one the batch may be one, which waits for nobody
        often, seldom = ahead / self.deep, np.where(micro > 1, float(waiting.steps), 0.0) / self.deep
        waited = Stack(*(passes * o + often * m + seldom * a for o, m, a in zip(own, mixed, mean, strict=True)))
        looped: Floats = float(waiting.overhead_s) + self._slowest(waited)
        return looped

    def _workspace(self, micro: Floats) -> Floats:
        """Least bytes of activations and of the sampler in a step of micro-batches of `micro`."""
        work = self.problem.workload
        verified = micro * (1 + work.mtp_tokens)
        chunk = self.rows.least.astype(float)
        if work.mixes:
            tokens, sampled = verified + chunk, verified + self.fewest_packed
        elif work.decodes:
            tokens, sampled = verified, verified
        else:
            tokens, sampled = micro * np.minimum(chunk, work.computed_input_tokens), micro
        tokens, sampled = np.maximum(tokens, self._kept[0]), np.maximum(sampled, self._kept[1])
        return self._tensors(tokens, sampled)

    def _tensors(self, tokens: Floats | int, sampled: Floats | int) -> Floats:
        """Of a step: see `Memory.tensor_bytes`."""
        sampling = self.sampler * sampled + self.hidden * tokens + self.sampler_fixed
        tensor_bytes: Floats = np.maximum(self.working_token * tokens, sampling)
        return tensor_bytes

    def memory(self, micro: Floats, batch: Ints | None = None) -> Floats:
        """Least bytes of the fullest device with micro-batches of `micro`: those of pp·(µ − 1) + 1 sequences.

        Parameters
        ----------
        batch
            Sequences, where they are known (0: not).
        """
        sequences = self.pp * (micro - 1) + 1
        if batch is not None:
            sequences = np.where(batch > 0, batch, sequences)
        share = np.where(self.rows.pp == 0, np.maximum(micro - 1, 1 / self.deep), sequences / self.pp)
        # layers of one stage hold the cache of the whole batch
        layers = self._layer_weights + self._layer_sequence * sequences
        alike = np.max(self._of_kind * layers, axis=0)
        stage = np.maximum(self.weights / self.deep + self.sequence * share, np.where(self.rows.pp == 0, 0.0, alike))
        if self._order:
            stage = np.maximum(stage, bottleneck(self._order, layers, *self._ends, self.rows.pp))
        fullest: Floats = stage + self._workspace(micro) + self.reserve
        return fullest

    def holds(self, micro: Floats, target: Target) -> tuple[NDArray[np.bool_], Floats]:
        """Whether the limits that tighten with the micro-batch hold at it; and the most requests/s of a device."""
        stack = self.stack(micro, tuple(target.first))
        return self.within(micro, target, stack, self.memory(micro)), self.requests(micro, stack.turn)

    def within(self, micro: Floats, target: Target, stack: Times, memory: Floats) -> NDArray[np.bool_]:
        """Whether what `stack` and `memory` say of a micro-batch keeps the limits."""
        slack = 1 + MARGIN
        holds = (stack.cycle <= target.cycle * slack) & (memory <= target.memory * slack) & (stack.share <= slack)
        for percentile in target.first if stack.firsts else ():
            holds &= stack.firsts[percentile] <= target.first[percentile] * slack
        holds &= micro <= self._taken
        return holds & self.context(target.context) if target.context else holds

    def needed(self, target: Target, most_devices: Floats) -> Floats:
        """Requests/s that each device must serve."""
        return np.maximum(target.requests, target.total_requests / np.maximum(most_devices, 1)) * (1 - MARGIN)

    def reachable(self, target: Target, most_devices: Floats) -> NDArray[np.bool_]:
        """Rows that one evaluation cannot dismiss.

        Requests/s rise and limits tighten with the micro-batch. At the micro-batch whose cycle would just meet the
        target, falling short of the requests dismisses every smaller one, breaking a limit every larger one.
        """
        need = self.needed(target, most_devices)
        work = self.problem.workload
        ranks = self.meshes.tp * self.meshes.cp
        limit = target.cycle if work.decodes else min((target.cycle, *target.first.values()))
        if np.isinf(limit):
            wanted = np.full(len(need), float(LARGEST_BATCH))
        else:
            wanted = np.floor(need * ranks * self.turns * limit) + 1
        micro = np.clip(np.minimum(wanted, self.most_in_memory(target)), 1, LARGEST_BATCH)
        holds, requests = self.holds(micro, target)
        capped = micro < wanted
        dismissed = (~holds & (micro <= 1)) | ((requests < need) & (capped | ~holds))
        reachable: NDArray[np.bool_] = ~dismissed
        return reachable & self.context(target.context) if target.context else reachable

    def _sequences(self, target: Target, working: Floats) -> Floats:
        """Upper bound of the sequences of a rank that the weights of every stage leave room for."""
        free = self._shared(target.memory * (1 + MARGIN) - self.reserve - working)
        together = self.pp * (free - self.weights / self.deep) / np.maximum(self.sequence, 1e-9)
        alike = (free / self._of_kind - self._layer_weights) / np.maximum(self._layer_sequence, 1e-9)
        sequences: Floats = np.clip(np.minimum(together, np.min(alike, axis=0)), 0.0, float(LARGEST_BATCH))
        return np.floor(sequences * (1 + MARGIN))

    def most_in_memory(self, target: Target) -> Floats:
        """Upper bound of the micro-batches that weights and cache leave room for, and that keep φ ≤ 1."""
        free = self._shared(target.memory - self.reserve) - self.weights / self.deep
        most = np.where(
            free < 0, 0.0, np.where(self.sequence > 0, free / np.maximum(self.sequence, 1e-9) + 1, float(LARGEST_BATCH))
        )
        # of a micro-batch of µ there are pp·(µ − 1) + 1 sequences at least
        sequences = self._sequences(target, np.zeros_like(free))
        most = np.where(self.rows.pp == 0, most, np.minimum(most, (sequences - 1) / self.pp + 1))
        work = self.problem.workload
        if work.mixes:
            most = np.minimum(most, self.packed * self._turns(self.pieces, self.pp) / self.pieces)
        return np.minimum(np.floor(most * (1 + MARGIN)), self._taken)

    def most_requests(self, target: Target) -> Floats:
        """Most requests/s of each device over all micro-batches that keep the limits; −1 where none does."""
        low = np.ones(len(self.rows.mesh))
        holds, _ = self.holds(low, target)
        high = np.maximum(np.minimum(self.most_in_memory(target), LARGEST_BATCH), 1)
        for _ in range(21):
            middle = np.ceil((low + high) / 2)
            good, _ = self.holds(middle, target)
            low = np.where(good, middle, low)
            high = np.where(good, high, np.maximum(middle - 1, low))
            if np.all(low >= high):
                break
        turn = self.stack(low, ()).turn
        sequences = np.minimum(self._sequences(target, self._workspace(low)) / self.pp, low)
        sequences = np.where(self.rows.pp == 0, low, sequences)
        # the last micro-batch may be left unfilled
        fewer = np.maximum(low - 1, 1)
        partial = np.maximum(
            self.requests(sequences, turn), np.where(low > 1, self.requests(fewer, self.stack(fewer, ()).turn), 0.0)
        )
        return np.where(holds, np.where(sequences < low, partial, self.requests(low, turn)), -1.0)

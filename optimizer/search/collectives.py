"""Messages of every mesh pair at once: the vectorised twin of figures/traffic.py."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce
from itertools import accumulate
from math import comb

import numpy as np

from optimizer.domain.feedforward import MixtureOfExperts
from optimizer.domain.lattice import axes
from optimizer.domain.model import Block
from optimizer.domain.precision import ACTIVATION_BYTES, KV_BYTES
from optimizer.domain.problem import Problem
from optimizer.domain.tensor import TensorRole
from optimizer.search.lattice import Floats, Ints, Meshes
from optimizer.search.rates import float_rates

Runs = Sequence[tuple[Ints, Ints]]
"""Groups of so many ranks so far apart; of a second run, of so many of these so far apart."""


def fan_outs(sizes: tuple[int | None, ...], runs: Runs, replica: Ints) -> list[tuple[Ints, Ints]]:
    """Fan-out on each tier, and devices below it, of groups of ranks."""
    inner, fans = np.ones_like(replica), []
    members = reduce(np.multiply, (count for count, _ in runs))
    for size in sizes:
        inside = members.copy()
        if size is not None:
            held, whole = np.ones_like(replica), np.ones(len(replica), dtype=bool)
            for count, stride in runs:
                fits, part = size % (count * stride) == 0, (count * stride % size == 0) & (size % stride == 0)
                straddles = ~fits & ~part & (stride < size)
                alike = np.where(fits, count, np.where(part, size // stride, 1))
                held = np.where(whole, np.where(straddles, 1, held * alike), held)
                whole = whole & fits
            inside = np.where(replica <= size, members, held)
        used = (inside > inner) & (inside % inner == 0)
        fans.append((np.where(used, inside // inner, 1), inner))
        inner = np.where(used, inside, inner)
    return fans


@lru_cache(maxsize=65536)
def _distinct(bins: int, experts: int, top_k: int) -> float:
    if bins == 1:
        return 1.0
    if experts % bins == 0:
        return bins * (1 - comb(experts - experts // bins, top_k) / comb(experts, top_k))
    return bins * (1 - (1 - 1 / bins) ** top_k)


def _distinct_all(bins: Ints, moe: MixtureOfExperts) -> Floats:
    unique, where = np.unique(bins, return_inverse=True)
    return np.array([_distinct(int(b), moe.experts, moe.top_k) for b in unique])[where]


def _rounds(fan_out: Ints) -> Ints:
    return np.ceil(np.log2(fan_out)).astype(np.int64)


def _beside(problem: Problem, meshes: Meshes) -> Ints:
    """Devices of a stage that stand side by side before those of the next."""
    return reduce(np.multiply, (getattr(meshes, axis) for axis in problem.engine.within_stages))


class Collectives:
    """Message coefficients in seconds for each pair of meshes.

    `replica` is the size that decides the tiers.
    """

    def __init__(self, problem: Problem, meshes: Meshes, replica: Ints) -> None:
        self.problem, self.meshes = problem, meshes
        self.rates = float_rates(problem.priced_hardware)
        sizes = tuple(t.size for t in problem.hardware.tiers)
        ones = np.ones_like(meshes.tp)
        self.tp = fan_outs(sizes, [(meshes.tp, ones)], replica)
        self.cp = fan_outs(sizes, [(meshes.cp, meshes.tp)], replica)
        experts = meshes.etp * meshes.ep
        near = np.where(replica == meshes.stage, experts, np.gcd(experts, _beside(problem, meshes)))
        apart = _beside(problem, meshes) * (replica // meshes.stage)
        self.experts = fan_outs(sizes, [(near, ones), (experts // near, apart)], replica)

    def layer(self, block: Block) -> tuple[Floats, Floats, Floats, Floats]:
        """Seconds a token, a prompt token and a sequence cost, and the latency of one layer, but for `exchange`."""
        meshes, problem = self.meshes, self.problem
        hidden, act = problem.model.hidden_size, float(ACTIVATION_BYTES[problem.precision.activations])
        zero = np.zeros(len(meshes))
        per_token, per_prompt, per_seq, latency = zero, zero, zero, zero
        token_bytes = hidden * act / meshes.cp
        reduces = 0
        if block.attention is not None:
            reduces += 1
            kv = float(KV_BYTES[problem.precision.kv_cache])
            table = {tp: block.attention.cache_elements(1, tp) * kv for tp in np.unique(meshes.tp).tolist()}
            width = np.array([table[tp] for tp in meshes.tp.tolist()], dtype=float)
            for tier, (fan, inner) in enumerate(self.cp):
                share = (fan - 1) / fan / inner * self._link(tier, fan)
                per_prompt = per_prompt + share * width
                per_seq = per_seq + share * 2 * hidden * act / meshes.tp
                latency = latency + 2 * _rounds(fan) * self.rates.round[tier]
        moe = block.moe
        if (moe is None and block.ffn is not None) or (moe is not None and moe.dense_intermediate):
            reduces += 1
        if reduces:
            size, rounds = self._all_reduce(token_bytes)
            per_token, latency = per_token + reduces * size, latency + reduces * rounds
        if moe is not None and block.attention is None:
            for tier, (fan, inner) in enumerate(self.tp):
                per_token = per_token + (fan - 1) / fan / inner * token_bytes * self._link(tier, fan)
                latency = latency + _rounds(fan) * self.rates.round[tier]
        return per_token, per_prompt, per_seq, latency

    def _link(self, tier: int, fan: Ints) -> Floats:
        """Seconds a byte: members of a group share the links of a mesh."""
        level = self.problem.hardware.tiers[tier]
        seconds = np.full(len(fan), self.rates.link[tier])
        if level.mesh and level.size is not None:
            seconds *= np.where(fan < level.size, (level.size - 1) / np.maximum(fan - 1, 1), 1.0)
        return seconds

    def _all_reduce(self, token_bytes: Floats) -> tuple[Floats, Floats]:
        total, latency = np.zeros(len(self.meshes)), np.zeros(len(self.meshes))
        top = np.zeros(len(self.meshes), dtype=np.int64)
        for tier, (fan, _) in enumerate(self.tp):
            top = np.where(fan > 1, tier, top)
        for tier, (fan, inner) in enumerate(self.tp):
            total = total + 2 * (fan - 1) / fan * token_bytes / inner * self._link(tier, fan)
            latency = latency + np.where(top == tier, 1, 2) * _rounds(fan) * self.rates.round[tier]
        return total, latency

    def exchange(self, moe: MixtureOfExperts, skew: Floats | None) -> tuple[Floats, Floats, Floats]:
        """Seconds a token's dispatch and its combine take, and the latency of each."""
        meshes, precision = self.meshes, self.problem.precision
        width = moe.expert_width(self.problem.model.hidden_size)
        act = float(ACTIVATION_BYTES[precision.activations])
        small = precision.of_role(TensorRole.EXPERTS).compute in ("fp8", "fp4", "int8")
        group = meshes.etp * meshes.ep
        per_token, latency = np.zeros(len(meshes)), np.zeros(len(meshes))
        near = meshes.etp * _distinct_all(meshes.ep, moe) * (1.0 if skew is None else skew)
        for tier, (fan, inner) in enumerate(self.experts):
            domains = group // inner
            bins = np.minimum(domains, meshes.ep)
            if self.problem.engine.expert_order[-1] == "ep":
                bins = np.maximum(1, meshes.ep // inner)
            far = _distinct_all(bins, moe)
            if moe.group_count > 1:
                far = np.minimum(far, moe.group_limit * -(-bins // moe.group_count))
            far = far * -(-domains // bins)
            copies = np.where(inner == 1, near, far)
            per_token = per_token + copies * (fan - 1) / fan * width / (meshes.tp * meshes.cp) * self._link(tier, fan)
            latency = latency + _rounds(fan) * self.rates.round[tier]
        return per_token * (1.0 if small else act), per_token * act, latency


class OpenCollectives:
    """Coefficients that no size of replica goes below: the least over the tiers that could hold it whole."""

    def __init__(self, problem: Problem, meshes: Meshes) -> None:
        self.problem, self.meshes = problem, meshes
        bounds = [0, *(t.size for t in problem.hardware.tiers if t.size is not None)]
        self._each = [Collectives(problem, meshes, np.maximum(meshes.stage, bound + 1)) for bound in bounds]
        self._apart = self._each
        if np.any(_beside(problem, meshes) < meshes.stage):
            # the ranks that exchange experts lie as far apart as there are stages
            self._apart = [Collectives(problem, meshes, meshes.stage * pp) for pp in axes(problem).pp]

    def layer(self, block: Block) -> tuple[Floats, Floats, Floats, Floats]:
        """See `Collectives.layer`."""
        costs = [collectives.layer(block) for collectives in self._each]
        token, prompt, seq, latency = (np.minimum.reduce(part) for part in zip(*costs, strict=True))
        return token, prompt, seq, latency

    def exchange(self, moe: MixtureOfExperts, skew: Floats | None) -> tuple[Floats, Floats, Floats]:
        """See `Collectives.exchange`."""
        costs = [collectives.exchange(moe, skew) for collectives in self._apart]
        dispatch, combine, latency = (np.minimum.reduce(part) for part in zip(*costs, strict=True))
        return dispatch, combine, latency


def send(problem: Problem, meshes: Meshes, replica: Ints | None) -> tuple[Floats, Floats]:
    """Seconds of latency and for each token to hand hidden states to the next stage; None: of replicas of any size."""
    act, tiers = float(ACTIVATION_BYTES[problem.precision.activations]), problem.hardware.tiers
    rates = float_rates(problem.priced_hardware)
    link = [seconds / float(t.share(2)) for seconds, t in zip(rates.link, tiers, strict=True)]
    rounds = list(rates.round)
    beside = _beside(problem, meshes)
    if replica is None:
        link, rounds = (list(accumulate(reversed(values), min))[::-1] for values in (link, rounds))
        replica = block = beside
    else:
        block = beside * (replica // meshes.stage)
    tier, holds = np.zeros(len(replica), dtype=np.int64), np.zeros(len(replica), dtype=bool)
    for i, level in enumerate(tiers):
        if level.size is not None:
            holds = holds | (replica <= level.size) | (level.size % block == 0)
            tier = np.where(holds, tier, i + 1)
    width = problem.model.hidden_size * act / (meshes.cp * meshes.tp)
    return np.array(rounds)[tier], width * np.array(link)[tier]

"""Memory and step times derived a second time, number by number, from `docs/figures.md`: equal on random layouts.

Only inputs are read: fields of model, hardware, workload and layout, and an engine's constants. Bytes are equal, and
so are times but for the rounding of ticks (`ROUNDING`), of the units that experts are counted in (`UNITS`), and of the
curves of the hottest of several devices (`CURVES`).

Not covered: other attention kinds and windows, multi-token prediction, measured loads, latent experts,
biases, decode context parallelism, padded experts, vocabularies that an engine pads to other than 64, what a problem
states of reserve and largest step, queues, bandwidth figures, ideal figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import product
from random import Random
from typing import Any

import pytest

from optimizer.domain.attention import GroupedQueryAttention, LatentAttention
from optimizer.domain.feedforward import DenseFeedForward, MixtureOfExperts
from optimizer.domain.layout import Layout, Stage
from optimizer.domain.model import Block, ModelSpec, Run
from optimizer.domain.precision import ModelPrecision
from optimizer.domain.problem import Problem
from optimizer.figures.serving import evaluate
from optimizer.readers import catalog

LAYOUTS = 100
ROUNDING = Fraction(1, 10**15)
UNITS = Fraction(1, 10**6)
CURVES = Fraction(1, 2000)
"""The reference follows √y beyond 32 mean pairs; here every mean is summed."""

CATALOG = {
    "dense": ["llama-3.3-70b", "qwen3-32b", "mistral-nemo-12b"],
    "mla": ["deepseek-v3", "deepseek-v2-lite", "kimi-k2"],
    "moe": ["mixtral-8x7b", "qwen3-30b-a3b", "qwen3-235b-a22b-fp8"],
}
HARDWARE = catalog.names("hardware")
FORMATS = {  # bits, scale's bytes, rows and columns of a block, number format that it computes in
    "bf16": (16, 0, 1, 1, "bf16"), "fp8_block": (8, 4, 128, 128, "fp8"), "mxfp4": (4, 1, 1, 32, "fp4"),
    "int4": (4, 2, 1, 128, "bf16"),
}  # fmt: skip
BYTES = {"bf16": 2, "fp8": 1}
LAUNCHES = {"attention": 4, "dense_ffn": 3, "router": 2, "experts": 4, "shared_experts": 3}


def up(number: int | Fraction, by: int = 1) -> int:
    return math.ceil(Fraction(number) / by)


@dataclass(frozen=True)
class Matrix:
    """A rank's part of a weight; `vector`: it multiplies nothing."""

    role: str
    rows: int
    cols: int
    form: str
    whole: bool = False
    vector: bool = False
    copies: int = 1

    @property
    def bytes(self) -> int:
        bits, scale, tall, wide, _ = FORMATS[self.form]
        return self.copies * (up(self.rows * self.cols * bits, 8) + scale * up(self.rows, tall) * up(self.cols, wide))


class Oracle:
    """One layout of one problem."""

    def __init__(self, problem: Problem, layout: Layout) -> None:
        self.p, self.l, self.m, self.hw, self.w = problem, layout, problem.model, problem.hardware, problem.workload
        self.tp, self.cp, self.pp, self.etp, self.ep = layout.tp, layout.cp, layout.pp, layout.etp, layout.ep
        self.redundant = layout.redundant_slots
        self.stage = math.lcm(self.tp * self.cp, self.etp * self.ep)
        self.dp, self.edp = self.stage // (self.tp * self.cp), self.stage // (self.etp * self.ep)
        self.whole_shared = self.tp > 1 and self.dp > 1 and self.ep > 1
        self.act, self.kv = BYTES[self.m.precision.activations], BYTES[self.m.precision.kv_cache]
        self.names = [name for run in self.m.layers for _ in range(run.count) for name in run.pattern]
        own = self.hw.efficiency
        self.hbm = self.hw.device.bandwidth * own.hbm.value
        self.split = layout.overlap == "two_batch"
        # an exchange of prompts beside computation takes 20 of 132 multiprocessors
        self.slower = Fraction(132, 112) if self.split and self.w.phase != "decode" else Fraction(1)
        self.hbm_narrow = self.hw.device.bandwidth * (own.hbm_4bit or own.hbm).value

    def form(self, role: str) -> str:
        return getattr(self.m.precision, role) or self.m.precision.weights

    def flops(self, form: str, shares: Any) -> Fraction:
        """FLOP/s of a weight format."""
        peak, name = self.hw.device.peak, FORMATS[form][4]
        name = name if name in peak else "bf16"
        return Fraction(peak[name]) * shares.get(name, shares["bf16"]).value

    def matrices(self, block: Block) -> list[Matrix]:
        h, tp, a, f = self.m.hidden_size, self.tp, block.attention, block.ffn

        def norm(width: int) -> Matrix:
            return Matrix("norm", width, 1, "bf16", whole=True, vector=True)

        def attention(rows: int, cols: int, *, whole: bool = False) -> Matrix:
            return Matrix("attention", rows, cols, self.form("attention"), whole=whole)

        def feed(role: str, width: int, ranks: int, copies: int = 1) -> list[Matrix]:
            shapes, own = [(up(width, ranks), h), (up(width, ranks), h), (h, up(width, ranks))], self.form(role)
            return [Matrix(role, rows, cols, own, copies=copies) for rows, cols in shapes]

        found = [norm(2 * h)]
        if isinstance(a, GroupedQueryAttention):
            assert not any((a.window, a.qkv_bias, a.sinks, a.value_dim))
            queries, keys = up(a.heads, tp) * a.head_dim, up(a.kv_heads, tp) * a.head_dim
            found += [attention(queries, h), attention(keys, h), attention(keys, h), attention(h, queries)]
            found += 2 * [norm(a.head_dim)] if a.qk_norm == "head" else []
        elif isinstance(a, LatentAttention):
            assert a.indexer is None
            heads, qk = up(a.heads, tp), a.qk_nope_head_dim + a.qk_rope_head_dim
            if a.q_lora_rank is None:
                found.append(attention(heads * qk, h))
            else:
                found += [attention(a.q_lora_rank, h, whole=True), norm(a.q_lora_rank)]
                found.append(attention(heads * qk, a.q_lora_rank))
            found += [attention(a.kv_lora_rank + a.qk_rope_head_dim, h, whole=True), norm(a.kv_lora_rank)]
            found.append(attention(heads * (a.qk_nope_head_dim + a.v_head_dim), a.kv_lora_rank))
            found.append(attention(h, heads * a.v_head_dim))
        if isinstance(f, DenseFeedForward):
            found += feed("dense_ffn", f.intermediate, tp)
        elif isinstance(f, MixtureOfExperts):
            assert not any((f.latent_size, f.shared_gate, f.bias, f.dense_intermediate))
            found.append(Matrix("router", f.experts, h, "bf16", whole=True))
            if f.router_correction:  # four bytes each
                found.append(Matrix("router", f.experts, 2, "bf16", whole=True, vector=True))
            found += feed("experts", f.intermediate, self.etp, up(f.experts + self.redundant, self.ep))
            if f.shared_intermediate:
                found += feed("shared_experts", f.shared_intermediate, 1 if self.whole_shared else tp)
        return found

    # memory

    def ends(self) -> tuple[int, int]:
        """Bytes of the embedding's part, which is that of the head as well; and of the final norm."""
        pad = self.p.engine.vocabulary_padding
        return 2 * up(up(self.m.vocab_size, pad) * pad, self.tp) * self.m.hidden_size, 2 * self.m.hidden_size

    def cache(self, block: Block) -> int:
        """Bytes of one sequence in one layer."""
        page = self.p.engine.cache.block_tokens
        tokens = up(self.w.input_tokens + self.w.output_tokens * (self.w.phase != "prefill"), page) * page
        return up(Fraction(self.cached_width(block.attention) * self.kv * tokens, self.cp))

    def cached_width(self, a: Any) -> int:
        if isinstance(a, LatentAttention):
            return a.kv_lora_rank + a.qk_rope_head_dim
        return 2 * up(a.kv_heads, self.tp) * a.head_dim

    def activations(self, tokens: int, sampled: int) -> int:
        h, own, widest, experts = self.m.hidden_size, self.p.engine.reservation, 0, 0
        for block in self.m.blocks.values():
            f = block.ffn
            if isinstance(f, DenseFeedForward):
                width = 3 * up(f.intermediate, self.tp)
            else:
                part = up(f.intermediate, self.etp)
                width = f.top_k * (max(2 * part, h) + part)
                experts = max(
                    experts,
                    width * own.keeps_experts * ((self.p.precision.experts or self.p.precision.weights) != "mxfp4"),
                )
                width *= self.dp if own.gathers_tokens else 1
                width += 3 * up(f.shared_intermediate, self.tp)
            widest = max(widest, width)
        token = up(Fraction(self.act * (4 * h + widest), self.cp))
        hidden = up(Fraction(self.act * (h * (1 if self.m.vision is None else 2) + experts), self.cp))
        entries = self.m.vocab_size * (own.sampler_bytes * sampled + 4 * own.sampler_rows)
        return max(token * tokens, entries + hidden * tokens + own.workspace_bytes)

    def reserve(self, blocks: list[Block]) -> int:
        own = self.p.engine.reservation
        assert not own.low_latency_tokens
        largest = own.defaults.largest_capture(self.hw.device, self.stage)
        sizes = [1, 2, 4, *range(8, 256, 8), *range(256, largest + 1, own.defaults.capture_step)]
        graphs = len([size for size in sizes if size <= largest])
        graphs *= own.graphs_in_budget and self.w.phase != "prefill"
        if self.stage > 1:
            direct = self.tp > 1 and self.hw.tiers[0].bandwidth >= 150 * 10**9
            group = own.direct_group_bytes if direct else own.switched_group_bytes
        else:
            group = own.stage_bytes if self.pp > 1 else 0
        latent = sum(isinstance(block.attention, LatentAttention) for block in blocks)
        layers = len(blocks) * own.graph_layer_bytes + latent * own.graph_latent_layer_bytes
        host = 136 * 2**30 // 10 if self.hw.device.shared_with_host else 0
        return own.context_bytes + group + host + graphs * (own.graph_bytes + layers)

    def padded(self, matrix: Matrix) -> Matrix:
        """An expert's matrix as vLLM's kernels hold it: of MXFP4 the hidden size to 256, its own to 128 (AMD: 256)."""
        if matrix.role != "experts" or matrix.form != "mxfp4" or self.p.engine.name != "vllm":
            return matrix
        device = self.hw.device.name.lower()
        own = 1 if any(name in device for name in ("h100", "h200", "h20", "h800")) else 256 if "mi3" in device else 128
        hidden = self.m.hidden_size
        rows, cols = (own, 256) if matrix.cols == hidden else (256, own)
        return replace(matrix, rows=up(matrix.rows, rows) * rows, cols=up(matrix.cols, cols) * cols)

    def memory(self, number: int, blocks: list[Block], tokens: int, sampled: int) -> dict[str, int]:
        found = dict.fromkeys(("weights", "expert_weights", "replicated_weights"), 0)
        for block in blocks:
            for matrix in self.matrices(block):
                part = "expert_weights" if matrix.role == "experts" else "weights"
                found["replicated_weights" if matrix.whole else part] += self.padded(matrix).bytes
            a = block.attention
            if isinstance(a, LatentAttention):  # unpacked once more, in 16 bit
                found["weights"] += 2 * up(a.heads, self.tp) * (a.qk_nope_head_dim + a.v_head_dim) * a.kv_lora_rank
        table, norm = self.ends()
        last = number == self.pp - 1
        found["weights"] += table * ((number == 0) + (last and (self.pp > 1 or not self.m.tie_embeddings)))
        found["replicated_weights"] += norm * last
        found["kv_cache"] = self.l.batch * sum(self.cache(block) for block in blocks)
        found["activations"] = self.activations(tokens, sampled)
        found["reserve"] = self.reserve(blocks)
        return found

    # time

    def linear(
        self, matrices: list[Matrix], tokens: Fraction, sharers: int, slower: Fraction = Fraction(1)
    ) -> Fraction:
        """Matrices of one kind, by one roofline; `sharers` ranks divide the tokens."""
        work = moved = weights = Fraction(0)
        for x in matrices:
            weights += Fraction(x.bytes) / (self.hbm_narrow if FORMATS[x.form][0] <= 4 else self.hbm)
            if not x.vector:
                work += 2 * x.rows * x.cols / self.flops(x.form, self.hw.efficiency.compute)
                moved += (x.rows + x.cols) * self.act / self.hbm
        own = Fraction(tokens + sharers - 1, sharers)
        return max(slower * work * own, weights) + moved * own

    def core(self, a: Any, decoding: Fraction, prompt: Fraction, passes: Fraction) -> Fraction:
        """Scores, values and cache reads, at the mean position."""
        flops = self.hw.device.peak["bf16"] * self.hw.efficiency.attention_compute.value
        read = self.hw.device.bandwidth * self.hw.efficiency.attention_hbm.value
        heads = up(a.heads, self.tp)
        if isinstance(a, LatentAttention):
            naive = a.qk_nope_head_dim + a.qk_rope_head_dim + a.v_head_dim
            absorbed = 2 * a.kv_lora_rank + a.qk_rope_head_dim
        else:
            naive = absorbed = 2 * a.head_dim
        i, o = self.w.input_tokens, self.w.output_tokens
        positions = range(i + 1, i + o)
        at = Fraction(sum(positions), len(positions) * self.cp)
        cached = self.cached_width(a) * self.kv / read
        flops /= self.slower
        found = decoding * max(2 * heads * absorbed * at / flops, cached * at)
        positions = range(i - self.computed() + 1, i + 1)
        at = Fraction(sum(positions), len(positions) * self.cp)
        return found + max(prompt * 2 * heads * naive * at / flops, passes * cached * at)

    def computed(self) -> int:
        return up(self.w.input_tokens * (1 - self.w.prefix_cache_hit))

    def device(self, stage: int, rank: int) -> int:
        """Device of a stage's rank: stages one after another, or those of each data-parallel rank (vLLM)."""
        if self.p.engine_name != "vllm":
            return stage * self.stage + rank
        dp, within = divmod(rank, self.tp * self.cp)
        return (dp * self.pp + stage) * self.tp * self.cp + within

    def levels(self, members: int, stride: int) -> list[tuple[int, int, int]]:
        """Tier, members that exchange over it, and devices that each stands for: by counting ranks in domains."""
        found, inner, replica = [], 1, self.stage * self.pp
        for tier, size in enumerate(t.size for t in self.hw.tiers):
            inside = set()
            for stage, start in product(range(self.pp), range(0, self.stage, members * stride)):
                ranks = [start + i * stride for i in range(members)]
                domains = [self.device(stage, rank) // (size or replica) for rank in ranks]
                inside |= {domains.count(domain) for domain in domains}
            reach = inside.pop() if len(inside) == 1 else inner
            if reach > inner and reach % inner == 0:
                found.append((tier, reach // inner, inner))
                inner = reach
        return found

    def send(self, tier: int, members: int, size: Fraction, rounds: int) -> Fraction:
        """Seconds of one message; in a mesh a group has only the links between its members."""
        t = self.hw.tiers[tier]
        rate = t.bandwidth * t.efficiency.value / t.oversubscription
        if t.mesh and t.size is not None and members < t.size:
            rate *= Fraction(max(1, members - 1), t.size - 1)
        return size / rate + rounds * t.latency.value

    def gather(self, members: int, stride: int, size: Fraction, times: int = 1) -> Fraction:
        """All-gather of `size` bytes; `times` 2: all-reduce."""
        found, levels = Fraction(0), self.levels(members, stride)
        for level in levels:
            tier, g, inner = level
            rounds = math.ceil(math.log2(g)) * (1 if level == levels[-1] else times)
            found += self.send(tier, g, times * size * (g - 1) / g / inner, rounds)
        return found

    def exchange(self, f: MixtureOfExperts, size: Fraction) -> Fraction:
        """Dispatch or combine of tokens of `size` bytes in all."""
        found = Fraction(0)
        for tier, g, inner in self.levels(self.etp * self.ep, 1):
            if inner == 1:
                copies = self.etp * destinations(self.ep, f.experts, f.top_k)
            else:
                domains = self.etp * self.ep // inner
                bins = max(1, self.ep // inner) if self.p.engine_name == "trtllm" else min(domains, self.ep)
                copies = destinations(bins, f.experts, f.top_k)
                if f.group_count > 1:
                    copies = min(copies, Fraction(f.group_limit * up(bins, f.group_count)))
                copies *= up(domains, bins)
            sent = size * copies * (g - 1) / g / (self.tp * self.cp)
            found += self.send(tier, g, sent, math.ceil(math.log2(g)))
        return found

    def experts(self, f: MixtureOfExperts, matrices: list[Matrix], tokens: Fraction) -> float:
        """Routed experts on the hottest device."""
        common = math.gcd(self.dp, self.edp)
        own = Fraction(tokens * (self.dp // common) + self.edp // common - 1, self.edp // common)
        kernels, h = self.hw.efficiency.experts, self.m.hidden_size
        shares, passes = (kernels.compute, kernels.passes.value) if kernels else (self.hw.efficiency.compute, 1)
        work = self.slower * sum(2 * x.rows * x.cols / self.flops(x.form, shares) for x in matrices)
        moved = (2 * h + 3 * up(f.intermediate, self.etp)) * self.act * passes / self.hbm
        weights = sum(x.bytes // x.copies for x in matrices) / self.hbm
        local, chance = up(f.experts + self.redundant, self.ep), f.top_k / f.experts
        share = f.top_k / (local * self.ep) if self.redundant else chance
        reads = concave(own, lambda t: max(1.0, hottest(local, 1 - (1 - chance) ** t, self.ep)))
        pairs = concave(own, lambda t: max(self.ep > 1, hottest(local * t, share, self.ep)))
        return max(float(work) * pairs, float(weights) * reads) + float(moved) * pairs

    def layer(self, block: Block, decoding: int, prompt: int, passes: int) -> Fraction:
        if not self.split:
            return sum(self.operations(block, Fraction(decoding), Fraction(prompt), Fraction(passes)), Fraction(0))
        # both micro-batches are as large as the larger one
        decoding, prompt, passes = (Fraction(n + 1, 2) if n else Fraction(0) for n in (decoding, prompt, passes))
        around, routed, dispatch, combine = self.operations(block, decoding, prompt, passes)
        found = Fraction(0)
        for computed, sent in ((around, combine), (around, dispatch), (routed, dispatch), (routed, combine)):
            found += max(computed, sent)
        return found

    def operations(
        self, block: Block, decoding: Fraction, prompt: Fraction, passes: Fraction
    ) -> tuple[Fraction, Fraction, Fraction, Fraction]:
        """All that is not routed, routed experts, their dispatch and their combine."""
        found, tokens, h, f = Fraction(0), decoding + prompt, self.m.hidden_size, block.ffn
        routed = dispatch = combine = Fraction(0)
        matrices = [x for x in self.matrices(block) if x.role != "norm"]
        for role in {x.role for x in matrices}:
            own = [x for x in matrices if x.role == role]
            launches = LAUNCHES[role] * Fraction(self.hw.efficiency.launch.value)
            if role == "experts":
                routed = launches + Fraction(self.experts(f, own, tokens))
            else:
                found += launches
                whole = role == "shared_experts" and self.whole_shared
                found += self.linear(own, tokens, self.cp * (self.tp if whole else 1), self.slower)
        found += self.core(block.attention, decoding, prompt, passes)
        hidden = Fraction(h * self.act * tokens, self.cp)
        found += self.gather(self.tp, 1, hidden, 2) * (2 if isinstance(f, DenseFeedForward) else 1)
        found += self.gather(self.cp, self.tp, Fraction(self.cached_width(block.attention) * self.kv * prompt))
        found += self.gather(self.cp, self.tp, Fraction(2 * h * self.act * decoding, self.tp))
        if isinstance(f, MixtureOfExperts):
            narrow = FORMATS[self.form("experts")][4] in ("fp8", "fp4")
            dispatch = self.exchange(f, Fraction(h * (1 if narrow else self.act) * tokens))
            combine = self.exchange(f, Fraction(h * self.act * tokens))
        return found, routed, dispatch, combine

    def time(self, number: int, names: list[str], decoding: int, prompt: int, passes: int) -> Fraction:
        """Seconds of one step of a stage."""
        found = Fraction(0)
        for name in set(names):
            found += names.count(name) * self.layer(self.m.blocks[name], decoding, prompt, passes)
        if self.pp > 1:
            ranks = [[self.device(stage, rank) for stage in range(self.pp)] for rank in range(self.stage)]
            tier = next(
                i for i, t in enumerate(self.hw.tiers)
                if not t.size or all(len({device // t.size for device in stages}) == 1 for stages in ranks)
            )  # fmt: skip
            sent = Fraction(self.m.hidden_size * self.act * (decoding + prompt), self.cp * self.tp)
            found += self.send(tier, 2, sent, 1)
        if number == self.pp - 1:
            h, rows = self.m.hidden_size, up(self.m.vocab_size, self.tp)
            padding = Matrix("lm_head", self.ends()[0] // (2 * h) - rows, h, "bf16", vector=True)
            found += self.linear([Matrix("lm_head", rows, h, "bf16"), padding], Fraction(decoding + passes), self.cp)
        return found

    def first_token(self, ahead: Fraction) -> tuple[Fraction, Fraction, Fraction]:
        """Overhead, and full and mean steps that a request waits; each prompt before it takes `ahead` full ones."""
        own = self.p.engine.waiting
        if self.w.phase == "prefill" or self.l.batch == 1:
            return own.overhead_s, Fraction(0), Fraction(0)
        return own.overhead_s, Fraction(1, 10) * (self.l.batch - 1) / 2 * ahead, own.steps


def destinations(bins: int, experts: int, chosen: int) -> Fraction:
    """Expected distinct bins among which a token's experts lie."""
    if bins == 1 or experts % bins:
        return bins * (1 - Fraction(bins - 1, bins) ** chosen)
    return bins * (1 - Fraction(math.comb(experts - experts // bins, chosen), math.comb(experts, chosen)))


KNOTS = [0, 1, 2, 3, *(2**octave * quarter // 4 for octave in range(2, 25) for quarter in (4, 5, 6, 7))]


def concave(tokens: Fraction, value: Callable[[int], float]) -> float:
    """The highest chord of the values at the knots: of all knots where tokens are few, else of the nearest two."""
    below = [t for t in KNOTS if t <= tokens]
    above = [t for t in KNOTS if tokens < t <= max(64, 2 * tokens)]
    if tokens > 32:
        below, above = below[-1:], above[:1]
    at = {t: value(t) if t else 0.0 for t in below + above}
    return max(at[a] + (at[b] - at[a]) * float((tokens - a) / (b - a)) for a in below for b in above)


@cache
def hottest(draws: int, chance: float, ranks: int) -> float:
    """Expected largest of `ranks` binomials; the mean of one."""
    if ranks == 1 or chance >= 1:
        return draws * chance
    reach = 12 * math.sqrt(draws * chance * (1 - chance)) + 12
    first, last = max(0, math.floor(draws * chance - reach)), min(draws, math.ceil(draws * chance + reach))
    total, below = float(first), 0.0
    for t in range(first, last):
        log = math.lgamma(draws + 1) - math.lgamma(t + 1) - math.lgamma(draws - t + 1)
        below += math.exp(log + t * math.log(chance) + (draws - t) * math.log1p(-chance))
        total += 1 - min(1.0, below) ** ranks
    return total


def attention_of(rng: Random, kind: str) -> Any:
    if kind == "mla":
        return LatentAttention(
            heads=rng.choice([8, 24]), q_lora_rank=rng.choice([None, 384]), kv_lora_rank=rng.choice([256, 512]),
            qk_nope_head_dim=64, qk_rope_head_dim=32, v_head_dim=96,
        )  # fmt: skip
    kv_heads, width = rng.choice([1, 2, 8]), rng.choice([64, 128])
    return GroupedQueryAttention(heads=rng.choice([8, 24]), kv_heads=kv_heads, head_dim=width)


def model_of(rng: Random, kind: str) -> ModelSpec:
    if rng.random() < 0.3:
        return catalog.load_model(rng.choice(CATALOG[kind]))
    feed = DenseFeedForward(intermediate=rng.choice([2048, 4099]))
    blocks = {"dense": Block(attention=attention_of(rng, kind), ffn=feed)}
    if kind == "moe" or (kind == "mla" and rng.random() < 0.6):
        experts = MixtureOfExperts(
            experts=rng.choice([6, 8, 64]), top_k=rng.randint(1, 6), intermediate=rng.choice([512, 1031]),
            shared_intermediate=rng.choice([0, 768]), router_correction=rng.random() < 0.5,
            group_count=rng.choice([1, 1, 2]),
        )  # fmt: skip
        blocks["moe"] = Block(attention=attention_of(rng, kind), ffn=experts)
    layers = [*blocks, *rng.choices(list(blocks), k=rng.randint(2, 6))]
    return ModelSpec(
        name="random", hidden_size=rng.choice([1024, 1536]), vocab_size=64 * rng.randint(50, 600),
        tie_embeddings=rng.random() < 0.4, blocks=blocks, layers=(Run(pattern=tuple(layers)),),
    )  # fmt: skip


def problem_of(rng: Random, kind: str) -> Problem:
    model, engine = model_of(rng, kind), rng.choice(["any", "vllm", "trtllm"])
    if engine == "vllm":
        model = model.model_copy(update={"vocab_size": model.vocab_size - rng.randint(0, 63)})
    formats = {"weights": rng.choice([*FORMATS]), "attention": rng.choice([None, "bf16"])}
    formats["experts"] = rng.choice([None, "fp8_block", "int4"])
    precision = ModelPrecision(**formats, kv_cache=rng.choice([*BYTES]))
    phase = rng.choice(["aggregated", "aggregated", "prefill", "decode"])
    work = {"phase": phase, "input_tokens": rng.choice([1, 700, 4096]), "output_tokens": rng.choice([2, 33, 400])}
    if rng.random() < 0.3:
        work["prefix_cache_hit"] = Fraction(1, 3)
    return Problem.model_validate(
        {
            "name": "random", "model": model.model_copy(update={"precision": precision}), "devices": 10_000,
            "hardware": catalog.load_hardware(rng.choice(HARDWARE)), "workload": work, "engine_name": engine,
        }
    )  # fmt: skip


def layout_of(rng: Random, problem: Problem) -> Layout:
    heads = next(iter(problem.model.blocks.values())).attention.heads
    tp = rng.choice([n for n in (1, 2, 4, 8) if heads % n == 0])
    cp, dp = rng.choice([1, 1, 2, 3]), rng.choice([1, 2, 4])
    stage, layers, moe = tp * cp * dp, problem.model.layer_count, problem.model.moe
    etp = rng.choice([n for n in (1, 1, 2, 3, 8) if stage % n == 0]) if moe else 1
    widths = [n for n in range(1, stage + 1) if moe and stage % (etp * n) == 0 and n <= moe.experts]
    ep = rng.choice(widths or [1])
    if moe and problem.engine_name == "vllm":
        etp, ep = rng.choice([(stage, 1), *([(1, stage)] if stage <= moe.experts else [])])
    pp = rng.randint(1, min(4, layers))
    cuts = sorted(rng.sample(range(1, layers), pp - 1))
    return Layout(
        tp=tp, cp=cp, dp=dp, pp=pp, etp=etp, ep=ep, edp=stage // (etp * ep) if moe else 1,
        batch=rng.choice([1, 3, 16, 200]), prefill_chunk=rng.choice([100, 512, 5000, 9000]),
        overlap=rng.choice(["none", "two_batch"]) if moe else "none",
        stages=tuple(Stage(first_layer=a, layers=b - a) for a, b in zip([0, *cuts], [*cuts, layers], strict=True)),
    )  # fmt: skip


@pytest.mark.parametrize("kind", list(CATALOG))
def test_memory_and_step_times(kind: str) -> None:
    rng = Random(f"oracle-{kind}")  # noqa: S311 - test data
    for _ in range(LAYOUTS):
        problem = problem_of(rng, kind)
        layout = layout_of(rng, problem)
        moe, ep, out = problem.model.moe, layout.ep, problem.workload.output_tokens - 1
        redundant = rng.choice([0, 0, min(ep, (ep - 1) * moe.experts)]) if moe else 0
        layout = layout.model_copy(update={"redundant_slots": redundant})
        found, own = evaluate(problem, layout), Oracle(problem, layout)
        prompt, chunk, micro = own.computed(), layout.prefill_chunk or 0, up(layout.batch, layout.pp)
        pieces, together = up(prompt, chunk), max(1, chunk // prompt)
        taken = up(prompt, pieces)
        # decoding sequences, prompt tokens and pieces of a step without and with prompts; tokens and samples at most
        steps = {
            "aggregated": ((micro, 0, 0), (micro, taken * together, together), (micro + chunk, micro + together)),
            "prefill": (None, (0, micro * taken, micro), (micro * min(chunk, prompt), micro)),
            "decode": ((micro, 0, 0), None, (micro, micro)),
        }
        decode, mixed, largest = steps[problem.workload.phase]
        # cycles in which a request has its place: one for each token, and those in which its pieces pass the stages
        turns = out + Fraction(pieces + layout.pp - 1, layout.pp) if decode and mixed else Fraction(out)
        share = micro * pieces / (turns * together) if decode and mixed else Fraction(0)
        # a sequence that decodes meets the prompts of the others, at most in every step
        others = min(1, Fraction((layout.batch - 1) * pieces, together * layout.pp * out)) if mixed and decode else 0
        waits, means, met_by_others = own.first_token(Fraction(pieces, together)), [], []
        # prompts that end their sequences' places in a step, of which there is one's own
        met = min(together, max(1, math.ceil(share * together))) if decode and mixed else together
        own_step = (micro, taken * met, met) if decode else mixed
        closest = ROUNDING if moe is None else CURVES if ep > 1 else UNITS
        for number, stage in enumerate(layout.stages or ()):
            names = own.names[stage.first_layer : stage.first_layer + stage.layers]
            parts = own.memory(number, [problem.model.blocks[name] for name in names], *largest)
            assert parts == {name: getattr(found.memory[number], f"{name}_bytes") for name in parts}, (problem, layout)
            kinds = [step for step in (decode, mixed, mixed and own_step) if step]
            seconds = [own.time(number, names, *step) for step in kinds]
            ticks = [times[number] for times in (found.decode_ticks, found.mixed_ticks, found.own_ticks) if times]
            for priced, derived in zip(ticks, seconds, strict=True):
                assert abs(Fraction(priced, 10**27) / derived - 1) <= closest, (problem, layout)
            full = seconds[-2] if mixed else seconds[0]
            met_by_others.append(seconds[0] + others * (full - seconds[0]) if decode else full)
            means.append((seconds[0] + share * (full - seconds[0]) if decode else full, full, seconds[-1]))
        if mixed:
            overhead, full_waited, steps_waited = waits
            steps_taken = pieces + layout.pp - 1
            first = overhead + max(steps_taken * o + full_waited * m + steps_waited * a for a, m, o in means)
            assert found.ttft_s is not None
            assert abs(found.ttft_s / first - 1) <= closest
        if share <= 1:
            cycle = layout.pp * max(a for a, _, _ in means)
            requests = layout.batch * layout.dp / (cycle * (turns if decode else pieces))
            assert abs(found.request_capacity / requests - 1) <= closest
            assert found.tpot_s is None or abs(found.tpot_s / (layout.pp * max(met_by_others)) - 1) <= closest

"""Which values each axis of the lattice takes: the statement that search and checker both enumerate.

Overlap: none, and two-batch overlap where the engine has it, on meshes that spread experts over ranks of attention.

Degrees: every tp that divides all heads and widths, every cp up to the devices, every pp up to the layer count, every
etp that divides the experts' width, every ep up to the physical experts; restricted by the problem's `search`.

Chunks: a prompt of P tokens in ceil(P ÷ n) tokens a step for every n, and in phase aggregated every number of whole
prompts up to the `token_budget`. Any other chunk takes the steps of the next smaller one of these with more workspace.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from optimizer.domain.feedforward import DenseFeedForward, FeedForward
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem

LARGEST_PACKED_CHUNK = 16384
"""Prompt tokens that whole prompts fill a step with at most, where `search.prefill_chunk` does not say."""


@dataclass(frozen=True, slots=True)
class Axes:
    """Values of each axis, ascending; `chunks` holds None in phase decode."""

    tp: tuple[int, ...]
    cp: tuple[int, ...]
    pp: tuple[int, ...]
    etp: tuple[int, ...]
    ep: tuple[int, ...]
    chunks: tuple[int | None, ...]
    redundant: tuple[int, ...]
    overlap: tuple[bool, ...] = (False,)

    def to_json(self) -> dict[str, list[int] | list[int | None] | list[str]]:
        """As certificates state them; two-batch overlap where it is looked for."""
        document: dict[str, list[int] | list[int | None] | list[str]] = {
            "tp": list(self.tp), "cp": list(self.cp), "pp": list(self.pp), "etp": list(self.etp), "ep": list(self.ep),
            "prefill_chunk": list(self.chunks), "redundant": list(self.redundant),
        }  # fmt: skip
        if self.overlap != (False,):
            document["overlap"] = ["two_batch" if split else "none" for split in self.overlap]
        return document


def _restricted(values: Iterable[int], allowed: tuple[int, ...] | None) -> tuple[int, ...]:
    return tuple(v for v in values if allowed is None or v in allowed)


def divides_attention(problem: Problem, tp: int) -> bool:
    """Whether `tp` ranks can share all heads: it divides query heads, and key/value heads divide it or it them."""
    for block in problem.model.blocks.values():
        if block.attention is None:
            continue
        if any(count % tp for count in block.attention.head_counts):
            return False
        kv = block.attention.kv_head_count
        if kv is not None and kv % tp and tp % kv:
            return False
    return True


def divides_widths(problem: Problem, tp: int) -> bool:
    """Whether `tp` divides the width of every dense feed-forward block."""
    return all(dense_width(block.ffn) % tp == 0 for block in problem.model.blocks.values())


def dense_width(ffn: FeedForward | None) -> int:
    """Width of a dense feed-forward block, or of the one beside a mixture of experts; 0 where there is none."""
    if ffn is None:
        return 0
    return ffn.intermediate if isinstance(ffn, DenseFeedForward) else ffn.dense_intermediate


def axes(problem: Problem) -> Axes:
    """Values of each axis for a problem; an empty axis means that nothing is left."""
    model, search, devices = problem.model, problem.search, problem.devices
    # without experts in a layer there is no expert mesh, whatever an MTP layer holds
    moe_blocks = [b.moe for b in model.blocks.values() if b.moe is not None] if model.moe is not None else []
    heads = [c for b in model.blocks.values() if b.attention for c in b.attention.head_counts]
    widest = min([devices, *heads]) if heads else devices
    tp = (t for t in range(1, widest + 1) if divides_attention(problem, t) and divides_widths(problem, t))
    cp = search.cp if search.cp is not None else range(1, devices + 1)
    redundant = problem.experts.redundant_slots if problem.experts is not None and moe_blocks else (0,)
    if moe_blocks:
        width = min(m.intermediate for m in moe_blocks)
        experts = min(m.experts for m in moe_blocks)
        etp = [t for t in range(1, min(width, devices) + 1) if all(m.intermediate % t == 0 for m in moe_blocks)]
        ep: Iterable[int] = range(1, min(experts + max(redundant), devices) + 1)
    else:
        etp, ep = [1], [1]
    return Axes(
        tp=_restricted(tp, search.tp),
        cp=tuple(sorted({c for c in cp if c <= devices})),
        pp=_restricted(range(1, min(model.layer_count, devices) + 1), search.pp),
        etp=_restricted(etp, search.etp),
        ep=_restricted(ep, search.ep),
        chunks=_chunks(problem),
        redundant=tuple(sorted(set(redundant))),
        overlap=_overlaps(problem, experts=bool(moe_blocks)),
    )


def _overlaps(problem: Problem, *, experts: bool) -> tuple[bool, ...]:
    """Whether steps are split in two micro-batches: as listed, else both where the engine can."""
    overlaps = problem.search.overlap
    if overlaps is None:
        return (False, True) if experts and problem.engine.overlaps else (False,)
    return tuple(
        split for split in (False, True) if ("two_batch" if split else "none") in overlaps and experts >= split
    )


def _chunks(problem: Problem) -> tuple[int | None, ...]:
    work = problem.workload
    if not work.prompts:
        return (None,)
    prompt = work.computed_input_tokens
    if problem.search.prefill_chunk is not None:
        return tuple(sorted({chunk for chunk in problem.search.prefill_chunk if work.splits or chunk >= prompt}))
    packed = token_budget(problem) if work.mixes else prompt
    page = problem.page_tokens
    pieces = (even_pieces(prompt) if work.splits else set()) | {*range(prompt, packed + 1, prompt)}
    chunks = {-(-piece // page) * page for piece in pieces}
    most = work.max_num_batched_tokens
    return tuple(sorted(chunks if most is None else {chunk for chunk in chunks if chunk <= most}))


def token_budget(problem: Problem) -> int:
    """Prompt tokens a step at most: what the engine is told to take, or a whole prompt, `LARGEST_PACKED_CHUNK`."""
    stated = problem.workload.max_num_batched_tokens
    return max(problem.workload.computed_input_tokens, LARGEST_PACKED_CHUNK) if stated is None else stated


def even_pieces(prompt: int) -> set[int]:
    """Tokens of the largest piece of a prompt in 1, 2, 3, … even ones."""
    pieces, piece = set(), prompt
    while piece > 1:
        pieces.add(piece)
        # the fewest pieces that make them smaller
        piece = -(-prompt // ((prompt - 1) // (piece - 1) + 1))
    return pieces | {1}


LARGEST_BATCH = 2**20
"""No rank is given more sequences than this."""


def largest_batch(problem: Problem) -> int:
    """Sequences in flight of a rank at most: those that the engine is told to take or that come, or `LARGEST_BATCH`."""
    work = problem.workload
    return min(work.max_num_seqs or LARGEST_BATCH, work.concurrency or LARGEST_BATCH, LARGEST_BATCH)


def holds(problem: Problem) -> str:
    """What an answer is over, beside all degrees that divide: chunks, cp and batches, and where each ends."""
    search, work, parts = problem.search, problem.workload, []
    if work.prompts:
        if search.prefill_chunk is not None:
            parts.append("chunks as search.prefill_chunk lists")
        else:
            packed = f", whole prompts up to {token_budget(problem):,} tokens a step" * work.mixes
            least = f" into at most {work.max_num_batched_tokens:,}" if work.max_num_batched_tokens else ""
            pieces = "every even split" if work.splits else "no split"
            paged = f", in whole pages of {problem.page_tokens}" if problem.page_tokens > 1 else ""
            parts.append(f"{pieces} of {work.computed_input_tokens:,} prompt tokens{least}{packed}{paged}")
    parts.append(f"every cp up to {problem.devices:,}" if search.cp is None else "cp as search.cp lists")
    batches = f"every batch up to {largest_batch(problem):,}"
    parts.append(batches if search.batch is None else "batches as search.batch lists")
    return "; ".join(parts)


def outside(problem: Problem, layout: Layout) -> tuple[str, ...]:
    """What of a layout lies beyond the lattice, where `search` leaves it open; a chunk inside is one of its own."""
    beyond = []
    chunk, work = layout.prefill_chunk, problem.workload
    if chunk is not None and work.mixes and problem.search.prefill_chunk is None:
        prompt, budget = work.computed_input_tokens, token_budget(problem)
        if chunk // prompt > budget // prompt:
            beyond.append(f"chunk {chunk:,}: more whole prompts than fit {budget:,} tokens")
    if chunk is not None and work.prompts and problem.search.prefill_chunk is None and chunk % problem.page_tokens:
        beyond.append(f"chunk {chunk:,}: no whole pages of {problem.page_tokens} tokens")
    if layout.batch > LARGEST_BATCH:
        beyond.append(f"batch {layout.batch:,} above {LARGEST_BATCH:,}")
    return tuple(beyond)

"""The kinds of step of a phase: what they hold, and how often they carry prompts (definitions: `figures.serving`)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from optimizer.domain.workload import Workload
from optimizer.figures.layer import Step
from optimizer.figures.rates import ceil_fraction


@dataclass(frozen=True)
class Steps:
    """The kinds of step of one phase at a micro-batch and a chunk.

    Attributes
    ----------
    decode, mixed
        A step without and with prompt tokens; None where the phase has no such step.
    share
        Share φ of steps that carry prompt tokens.
    met
        Share of a sequence's decode steps in which it meets the prompt of one other.
    own
        The step that a request's own prompt is in: with prompts at random as `mixed`, else with as many as come in a
        step on average, whatever the chunk has room for.
    pieces, together
        Steps that one prompt takes, n; prompts that share a step.
    largest
        The step that workspace is kept for.
    """

    decode: Step | None
    mixed: Step | None
    own: Step | None
    share: Fraction
    met: Fraction
    pieces: int
    together: int
    largest: Step


def prompt_split(prompt: int, chunk: int) -> tuple[int, int, int]:
    """How chunks take a prompt: its pieces n, tokens of a piece, whole prompts m that share a step."""
    if chunk >= prompt:
        return 1, prompt, chunk // prompt
    pieces = -(-prompt // chunk)
    return pieces, -(-prompt // pieces), 1


def steps_of(work: Workload, micro_batch: int, chunk: int | None, pp: int) -> Steps:
    """Steps of a phase; `chunk` is ignored in phase decode and must be given otherwise."""
    decode = Step(micro_batch, micro_batch * (1 + work.mtp_tokens), 0, 0) if work.decodes else None
    plain = decode or Step(0, 0, 0, 0)
    if not work.prompts:
        return Steps(decode, None, None, Fraction(0), Fraction(0), 0, 0, plain)
    assert chunk is not None  # noqa: S101 - callers resolve the chunk first
    pieces, piece, packed = prompt_split(work.computed_input_tokens, chunk)
    together = work.together(micro_batch, packed)
    # in the cycles of a request every place of the micro-batch has a prompt, as many together as a step takes
    cycles, alone = work.cycles_of_request(pieces, pp), Fraction(pieces, together)
    share = micro_batch * alone / cycles
    met = alone / (pp * work.decode_steps) if work.decodes else Fraction(0)
    mixed = own = Step(plain.seqs, plain.decoded, piece * together, together)
    if work.arrivals != "poisson" and work.decodes:
        come = max(1, ceil_fraction(share * together))
        own = Step(plain.seqs, plain.decoded, piece * come, come) if come < together else mixed
    prompt_tokens, beside = work.step_tokens(chunk)
    largest = Step(plain.seqs, plain.decoded, micro_batch * prompt_tokens + beside - plain.decoded, together)
    return Steps(decode, mixed, own, share, met, pieces, together, largest)


def share_met(steps: Steps, batch: int) -> Fraction:
    """Share ψ of a sequence's decode steps that carry prompt tokens: those of the others in flight, its own is over."""
    return min(Fraction(1), steps.met * (batch - 1))


def keeps_step(work: Workload, steps: Steps) -> bool:
    """Whether prefill keeps up (φ ≤ 1), and steps have no more tokens than the engine is told to take."""
    most = work.max_num_batched_tokens
    return steps.share <= 1 and (most is None or steps.largest.tokens <= most)


def prefilling_sequences(work: Workload, batch: int, pp: int, steps: Steps) -> int:
    """Sequences in flight on a rank whose prompts are being computed, at most: engines count them in the batch."""
    if not work.decodes:
        return batch
    return 0 if steps.mixed is None else min(batch, pp * steps.mixed.passes)

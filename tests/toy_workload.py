"""A kind of work that is no serving: a fixed number of texts, each embedded whole, as fast as it can be.

Its own figure, objective and limit are the time of the whole job.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import ClassVar, Literal

from optimizer.domain.base import Spec
from optimizer.domain.families import Family
from optimizer.domain.limit_table import ObjectiveLimit
from optimizer.domain.objectives import Measure, Objective, Scale
from optimizer.domain.problem import Problem
from optimizer.domain.quantity import PositiveSeconds
from optimizer.domain.workload import Evaluated, OwnFigure, Part
from optimizer.units import Dimension


class Embedding(Spec):
    """So many texts of so many tokens."""

    kind: Literal["embed"] = "embed"
    texts: int
    tokens: int
    deadline: PositiveSeconds | None = None

    named: ClassVar = "workload 'embed'"
    counted: ClassVar = "tokens of a text"
    # a text is a prompt, and its embedding the first token
    output_tokens: ClassVar = 1
    prompts: ClassVar = True
    decodes: ClassVar = False
    mixes: ClassVar = False
    looped: ClassVar = False
    splits: ClassVar = False
    decoded_at: ClassVar = None
    # texts wait in no queue, and nothing is drafted
    arrivals: ClassVar = "alone"
    request_rate: ClassVar = None
    queued_rate: ClassVar = None
    concurrency: ClassVar = None
    mtp_tokens: ClassVar = 0
    mtp_acceptance: ClassVar = Fraction(0)
    tokens_per_step: ClassVar = Fraction(1)
    decode_steps: ClassVar = Fraction(0)
    # an engine is told nothing
    max_num_seqs: ClassVar = None
    max_num_batched_tokens: ClassVar = None
    max_model_len: ClassVar = None
    capture_sizes: ClassVar = None
    decode_context_parallel: ClassVar = 1
    hybrid_cache: ClassVar = None
    prefix_caching: ClassVar = None
    async_scheduling: ClassVar = None

    @property
    def input_tokens(self) -> int:
        return self.tokens

    computed_input_tokens = held_tokens = tokens_of_request = computed_tokens = input_tokens

    def told(self, *, short: bool = False) -> str:
        return (
            f"embed, {self.texts:,} × {self.tokens:,}" if short else f"{self.texts:,} texts of {self.tokens:,} tokens"
        )

    def without(self, part: Part) -> str | None:
        return "an embedding is all of the answer" if part is Part.LATER else None

    def alone(self, part: Part) -> Embedding:
        return self

    def together(self, micro_batch: int, packed: int) -> int:
        return micro_batch

    def step_tokens(self, chunk: int | None) -> tuple[int, int]:
        return self.tokens, 0

    def chunk_within(self, tokens: int, micro_batch: int) -> int:
        return self.tokens

    def cycles_of_request(self, pieces: int, pp: int) -> Fraction:
        return Fraction(pieces)

    def in_flight(self, ranks: int) -> None:
        return None

    def decoding(self, batch: int, ranks: int) -> Fraction:
        return Fraction(batch)

    def figures(self, found: Evaluated) -> Iterator[OwnFigure]:
        rate = found.request_capacity
        seconds = self.texts / rate
        yield OwnFigure("job_s", seconds, Dimension.SECONDS, "texts ÷ texts/s", f"{self.texts:,} ÷ {float(rate):.4g}")


JOB = Objective(
    "job", "job_s", "time of the job", maximised=False, kind="embed", dimension=Dimension.SECONDS,
    scale=lambda p: Scale(Measure.REQUESTS, Fraction(p.workload.texts), quotient=True),
)  # fmt: skip


def by(problem: Problem, deadline: Fraction | None) -> Problem:
    """The problem with another deadline."""
    return problem.model_copy(update={"workload": problem.workload.model_copy(update={"deadline": deadline})})


DEADLINE = ObjectiveLimit(
    "deadline", "s", ("workload.deadline",), lambda p: getattr(p.workload, "deadline", None), lambda p: by(p, None),
    lambda p, factor: by(p, p.workload.deadline * factor), bounds="job", family=Family.LIMIT,
    label="the job", asked="Longest time of the job.", stated=by,
)  # fmt: skip

"""Requests of one shape, served: what a phase computes of each, and what follows for steps, memory and rates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Literal, Protocol

from pydantic import Field, model_validator

from optimizer.domain.base import FieldError, Grown
from optimizer.domain.limits import AsTuple
from optimizer.domain.quantity import PositiveRate, Ratio
from optimizer.domain.workload.workload import Arrival, Evaluated, OwnFigure, Part
from optimizer.units import Dimension, counted, format_quantity

PhaseName = Literal["aggregated", "prefill", "decode", "disaggregated"]


class RequestTokens(Protocol):
    """Tokens of one request."""

    @property
    def input_tokens(self) -> int:
        """Of its prompt."""

    @property
    def output_tokens(self) -> int:
        """Of its answer."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What is computed of a request.

    Attributes
    ----------
    counted, tokens
        What throughput counts of a request, in words and in number.
    without
        Parts of the answer that it does not send, each with who does.
    """

    name: str
    counted: str
    tokens: Callable[[RequestTokens], int]
    without: Mapping[Part, str] = field(default_factory=dict)

    @property
    def prompts(self) -> bool:
        """Whether prompts are computed."""
        return Part.FIRST not in self.without

    @property
    def decodes(self) -> bool:
        """Whether tokens after the first are computed, one after another."""
        return Part.LATER not in self.without


PHASES: dict[str, Phase] = {
    row.name: row
    for row in (
        Phase("aggregated", "output tokens", lambda work: work.output_tokens),
        Phase(
            "prefill", "prompt tokens", lambda work: work.input_tokens,
            {Part.LATER: "the decode role sends the later tokens"},
        ),
        Phase(
            "decode", "output tokens after the first", lambda work: work.output_tokens - 1,
            {Part.FIRST: "the prefill role sends the first token"},
        ),
    )
}  # fmt: skip


def check_drafts(tokens: int, acceptance: Fraction, at: tuple[str, ...] = ()) -> None:
    """Refuse an acceptance that somebody writes and nothing is drafted for.

    Raises
    ------
    FieldError
        Where it is.
    """
    if acceptance and not tokens:
        raise FieldError("is of drafted tokens: say in mtp_tokens how many", (*at, "mtp_acceptance"))


def spared_and_drafted(cached: Fraction, tokens: int, acceptance: Fraction) -> list[str]:
    """What prompts and steps are spared, in words: the share of prompts in the cache, and drafts."""
    words = [f"{format_quantity(cached, Dimension.RATIO)} of prompt tokens cached"] if cached else []
    if tokens:
        accepted = format_quantity(acceptance, Dimension.RATIO) if acceptance else "none"
        words.append(f"{counted(tokens, 'tokens')} drafted a step and {accepted} accepted")
    return words


UNPRICED_DRAFTS = "what drafts them is not priced"
"""Of a model that has no layer for it."""


class ServingWorkload(Grown):
    """Requests of one shape.

    What a phase means to steps, memory, times and rates is said by the methods below, by which parts of a request are
    computed; nothing else looks at a phase's name.

    `aggregated` is continuous batching with chunked prefill in steady state; `prefill` and `decode` are one role of a
    disaggregated deployment. `prefix_cache_hit` is the share of prompt tokens found in the cache.
    `mtp_acceptance` is the chance that a drafted token is accepted, `mtp_tokens` how many are drafted a step.
    `decode_context_parallel` tensor-parallel ranks hold the cache of a sequence between them, on no further devices.
    `arrival` says whom a request meets: nobody (`alone`), a load generator's loop that keeps every sequence of the
    batch in flight (`closed`), or others that come at random at `request_rate` (`poisson`).
    `concurrency` is how many requests a closed loop keeps in flight on all ranks together.
    """

    later = ("decode_context_parallel", "arrival", "concurrency", "hybrid_cache", "prefix_caching", "async_scheduling")

    kind: Literal["serving"] = "serving"
    phase: PhaseName = "aggregated"
    input_tokens: int = Field(ge=1, le=10**8)
    output_tokens: int = Field(default=1, ge=1, le=10**8)
    request_rate: PositiveRate | None = Field(default=None, description="requests/s to be served")
    arrival: Arrival | None = Field(
        default=None,
        description="alone | closed | poisson; by default poisson where request_rate is given, else closed",
    )
    concurrency: int | None = Field(
        default=None, ge=1, le=10**7, description="requests that a closed loop keeps in flight, on all ranks together"
    )
    prefix_cache_hit: Ratio = Fraction(0)
    mtp_tokens: int = Field(default=0, ge=0, le=16)
    mtp_acceptance: Ratio = Fraction(0)
    max_num_seqs: int | None = Field(
        default=None,
        ge=1,
        le=10**6,
        description="sequences in flight of a rank at most; the engine keeps room for them",
    )
    max_num_batched_tokens: int | None = Field(
        default=None, ge=1, le=10**8, description="tokens of a step at most; the engine keeps room for them"
    )
    capture_sizes: Annotated[tuple[Annotated[int, Field(ge=0, le=10**6)], ...] | None, AsTuple] = Field(
        default=None, description="batch sizes that graphs are captured for; 0: none"
    )
    decode_context_parallel: int = Field(default=1, ge=1, le=10**4, description="ranks that share a sequence's cache")
    max_model_len: int | None = Field(default=None, ge=1, le=10**9, description="longest sequence the engine admits")
    hybrid_cache: bool | None = Field(
        default=None,
        description="whether windows and chunks give back what lies before them; by default as the release does",
    )
    prefix_caching: bool | None = Field(
        default=None, description="whether prefixes stay in the cache; by default as the release does"
    )
    async_scheduling: bool | None = Field(
        default=None, description="whether a step is scheduled while one runs; by default as the release does"
    )

    @model_validator(mode="before")
    @classmethod
    def _of_one_length(cls, data: object) -> object:
        if isinstance(data, dict) and "lengths" in data:
            message = (
                "requests of several lengths take replicas of several kinds: write `pools` and `demands`, or `--pool`, "
                "or give input_tokens and output_tokens"
            )
            raise FieldError(message, ("lengths",))
        if isinstance(data, dict) and str(data.get("phase")) in {"train", "training", "pretraining", "finetuning"}:
            message = (
                "training is not priced: phases are aggregated, prefill, decode and disaggregated. "
                "`shardproof verify --from` reads a training command's layout and judges its degrees"
            )
            raise FieldError(message, ("phase",))
        return data

    @model_validator(mode="after")
    def _consistent(self) -> ServingWorkload:
        if self.phase == "disaggregated":
            message = (
                "phase 'disaggregated' has two roles, each on devices of its own: write `pools` and `demands`, or "
                "solve phase 'prefill' and phase 'decode' one after the other, each on its share of the devices"
            )
            raise FieldError(message, ("phase",))
        if self.concurrency is not None and (self.arrivals != "closed" or self.request_rate is not None):
            message = "is of a closed loop: leave out request_rate, and arrival or have it closed"
            raise FieldError(message, ("concurrency",))
        if self.decodes and self.output_tokens < 2:
            message = f"{self.named} needs output_tokens of at least 2 (TPOT is between output tokens)"
            raise FieldError(message, ("output_tokens",))
        if self.max_model_len is not None and self.held_tokens > self.max_model_len:
            message = (
                f"requests of {self.held_tokens:,} tokens are longer than max_model_len {self.max_model_len:,} admits"
            )
            raise FieldError(message, ("max_model_len",))
        if self.prefix_cache_hit >= 1:
            message = "must be below 1: the last prompt token is always computed"
            raise FieldError(message, ("prefix_cache_hit",))
        if self.mtp_acceptance > 1:
            message = "is a probability, at most 1"
            raise FieldError(message, ("mtp_acceptance",))
        return self

    @property
    def named(self) -> str:
        """The phase, as sentences name it."""
        return f"phase {self.phase!r}"

    def told(self, *, short: bool = False) -> str:
        """The work in a few words."""
        length = f"{self.input_tokens:,} in / {self.output_tokens:,} out"
        if not short:
            length = f"{self.input_tokens:,} tokens in and {self.output_tokens:,} out"
        alone = ["alone"] if self.arrival == "alone" else []
        flight = [f"{self.concurrency:,} in flight"] if self.concurrency is not None else []
        return ", ".join(
            [self.phase, length, *flight, *alone,
             *spared_and_drafted(self.prefix_cache_hit, self.mtp_tokens, self.mtp_acceptance)]
        )  # fmt: skip

    def alone(self, part: Part) -> ServingWorkload:
        return self.model_copy(update={"phase": "prefill" if part is Part.FIRST else "decode", "request_rate": None})

    def without(self, part: Part) -> str | None:
        return PHASES[self.phase].without.get(part)

    @cached_property
    def prompts(self) -> bool:
        """Whether prompts are computed."""
        return PHASES[self.phase].prompts

    @cached_property
    def decodes(self) -> bool:
        """Whether tokens after the first are computed, one after another."""
        return PHASES[self.phase].decodes

    @cached_property
    def mixes(self) -> bool:
        """Whether prompts are computed beside the tokens of other sequences."""
        return self.prompts and self.decodes

    @property
    def splits(self) -> bool:
        """Chunked prefill."""
        return True

    @cached_property
    def looped(self) -> bool:
        """Whether a prompt waits for those that start with it in a closed loop, beside sequences that decode."""
        return self.mixes and self.arrivals == "closed"

    @property
    def arrivals(self) -> Arrival:
        """How requests arrive: as stated, else at random where a rate is given and in a closed loop where none is."""
        return self.arrival or ("closed" if self.request_rate is None else "poisson")

    def in_flight(self, ranks: int) -> int | None:
        """Requests that a closed loop of `concurrency` keeps in flight on the fullest rank; None where none is told."""
        return None if self.concurrency is None else -(-self.concurrency // ranks)

    def decoding(self, batch: int, ranks: int) -> Fraction:
        """Sequences in flight of a rank on average, at most `batch`."""
        return Fraction(batch) if self.concurrency is None else min(Fraction(batch), Fraction(self.concurrency, ranks))

    @property
    def queued_rate(self) -> Fraction | None:
        """Requests/s that come at random and so queue; None where none do."""
        return self.request_rate if self.arrivals == "poisson" else None

    @cached_property
    def computed_input_tokens(self) -> int:
        """Prompt tokens that are computed, cache hits excluded; rounded up."""
        share = self.input_tokens * (1 - self.prefix_cache_hit)
        return -(-share.numerator // share.denominator)

    @property
    def tokens_of_request(self) -> int:
        """Tokens of one request that throughput counts, as `counted` names them."""
        return PHASES[self.phase].tokens(self)

    @property
    def counted(self) -> str:
        """What tokens throughput counts."""
        return PHASES[self.phase].counted

    @property
    def computed_tokens(self) -> int:
        """Tokens of one request that are computed."""
        return self.computed_input_tokens * self.prompts + (self.output_tokens - 1) * self.decodes

    @property
    def held_tokens(self) -> int:
        """Tokens of a sequence's cache at its longest."""
        return self.input_tokens + self.output_tokens * self.decodes

    @property
    def decoded_at(self) -> tuple[int, int] | None:
        """Positions of the first and last token that is computed after its prompt."""
        return (self.input_tokens + 1, self.input_tokens + self.output_tokens - 1) if self.decodes else None

    @cached_property
    def tokens_per_step(self) -> Fraction:
        """Expected output tokens a sequence gains per decode step: 1 + a + a² + … (Leviathan et al. 2022, eq. 1)."""
        return sum((self.mtp_acceptance**i for i in range(self.mtp_tokens + 1)), Fraction(0))

    @cached_property
    def decode_steps(self) -> Fraction:
        """Steps in which a sequence gains its tokens after the first, on average; 0 where it gains none."""
        return (self.output_tokens - 1) / self.tokens_per_step if self.decodes else Fraction(0)

    def cycles_of_request(self, pieces: int, pp: int) -> Fraction:
        """Cycles of `pp` stages for which a request keeps its place in the batch, its prompt in so many pieces.

        It has its place from the first piece on. The pieces follow one another through the stages, in pieces + pp − 1
        steps of a stage, beside others that decode; with nothing to decode a micro-batch takes a piece each in a cycle.
        """
        if not self.decodes:
            return Fraction(pieces)
        return self.decode_steps + (Fraction(pieces + pp - 1, pp) if pieces else 0)

    def together(self, micro_batch: int, packed: int) -> int:
        """Prompts that share a step: `packed`, or with nothing to decode those of the whole micro-batch."""
        return packed if self.decodes else micro_batch

    def step_tokens(self, chunk: int | None) -> tuple[int, int]:
        """Tokens of a step at most: so many for each sequence of its micro-batch, and so many beside them."""
        prompt = (chunk or 0) if self.prompts else 0
        return (1 + self.mtp_tokens, prompt) if self.decodes else (min(prompt, self.computed_input_tokens), 0)

    def chunk_within(self, tokens: int, micro_batch: int) -> int:
        """Prompt tokens that a step of so many leaves room for, 1 at least: in all, or of each where none decode."""
        return max(1, tokens - micro_batch * (1 + self.mtp_tokens) if self.decodes else tokens // micro_batch)

    def figures(self, evaluation: Evaluated) -> Iterator[OwnFigure]:
        """Tokens of whole requests, where a replica computes all of them."""
        if self.mixes:
            rate = evaluation.request_capacity
            yield OwnFigure(
                "processed_tokens_per_s", rate * (self.input_tokens + self.output_tokens), Dimension.TOKENS_PER_SECOND,
                "requests/s · (input tokens + output tokens)",
                f"{format_quantity(rate, Dimension.PER_SECOND)} · ({self.input_tokens:,} + {self.output_tokens:,})",
                told=False,
            )  # fmt: skip

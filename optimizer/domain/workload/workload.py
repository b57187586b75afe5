"""What everything outside this folder asks of a workload, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, Literal, Protocol, Self

from optimizer.units import Dimension

Arrival = Literal["alone", "closed", "poisson"]


class Part(StrEnum):
    """Parts of a request's answer."""

    FIRST = "first token"
    LATER = "later tokens"


class Evaluated(Protocol):
    """What figures of a workload's own may follow from."""

    @property
    def request_capacity(self) -> Fraction:
        """Requests/s of all devices."""

    @property
    def ttft_s(self) -> Fraction | None:
        """Mean time to the first token; None where none is computed."""

    @property
    def tpot_s(self) -> Fraction | None:
        """Mean time of a later token; None where none is computed."""


@dataclass(frozen=True, slots=True)
class OwnFigure:
    """A figure that this kind of work has, with its derivation.

    Attributes
    ----------
    told
        Whether results carry it; `verify` knows it in any case.
    """

    name: str
    value: Fraction
    dimension: Dimension
    formula: str
    substituted: str
    told: bool = True


class Workload(Protocol):
    """A kind of work: requests, each a prompt (P computed tokens) and what is computed after it, token by token.

    Whoever prices, searches, checks or explains reads these members and no other, so that a class with all of them and
    a row of `WORKLOADS` is a workload everywhere. `mypy` tells what a class lacks.
    """

    # What it is

    @property
    def kind(self) -> str:
        """As problems write it."""

    @property
    def named(self) -> str:
        """As sentences name it: ``phase 'prefill'``."""

    def told(self, *, short: bool = False) -> str:
        """The work in a few words."""

    def without(self, part: Part) -> str | None:
        """Why a part of the answer is not computed, so that what times it has no meaning; None where it is."""

    def alone(self, part: Part) -> Self:
        """The same requests where only this part is computed and nobody queues: what a physical bound is of."""

    @classmethod
    def model_validate(cls, written: object, /) -> Self:
        """One of what a problem writes; `ValidationError` where it cannot be."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        """A copy with other values of some fields."""

    # Requests

    @property
    def input_tokens(self) -> int:
        """Tokens of a prompt."""

    @property
    def computed_input_tokens(self) -> int:
        """Those of them that are computed, P."""

    @property
    def output_tokens(self) -> int:
        """Tokens of an answer; 1 where it is not computed token by token."""

    @property
    def held_tokens(self) -> int:
        """Tokens of a sequence's cache at its longest."""

    @property
    def decoded_at(self) -> tuple[int, int] | None:
        """Positions of the first and last token that is computed after its prompt; None: there is none."""

    @property
    def mtp_tokens(self) -> int:
        """Tokens drafted a step."""

    @property
    def mtp_acceptance(self) -> Fraction:
        """The chance that one is accepted."""

    @property
    def tokens_per_step(self) -> Fraction:
        """Expected tokens that a sequence gains a step, e."""

    # Steps

    @property
    def prompts(self) -> bool:
        """Whether prompts are computed."""

    @property
    def decodes(self) -> bool:
        """Whether tokens after the first are computed, one after another."""

    @property
    def mixes(self) -> bool:
        """Whether prompts are computed beside the tokens of other sequences."""

    @property
    def splits(self) -> bool:
        """Whether a prompt may be computed in pieces: which chunks are in the lattice."""

    def together(self, micro_batch: int, packed: int) -> int:
        """Prompts that share a step of a micro-batch, of which a chunk has room for `packed` whole ones."""

    def step_tokens(self, chunk: int | None) -> tuple[int, int]:
        """Tokens of a step at most: so many for each sequence of its micro-batch, and so many beside them."""

    def chunk_within(self, tokens: int, micro_batch: int) -> int:
        """Prompt tokens that a step of so many leaves room for, 1 at least: in all, or of each where none decode."""

    # Time

    @property
    def decode_steps(self) -> Fraction:
        """Steps in which a sequence gains its tokens after the first, on average; 0 where it gains none."""

    def cycles_of_request(self, pieces: int, pp: int) -> Fraction:
        """Cycles of `pp` stages for which a request keeps its place in the batch, its prompt in so many pieces."""

    @property
    def request_rate(self) -> Fraction | None:
        """Requests/s to be served; None where none is asked."""

    @property
    def queued_rate(self) -> Fraction | None:
        """Those that come at random and so queue; None where none do."""

    @property
    def arrivals(self) -> Arrival:
        """How requests come."""

    @property
    def looped(self) -> bool:
        """Whether a prompt waits for those that start with it in a closed loop, beside sequences that decode."""

    @property
    def concurrency(self) -> int | None:
        """Requests that a closed loop keeps in flight on all ranks; None: any."""

    def in_flight(self, ranks: int) -> int | None:
        """The same on the fullest rank."""

    def decoding(self, batch: int, ranks: int) -> Fraction:
        """Sequences in flight of a rank on average, at most `batch`."""

    # Limits: what an engine is told; None where it is told nothing

    @property
    def max_num_seqs(self) -> int | None:
        """Sequences in flight of a rank at most."""

    @property
    def max_num_batched_tokens(self) -> int | None:
        """Tokens of a step at most."""

    @property
    def max_model_len(self) -> int | None:
        """The longest sequence."""

    @property
    def capture_sizes(self) -> tuple[int, ...] | None:
        """Batch sizes that graphs are captured for."""

    @property
    def decode_context_parallel(self) -> int:
        """Tensor-parallel ranks that hold the cache of a sequence between them."""

    @property
    def hybrid_cache(self) -> bool | None:
        """Whether windows and chunks give back what lies before them; None: as the engine does unless told."""

    @property
    def prefix_caching(self) -> bool | None:
        """Whether prefixes stay in the cache; None: as the engine does unless told."""

    @property
    def async_scheduling(self) -> bool | None:
        """Whether a step is scheduled while one runs; None: as the engine does unless told."""

    # Figures

    @property
    def tokens_of_request(self) -> int:
        """What throughput counts of a request."""

    @property
    def counted(self) -> str:
        """The same in words: ``output tokens``."""

    @property
    def computed_tokens(self) -> int:
        """Tokens of one request that are computed."""

    def figures(self, evaluation: Evaluated) -> Iterator[OwnFigure]:
        """Figures that this kind of work has beside those of all."""

"""How much cache an engine allocates for a layout, what it holds (tokens, sequences, the longest), and who has room.

    room of a stage = exposed memory · utilisation − weights − what the engine keeps − tensors of the largest step
    tokens          = min over stages of floor(room ÷ bytes of a block) · tokens of a block
    concurrency     = min over stages of room ÷ bytes of one sequence of `max_model_len` as it is admitted
    longest context = the longest sequence whose bytes fit the room of every stage

The largest step is the one that the engine sizes itself for: `max_num_seqs` and `max_num_batched_tokens` where the
workload states them, else the engine's defaults, not the batch that is priced. Where layers of one sequence do not all
cost the same for every token (windows, states, compressed entries) engines print concurrency · length as their tokens
(vllm issue 51041), and so do we; before 0.21 vLLM prints blocks ÷ groups (`figures.groups`). Sources: vLLM
v1/core/kv_cache_planning.py, v1/worker/gpu_worker.py; SGLang mem_cache/kv_cache_configurator.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.cache import CacheLayout, window_share
from optimizer.figures.groups import BlockGroups, groups
from optimizer.figures.memory import Memory, MemoryBook, build_memory, sequence_tokens
from optimizer.figures.partition import Track
from optimizer.figures.reserve import error_bytes
from optimizer.figures.serving import Evaluation
from optimizer.figures.states import StatePool, layer_bytes, state_pool
from optimizer.figures.weights import round_up

EARLIER = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth", "thirteenth", "fourteenth",
)  # fmt: skip
"""Names of the releases before the newest, oldest first, by whose facts `verify` derives the cache as well."""
COMPRESSED_REQUESTS = 256
"""Requests in flight of DeepSeek-V4 unless told (sglang 0.5.15 srt/arg_groups/deepseek_v4_hook.py:49)."""
LONGEST = 2**30
"""Tokens that stand for any number where a model states no longest context."""


@dataclass(frozen=True, slots=True)
class Room:
    """The cache of one data-parallel rank.

    Attributes
    ----------
    room_bytes
        Of the stage with the least, as are the parts below; negative where nothing is left.
    error_bytes
        90% of logged rooms lie within this many bytes.
    request_bytes, request_room_bytes
        A sequence of `length`, the longest that the engine is told to admit, and the room, in the stage that holds the
        fewest of them.
    checked_bytes, checked_room_bytes
        The same as the engine checks it before it starts.
    tokens, concurrency
        At that length.
    longest_context
        0 where not even one block fits.
    requests
        How many may be in flight, where states of linear attention have a pool of their own; else None.
    state_blocks
        Blocks of a group of layers, where every sequence needs some for states of linear attention; else None.
    """

    room_bytes: int
    weights_bytes: int
    reserve_bytes: int
    working_bytes: int
    error_bytes: int
    length: int
    request_bytes: int
    request_room_bytes: int
    checked_bytes: int
    checked_room_bytes: int
    tokens: int
    concurrency: Fraction
    longest_context: int
    requests: int | None
    state_blocks: int | None


class Rooms:
    """Rooms of the layouts of one problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.book = problem, MemoryBook(problem)

    def room(self, shape: Shape, cuts: tuple[int, ...]) -> Room:
        """The cache of a shape whose stages have `cuts` layers."""
        problem = self.problem
        memory = self.book.memory(shape)
        working = memory.sized_bytes()
        weights, reserves = self._kept(memory, cuts)
        rooms = _left(memory.kept(), cuts)
        tightest = rooms.index(min(rooms))
        length = problem.workload.max_model_len or sequence_tokens(problem)
        requests, grouped = self._requests(memory, cuts, length), groups(problem, shape.tp)
        whole = rooms if grouped is None else grouped.whole(rooms, cuts)
        stages = [(room, size) for room, size in zip(whole, requests, strict=True) if size]
        holding = ((Fraction(max(room, 0), size), room, size) for room, size in stages)
        concurrency, request_room, request = min(holding, default=(Fraction(0), min(rooms), 0))
        checked = (sum(requests), min(rooms)) if memory.asked_whole else (request, rooms[whole.index(request_room)])
        tokens = self._tokens(memory, cuts, rooms, concurrency, grouped)
        context = longest_context(problem, memory, cuts)
        apart = self._states(memory, cuts, rooms, shape.tp)
        if apart is not None:
            tokens, context = apart.tokens, min(context, apart.tokens)
            concurrency = min(Fraction(tokens, length), Fraction(apart.requests))
        return Room(
            room_bytes=min(rooms), weights_bytes=weights[tightest], reserve_bytes=reserves[tightest],
            working_bytes=working, error_bytes=error_bytes(problem),
            length=length, request_bytes=request, request_room_bytes=request_room,
            checked_bytes=checked[0], checked_room_bytes=checked[1],
            tokens=tokens, concurrency=concurrency, longest_context=context,
            requests=None if apart is None else apart.requests,
            state_blocks=None if grouped is None or not grouped.states else grouped.blocks(rooms, cuts),
        )  # fmt: skip

    def _kept(self, memory: Memory, cuts: tuple[int, ...]) -> tuple[list[int], list[int]]:
        """Weights of each stage, and what the engine keeps beside them and the cache."""
        weights, reserves, first = [], [], 0
        for number, layers in enumerate(cuts):
            layer_kinds = memory.order[first : first + layers]
            first += layers
            stage_weights = sum(memory.weights[kind].total_bytes for kind in layer_kinds)
            stage_weights += memory.input.total_bytes if number == 0 else 0
            weights.append(stage_weights + (memory.output.total_bytes if number == len(cuts) - 1 else 0))
            graphs = sum(memory.layer_reserve[kind] for kind in layer_kinds) if memory.graphs else 0
            reserves.append(memory.reserve_bytes + graphs)
        return weights, reserves

    @staticmethod
    def _requests(memory: Memory, cuts: tuple[int, ...], length: int) -> list[int]:
        """Bytes of one sequence of `length` tokens in each stage, as it is admitted."""
        admitted = memory.admitted(length)
        sizes, first = [], 0
        for layers in cuts:
            sizes.append(sum(admitted[kind] for kind in memory.order[first : first + layers]))
            first += layers
        return sizes

    def _whole(self, tokens: int) -> int:
        return round_up(tokens, self.problem.engine.cache.block_tokens)

    def _tokens(
        self,
        memory: Memory,
        cuts: tuple[int, ...],
        rooms: list[int],
        concurrency: Fraction,
        grouped: BlockGroups | None,
    ) -> int:
        if grouped is not None and self.problem.cache.tokens_by_groups:
            return grouped.tokens(rooms, cuts)
        block = self.problem.engine.cache.block_tokens
        length = self._whole(self.problem.workload.max_model_len or sequence_tokens(self.problem))
        if window_share(self.problem) is not None:
            # pools are as large whatever length is asked of them
            return self._pooled(memory, cuts, rooms)
        block_sizes = self._requests(memory, cuts, block)
        if [size * (length // block) for size in block_sizes] != self._requests(memory, cuts, length):
            return int(concurrency * length)
        return (
            min((max(room, 0) // size for room, size in zip(rooms, block_sizes, strict=True) if size), default=0)
            * block
        )

    def _states(self, memory: Memory, cuts: tuple[int, ...], rooms: list[int], tp: int) -> StatePool | None:
        problem, states, first = self.problem, [], 0
        if problem.cache.state_ratio is None:
            return None
        for layers in cuts:
            names = problem.model.layer_names[first : first + layers]
            states.append(layer_bytes([problem.model.blocks[name].attention for name in names], tp))
            first += layers
        sizes = self._requests(memory, cuts, LONGEST)
        of_tokens = [Fraction(size - state, LONGEST) for size, state in zip(sizes, states, strict=True)]
        return state_pool(problem, rooms, of_tokens, states)

    def _pooled(self, memory: Memory, cuts: tuple[int, ...], rooms: list[int]) -> int:
        """Tokens of the layers without windows, beside what every request that may be in flight keeps."""
        problem, layout = self.problem, CacheLayout(self.problem)
        sizes, pools, first = self._requests(memory, cuts, LONGEST), [], 0
        requests = problem.workload.max_num_seqs or COMPRESSED_REQUESTS
        for room, size, layers in zip(rooms, sizes, cuts, strict=True):
            names = problem.model.layer_names[first : first + layers]
            kept = sum(layout.request_bytes(problem.model.blocks[name].attention) for name in names)
            first += layers
            if size:
                pools.append(max(room - (requests + 1) * kept, 0) * LONGEST // size)
        return min(pools, default=0)


def most_tokens(problem: Problem) -> int:
    """Tokens of the longest sequence that the model knows."""
    return problem.model.max_context or LONGEST


def next_longer(problem: Problem, tokens: int) -> int | None:
    """The least longest context above another; None: there is none."""
    if tokens >= most_tokens(problem):
        return None
    block = problem.engine.cache.block_tokens
    return min((tokens // block + 1) * block, most_tokens(problem))


def longest(problem: Problem, holds: Callable[[int], bool], *, least: int = 0) -> int:
    """The longest context that holds, by bisection over blocks; `least` where nothing longer does.

    Parameters
    ----------
    holds
        Whether a sequence of so many tokens does; what holds one holds any shorter one.
    """
    block, most = problem.engine.cache.block_tokens, most_tokens(problem)
    low, high = least // block, -(-most // block)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(min(middle * block, most)) else (low, middle - 1)
    return max(least, min(low * block, most))


def longest_context(problem: Problem, memory: Memory, cuts: tuple[int, ...]) -> int:
    """Tokens of the longest sequence that stages of `cuts` layers hold; 0 where not one block fits."""
    return longest(problem, lambda tokens: min(_left(memory.holding(tokens), cuts)) >= 0)


def _left(track: Track, cuts: tuple[int, ...]) -> list[int]:
    """What each stage leaves of a track's limit."""
    assert track.limit is not None  # noqa: S101 - memory is limited
    left, first, layers = [], 0, len(track.prefix) - 1
    for count in cuts:
        left.append(track.limit - track.stage(first, first + count, layers))
        first += count
    return left


def room_of(problem: Problem, shape: Shape, cuts: tuple[int, ...]) -> Room:
    """The cache of one layout."""
    return Rooms(problem).room(shape, cuts)


def engines_that_run(problem: Problem, evaluation: Evaluation) -> list[str]:
    """Names of the engines that run an evaluated layout; for a problem that names one engine, that one at most.

    Times, placements and stage cuts are not asked about: every engine here takes its stages as a list.
    """
    return [name for name, lacking in lacking_bytes(problem, evaluation).items() if lacking <= 0]


def lacking_bytes(problem: Problem, evaluation: Evaluation) -> dict[str, int]:
    """Bytes of a device that each engine lacks for a layout whose degrees it accepts; 0 or less where it runs it."""
    engine = problem.engine
    lacking = {}
    for member in engine.members or (engine,):
        name = member.name if engine.members else problem.engine_name
        member_problem = problem.changed(engine_name=name)
        if not member.accepts(member_problem, evaluation.shape):
            continue
        stages = build_memory(member_problem, evaluation.shape).stages(
            evaluation.steps.largest, evaluation.layout.batch, evaluation.cuts
        )
        lacking[name] = max(stage.total_bytes for stage in stages) - member_problem.capacity_bytes
    return lacking

"""The single-replica problem as a CP-SAT program: degrees, batch, chunk, stage cuts and copies of experts as variables.

What the search enumerates, bounds and dismisses is here a set of constraints (`families`, a class each), from the
definitions that `docs/figures.md` and `figures` state; nothing of the search is used. Times and bytes come from the
reference by tables (`prices`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import product
from math import ceil, prod

from ortools.sat.python import cp_model

from optimizer.declarative.prices import PricedTicks, Prices, step_points
from optimizer.domain.lattice import LARGEST_BATCH, LARGEST_PACKED_CHUNK
from optimizer.domain.limit_table import first_limits
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.errors import SpecError
from optimizer.figures.memory import MemoryBook
from optimizer.figures.steps import Steps

_Floors = Callable[[PricedTicks], list[int]]
"""Times of all step points in a unit, rounded down."""

LARGEST_DEGREES = 3_000
"""Choices of tp, cp, etp, ep, pp and redundant slots that a program has at most."""
LARGEST_COSTS = 20_000
"""Costs of layers at some degrees and step that a program states at most: a minute of CP-SAT on one core
(`benchmarks/RESULTS.md`)."""
_PAIRS = (("tp", "cp"), ("etp", "ep"))
"""Degrees of the two meshes; dp and edp follow from the devices of a stage."""
_BITS = 56
"""Products of CP-SAT's integers stay below 2 to this."""
_MOST_BITS = 40
"""Bits of a time: products with a number of layers stay below `_BITS` as well."""


def chunks_of(problem: Problem) -> Sequence[int | None]:
    """Prompt tokens a step: as listed, or each even split of a prompt, and whole prompts up to the token budget.

    Where the engine takes whole pages, each is rounded up to one.
    """
    work = problem.workload
    if not work.prompts:
        return [None]
    prompt, most = work.computed_input_tokens, work.max_num_batched_tokens
    if problem.search.prefill_chunk is not None:
        return sorted({chunk for chunk in problem.search.prefill_chunk if work.splits or chunk >= prompt})
    chunks = {ceil(Fraction(prompt, pieces)) for pieces in range(1, prompt + 1)} if work.splits else {prompt}
    if work.mixes:
        budget = max(prompt, LARGEST_PACKED_CHUNK) if most is None else most
        chunks |= {whole * prompt for whole in range(1, budget // prompt + 1)}
    paged = {ceil(Fraction(chunk, problem.page_tokens)) * problem.page_tokens for chunk in chunks}
    return sorted(chunk for chunk in paged if most is None or chunk <= most)


class ProgramFamily:
    """A constraint family: which values a variable may have, and what holds between variables.

    The first line of its module is the statement in words.
    """

    @classmethod
    def allows(cls, problem: Problem, axis: str, value: int) -> bool:  # noqa: ARG003 - the others decide by them
        """Whether a variable may have a value, whatever the others have: its domain."""
        return True

    @classmethod
    def runs(cls, problem: Problem, steps: Steps) -> bool:  # noqa: ARG003 - the same
        """Whether a step may be."""
        return True

    def post(self, program: LayoutProgram) -> None:
        """Add the constraints between variables."""


class LayoutProgram:
    """Variables of the program, and what families share.

    Parameters
    ----------
    problem
        Without measured loads of experts.
    families
        What is posted.
    prices
        Tables of the same problem and families, where they are known.

    Raises
    ------
    SpecError
        Where the program would have more than `LARGEST_DEGREES` or `LARGEST_COSTS`, or has measured loads.
    """

    def __init__(self, problem: Problem, families: Sequence[type[ProgramFamily]], prices: Prices | None = None) -> None:
        if problem.expert_loads:
            raise SpecError("--method cp-sat: measured loads of experts are placed by branch-and-bound alone")
        if problem.workload.concurrency is not None:
            raise SpecError("--method cp-sat: a closed loop of workload.concurrency is for branch-and-bound alone")
        if problem.scale.percentile is not None or first_limits(problem).keys() - {None}:
            raise SpecError(
                "--method cp-sat: percentiles of TTFT are limited, and TTFT and TPOT made best at one, by "
                "branch-and-bound alone"
            )
        self.problem, self.families = problem, families
        self.model = cp_model.CpModel()
        n, moe = problem.devices, problem.model.moe
        copies = problem.experts.redundant_slots if problem.experts is not None and moe is not None else (0,)
        axes = ("tp", "cp", "pp", "etp", "ep")
        self.domains = {axis: self._allowed(axis, range(1, n + 1)) for axis in axes}
        self.domains["redundant"] = sorted(set(copies))
        self.domains["overlap"] = self._allowed("overlap", (0, 1))
        self.chunks = chunks_of(problem)
        self.rows = self._rows()
        self.largest_batch = self._largest_batch()
        self._refuse(self.largest_batch, LARGEST_COSTS, "batches")
        self.batches = self._allowed("batch", range(1, self.largest_batch + 1))
        micro = {pp: sorted({-(-batch // pp) for batch in self.batches}) for pp in self.domains["pp"]}
        points = step_points(problem, micro, self.chunks, lambda steps: all(f.runs(problem, steps) for f in families))
        self.empty = not (self.rows and self.batches and points)
        if self.empty:
            return
        self.prices = prices or Prices(problem, self.rows, points)
        self._refuse(self.prices.distinct * len(points), LARGEST_COSTS, "costs")
        self._degrees()
        self._operation()
        self._stages()
        for family in families:
            family().post(self)

    def _rows(self) -> list[Shape]:
        """Every choice of degrees of which neither mesh has more devices than there are."""
        n, domains = self.problem.devices, self.domains
        counts = (
            prod(sum(bisect_right(domains[second], n // (a * pp)) for a in domains[first]) for first, second in _PAIRS)
            for pp in domains["pp"]
        )
        self._refuse(sum(counts) * len(domains["redundant"]), LARGEST_DEGREES, "choices of degrees")
        shapes = []
        for pp in domains["pp"]:
            attention, experts = (
                [(a, b) for a in domains[first] for b in domains[second] if a * b * pp <= n] for first, second in _PAIRS
            )  # fmt: skip
            for (tp, cp), (etp, ep), redundant, overlap in product(
                attention, experts, domains["redundant"], domains["overlap"]
            ):
                shape = Shape(tp, cp, etp, ep, pp, redundant, bool(overlap))
                if shape.spread or not overlap:
                    shapes.append(shape)
        return shapes

    def _allowed(self, axis: str, values: Iterable[int]) -> list[int]:
        return [v for v in values if all(f.allows(self.problem, axis, v) for f in self.families)]

    def _refuse(self, count: int, most: int, noun: str) -> None:
        if count > most:
            raise SpecError(
                f"--method cp-sat: {count:,} {noun} in the program of {self.problem.name!r}, which may have at most "
                f"{most:,}: fewer devices, or some values only, such as --batch 16,64,256 --prefill-chunk 512,2048 "
                "--cp 1 (`search` of a file), or leave --method out"
            )

    def _largest_batch(self) -> int:
        """No rank holds more sequences than all devices of its stages have room for."""
        book, most = MemoryBook(self.problem), 0
        listed = self.problem.search.batch
        for shape in self.rows:
            memory = book.memory(shape)
            room = shape.pp * (self.problem.capacity_bytes - memory.reserve_bytes) - memory.stack_weights()
            most = max(most, room // memory.stack_sequence() if memory.stack_sequence() else LARGEST_BATCH)
        stated = self.problem.workload.max_num_seqs or LARGEST_BATCH
        return max(0, min(most, LARGEST_BATCH, stated, max(listed) if listed else LARGEST_BATCH))

    # variables

    def up_to(self, most: int, name: str, *, least: int = 1) -> cp_model.IntVar:
        """A whole number."""
        return self.model.new_int_var(least, most, name)

    @staticmethod
    def domain_of(values: Iterable[int]) -> cp_model.Domain:
        """A set of values."""
        return cp_model.Domain.from_values(sorted(values))

    def _among(self, values: Iterable[int], name: str) -> cp_model.IntVar:
        return self.model.new_int_var_from_domain(self.domain_of(values), name)

    def _degrees(self) -> None:
        """Degrees, which of the rows of the tables they are, and what follows from them."""
        n, model = self.problem.devices, self.model
        self.tp, self.cp, self.pp, self.etp, self.ep, self.redundant = (
            self._among(self.domains[axis], axis) for axis in ("tp", "cp", "pp", "etp", "ep", "redundant")
        )
        self.dp, self.edp = self.up_to(n, "dp"), self.up_to(n, "edp")
        self.stage_devices, self.replica_devices = self.up_to(n, "stage devices"), self.up_to(n, "replica devices")
        self.replicas, self.devices = self.up_to(n, "replicas"), self.up_to(n, "devices")
        self.row = self.up_to(len(self.rows) - 1, "row", least=0)
        self.chosen = self.values_of(self.row, range(len(self.rows)))
        self.overlap = model.new_bool_var("overlap")
        for axis in ("tp", "cp", "pp", "etp", "ep", "redundant", "overlap"):
            values = [getattr(shape, axis) for shape in self.rows]
            model.add(self.degree(axis) == cp_model.LinearExpr.weighted_sum(self.chosen, values))
        # tp > 1, dp > 1 and ep > 1: shared experts are whole on every rank
        self.shared_replicated = model.new_bool_var("shared_replicated")
        several = []
        for degree in (self.tp, self.dp, self.ep):
            more = model.new_bool_var("more than one")
            model.add(degree >= 2).only_enforce_if(more)
            model.add(degree == 1).only_enforce_if(~more)
            several.append(more)
        model.add_bool_and(several).only_enforce_if(self.shared_replicated)
        model.add_bool_or([~literal for literal in several]).only_enforce_if(~self.shared_replicated)
        # each device has experts of its own, and attention several ranks
        self.spread = model.new_bool_var("spread")
        model.add(self.dp >= 2).only_enforce_if(self.spread)
        for degree in (self.cp, self.etp, self.edp):
            model.add(degree == 1).only_enforce_if(self.spread)

    def degree(self, name: str) -> cp_model.IntVar:
        """A variable by the name that rules and shapes have for it."""
        variable: cp_model.IntVar = getattr(self, name)
        return variable

    def values_of(self, variable: cp_model.IntVar, values: Sequence[int]) -> list[cp_model.IntVar]:
        """A literal for each value, one of which is true."""
        literals = [self.model.new_bool_var(f"{variable.name} = {value}") for value in values]
        self.model.add_exactly_one(literals)
        self.model.add(variable == sum(v * literal for v, literal in zip(values, literals, strict=True)))
        return literals

    def any_of(self, literals: Sequence[cp_model.IntVar]) -> cp_model.IntVar:
        """Whether one of literals is true of which at most one is."""
        literal = self.model.new_bool_var("one of them")
        self.model.add(literal == sum(literals))
        return literal

    def _operation(self) -> None:
        """Batch, micro-batch, chunk, and which step point they are."""
        n, points = self.problem.devices, self.prices.steps
        self.batch = self._among(self.batches, "batch")
        self.micro_batch = self.up_to(self.largest_batch, "micro-batch")
        self.chunk = self.up_to(len(self.chunks) - 1, "chunk", least=0)
        self.chunk_is = self.values_of(self.chunk, range(len(self.chunks)))
        self.step = self.up_to(len(points) - 1, "step", least=0)
        self.ranks = self.up_to(n, "ranks over all replicas")
        self.model.add_multiplication_equality(self.ranks, [self.dp, self.replicas])

    def of_step(self, values: Sequence[int], name: str) -> cp_model.IntVar:
        """What a table says of the chosen step point."""
        value = self.model.new_int_var(min(values), max(values), name)
        self.model.add_element(self.step, values, value)
        return value

    def look_up(self, index: cp_model.LinearExprT, table: Sequence[int], value: cp_model.IntVar) -> None:
        """What a table says at a sum of variables."""
        at = self.up_to(len(table) - 1, "index", least=0)  # CP-SAT takes no more than one variable in an index
        self.model.add(at == index)
        self.model.add_element(at, table, value)

    def _stages(self) -> None:
        """Where stages end, the layers of each kind in them, the longest time of a stage, and the fullest device."""
        model, layers = self.model, self.problem.model.layer_count
        count, kinds = max(self.domains["pp"]), range(len(self.prices.counts))
        self.ends = [self.up_to(layers, f"end of stage {s}") for s in range(count)]
        self.uses_stage = [model.new_bool_var(f"stage {s} is used") for s in range(count)]
        self.is_last = self.values_of(self.pp, range(1, count + 1))
        self.layers = [
            [self.up_to(self.prices.counts[kind], f"layers {stage} {kind}", least=0) for kind in kinds]
            for stage in range(count)
        ]
        self.memory_bytes = self.up_to(2**45, "bytes of the fullest device", least=0)
        self._cached: list[list[cp_model.IntVar]] | None = None
        longest_mean, longest_own = self.prices.longest()
        bits = min(_MOST_BITS, _BITS - 2 - (self.largest_batch * self.problem.devices).bit_length())
        self.unit, self.most_time = 1 << max(0, ceil(longest_mean).bit_length() - bits), 2**bits + 1
        self.means, self.slowest = self._stage_times(
            lambda ticks: [int(a // self.unit) for a in ticks.mean], self.most_time
        )
        self._longest_own = longest_own
        self._own: dict[int, list[cp_model.IntVar]] = {}
        self._cycle_parts: tuple[list[cp_model.IntVar], list[cp_model.IntVar]] | None = None
        self._mixed: list[cp_model.IntVar] | None = None

    def own_times(self, bits: int) -> tuple[int, list[cp_model.IntVar]]:
        """A unit, no less than that of A, in which no O has more than so many bits; O of each stage in it."""
        unit = max(self.unit, 1 << max(0, self._longest_own.bit_length() - bits))
        if unit not in self._own:
            most = self._longest_own // unit + 1
            self._own[unit], _ = self._stage_times(lambda ticks: [o // unit for o in ticks.own], most)
        return unit, self._own[unit]

    def cycle_parts(self) -> tuple[list[cp_model.IntVar], list[cp_model.IntVar]]:
        """Of each stage a step without prompts, and what one takes longer for each other sequence in flight, × pp."""
        if self._cycle_parts is None:
            plain, _ = self._stage_times(lambda ticks: [d // self.unit for d in ticks.plain], self.most_time)
            met, _ = self._stage_times(lambda ticks: [int(e // self.unit) for e in ticks.met], self.most_time)
            self._cycle_parts = plain, met
        return self._cycle_parts

    def mixed_times(self) -> list[cp_model.IntVar]:
        """A step with prompts of each stage."""
        if self._mixed is None:
            self._mixed, _ = self._stage_times(lambda ticks: [m // self.unit for m in ticks.full], self.most_time)
        return self._mixed

    def _stage_times(self, floors: _Floors, most: int) -> tuple[list[cp_model.IntVar], cp_model.IntVar]:
        """At least the time of each stage (layers of each kind, send, and the last one's tail), and the slowest's."""
        model, kinds = self.model, range(len(self.prices.counts))
        rows = range(len(self.rows))
        layer_times = [self._of_rows([self.prices.layer(row, kind) for row in rows], floors, most) for kind in kinds]
        ends = (self.prices.tail, self.prices.send)
        tail, send = (self._of_rows([part(row) for row in rows], floors, most) for part in ends)
        times = []
        for stage, counts in enumerate(self.layers):
            time = self.up_to(most, f"time of stage {stage}", least=0)
            parts = []
            for count, layer_time in zip(counts, layer_times, strict=True):
                parts.append(self.up_to(most, "time of layers", least=0))
                model.add_multiplication_equality(parts[-1], [count, layer_time])
            model.add(time >= sum(parts) + send).only_enforce_if(self.uses_stage[stage])
            model.add(time >= sum(parts) + send + tail).only_enforce_if(self.is_last[stage])
            times.append(time)
        # the mean over stages, whatever the cuts
        slowest = self.up_to(most, "longest", least=0)
        model.add_max_equality(slowest, times)
        whole = sum(n * layer_time for n, layer_time in zip(self.prices.counts, layer_times, strict=True)) + tail
        for stage, last in enumerate(self.is_last):
            model.add((stage + 1) * (slowest - send) >= whole).only_enforce_if(last)
        return times, slowest

    def _of_rows(self, parts: Sequence[tuple[object, PricedTicks]], floors: _Floors, most: int) -> cp_model.IntVar:
        """A time at the chosen degrees and step point; degrees of equal times share a table."""
        time = self.up_to(most, "time", least=0)
        groups: dict[object, list[int]] = {}
        for row, (key, _) in enumerate(parts):
            groups.setdefault(key, []).append(row)
        for rows in groups.values():
            values = floors(parts[rows[0]][1])
            step_time = self.of_step(values, "time at a step")
            for row in rows:
                self.model.add(time == step_time).only_enforce_if(self.chosen[row])
        return time

    def cached_layers(self) -> list[list[cp_model.IntVar]]:
        """Layers of each kind in each stage × batch."""
        if self._cached is None:
            self._cached = []
            for counts in self.layers:
                cached = []
                for kind, count in enumerate(counts):
                    cached.append(self.up_to(self.prices.counts[kind] * self.largest_batch, "cached", least=0))
                    self.model.add_multiplication_equality(cached[-1], [count, self.batch])
                self._cached.append(cached)
        return self._cached

"""A problem: model, hardware, workload, limits and objective, with every reference resolved."""

from __future__ import annotations

import hashlib
import json
from difflib import get_close_matches
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from optimizer.domain.base import FieldError, Grown, Spec
from optimizer.domain.calibration import Calibration
from optimizer.domain.coactivation import Coactivation
from optimizer.domain.engines import ANY, ENGINES, Engine, engine_named
from optimizer.domain.engines.engine import Waiting
from optimizer.domain.engines.reservation import CacheRules, Paged
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.limits import LATENCIES, AsTuple, Limits, SearchLimits
from optimizer.domain.margins import Margin, margin_of, quantile
from optimizer.domain.model import ModelSpec
from optimizer.domain.objectives import OBJECTIVES, Objective, ObjectiveName, Scale
from optimizer.domain.precision import FormatName, ModelPrecision, PrecisionOverride
from optimizer.domain.quantity import Ratio
from optimizer.domain.workload import AnyWorkload, ServingWorkload, check_drafts
from optimizer.errors import SpecError


class ExpertsSpec(Grown):
    """Measured expert load and what may be done about it."""

    later = ("coactivation", "balance_allowance")

    load: Annotated[tuple[str, ...] | None, AsTuple] = None
    weights: Annotated[tuple[int, ...] | None, AsTuple] = None
    redundant_slots: Annotated[tuple[Annotated[int, Field(ge=0, le=65536)], ...], Field(min_length=1), AsTuple] = (0,)
    robust: Literal["worst", "mean", "cvar"] = "worst"
    split: Literal["even", "free"] = "even"
    hierarchy: Literal["free", "node", "rack"] = "free"
    current: str | None = None
    max_moves: int | None = Field(default=None, ge=0)
    coactivation: str | None = None
    balance_allowance: Ratio | None = None


Tokens = Annotated[int, Field(ge=0, le=10**15)]
ExpertIds = Annotated[tuple[Annotated[int, Field(ge=0, le=10**6)], ...], AsTuple]
PlacedExperts = Annotated[
    tuple[Annotated[tuple[ExpertIds, ...], AsTuple], ...],
    AsTuple,
]
"""Experts of ``[MoE layer][device][slot]``."""


class ExpertLoads(Spec):
    """One measured workload: tokens of ``[MoE layer][expert]``."""

    name: str
    rows: Annotated[tuple[Annotated[tuple[Tokens, ...], AsTuple], ...], AsTuple]


def at_no_rate(workload: AnyWorkload) -> str | None:
    """Why nobody asks for requests at random and at no rate: that is asked of replicas alone, whose rate is found."""
    if workload.arrivals == "poisson" and workload.request_rate is None:
        return "poisson needs request_rate, the requests/s that come at random"
    return None


class ProblemFile(Spec):
    """The problem as written: `model` and `hardware` are catalog names, paths or inline descriptions."""

    name: str = Field(default="problem", min_length=1)
    model: str | dict[str, Any]
    hardware: str | dict[str, Any]
    devices: int | None = Field(default=None, ge=1, le=10**6)
    nodes: int | None = Field(default=None, ge=1, le=10**6)
    workload: AnyWorkload
    precision: PrecisionOverride | None = None
    limits: Limits = Limits()
    objective: ObjectiveName = "throughput"
    engine: str = "any"
    search: SearchLimits = SearchLimits()
    experts: ExpertsSpec | None = None
    max_kinds: int | None = Field(
        default=None, ge=1, le=1000, description="layouts side by side at most, of objective throughput; 1: one kind"
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    notes: str = ""
    tags: Annotated[tuple[str, ...], AsTuple] = ()
    assumed: Annotated[tuple[str, ...], AsTuple] = ()

    @model_validator(mode="after")
    def _consistent(self) -> ProblemFile:
        if (self.devices is None) == (self.nodes is None):
            message = "give either devices or nodes"
            raise FieldError(message, () if self.devices is None else ("nodes",))
        try:
            engine_named(self.engine)
        except ValueError as unknown:
            close = get_close_matches(self.engine, (ANY, *ENGINES), 1)
            raise FieldError(str(unknown), ("engine",), next(iter(close), None)) from None
        check_drafts(self.workload.mtp_tokens, self.workload.mtp_acceptance, ("workload",))
        if self.limits.step_time is not None:
            message = "belongs to training workloads; this is a serving workload"
            raise FieldError(message, ("limits", "step_time"))
        if self.limits.mem_fraction_static is not None:
            if engine_named(self.engine).reservation.static_fraction is None:
                message = f"is SGLang's share of memory; engine {self.engine} takes memory_utilization"
                raise FieldError(message, ("limits", "mem_fraction_static"))
            if self.limits.memory_utilization is not None:
                message = "is a share of all that is held, mem_fraction_static of weights and cache: give one of them"
                raise FieldError(message, ("limits", "memory_utilization"))
        rateless = at_no_rate(self.workload)
        if rateless is not None:
            raise FieldError(rateless, ("workload", "arrival"))
        row = OBJECTIVES[self.objective]
        meaningless = row.unrated(self.workload) or row.unfit(self.workload)
        if meaningless is not None:
            raise FieldError(meaningless, ("objective",))
        return self


class Problem(Grown):
    """A problem with model and hardware in full: everything a figure needs.

    `current_placement` is the placement in service, on as many devices and slots as it lists.
    """

    later = ("coactivation", "max_kinds")

    name: str
    model: ModelSpec
    hardware: HardwareSpec
    devices: int = Field(ge=1)
    workload: AnyWorkload
    limits: Limits = Limits()
    objective: ObjectiveName = "throughput"
    engine_name: str = "any"
    search: SearchLimits = SearchLimits()
    experts: ExpertsSpec | None = None
    expert_loads: Annotated[tuple[ExpertLoads, ...], AsTuple] = ()
    current_placement: PlacedExperts | None = None
    coactivation: Coactivation | None = None
    max_kinds: int | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _meant(self) -> Problem:
        message = self.objective_row.untold(self) or self.objective_row.unrated(self.workload)
        if message is not None:
            raise FieldError(message, ("objective",))
        return self

    @model_validator(mode="after")
    def _loads_fit(self) -> Problem:
        engine_named(self.engine_name)
        moe = self.model.moe
        for load in self.expert_loads:
            if (
                moe is None
                or len(load.rows) != self.model.moe_layer_count
                or any(len(r) != moe.experts for r in load.rows)
            ):
                message = f"expert load {load.name!r} does not have the model's MoE layers and experts"
                raise ValueError(message)
        weights = self.experts.weights if self.experts else None
        if weights is not None and (len(weights) != len(self.expert_loads) or sum(weights) <= 0 or min(weights) < 0):
            message = (
                f"experts.weights: {len(weights)} weights for {len(self.expert_loads)} loads, or they are not positive"
            )
            raise ValueError(message)
        if self.coactivation is not None and (moe is None or not _fits(self.coactivation, self.model)):
            message = f"co-activation {self.coactivation.name!r} does not have the model's MoE layers and experts"
            raise ValueError(message)
        if self.current_placement is not None and len(self.current_placement) != self.model.moe_layer_count:
            message = "the current placement does not have the model's MoE layers"
            raise ValueError(message)
        return self

    def changed(self, **fields: object) -> Problem:
        """The same problem with other values of some fields, checked anew."""
        return Problem.model_validate({name: getattr(self, name) for name in Problem.model_fields} | fields)

    @property
    def objective_row(self) -> Objective:
        """What is made best."""
        return OBJECTIVES[self.objective]

    @cached_property
    def scale(self) -> Scale:
        """The measure of the objective, and how its value follows from it.

        Raises
        ------
        SpecError
            Where no layout has a value of the objective: a copy with other fields is not validated.
        """
        return self.objective_row.scale_of(self)

    @property
    def serving(self) -> ServingWorkload:
        """The workload of what is about serving alone.

        Raises
        ------
        SpecError
            It is of another kind.
        """
        if not isinstance(self.workload, ServingWorkload):
            raise SpecError(f"of serving workloads alone; this is {self.workload.named}")
        return self.workload

    @property
    def current_mesh(self) -> tuple[int, int] | None:
        """Ep and redundant slots of the placement in service."""
        if self.current_placement is None or self.model.moe is None:
            return None
        first = self.current_placement[0]
        return len(first), len(first) * len(first[0]) - self.model.moe.experts

    def group_domain(self, ep: int) -> int | None:
        """Devices of an expert mesh within which a router's group is kept: a node's or a rack's; None: anywhere."""
        hierarchy = self.experts.hierarchy if self.experts is not None else "free"
        if hierarchy == "free":
            return None
        size = self.hardware.devices_per_node if hierarchy == "node" else self.hardware.devices_per_rack
        return min(size or ep, ep)

    @property
    def engine(self) -> Engine:
        """The engine's rules and reservations."""
        return engine_named(self.engine_name)

    @cached_property
    def cache(self) -> CacheRules:
        """How the engine lays out the cache of this model, as it is told."""
        layers = [self.model.blocks[name].attention for name in self.model.layer_names]
        return self.engine.cache.of(
            [layer for layer in layers if layer is not None],
            hybrid=self.workload.hybrid_cache, prefixes=self.workload.prefix_caching,
            ahead=self.workload.async_scheduling,
        )  # fmt: skip

    @property
    def precision(self) -> ModelPrecision:
        """Formats in force, the problem's override applied."""
        return self.model.precision

    @cached_property
    def calibration(self) -> Calibration | None:
        """What runs on the hardware say of this engine, format and model; None: nothing."""
        return calibration_of(self.model, self.hardware, self.engine)

    @property
    def margin(self) -> Margin:
        """How far measured times of the problem's class lie from predicted ones."""
        return margin_between(self.model, self.hardware, self.engine)

    @cached_property
    def page_tokens(self) -> int:
        """What the prompt tokens of a step are a multiple of: a page, where the engine takes whole ones."""
        page = self.engine.cache.page
        return 1 if page is None else page(Paged(self.model, self.hardware.device))

    @property
    def asked(self) -> dict[str, Fraction]:
        """Limits on the means of TTFT and TPOT, in seconds."""
        bounds = {name: getattr(self.limits, name) for name in LATENCIES}
        return {name: bound for name, bound in bounds.items() if bound is not None}

    @cached_property
    def sure(self) -> dict[str, Fraction]:
        """What a predicted TTFT and TPOT are multiplied by before they are held against a limit: 1 by the prediction.

        The quantiles of the class at the confidence asked. Where any engine will do, the least of those of all: what
        one of them keeps, their union keeps.
        """
        share, named = self.limits.confidence, self.engine
        if share is None:
            return dict.fromkeys(LATENCIES, Fraction(1))
        engines = named.members if named.members and self.calibration is None else (named,)
        margins = [margin_between(self.model, self.hardware, engine) for engine in engines]
        return {
            "ttft": min(quantile(margin.ttft_s, float(share)) for margin in margins),
            "tpot": min(quantile(margin.tpot_s, float(share)) for margin in margins),
        }

    @cached_property
    def waiting(self) -> Waiting:
        """What requests wait for in the engine, on this hardware."""
        shipped = self.engine.waiting
        times = {} if self.calibration is None else self.calibration.multiples
        return shipped.scaled(times["waiting"]) if "waiting" in times else shipped

    @property
    def memory_utilization(self) -> Fraction:
        """Share of the exposed memory that a device may use; all of it where a share of weights and cache is stated."""
        if self.limits.mem_fraction_static is not None:
            return Fraction(1)
        stated = self.limits.memory_utilization
        return self.engine.memory_utilization if stated is None else stated

    @cached_property
    def priced_hardware(self) -> HardwareSpec:
        """The hardware as calibrated, with traffic over the outermost tier shaped to `limits.fabric_bandwidth`."""
        hardware = self.hardware if self.calibration is None else self.hardware.calibrated(self.calibration)
        limit, outer = self.limits.fabric_bandwidth, hardware.tiers[-1]
        if limit is None:
            return hardware
        rated = limit * outer.oversubscription / outer.efficiency.value
        capped = outer.model_copy(update={"bandwidth": min(outer.bandwidth, int(rated))})
        return hardware.model_copy(update={"tiers": (*hardware.tiers[:-1], capped)})

    @cached_property
    def capacity_bytes(self) -> int:
        """Bytes one device may hold: floor of exposed memory × utilisation."""
        share = self.hardware.device.exposed_memory * self.memory_utilization
        return share.numerator // share.denominator

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the resolved problem in canonical JSON; names, notes and sources do not count."""
        document = self.model_dump(mode="json", exclude={"name": True, "model": {"source"}, "hardware": {"source"}})
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def weight_format(model: ModelSpec) -> FormatName:
    """Format of most of a model's weights: the experts' where there are any."""
    precision = model.precision
    return (precision.experts if model.moe is not None else None) or precision.weights


def calibration_of(model: ModelSpec, hardware: HardwareSpec, engine: Engine) -> Calibration | None:
    """What runs on hardware say of an engine and a model in its formats; None: nothing."""
    return hardware.calibration_of(engine=engine.name, weights=weight_format(model), model=model.name)


def margin_between(model: ModelSpec, hardware: HardwareSpec, engine: Engine) -> Margin:
    """How far measured times lie from predicted ones: as calibrated, or as shipped for the class."""
    shipped = margin_of(moe=model.moe is not None, engine=engine.name)
    calibration = calibration_of(model, hardware, engine)
    return shipped if calibration is None else calibration.margin(shipped)


def _fits(coactivation: Coactivation, model: ModelSpec) -> bool:
    """Whether measured co-activation has the model's layers, and no expert beyond its own."""
    if coactivation.measure == "uniform":
        return not coactivation.layers
    experts = model.moe.experts if model.moe is not None else 0
    if len(coactivation.layers) != model.moe_layer_count:
        return False
    if coactivation.measure == "pairs":
        return all([len(row) for row in layer] == list(range(experts - 1, -1, -1)) for layer in coactivation.layers)
    return all(len(row) > 1 and max(row[1:]) < experts and len({*row[1:]}) == len(row) - 1
               for layer in coactivation.layers for row in layer)  # fmt: skip


def resolve(
    written: ProblemFile,
    model: ModelSpec,
    hardware: HardwareSpec,
    expert_loads: tuple[ExpertLoads, ...] = (),
    current: PlacedExperts | None = None,
    coactivation: Coactivation | None = None,
) -> Problem:
    """Put model, hardware and what was measured in their places and apply the precision override.

    A budget of moves keeps the expert mesh of the placement in service; groups kept on nodes need an EP degree whose
    nodes hold equally many of them. Both restrict the search that the problem states.

    Raises
    ------
    ValueError
        Where the workload is longer than the model's context.
    """
    precision = written.precision.applied_to(model.precision) if written.precision else model.precision
    devices = written.devices if written.devices is not None else (written.nodes or 0) * hardware.devices_per_node
    length = written.workload.input_tokens + written.workload.output_tokens
    admitted = written.workload.max_model_len or 0
    if model.max_context is not None and max(length, admitted) > model.max_context:
        excess = (
            f"input_tokens + output_tokens = {length}" if length > model.max_context else f"max_model_len = {admitted}"
        )
        message = f"{excess} is more than the {model.max_context} tokens {model.name} can hold"
        raise ValueError(message)
    in_force = model.model_copy(update={"precision": precision})
    problem = Problem(
        name=written.name,
        model=in_force,
        hardware=hardware,
        devices=devices,
        workload=written.workload,
        limits=written.limits.by_default(),
        objective=written.objective,
        engine_name=written.engine,
        search=written.search,
        experts=written.experts,
        expert_loads=expert_loads,
        current_placement=current,
        coactivation=coactivation,
        max_kinds=written.max_kinds,
        seed=written.seed,
    )
    return _kept_on_nodes(_kept_on_mesh(problem))


def _kept_on_mesh(problem: Problem) -> Problem:
    experts, mesh = problem.experts, problem.current_mesh
    if experts is None or experts.max_moves is None or mesh is None:
        return problem
    ep, redundant = mesh
    if problem.search.ep is not None and ep not in problem.search.ep:
        message = f"experts.max_moves: the placement in service is on ep={ep}, which search.ep leaves out"
        raise ValueError(message)
    if experts.redundant_slots != (0,) and redundant not in experts.redundant_slots:
        message = f"experts.max_moves: redundant_slots leaves out the {redundant} of the placement in service"
        raise ValueError(message)
    return problem.changed(
        search=problem.search.model_copy(update={"ep": (ep,)}),
        experts=experts.model_copy(update={"redundant_slots": (redundant,)}),
    )


def _kept_on_nodes(problem: Problem) -> Problem:
    spec, moe = problem.experts, problem.model.moe
    if spec is None or spec.hierarchy == "free" or moe is None or not problem.expert_loads:
        return problem
    if spec.hierarchy == "rack" and problem.hardware.devices_per_rack is None:
        message = f"experts.hierarchy: {problem.hardware.name} has no link tier above its nodes: no racks"
        raise ValueError(message)
    most, groups = moe.experts + max(spec.redundant_slots), moe.group_count

    def fits(ep: int) -> bool:
        size = problem.group_domain(ep) or ep
        nodes = ep // size
        return ep % size == 0 and groups % nodes == 0 and -(-most // ep) <= moe.experts // nodes

    candidates = problem.search.ep or range(1, min(problem.devices, most) + 1)
    degrees = tuple(ep for ep in candidates if fits(ep))
    if not degrees:
        message = (
            f"experts.hierarchy: no EP degree asked for lays {groups} router groups equally on {spec.hierarchy}s of "
            f"{problem.group_domain(10**9)} devices"
        )
        raise ValueError(message)
    return problem.changed(search=problem.search.model_copy(update={"ep": degrees}))

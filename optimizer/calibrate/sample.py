"""Measured runs as problems and layouts that can be priced, and what the model says of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from math import ceil
from typing import Final, get_args

from pydantic import ValidationError

from optimizer.domain.engines import engine_named
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.layout import Layout, WrittenLayout
from optimizer.domain.model import ModelSpec
from optimizer.domain.precision import FormatName, PrecisionOverride
from optimizer.domain.problem import Problem, weight_format
from optimizer.domain.workload import ServingWorkload
from optimizer.errors import Fault, SpecError
from optimizer.figures.bounds import DECODE_AT_BATCH, throughput_bounds
from optimizer.figures.serving import evaluate
from optimizer.readers.catalog import load_model
from optimizer.readers.messages import message_of
from optimizer.readers.runs import WrittenRun
from optimizer.readers.runs.logs import ENGINES_BY_BACKEND
from optimizer.readers.runs.run import DEGREES, RunPlace, unserved

USABLE_PERCENT: Final = 92
"""Share of a device's memory that a run may have used: engines take 90-92% unless told otherwise."""

_ALIASES: Final = {"fp4": "nvfp4", "fp16": "bf16", "unlabelled": "", "auto": ""}
_PLAIN: Final = frozenset({"bf16", "fp16"})
_MEMORY = re.compile(r"(\d+)\s?GB")


@dataclass(frozen=True)
class Sample:
    """A measured run with the question that it answers.

    Attributes
    ----------
    layout
        Its batch is what memory lets be in flight of the run's concurrency on a rank.
    closed
        Whether so many requests were always in flight, so that TTFT is that of a closed loop.
    decoding
        Sequences of a rank that decoded at a time, by Little's law on the run's own times.
    """

    place: RunPlace
    problem: Problem
    layout: Layout
    closed: bool
    decoding: int
    ttft_s: float | None
    tpot_s: float | None

    @property
    def group(self) -> tuple[str, FormatName, str]:
        """Engine, format of the weights and model."""
        return self.problem.engine.name, weight_format(self.problem.model), self.problem.model.name

    @property
    def degrees(self) -> tuple[int, ...]:
        """What tells layouts apart."""
        return tuple(getattr(self.layout, name) for name in DEGREES)

    def on(self, hardware: HardwareSpec) -> Problem:
        """The question on another hardware."""
        return self.problem.model_copy(update={"hardware": hardware})


@dataclass
class Samples:
    """Runs that can be priced, how many were set aside for which reason, and where the first of each stands."""

    samples: list[Sample]
    set_aside: Counter[str]
    first: Mapping[str, RunPlace]


def formats_of(precision: str, kv_cache: str, model: ModelSpec, engine: str) -> PrecisionOverride:
    """Formats of a run: the checkpoint's own where the catalog's model is quantised already.

    Raises
    ------
    ValueError
        An unknown format.
    """
    wanted = _ALIASES.get(precision, precision)
    if wanted not in {"", *get_args(FormatName)}:
        raise ValueError(f"{precision!r} is no format of weights")
    quantised, own_mxfp4 = model.precision.weights not in _PLAIN, model.precision.experts == "mxfp4"
    if kv_cache not in {"", "auto", "fp8", "fp8_e4m3", "fp8_e5m2", "bf16", "bfloat16", "fp16"}:
        raise ValueError(f"{kv_cache!r} is no format of the KV cache")
    # NVIDIA's FP8 and NVFP4 checkpoints name an FP8 cache (hf_quant_config.json: kv_cache_quant_algo)
    implied = kv_cache in {"", "auto"} and engine == "trtllm" and wanted in {"fp8", "nvfp4"} and not own_mxfp4
    update: dict[str, object] = {"kv_cache": "fp8" if kv_cache.startswith("fp8") or implied else "bf16"}
    if wanted == "nvfp4" and not own_mxfp4:
        update |= {"weights": "nvfp4", "attention": "bf16" if quantised else None}
    elif wanted == "bf16" and quantised:
        update["weights"] = "bf16"
    elif wanted not in {"", "bf16", "nvfp4"} and not (quantised or own_mxfp4):
        update["weights"] = wanted
    return PrecisionOverride.model_validate(update)


def fitting_batch(problem: Problem, layout: Layout, limit: int, percent: int = USABLE_PERCENT) -> int:
    """Largest batch of a rank, at most `limit`, that leaves the rest of the device's memory free; at least 1."""
    capacity = problem.hardware.device.exposed_memory * percent // 100
    low, high = 1, limit
    while low < high:
        middle = (low + high + 1) // 2
        needed = evaluate(problem, layout.model_copy(update={"batch": middle})).memory_bytes
        low, high = (middle, high) if needed <= capacity else (low, middle - 1)
    return low


def decoding(batch: int, largest: int, output_tokens: int, ttft_s: float, tpot_s: float) -> int:
    """Of `batch` requests on a rank, those that decode at a time, of which memory holds `largest`: Little's law.

    A load generator counts those that wait for their first token as well, which do not decode.
    """
    decode_s = (output_tokens - 1) * tpot_s
    return max(1, min(largest, int(batch * decode_s / (ttft_s + decode_s))))


def samples_of(runs: Sequence[WrittenRun], deployment: Mapping[str, str], hardware: HardwareSpec) -> Samples:
    """Runs on a hardware, each once.

    Parameters
    ----------
    deployment
        What takes the place of what files say of the deployment.

    Raises
    ------
    SpecError
        One fault for each run that cannot be: an unknown model or format, a layout that is none or is not of its
        devices, weights beyond their memory.
    """
    samples: dict[object, Sample] = {}
    set_aside: Counter[str] = Counter()
    first: dict[str, RunPlace] = {}
    faults: list[Fault] = []
    for run in runs:
        reason = _elsewhere(run, hardware)
        if not reason:
            try:
                # A name that is not known is told also of a run that would be set aside: both are to be mended.
                question = _posed(
                    run.place, {**run.deployment, **deployment}, (run.input_tokens, run.output_tokens), hardware
                )
                reason = unserved(run)
            except SpecError as error:
                faults += error.faults
                continue
        if not reason:
            sample = _loaded(run, *question)
            reason = _impossible(sample)
            work = sample.problem.workload
            key = (sample.group, work.input_tokens, work.output_tokens, sample.layout, run.concurrency,
                   sample.ttft_s, sample.tpot_s)  # fmt: skip
            if not reason and key in samples:
                reason = "the same as a run before"
            elif not reason:
                samples[key] = sample
        if reason:
            set_aside[reason] += 1
            first.setdefault(reason, run.place)
    if faults:
        raise SpecError(*_once(faults))
    return Samples(list(samples.values()), set_aside, first)


def _once(faults: Sequence[Fault]) -> list[Fault]:
    """The first fault of each kind, with how many more runs have it."""
    first: dict[object, Fault] = {}
    counts: Counter[object] = Counter()
    for fault in faults:
        key = (fault.path, fault.field, fault.message)
        first.setdefault(key, fault)
        counts[key] += 1
    return [
        fault if counts[key] == 1 else replace(fault, message=f"{fault.message} (and {counts[key] - 1} more runs)")
        for key, fault in first.items()
    ]


def _elsewhere(run: WrittenRun, hardware: HardwareSpec) -> str:
    """Why a run is not of this device, by the words and the gigabytes of its name."""
    named = run.deployment.get("gpu")
    if named is None:
        return ""
    device, name = hardware.device.name, named
    words = [re.split(r"[\s-]+", text.casefold()) for text in (device, name)]
    size = _MEMORY.search(name)
    alike = words[0][0] == words[1][0] or words[0][0] in words[1]
    alike = alike and ("pcie" in words[0]) == ("pcie" in words[1])
    if size is not None:
        alike = alike and abs(int(size[1]) * 10**9 - hardware.device.memory) < 0.15 * hardware.device.memory
    if alike:
        return ""
    model = run.deployment.get("model")
    return f"on {named}" if model is None or _known(model) else f"on {named}, of {model!r}, which is no model"


@cache
def _model(name: str) -> ModelSpec:
    return load_model(name)


@cache
def _known(name: str) -> bool:
    try:
        _model(name)
    except SpecError:
        return False
    return True


def _posed(
    place: RunPlace, deployment: Mapping[str, str], lengths: tuple[float, float], hardware: HardwareSpec
) -> tuple[Problem, Layout]:
    missing = [name for name in ("model", "engine") if not deployment.get(name)]
    if missing:
        messages = [f"{name!r} is not said: give --{name}, or a column of that name" for name in missing]
        raise SpecError(*(place.fault(name, text) for name, text in zip(missing, messages, strict=True)))
    try:
        model = _model(deployment["model"])
    except SpecError as error:
        raise SpecError(*(place.fault("model", f.message, f.suggestion) for f in error.faults)) from None
    name = deployment["engine"].casefold()
    name = ENGINES_BY_BACKEND.get(name, name)
    try:
        engine = engine_named(name)
        formats = formats_of(deployment.get("precision", ""), deployment.get("kv_cache", ""), model, engine.name)
    except ValueError as error:
        raise SpecError(place.fault("engine" if "engine" in str(error) else "precision", str(error))) from None
    if engine.members:
        raise SpecError(place.fault("engine", "is the union of several: name the one that ran"))
    model = model.model_copy(update={"precision": formats.applied_to(model.precision)})
    degrees = _degrees(place, deployment, model)
    tokens = (max(1, round(lengths[0])), max(2, round(lengths[1])))
    try:
        problem = Problem(
            name=str(place), model=model, hardware=hardware.model_copy(update={"calibration": ()}),
            devices=degrees.devices, workload=ServingWorkload(input_tokens=tokens[0], output_tokens=tokens[1]),
            engine_name=name,
        )  # fmt: skip
    except ValidationError as error:
        raise SpecError(*(place.fault(None, *message_of(fault)) for fault in error.errors(include_url=False))) from None
    needed, capacity = evaluate(problem, degrees).memory_bytes, hardware.device.exposed_memory
    if needed > capacity:
        text = f"{needed / 1e9:,.1f} GB on a device of {capacity / 1e9:,.1f} GB: {model.name} does not fit so"
        raise SpecError(place.fault("tp", text))
    return problem, degrees


def _degrees(place: RunPlace, deployment: Mapping[str, str], model: ModelSpec) -> Layout:
    """Both meshes; of EP without a convention what TP × DP devices leave is the experts' TP."""
    written: dict[str, object] = {name: deployment[name] for name in DEGREES if deployment.get(name)}
    for name, text in written.items():
        try:
            written[name] = int(str(text))
        except ValueError:
            raise SpecError(place.fault(name, f"a whole number is wanted, not {text!r}")) from None
    try:
        layout = WrittenLayout.model_validate({"convention": deployment.get("convention", "stage-product"), **written})
        resolved = layout.resolve(experts=model.moe is not None)
    except ValidationError as error:
        raise SpecError(
            *(place.fault(".".join(map(str, fault["loc"])) or "tp", *message_of(fault))
              for fault in error.errors(include_url=False))
        ) from None  # fmt: skip
    except ValueError as error:
        raise SpecError(place.fault("tp", str(error))) from None
    stated = deployment.get("devices")
    if stated is not None and stated != str(resolved.devices):
        raise SpecError(place.fault("devices", f"is {stated}, but the degrees give {resolved.devices}"))
    return resolved


def _loaded(run: WrittenRun, problem: Problem, layout: Layout) -> Sample:
    """With what the run had in flight."""
    output = problem.workload.output_tokens
    if run.concurrency is not None:
        concurrency = -(-run.concurrency // layout.dp)
        largest = fitting_batch(problem, layout, concurrency)
        at = layout.model_copy(update={"batch": largest})
        if run.ttft_s is None or run.tpot_s is None:
            evaluation = evaluate(problem, at)
            ttft, tpot = run.ttft_s or float(evaluation.ttft_s or 0), run.tpot_s or float(evaluation.tpot_s or 0)
        else:
            ttft, tpot = run.ttft_s, run.tpot_s
        return Sample(
            run.place, problem, at, closed=True, decoding=decoding(concurrency, largest, output, ttft, tpot),
            ttft_s=run.ttft_s, tpot_s=run.tpot_s,
        )  # fmt: skip
    rate, tpot_s = run.requests_per_s or 0.0, run.tpot_s or 0.0
    at_a_time = max(1, ceil(rate / layout.dp * (output - 1) * tpot_s))
    largest = fitting_batch(problem, layout, at_a_time)
    at = layout.model_copy(update={"batch": largest})
    return Sample(run.place, problem, at, closed=False, decoding=largest, ttft_s=None, tpot_s=run.tpot_s)


def _impossible(sample: Sample) -> str:
    """Why no machine did that."""
    if not sample.closed and sample.tpot_s is None:
        return "came at a rate, with a TTFT alone"
    if sample.tpot_s is None:
        return ""
    layout = sample.layout.model_copy(update={"batch": sample.decoding})
    bounds = throughput_bounds(sample.problem, layout)
    most = next(bound.value for bound in bounds if bound.reading == DECODE_AT_BATCH)
    served = Fraction(sample.decoding * layout.dp) / Fraction(sample.tpot_s)
    return "a TPOT that the device's rated bandwidth and compute do not allow" if served > most else ""


def predicted(problem: Problem, sample: Sample) -> dict[str, float]:
    """TTFT and TPOT in seconds of a run, those of them that it measured."""
    seconds = {}
    evaluation = None
    if sample.ttft_s is not None:
        evaluation = evaluate(problem, sample.layout)
        seconds["ttft_s"] = float(evaluation.ttft_s or 0)
    if sample.tpot_s is not None:
        if evaluation is None or sample.decoding != sample.layout.batch:
            evaluation = evaluate(problem, sample.layout.model_copy(update={"batch": sample.decoding}))
        seconds["tpot_s"] = float(evaluation.tpot_s or 0)
    return seconds

"""The problem that a launch command poses: its model and operating point, on the devices that the reader names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from optimizer.domain.attention import State
from optimizer.domain.engines import engine_named, release_of
from optimizer.domain.engines.architectures import release_for, version_of
from optimizer.domain.engines.version import number
from optimizer.domain.model import ModelSpec
from optimizer.domain.problem import Problem
from optimizer.errors import Fault, SpecError
from optimizer.readers import catalog
from optimizer.readers.launch.flags import given_names, merged, table
from optimizer.readers.launch.launch import CHECKPOINT_FORMATS, ONLINE_EXPERTS, ONLINE_FORMATS, Ignored, Launch
from optimizer.readers.launch.names import names_of
from optimizer.readers.launch.rules import check_flags, fault_at
from optimizer.readers.launch.slots import with_slots
from optimizer.readers.messages import nearest, shown
from optimizer.readers.read import INPUT_TOKENS, OUTPUT_TOKENS, Override, read_problem
from optimizer.readers.source import is_file


@dataclass(frozen=True, slots=True)
class Posed:
    """A launch with its problem, and what was taken for granted.

    Attributes
    ----------
    named
        Format of the weights where the checkpoint's name alone says it; None otherwise.
    doubts
        Why it may not start though all else is as it should be.
    placement
        Experts of each device, where the launch places them, as a result repeats them.
    unmodelled
        Flags that change a device's memory beside what is derived.
    """

    launch: Launch
    problem: Problem
    assumed: tuple[str, ...]
    named: str | None = None
    doubts: tuple[str, ...] = ()
    placement: Mapping[str, Any] | None = None
    unmodelled: tuple[Ignored, ...] = ()


def pose(launch: Launch, overrides: Sequence[Override] = ()) -> Posed:
    """The problem of a launch; options replace what it says.

    Raises
    ------
    SpecError
        No hardware is named, the model is not known, or what the command says makes no problem.
    """
    stated = {override.at for override in overrides}
    for override in overrides:
        if override.at == ("engine",) and str(override.value).partition("@")[0] != launch.engine:
            # of another engine it is another share
            stated.add(("limits", SHARES.get(launch.engine, "")))
    stated_here, assumed = _own(launch, stated)
    if ("hardware",) not in stated:
        message = "is required: a launch command does not say what it runs on, such as --hardware h100-sxm-8"
        raise SpecError(Fault(None, None, None, "--hardware", message))
    try:
        problem = read_problem(None, (*stated_here, *overrides))
    except SpecError as error:
        raise SpecError(*(_placed(launch, fault) for fault in error.faults)) from None
    problem = _as_loaded(launch, problem)
    launch, problem = _by_a_release_that_has_it(launch, problem, assumed)
    if ("workload", "max_model_len") in stated:
        launch = replace(launch, operating=replace(launch.operating, fits_length=False))
    on_nodes = _on_nodes(launch, problem, assumed)
    check_flags(launch, problem)
    problem = on_nodes
    if launch.stages is not None and sum(launch.stages) != problem.model.layer_count:
        message = (
            f"stages of {', '.join(map(str, launch.stages))} layers are {sum(launch.stages)}; {problem.model.name} has "
            f"{problem.model.layer_count}"
        )
        raise launch.error("pp", message)
    vision = problem.model.vision
    if vision is not None and (launch.operating.text_only or launch.operating.whole_vision):
        kept = None if launch.operating.text_only else vision.model_copy(update={"sharded": False})
        problem = problem.changed(model=problem.model.model_copy(update={"vision": kept}))
    named = None if {("model",), ("precision", "weights")} & stated else _named(launch)
    problem, doubts = _unknown_context(launch, problem, assumed, None if ("model",) in stated else _checkpoint(launch))
    launch, placement = with_slots(launch, problem, assumed)
    unmodelled = tuple(
        _unmodelled(launch, problem, weights_stated=bool({("model",), ("precision", "weights")} & stated))
    )
    doubts = (*doubts, *_by_plugins(launch, problem), *_names(launch))
    return Posed(launch, problem, tuple(assumed), named, doubts, placement, unmodelled)


def _names(launch: Launch) -> Iterator[str]:
    """Names that none of the releases that were read has, where another release, or a plugin, may."""
    version = launch.version or table(launch.engine).newest
    for option in launch.given:
        names = names_of(launch.engine, option.flag.name)
        if names is None:
            continue
        for name in given_names(option):
            if not names.has(name, version):
                yield (
                    f"{option.name} {name}: no name of {launch.engine} {', '.join(names.versions)}, the releases that "
                    f"were read; whether {version}{' with a plugin' * names.plugins} has it is not known here"
                )


_OWN_CODE: Final = frozenset({"auto", "vllm", "sglang", "pytorch"})
"""Values of the flag that says whose code runs the model that name the engine's own."""


def _as_loaded(launch: Launch, problem: Problem) -> Problem:
    """The problem with the architecture that the engine is told to look up; none where other code runs the model."""
    told = merged(launch.given, "hf_overrides").get("architectures")
    code = launch.flag("--backend" if launch.engine == "trtllm" else "--model-impl")
    other = code is not None and code.text not in _OWN_CODE
    if not other and not told:
        return problem
    name = "" if other or not isinstance(told, list) else str(told[0])
    return problem.changed(model=problem.model.model_copy(update={"architecture": name}))


def _by_a_release_that_has_it(launch: Launch, problem: Problem, assumed: list[str]) -> tuple[Launch, Problem]:
    """The launch and its problem by a release that has the model, where none is named and the newest has it not."""
    engine, lacking = problem.engine, problem.model.architecture
    release = None if launch.version else release_for(engine.name, lacking, engine.version)
    if release is None and not launch.version:
        lacking, release = _left(launch, problem)
    if release is None or "@" in problem.engine_name:
        return launch, problem
    assumed.append(f"{engine.name} {release}, as no release is named and {engine.title} has no {lacking}")
    return replace(launch, version=release), problem.changed(engine_name=f"{engine.name}@{release}")


_LAST_WITH: Final = {"bitsandbytes": "0.27", "gguf": "0.23"}
"""Methods that vLLM's later releases leave to plugins, and the last that have them (QuantizationMethods)."""


def _left(launch: Launch, problem: Problem) -> tuple[str, str | None]:
    """The method of the weights, where vLLM's newest release has it no more, and the last that has; None: it has."""
    wanted = launch.operating.quantization or ("bitsandbytes" if problem.precision.weights.startswith("nf4") else "")
    return wanted, _LAST_WITH.get(wanted) if problem.engine.name == "vllm" else None


def _by_plugins(launch: Launch, problem: Problem) -> tuple[str, ...]:
    """What may not start where a release has a method no more, unless a plugin brings it."""
    method, last = _left(launch, problem)
    version = version_of(problem, problem.engine.name, problem.engine.version)
    if last is None or number(version)[:2] <= number(last):
        return ()
    return (f"vllm {version} has no {method}, as releases to {last} had: a plugin has to bring it",)


def _unmodelled(launch: Launch, problem: Problem, *, weights_stated: bool) -> Iterator[Ignored]:
    """Flags that change a device's memory beside what is derived, for this model."""
    states = any(isinstance(kept, State) for kept in problem.model.kept)
    windows = any(kept.window is not None for kept in problem.model.kept)
    absent = {word for word, there in (("states", states), ("windows", windows)) if not there}
    yield from (item for item in launch.ignored if item.changes == "memory" and item.influence not in absent)
    wanted = launch.operating.quantization
    known = {*ONLINE_FORMATS, *ONLINE_EXPERTS, *CHECKPOINT_FORMATS, None}
    if wanted not in known and not weights_stated and not _is_quantised(launch):
        yield Ignored("--quantization", str(wanted), "memory")


RANKED: Final = frozenset({"vllm", "sglang"})
"""Engines whose processes of a node are those that its devices hold."""


LOCAL_EXECUTORS: Final = frozenset({"mp", "uni"})
"""Executors of vLLM that start their processes on their own node, unless told of others (config/parallel.py:1072)."""
OTHER_NODES: Final = frozenset({"nodes", "dp_local", "dp_rank", "dp_start", "address", "headless", "balancer"})
"""What flags carry that tell of ranks on other nodes; Ray's backend of data parallelism knows its own."""


def _on_nodes(launch: Launch, problem: Problem, assumed: list[str]) -> Problem:
    """The problem on as many devices of each node as the command says, or else on as few nodes as have all its ranks.

    Raises
    ------
    SpecError
        The command says fewer nodes.
    """
    per_node, ranks = problem.hardware.devices_per_node, launch.devices
    executor = next((option for option in launch.given if option.flag.carries == "executor"), None)
    told = {option.flag.carries for option in launch.given} & OTHER_NODES
    alone = executor if executor is not None and executor.text in LOCAL_EXECUTORS and not told else None
    here = launch.devices_of_node or (None if alone is None else ranks)
    if here is not None and here < min(per_node, ranks):
        return problem.changed(hardware=problem.hardware.using(here))
    needed = -(-ranks // per_node)
    name = problem.hardware.name
    if launch.scheduled and alone is None and ranks > 1:
        nodes = f"{needed} nodes of {per_node} devices" if needed > 1 else "one node"
        assumed.append(f"{nodes} ({name}): ranks side by side, where the command leaves it to others where each runs")
        return problem
    if (here is None and launch.engine not in RANKED) or ranks <= per_node * (launch.nodes or 1):
        return problem
    if here is None:
        assumed.append(
            f"{needed} nodes of {per_node} device{'s' if per_node > 1 else ''} ({name}): {launch.engine} is told of "
            f"them by --nnodes {needed}" + (" or has Ray's" if launch.engine == "vllm" else "")
        )
        return problem
    refusal = (
        f"World size ({here}) is larger than the number of available GPUs ({per_node}) in this node"
        if launch.engine == "vllm" else f"{here} ranks a node take {here} devices, where it has {per_node}"
    )  # fmt: skip
    message = f"{refusal}: {ranks} ranks stand on {needed} nodes of {name}"
    said = alone or next(
        (option for option in launch.given if option.flag.carries in {"nodes", "dp_local", "node_devices"}), None
    )
    raise SpecError(
        fault_at(launch, said, message) if said else Fault(launch.source, *launch.model_place, None, message)
    )


_LENGTHENS: Final = ("rope", "max_position")
"""Parts of flags, and of what they change in a config.json, that change how long a sequence the model knows."""


def _model(launch: Launch, assumed: list[str]) -> ModelSpec:
    """The model of a launch, with another context where the launch says so."""
    model, length = _checkpoint(launch).model, launch.operating.max_model_len
    changes = any(
        part in text.casefold()
        for part in _LENGTHENS
        for option in launch.given
        for text in (option.flag.name, option.text)
    )
    allowed = any("LONG" in name and value not in {"", "0", "false"} for name, value in launch.environment.items())
    if length is None and changes:
        return model.model_copy(update={"name": str(launch.model), "max_context": None})
    if length is None or length <= (model.max_context or length) or not (changes or allowed):
        return model
    assumed.append(f"the checkpoint knows the {length:,} tokens asked of it, as it is told")
    return model.model_copy(update={"name": str(launch.model), "max_context": length})


def _unknown_context(
    launch: Launch, problem: Problem, assumed: list[str], checkpoint: catalog.Checkpoint | None
) -> tuple[Problem, tuple[str, ...]]:
    """The problem where nothing tells how long a sequence the checkpoint knows, and what is then in doubt.

    A checkpoint with the shapes of an entry may know more than that, or less: an engine that makes room for the longest
    unless told may start or not, and so may one that is told more than the entry knows.
    """
    model, work = problem.model, problem.workload
    if model.max_context is not None or launch.training:
        return problem, ()
    entry = None if checkpoint is None else checkpoint.shapes
    usual = None if entry is None else entry.max_context
    unknown = f"the context of {model.name} is not known here: its config.json says (--model)"
    length = work.max_model_len
    if length is not None:
        if length > (usual or 0):
            return problem, (f"{unknown}; it is asked for {length:,} tokens",)
        assumed.append(f"{unknown}; the {length:,} tokens asked of it are taken to be within it")
        return problem, ()
    priced = work.input_tokens + work.output_tokens
    longest = max(usual or 0, priced)
    unknown += f"; judged at {longest:,} tokens" + (
        f", those of {entry.name}" if entry is not None and longest == usual else ""
    )
    if usual is not None:
        problem = problem.changed(workload=work.model_copy(update={"max_model_len": longest}))
    if problem.cache.admits_longest and not launch.operating.fits_length:
        return problem, (unknown,)
    assumed.append(unknown)
    return problem, ()


def served(posed: Posed) -> Problem:
    """The problem of a launch that serves a model.

    Raises
    ------
    SpecError
        It trains one.
    """
    if posed.launch.training:
        message = (
            f"{posed.launch.engine} trains: layouts are solved and explained for serving; `verify --from` reads it"
        )
        raise SpecError(Fault(posed.launch.source, *posed.launch.model_place, "--from", message))
    return posed.problem


def with_degrees(posed: Posed) -> Problem:
    """The problem of a launch whose search is restricted to its own degrees."""
    problem = served(posed)
    experts = problem.model.moe is not None
    degrees = posed.launch.degrees if experts else posed.launch.dense
    axes = {name: (degree,) for name, degree in degrees.items() if experts or name in {"tp", "cp", "dp", "pp"}}
    return problem.changed(search=problem.search.model_copy(update=axes))


FEED_FORWARD_ALONE: Final = "meta-llama/"
"""Maker whose FP8 checkpoints quantise feed-forward layers alone (arXiv 2407.21783 section 6.2)."""

IN_BLOCKS: Final = "Qwen/"
"""Maker whose FP8 checkpoints are quantised in blocks of 128 (their cards)."""

SHARES: Final = {"vllm": "memory_utilization", "sglang": "mem_fraction_static"}
"""Limits that an engine's share of memory is; others take it of what weights leave."""

_PLACES: Final = {
    "--model": "model", "--kv-cache": "kv_cache", "--memory-utilization": "memory_utilization",
    "--mem-fraction-static": "memory_utilization",
    "--mtp-tokens": "draft_tokens", "--max-model-len": "max_model_len", "--precision": "quantization",
    "--activations": "dtype",
}  # fmt: skip


def _placed(launch: Launch, fault: Fault) -> Fault:
    """A fault of a value that the command gave, at its flag."""
    carried = _PLACES.get(fault.field or "")
    if carried == "draft_tokens" and carried not in launch.places:
        carried = "speculative"
    if fault.path is not None or carried is None or carried not in launch.places:
        return fault
    flag = next((option.flag.name for option in launch.given if option.flag.carries == carried), fault.field)
    return Fault(launch.source, *launch.places[carried], flag, fault.message, fault.suggestion)


class _Put(Protocol):
    """How a value of a launch is put into its problem, unless it is stated otherwise."""

    def __call__(self, option: str, at: tuple[str, ...], value: object, reason: str | None = None) -> None:
        """`reason`: what is then assumed."""


def _put_named_formats(launch: Launch, put: _Put) -> None:
    """Formats of the weights as the checkpoint's name ends: of experts alone where its release has one of theirs."""
    checkpoint = _checkpoint(launch)
    weights = checkpoint.weights
    if weights == "fp8" and str(launch.model).startswith(IN_BLOCKS):
        weights = "fp8_block"
    experts_alone = checkpoint.shapes.precision.experts is not None and weights != "bf16"
    what = "experts in {}" if experts_alone else "every matrix in {}"
    reason = f"{what.format(weights)}, as the name ends: the config.json of the checkpoint says which are kept"
    put("--precision", ("precision", "experts" if experts_alone else "weights"), weights, reason)
    if weights == "fp8" and str(launch.model).startswith(FEED_FORWARD_ALONE):
        reason = "attention in bf16, as in its maker's FP8 checkpoints"
        put("--precision", ("precision", "attention"), "bf16", reason)


def _put_online_formats(launch: Launch, put: _Put, *, quantised: bool) -> None:
    """Formats that an engine makes of 16 bits as it loads them, or is told that a checkpoint was written in."""
    point = launch.operating
    if quantised:
        return
    wanted, in_32_bits = point.quantization or "", "fp32" if point.activations == "fp32" else None
    put("--precision", ("precision", "weights"), point.weights or in_32_bits)
    put("--kv-cache", ("precision", "kv_cache"), None if point.kv_cache else in_32_bits)
    put("--precision", ("precision", "experts"), ONLINE_EXPERTS.get(wanted))
    written = CHECKPOINT_FORMATS.get(wanted)
    reason = f"every matrix in {written}, as {wanted} says: the config.json of the checkpoint says which are"
    put("--precision", ("precision", "weights"), written, reason)


def _own(launch: Launch, stated: set[tuple[Any, ...]]) -> tuple[list[Override], list[str]]:
    overrides: list[Override] = []
    assumed: list[str] = []

    def put(option: str, at: tuple[str, ...], value: object, reason: str | None = None) -> None:
        if value is not None and at not in stated:
            overrides.append(Override(option, at, value))
            if reason is not None:
                assumed.append(reason)

    point = launch.operating
    if ("model",) not in stated:
        put("--model", ("model",), _model(launch, assumed))
        if ("precision", "weights") not in stated:
            _put_named_formats(launch, put)
    if ("engine",) not in stated:
        put("--engine", ("engine",), *_engine(launch))
    if ("nodes",) not in stated:
        put("--devices", ("devices",), launch.devices)
    length = point.max_model_len
    prompt, output = INPUT_TOKENS, OUTPUT_TOKENS
    if length is not None and length < prompt + output:
        prompt = output = max(2, length // 2)
    put("--max-model-len", ("workload", "max_model_len"), length)
    put("--isl", ("workload", "input_tokens"), prompt, f"{prompt} input tokens a request (--isl)")
    put("--osl", ("workload", "output_tokens"), output, f"{output} output tokens a request (--osl)")
    put("--phase", ("workload", "phase"), launch.phase)
    put("--kv-cache", ("precision", "kv_cache"), point.kv_cache)
    _put_online_formats(launch, put, quantised=("model",) not in stated and _is_quantised(launch))
    put("--activations", ("precision", "activations"), point.activations)
    pools = None if point.window_share is None else str(float(point.window_share))
    put("--swa-full-tokens-ratio", ("limits", "window_share"), pools)
    if point.draft_tokens:
        put("--mtp-tokens", ("workload", "mtp_tokens"), point.draft_tokens)
        # nothing in a command says how many: the least that drafting brings
        put("--mtp-acceptance", ("workload", "mtp_acceptance"), 0, "no drafted token accepted (--mtp-acceptance)")
    put("--objective", ("objective",), "throughput")
    share = SHARES.get(launch.engine)
    if share is not None and point.memory_utilization is not None and ("limits", "memory_utilization") not in stated:
        put(f"--{share.replace('_', '-')}", ("limits", share), str(float(point.memory_utilization)))
    return overrides, assumed


def _is_quantised(launch: Launch) -> bool:
    """Whether a checkpoint has fewer than 16 bits as it is: an engine then keeps its format, whatever it is told."""
    checkpoint = _checkpoint(launch)
    formats = checkpoint.shapes.precision.model_dump(exclude={"kv_cache", "activations", "exceptions"})
    return checkpoint.weights is not None or any(
        value not in {None, "bf16", "fp16", "fp32"} for value in formats.values()
    )


def _engine(launch: Launch) -> tuple[str, str | None]:
    """Engine and version as a problem names them; the oldest that is known, with a word, for an older one."""
    base, _, version = launch.engine_name.partition("@")
    try:
        engine_named(launch.engine_name)
    except ValueError:
        oldest = release_of(base, version)
        return f"{base}@{oldest.since}", f"rules and memory of {oldest.title}, the oldest known, for {launch.version}"
    return launch.engine_name, None


def _checkpoint(launch: Launch) -> catalog.Checkpoint:
    """The checkpoint that a launch names."""
    named = launch.model
    if named is None:
        raise launch.error("model", "names no model: give one with --model")
    local = _local_config(named)
    if local is not None:
        return catalog.Checkpoint(named, local, None, catalog.load_model(local).max_context)
    checkpoint = catalog.checkpoint(named)
    if checkpoint is not None:
        return checkpoint
    names = list(catalog.names("models"))
    message = (
        f"{shown(named)} is no model of the catalog (`shardproof catalog models`), no folder here, and not in the "
        "local cache of the Hugging Face Hub: give its config.json with --model"
    )
    suggestion = nearest(named.rsplit("/", 1)[-1].casefold(), names)
    line, column = launch.model_place
    raise SpecError(Fault(launch.source, line, column, "model", message, suggestion))


def _named(launch: Launch) -> str | None:
    """Format of the weights that a checkpoint's name ends in, where nothing else says it."""
    return _checkpoint(launch).weights if launch.model is not None and launch.operating.weights is None else None


def _local_config(reference: str) -> Path | None:
    """``config.json`` of a model's folder on this machine."""
    try:
        path = Path(reference) / "config.json"
        return path if is_file(path) else None
    except (OSError, ValueError):
        return None

"""What a launch command says: an engine, a model, the degrees of a layout, and the point it is operated at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from optimizer.domain.engines.version import before
from optimizer.domain.layout import Layout, Stage
from optimizer.domain.shape import Overlap
from optimizer.domain.workload import Workload
from optimizer.errors import Fault, InternalError, SpecError
from optimizer.readers.document import Document
from optimizer.readers.launch.flags import INFLUENCES, Arguments, Given, value_of
from optimizer.readers.messages import shown
from optimizer.readers.places import LineColumn

DEGREES: Final = ("tp", "cp", "dp", "pp", "etp", "ep", "edp")


@dataclass(frozen=True, slots=True)
class Operating:
    """The operating point; None where the command leaves it to the engine.

    Attributes
    ----------
    max_num_seqs
        Sequences in flight of one attention data-parallel rank.
    max_num_batched_tokens
        Tokens of a step of one attention data-parallel rank.
    max_model_len, fits_length
        Longest sequence, prompt and output; whether the engine takes the longest that its cache holds.
    memory_utilization
        Share of a device's memory, as the engine means it.
    kv_cache_memory
        Bytes of the cache of one device.
    window_share
        Tokens that layers with windows have room for, of those of the others; 1: they have no pool of their own.
    kv_cache, weights, activations
        Formats, by our names.
    quantization
        The engine's word for the format of the weights.
    capture_sizes
        Batch sizes whose graphs are captured; empty: none is.
    draft_tokens
        Tokens drafted a step.
    redundant_slots
        Expert slots beyond one each, of a layer.
    all2all
        The engine's word for how experts exchange tokens.
    chunked_prefill
        Whether prompts are computed in chunks.
    doubled
        Whether what the engine sizes itself for unless told is twice as much (vLLM's `--performance-mode throughput`).
    two_batch
        Whether steps are split in two micro-batches that hide the exchange of experts.
    text_only, whole_vision
        Whether a vision encoder is left out; whether it is whole on every rank.
    hybrid_cache, prefix_caching, async_scheduling
        Whether windows and chunks give back what lies before them, prefixes stay, a step is scheduled while one runs.
    whole_graphs
        Whether graphs of whole steps are captured, where any are.
    """

    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    max_model_len: int | None = None
    fits_length: bool = False
    memory_utilization: Fraction | None = None
    kv_cache_memory: int | None = None
    window_share: Fraction | None = None
    kv_cache: str | None = None
    weights: str | None = None
    activations: str | None = None
    quantization: str | None = None
    capture_sizes: tuple[int, ...] | None = None
    draft_tokens: int = 0
    redundant_slots: int = 0
    all2all: str | None = None
    chunked_prefill: bool | None = None
    doubled: bool = False
    two_batch: bool = False
    text_only: bool = False
    whole_vision: bool = False
    hybrid_cache: bool | None = None
    prefix_caching: bool | None = None
    async_scheduling: bool | None = None
    whole_graphs: bool = True


@dataclass(frozen=True, slots=True)
class Ignored:
    """A flag that the answer does not depend on, and what it would change if it were modelled (`INFLUENCES`)."""

    flag: str
    value: str
    influence: str

    @property
    def changes(self) -> str | None:
        """What it changes."""
        return INFLUENCES.get(self.influence)

    @property
    def named(self) -> str:
        """The flag with its value."""
        return f"{self.flag} {self.value}" if self.value else self.flag

    def to_json(self) -> dict[str, str | None]:
        """One entry of ``command.ignored``."""
        return {"flag": self.flag, "value": self.value, "changes": self.changes}

    def __str__(self) -> str:
        return f"{self.named} (changes {self.changes}; not modelled)" if self.changes else self.named


@dataclass(frozen=True, slots=True)
class Launch:
    """One deployment as its launch commands describe it.

    Attributes
    ----------
    source
        Name of the text, for messages.
    version
        The engine's version that the text names; None: none.
    degrees
        Both meshes where the model has experts.
    dense
        Attention mesh where the model has none.
    dcp
        Decode context parallelism: splits the cache within tp, no further devices.
    stages
        Layers of each pipeline stage where they are given.
    nodes
        Machines that the commands speak of.
    node_devices
        Devices of a node that they use, where they say that rather than the nodes.
    places
        Where each field is said.
    training
        Whether it trains a model rather than serving it.
    phase
        Role of a disaggregated deployment, where the command names one.
    slots
        What tells the experts of each slot, or how many slots there are, where an engine is told.
    head, copies
        What tells the first node of this instance from that of another (port, devices), None on its other nodes; and
        how many are started of it.
    """

    engine: str
    source: str
    version: str | None
    model: str | None
    model_place: LineColumn
    degrees: Mapping[str, int]
    dense: Mapping[str, int]
    operating: Operating = Operating()
    dcp: int = 1
    stages: tuple[int, ...] | None = None
    nodes: int | None = None
    node_devices: int | None = None
    given: tuple[Given, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, LineColumn] = field(default_factory=dict)
    training: bool = False
    phase: str | None = None
    slots: Document | None = None
    head: tuple[str, ...] | None = None
    copies: int = 1

    @property
    def devices(self) -> int:
        """Devices in all."""
        return self.dense["tp"] * self.dense["cp"] * self.dense["dp"] * self.dense["pp"]

    @property
    def devices_of_node(self) -> int | None:
        """Devices that it uses of each node, as the commands say it; None: they do not."""
        return self.node_devices or (-(-self.devices // self.nodes) if self.nodes else None)

    @property
    def scheduled(self) -> bool:
        """Whether something else than its commands puts ranks on nodes: Ray, or the start of each rank by itself."""
        flags = self.flags
        return bool(flags.keys() & {"--use-ray", "--worker-use-ray"}) or any(
            option.flag.carries == "dp_rank" or (option.flag.carries in SCHEDULERS and option.text == "ray")
            for option in self.given
        )

    @property
    def flags(self) -> dict[str, str]:
        """Every flag with its value, by the name that the command uses."""
        return {option.word.text.partition("=")[0]: option.text for option in self.given}

    def flag(self, name: str) -> Given | None:
        """The last flag of a name that is not switched off."""
        return last_named(self.given, name)

    def before(self, version: str) -> bool:
        """Whether it is of a version before this one."""
        return is_before(self.version, version)

    @property
    def engine_name(self) -> str:
        """Engine and version as a problem names them."""
        name = {"torchtitan": "fsdp"}.get(self.engine, self.engine)
        return f"{name}@{self.version}" if self.version and not self.training else name

    def layout(self, work: Workload, *, experts: bool, batch: int) -> Layout:
        """The layout at a batch, for a model with or without experts."""
        first, cuts = 0, []
        for layers in self.stages or ():
            cuts.append(Stage(first_layer=first, layers=layers))
            first += layers
        budget, chunk = self.operating.max_num_batched_tokens, None
        degrees = self.degrees if experts else self.dense
        if budget is not None:
            chunk = chunk_of(work, self.engine, batch=batch, pp=degrees["pp"], budget=budget)
        overlap: Overlap = "two_batch" if self.operating.two_batch and experts else "none"
        return Layout(
            **degrees, batch=batch, prefill_chunk=chunk, redundant_slots=self.operating.redundant_slots,
            stages=tuple(cuts) or None, overlap=overlap,
        )  # fmt: skip

    def times(self, instances: int) -> Launch:
        """So many independent instances of it."""
        experts = {"dp": self.degrees["dp"] * instances, "edp": self.degrees["edp"] * instances}
        return replace(
            self, degrees={**self.degrees, **experts}, dense={**self.dense, "dp": self.dense["dp"] * instances},
            nodes=self.nodes and self.nodes * instances,
        )  # fmt: skip

    def error(self, field_name: str, message: str) -> SpecError:
        """Error at the flag that says a field."""
        line, column = self.places.get(field_name, self.model_place)
        return SpecError(Fault(self.source, line, column, field_name, message))


def last_named(given: Iterable[Given], name: str) -> Given | None:
    """The last flag of a name that is not switched off."""
    options = [option for option in given if option.flag.name == name and option.on]
    return options[-1] if options else None


def is_before(version: str | None, other: str) -> bool:
    """Whether a version comes before another; None is the newest."""
    return version is not None and before(version, other)


OFF: Final = frozenset({"0", "0.0", "false", "none", "null"})
"""Values with which a flag changes nothing."""

SCHEDULERS: Final = frozenset({"executor", "dp_backend"})
"""What flags of vLLM carry that may leave it to Ray where ranks run."""

FITTED_LENGTH: Final = frozenset({"auto", "-1"})
"""Values of vLLM's `--max-model-len` that leave it to the engine."""

SHARED_BUDGET: Final = frozenset({"vllm", "trtllm"})
"""Engines whose budget of a step counts the tokens that sequences decode; elsewhere prompts have steps of their own."""


def budget_of(work: Workload, engine: str, layout: Layout) -> int:
    """Tokens that one rank may take in a step, so that steps are those that a layout was priced with."""
    sequence_tokens, fixed_tokens = work.step_tokens(layout.prefill_chunk or min(8192, work.computed_input_tokens))
    return (
        fixed_tokens
        if work.mixes and engine not in SHARED_BUDGET
        else layout.micro_batch * sequence_tokens + fixed_tokens
    )


def chunk_of(work: Workload, engine: str, *, batch: int, pp: int, budget: int) -> int | None:
    """Prompt tokens of a step within a budget: the inverse of `budget_of`."""
    if not work.prompts:
        return None
    return budget if work.mixes and engine not in SHARED_BUDGET else work.chunk_within(budget, -(-batch // pp))


class CommandReading:
    """Arguments of one command of an engine, asked for by what they carry; contradictions are gathered."""

    def __init__(self, engine: str, version: str | None, arguments: Arguments, source: str, start: LineColumn) -> None:
        self.engine, self.version, self.arguments, self.source, self.start = engine, version, arguments, source, start
        self.faults: list[Fault] = []
        self.used: set[int] = set()
        self.influences: dict[int, str] = {}
        self._twice()

    def _twice(self) -> None:
        """A flag given twice with two values: the engine would take the last without a word."""
        seen: dict[str, Given] = {}
        for option in self.arguments.given:
            if option.path or option.flag.takes == "values" or option.flag.carries in {"", *INFLUENCES}:
                continue
            before = seen.get(option.flag.carries)
            if before is not None and before.text != option.text:
                line = f"line {before.word.start[0]}, column {before.word.start[1]}"
                self.fault(
                    option, f"{shown(option.text)} contradicts {before.text} of {line}: the engine takes the last"
                )
            seen[option.flag.carries] = option

    def fault(self, option: Given | None, message: str, name: str | None = None) -> None:
        """Note what is wrong with a flag."""
        place = self.start if option is None else option.values[0].start if option.values else option.word.start
        self.faults.append(Fault(self.source, *place, name or (option.flag.name if option else None), message))

    def one(self, carries: str) -> Given | None:
        """The flag that decides a field."""
        option = self.arguments.last(carries)
        self.used.update(id(flag_given) for flag_given in self.arguments.given if flag_given.flag.carries == carries)
        return option

    def flag(self, name: str) -> Given | None:
        """The last flag of a name, for a rule of the engine; whether a figure depends on it stays as its row says."""
        return last_named(self.arguments.given, name)

    def flag_text(self, name: str) -> str | None:
        """Text of a flag by its name; None where it is not given, or open until the command runs."""
        option = self.flag(name)
        return None if option is None or option.open else option.text

    def number_of(self, name: str) -> int | None:
        """Whole number of a flag by its name."""
        text = self.flag_text(name)
        return int(text) if text is not None and re.fullmatch(r"\d{1,9}", text) else None

    def before(self, version: str) -> bool:
        """Whether the command is of a version before this one."""
        return is_before(self.version, version)

    def text(self, carries: str) -> str | None:
        """Text of a field, where it is known before the command runs."""
        option = self.one(carries)
        return None if option is None or option.open or not option.values else option.values[0].text

    def on(self, carries: str) -> bool:
        """Whether a switch is on."""
        option = self.one(carries)
        return option is not None and option.on and option.text.casefold() not in {"false", "0", "no"}

    def number(self, carries: str, default: int | None = None, *, least: int = 1, needed: bool = True) -> int | None:
        """Whole number of a field.

        Parameters
        ----------
        needed
            Whether the layout depends on it: a value that only the running shell knows is then an error.
        """
        option = self.one(carries)
        if option is None or not option.values:
            return default
        if option.open:
            if needed:
                variables = ", ".join(option.values[0].unset)
                self.fault(option, f"{variables} is not set in this text: write the number in its place")
            return default
        try:
            value = value_of("size", option.values[0].text)
        except ValueError:
            return default
        if not isinstance(value, int):
            return default
        if value < least:
            self.fault(option, f"must be at least {least}, not {value}")
            return default
        return value

    def degree(self, carries: str) -> int:
        """A degree; 1 where it is not given."""
        return self.number(carries, 1) or 1

    def share(self, carries: str) -> Fraction | None:
        """A share of memory."""
        option = self.one(carries)
        if option is None or option.open or not option.values:
            return None
        value = Fraction(option.values[0].text)
        if not 0 < value <= 1:
            self.fault(option, f"is a share of memory, more than 0 and at most 1, not {option.values[0].text}")
            return None
        return value

    def integers(self, carries: str) -> tuple[int, ...] | None:
        """Whole numbers of a list."""
        option = self.one(carries)
        if option is None or option.open:
            return None
        return tuple(int(part) for value in option.values for part in value.text.strip("[]").split(",") if part.strip())

    def choice(self, carries: str, known: Mapping[str, str | None]) -> str | None:
        """Our name for a format that the engine names; None where it is the engine's own choice."""
        option = self.one(carries)
        if option is None or option.open or not option.values:
            return None
        name = option.values[0].text
        if name.casefold() in UNPRICED:
            self.fault(option, f"{shown(name)}: no figure here knows how many bytes this format takes; it knows "
                       f"{', '.join(known)}")  # fmt: skip
            return None
        if name.casefold() not in known:
            self.fault(option, f"{shown(name)} is none of {', '.join(known)}")
            return None
        return known[name.casefold()]

    def places(self) -> dict[str, LineColumn]:
        """Where each field is said."""
        return {option.flag.carries: option.word.start for option in self.arguments.given if option.flag.carries}

    def influence(self, option: Given | None, word: str) -> None:
        """Note what a flag changes whose row does not say it: it depends on the value."""
        if option is not None:
            self.influences[id(option)] = word

    def _influence_of(self, option: Given) -> str:
        if not option.on or option.text.casefold() in OFF:
            return ""
        carried = option.flag.carries
        return self.influences.get(id(option), carried if carried in INFLUENCES else "")

    def ignored(self) -> tuple[Ignored, ...]:
        """Flags that no figure depends on, those that could change one first."""
        flags = [
            Ignored(
                option.word.text.partition("=")[0], "" if option.flag.takes == "none" else option.text,
                self._influence_of(option),
            )
            for option in self.arguments.given
            if id(option) not in self.used
        ]  # fmt: skip
        return tuple(sorted(flags, key=lambda item: not item.influence))

    def divides(self, option: Given | None, divisor: int, number: int, message: str) -> None:
        """Note that a degree does not divide a number."""
        if divisor and number % divisor:
            self.fault(option, message)

    def raise_faults(self) -> None:
        """Raise what was found wrong."""
        if self.faults:
            raise SpecError(*sorted(self.faults, key=lambda fault: (fault.line or 0, fault.column or 0)))


def meshes(
    *, tp: int, cp: int = 1, dp: int = 1, pp: int = 1, etp: int = 1, ep: int = 1, edp: int | None = None
) -> tuple[dict[str, int], dict[str, int]]:
    """Degrees of both meshes, and those of a model without experts."""
    copies = tp * cp * dp // (etp * ep) if edp is None else edp
    if etp * ep * copies != tp * cp * dp:
        raise InternalError(f"etp·ep·edp = {etp}·{ep}·{copies} is not tp·cp·dp = {tp}·{cp}·{dp}")
    attention = {"tp": tp, "cp": cp, "dp": dp, "pp": pp}
    return attention | {"etp": etp, "ep": ep, "edp": copies}, attention | {"etp": 1, "ep": 1, "edp": 1}


KV_FORMATS: Final[Mapping[str, str | None]] = {
    "auto": None, "bfloat16": "bf16", "bf16": "bf16", "float16": "fp16", "half": "fp16", "fp16": "fp16", "fp8": "fp8",
    "fp8_e4m3": "fp8", "fp8_e5m2": "fp8", "fp8_inc": "fp8", "fp8_ds_mla": "fp8", "float32": "fp32", "int8": "int8",
    "nvfp4": "nvfp4", "nvfp4_4over6": "nvfp4", "fp4_e2m1": "nvfp4",
}  # fmt: skip
"""Engines' names of cache formats; None: as the checkpoint has it."""

ACTIVATION_FORMATS: Final[Mapping[str, str | None]] = {
    "auto": None, "bfloat16": "bf16", "bf16": "bf16", "float16": "fp16", "half": "fp16", "fp16": "fp16",
    "float": "fp32", "float32": "fp32",
}  # fmt: skip

ONLINE_FORMATS: Final[Mapping[str, str]] = {
    "fp8": "fp8", "fp8_per_tensor": "fp8", "fp8_per_block": "fp8", "fp8_per_channel": "fp8_channel",
    "ptpc_fp8": "fp8_channel", "w8a8_fp8": "fp8", "mxfp8": "mxfp8", "int8_per_channel_weight_only": "int8_channel",
    "w8a8_int8": "int8", "nvfp4_per_token": "nvfp4", "bitsandbytes": "nf4",
}  # fmt: skip
"""Quantisations that an engine applies to a 16-bit checkpoint while it loads it, and what the weights become. Blocks of
FP8 are those of a rank's own share."""

ONLINE_EXPERTS: Final[Mapping[str, str]] = {"experts_int8": "int8"}
"""Those of routed experts alone."""

CHECKPOINT_FORMATS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("awq", "awq_marlin", "auto_awq", "gptq", "gptq_marlin", "auto_gptq", "auto-round"), "int4"),
    "modelopt_fp4": "nvfp4", "petit_nvfp4": "nvfp4", "mxfp4": "mxfp4", "modelopt_mxfp8": "mxfp8",
    "modelopt_fp8": "fp8", "fbgemm_fp8": "fp8_channel", "marlin": "int4",
}  # fmt: skip
"""Quantisations that say how a checkpoint was written, where its name does not."""

UNPRICED: Final = frozenset(
    {
        "nvfp4_ds_mla", "int4_per_token_head", "int8_per_token_head", "fp8_per_token_head",
        "turboquant_k8v4", "turboquant_4bit_nc", "turboquant_k3v4_nc", "turboquant_3bit_nc", "octave_k3v4",
        "octave_k3v3", "octave_k3v3_compact", "ultraquant_4bit", "fp4_mx_block16", "mxfp8",
    }
)  # fmt: skip
"""Formats of the cache of vLLM 0.33.0 (config/cache.py) and SGLang 0.5.23 whose bytes are not known here."""

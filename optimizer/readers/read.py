"""From files and command-line options to resolved problems and layouts; what is wrong is said with its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from optimizer.domain.base import FieldError
from optimizer.domain.cluster import Cluster
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.layout import Layout, WrittenLayout
from optimizer.domain.limit_table import check_bounds
from optimizer.domain.model import ModelSpec
from optimizer.domain.problem import Problem, ProblemFile, at_no_rate, resolve
from optimizer.errors import Fault, SpecError
from optimizer.readers import catalog
from optimizer.readers.claims import Claim, ClaimReader
from optimizer.readers.cluster import (
    NO_CLUSTER_HERE,
    cluster_content,
    cluster_in,
    goes_into_cluster,
    is_cluster,
    stray_options,
)
from optimizer.readers.diagnosis import diagnose
from optimizer.readers.document import Document, load, validate
from optimizer.readers.measured import coactivation, current_placement, expert_loads
from optimizer.readers.messages import kind_of
from optimizer.readers.placement_file import placement_in
from optimizer.readers.places import PathStep, PlaceTree, dotted
from optimizer.units import Dimension

COMMAND_LINE = "command line"


@dataclass(frozen=True, slots=True)
class Override:
    """A value that a command-line option puts at a place of the problem; of a model also one that is already read."""

    option: str
    at: tuple[PathStep, ...]
    value: Any


@dataclass(frozen=True)
class _Written:
    """A document, the part of it that is a problem, and what options changed in it."""

    document: Document
    at: tuple[PathStep, ...]
    overrides: tuple[Override, ...]
    data: dict[str, Any]

    def option(self, at: Sequence[PathStep]) -> Override | None:
        """The option that a place of the problem comes from."""
        for override in self.overrides:
            shorter = min(len(override.at), len(at))
            if at and tuple(at[:shorter]) == override.at[:shorter] and len(at) >= len(override.at):
                return override
        return None

    def fault(
        self, message: str, at: Sequence[PathStep] = (), suggestion: str | None = None, *, key: bool = False
    ) -> Fault:
        """Fault at the option or the place of the document that a value comes from."""
        override = self.option(at)
        if override is not None:
            return Fault(None, None, None, override.option, message, suggestion)
        if self.document.source == COMMAND_LINE:
            name = _OPTION_OF.get(at[0] if at else "")
            return Fault(None, None, None, name or dotted(at), message, suggestion)
        return self.document.fault(message, (*self.at, *at), suggestion, key=key)

    def folder(self, at: Sequence[PathStep], beside: Path | None) -> Path | None:
        """Folder that a path at `at` starts from: that of the file, or the current one for an option."""
        return None if self.option(at) is not None else beside

    def refer(self, kind: catalog.Shelf, at: tuple[PathStep, ...], beside: Path | None) -> ModelSpec | HardwareSpec:
        """Model or hardware that the problem names or describes at `at`."""
        override = self.option(at)
        load_one = catalog.load_model if kind == "models" else catalog.load_hardware
        if override is None:
            read = catalog.model_in if kind == "models" else catalog.hardware_in
            return read(self.document, (*self.at, *at), beside=beside)
        if isinstance(override.value, ModelSpec):
            return override.value
        try:
            return load_one(override.value)
        except SpecError as error:
            raise SpecError(*(_named(fault, override.option) for fault in error.faults)) from None


INPUT_TOKENS: Final = 1024
OUTPUT_TOKENS: Final = 1024
"""Tokens of a request where nobody says: what engines' own serving benchmarks ask by default."""

_OPTION_OF: dict[PathStep, str] = {"model": "--model", "hardware": "--hardware", "workload": "--isl", "": ""}


def _named(fault: Fault, option: str) -> Fault:
    if fault.path is not None:
        return fault
    return Fault(None, None, None, option, fault.message, fault.suggestion)


def _put(data: dict[str, Any], at: Sequence[PathStep], value: object) -> None:
    for step in at[:-1]:
        inner = data.get(str(step))
        data[str(step)] = dict(inner) if isinstance(inner, Mapping) else {}
        data = data[str(step)]
    data[str(at[-1])] = value.name if isinstance(value, ModelSpec) else value


_OTHER_FILES = {
    "grid": ("a grid of problems", "`shardproof sweep` solves it"),
    "fleet": ("a fleet", "`shardproof verify` judges it"),
    "layout": ("a layout", "`shardproof verify` judges it"),
}
"""What a file with a key is, where it is no problem, and which command takes it."""


def refuse_other_file(document: Document, wanted: str, key: str) -> None:
    """Refuse, by its kind, a file of ours that a command does not take; one with the key that is wanted is left.

    Raises
    ------
    SpecError
        It is what a command wrote, a grid, a fleet or a layout, and not `wanted`.
    """
    data = document.data
    if not isinstance(data, Mapping) or key in data:
        return
    schema = str(data.get("schema", ""))
    if schema.startswith(_RESULT):
        takers = "`shardproof certify`, `verify`, `report` and `export` take it"
        raise document.error(f"is a result, and a {wanted} is wanted: {takers}")
    for own_key, (kind, taker) in _OTHER_FILES.items():
        if own_key in data:
            raise document.error(f"is {kind}, and a {wanted} is wanted: {taker}")


def _merge(document: Document, at: tuple[PathStep, ...], overrides: Sequence[Override]) -> _Written:
    content = document.get(at) if at else document.data
    if not isinstance(content, Mapping):
        raise document.error(f"a problem is wanted (a mapping), not {kind_of(content)}", at)
    if not at:
        refuse_other_file(document, "problem", "model")
    data = dict(content)
    for override in overrides:
        _put(data, override.at, override.value)
        # The two say the same thing twice, so that the option replaces both.
        alternative = {"devices": "nodes", "nodes": "devices"}.get(str(override.at[0]))
        if alternative is not None and not any(o.at == (alternative,) for o in overrides):
            data.pop(alternative, None)
    if document.source == COMMAND_LINE or data.get("objective") == "context":
        # one line is an answer to begin with; how long one sequence may be depends on no request
        work = data.get("workload", {})
        if isinstance(work, Mapping) and "lengths" not in work:
            data["workload"] = {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS} | dict(work)
    return _Written(document, at, tuple(overrides), data)


def _problem(written: _Written, beside: Path | None) -> Problem:
    try:
        file = ProblemFile.model_validate(written.data)
    except ValidationError as error:
        findings = diagnose(ProblemFile, written.data, error.errors(include_url=False))
        faults = [written.fault(item.message, item.at, item.suggestion, key=item.at_key) for item in findings]
        raise SpecError(*sorted(faults, key=lambda fault: (fault.line or 0, fault.column or 0))) from None
    except RecursionError:
        raise SpecError(written.fault("is nested too deeply")) from None
    model = written.refer("models", ("model",), beside)
    hardware = written.refer("hardware", ("hardware",), beside)
    assert isinstance(model, ModelSpec)  # noqa: S101 - by the kind asked for
    assert isinstance(hardware, HardwareSpec)  # noqa: S101 - by the kind asked for
    try:
        loads = expert_loads(file, model, written.folder(("experts", "load"), beside), written.fault)
        folder = written.folder(("experts", "current"), beside)
        current = current_placement(file, model, _devices_pinned(file), folder, written.fault)
        folder = written.folder(("experts", "coactivation"), beside)
        together = coactivation(file, model, folder, written.fault)
        problem = resolve(file, model, hardware, loads, current, together)
        check_bounds(problem)
    except ValidationError as error:
        findings = diagnose(Problem, written.data, error.errors())
        raise SpecError(*(written.fault(item.message, item.at) for item in findings)) from None
    except FieldError as error:
        raise SpecError(written.fault(str(error), error.at)) from None
    except ValueError as error:
        named = {"experts.": ("experts",), "max_model_len": ("workload", "max_model_len")}
        at = next((at for start, at in named.items() if str(error).startswith(start)), ("workload",))
        raise SpecError(written.fault(str(error), at)) from None
    return problem


def _devices_pinned(file: ProblemFile) -> int | None:
    """Devices of the expert mesh, where the search leaves no choice."""
    return file.search.ep[0] if file.search.ep is not None and len(file.search.ep) == 1 else None


def _is_resolved(data: object) -> bool:
    """Whether a problem is one that a result repeats in full rather than one that a person wrote."""
    return isinstance(data, Mapping) and "digest" in data and isinstance(data.get("model"), Mapping)


def _resolved(document: Document, at: tuple[PathStep, ...]) -> Problem:
    written = document.get(at)
    assert isinstance(written, Mapping)  # noqa: S101 - by _is_resolved
    data = {key: value for key, value in written.items() if key != "digest"}
    problem = validate(Problem, data, document, at)
    if problem.digest != written["digest"]:
        raise document.error(
            f"does not belong to this problem, whose digest is {problem.digest}: the problem was changed",
            (*at, "digest"),
        )
    message = at_no_rate(problem.workload)
    if message is not None:
        raise document.error(message, (*at, "workload", "arrival"))
    return problem


def _load(reference: str | Path) -> Document:
    """Document of a path, of standard input for ``-``, or of a scenario of the catalog."""
    return load(catalog.find("scenarios", reference))


def _load_question(reference: str | Path) -> Document:
    """As `_load`, or of a cluster of the catalog."""
    named = not catalog.is_path(reference) and str(reference) in catalog.names("clusters")
    return load(catalog.path("clusters", str(reference))) if named else _load(reference)


def read_problem(reference: str | Path | None = None, overrides: Sequence[Override] = ()) -> Problem:
    """Problem of a file (``-``: standard input) or a catalog scenario, changed by options; or of options alone.

    Raises
    ------
    SpecError
        Everything that is wrong, each with its place or its option.
    """
    if reference is None:
        stated = {override.at for override in overrides}
        wanted = {"--model": ("model",), "--hardware": ("hardware",), "--devices": ("devices",)}
        missing = [
            Fault(None, None, None, option, "is required where no problem file is given")
            for option, at in wanted.items()
            if at not in stated and not (at == ("devices",) and ("nodes",) in stated)
        ]
        if missing:
            raise SpecError(*missing, *catalog.unknown_names((o.option, o.at, o.value) for o in overrides))
        return _problem(_merge(_of_options(), (), overrides), None)
    document = _load(reference)
    return problem_in(document, (), overrides)


def read_question(
    reference: str | Path | None = None, overrides: Sequence[Override] = (), pools: Sequence[str] = ()
) -> Problem | Cluster:
    """Problem of one demand on one pool, as `read_problem`, or cluster: by what the file holds, or what options ask.

    Parameters
    ----------
    pools
        ``HARDWARE=NODES`` of each pool, where they are given by options.

    Raises
    ------
    SpecError
        Everything that is wrong, each with its place or its option.
    """
    document = None if reference is None else _load_question(reference)
    if document is not None and is_cluster(document.data):
        stray = [o.option for o in overrides if o.at not in {("objective",), ("seed",)}]
        if stray or pools:
            raise stray_options(stray or ["--pool"])
        return cluster_in(document, (), {str(o.at[0]): o.value for o in overrides})
    written = _merge(_of_options() if document is None else document, (), overrides)
    content = written.data
    work = content.get("workload")
    phase = work.get("phase") if isinstance(work, Mapping) else None
    if not pools and phase not in ("disaggregated", "either"):
        return read_problem(reference, overrides)
    _refuse_unkept(written, pools)
    made, source = cluster_content(content, pools), written.document.source
    try:
        return cluster_in(Document(made, source, "", yaml_places=PlaceTree((1, 1))))
    except SpecError as error:
        demand = f"{dotted(('demands', next(iter(made['demands']))))}."
        raise SpecError(*(_from_demand(fault, demand, written) for fault in error.faults)) from None


def _from_demand(fault: Fault, demand: str, written: _Written) -> Fault:
    """The fault of a cluster of options at the option or the place of the problem that its demand was made of."""
    if fault.path != written.document.source or not str(fault.field).startswith(demand):
        return fault
    return written.fault(fault.message, str(fault.field).removeprefix(demand).split("."), fault.suggestion)


def _of_options() -> Document:
    """A document that options alone fill."""
    return Document({}, COMMAND_LINE, "", yaml_places=PlaceTree((1, 1)))


def _refuse_unkept(written: _Written, pools: Sequence[str]) -> None:
    """Refuse what a cluster of options would leave out."""
    size = [o.option for o in written.overrides if pools and o.at[0] in {"hardware", "devices", "nodes"}]
    if size:
        raise SpecError(*(Fault(None, None, None, option, "give either this, or --pool") for option in size))
    stray = [o.option for o in written.overrides if not goes_into_cluster(o.at)]
    if stray:
        raise stray_options(stray)
    if "experts" in written.data:
        raise SpecError(written.fault("is of one layout, and this is a cluster", ("experts",), key=True))


def problem_content(reference: str | Path | None, overrides: Sequence[Override] = ()) -> dict[str, Any]:
    """What a problem file would hold that says what a file and options say; nothing is resolved.

    Raises
    ------
    SpecError
        Where the file cannot be read, or holds no mapping.
    """
    return _merge(_of_options() if reference is None else _load(reference), (), overrides).data


def problem_in(document: Document, at: tuple[PathStep, ...] = (), overrides: Sequence[Override] = ()) -> Problem:
    """Problem that stands at `at` of a document; one that a result repeats in full is checked against its digest.

    Raises
    ------
    SpecError
        As `read_problem`.
    """
    content = document.get(at) if at else document.data
    if is_cluster(content):
        raise document.error(NO_CLUSTER_HERE, at)
    if not overrides and _is_resolved(content):
        return _resolved(document, at)
    return _problem(_merge(document, at, overrides), document.folder)


@dataclass(frozen=True)
class LayoutDocument:
    """A layout to be judged.

    Attributes
    ----------
    written
        The layout as written, its convention too; None where a result gave it in full.
    placement
        Expert placement of a result, as it stands there, or the one that a layout file proposes.
    """

    document: Document
    problem: Problem
    layout: Layout
    claims: tuple[Claim, ...]
    written: WrittenLayout | None = None
    placement: Mapping[str, Any] | None = None


_KEYS = ("name", "problem", "layout", "placement", "claims", "notes")
_RESULT = "shardproof/result/"
_DERIVED = ("devices", "replicas", "placement")


ClaimNames = Mapping[str, Dimension] | Callable[[Problem], Mapping[str, Dimension]]


def layout_in(document: Document, *, claims: ClaimNames, problem: Problem | str | Path | None = None) -> LayoutDocument:
    """Layout file, or what ``solve --out`` wrote, with its problem resolved.

    Parameters
    ----------
    document
        The file as it is read.
    claims
        What each known claim measures, or what tells it for a problem.
    problem
        Problem, or its file, to use in place of the one that the file names.

    Raises
    ------
    SpecError
        Everything that is wrong, each with its place.
    """
    data = document.data
    if not isinstance(data, Mapping):
        raise document.error(f"a layout is wanted (a mapping with problem, layout and claims), not {kind_of(data)}")
    is_result = str(data.get("schema", "")).startswith(_RESULT)
    if not is_result:
        document.only(_KEYS)
    named = read_problem(problem) if isinstance(problem, str | Path) else problem
    question = _problem_of(document) if named is None else named
    read = ClaimReader(dict(claims(question) if callable(claims) else claims)).read(document)
    layout = document.get(("layout",))
    if layout is None:
        status = data.get("status")
        raise document.error(
            f"has no layout: its status is {status}" if is_result else "is required but missing", ("layout",)
        )
    if is_result:
        return _of_result(document, question, read)
    written = _written(document)
    meshes = _meshes(document, written, question)
    proposed = _proposed(document, question, meshes)
    if proposed is not None and question.model.moe is not None:
        spare = max(0, proposed["slots_per_device"] * meshes.ep - question.model.moe.experts)
        if written.redundant_slots not in {0, spare}:
            message = f"is {written.redundant_slots}, but the placement has {spare} slots beyond one for each expert"
            raise document.error(message, ("layout", "redundant_slots"))
        meshes = meshes.model_copy(update={"redundant_slots": spare})
    return LayoutDocument(document, question, meshes, read, written, proposed)


def _proposed(document: Document, problem: Problem, layout: Layout) -> dict[str, Any] | None:
    """Expert placement that a layout file holds or names, at its top or in the layout, as a result would repeat it."""
    at: tuple[PathStep, ...] = ("placement",) if document.get(("placement",)) is not None else ("layout", "placement")
    stated = document.get(at)
    if stated is None:
        return None
    model = problem.model
    layers = model.moe_layers
    if not layers:
        raise document.error(f"{model.name} has no experts to place", at)
    if not isinstance(stated, str):
        placed = placement_in(document, at, layers, layout.ep)
    else:
        folder = document.folder
        named = folder / stated if folder is not None and stated != "-" else Path(stated)
        placed = placement_in(load(named), (), layers, layout.ep)
    return {
        "slots_per_device": max(len(experts) for devices in placed.values() for experts in devices),
        "layers": [{"layer": layer, "devices": devices} for layer, devices in placed.items()],
    }


def _problem_of(document: Document) -> Problem:
    named = document.get(("problem",))
    if named is None:
        raise document.error("is required but missing", ("problem",))
    if not isinstance(named, str):
        return problem_in(document, ("problem",))
    return problem_in(catalog.named_in(document, ("problem",), "scenarios", named))


def _written(document: Document) -> WrittenLayout:
    data = document.get(("layout",))
    if isinstance(data, Mapping):
        data = {key: value for key, value in data.items() if not (key in _DERIVED and _agrees(key, value))}
    return validate(WrittenLayout, data, document, ("layout",))


def _agrees(key: str, value: object) -> bool:
    """Whether a key that is read apart, or follows from the degrees, may stand in a layout."""
    return key == "placement" or (isinstance(value, int) and not isinstance(value, bool))


def _meshes(document: Document, written: WrittenLayout, problem: Problem) -> Layout:
    try:
        layout = written.resolve(experts=problem.model.moe is not None)
    except ValueError as error:
        raise document.error(str(error), ("layout",)) from None
    _check_derived(document, layout)
    return layout


def _check_derived(document: Document, layout: Layout) -> None:
    for key in ("devices", "replicas"):
        stated, derived = document.get(("layout", key)), getattr(layout, key)
        if stated is not None and stated != derived:
            raise document.error(f"is {stated}, but the degrees give {derived}", ("layout", key))


def _of_result(document: Document, problem: Problem, claims: tuple[Claim, ...]) -> LayoutDocument:
    data = document.get(("layout",))
    placement = data.get("placement") if isinstance(data, Mapping) else None
    if isinstance(data, Mapping):
        redundant = document.get(("certificate", "redundant"))
        slots = redundant if type(redundant) is int and 0 <= redundant <= 10**6 else 0
        data = {"redundant_slots": slots} | {key: value for key, value in data.items() if key not in _DERIVED}
    layout = validate(Layout, data, document, ("layout",))
    _check_derived(document, layout)
    if placement is not None and not isinstance(placement, Mapping):
        raise document.error(f"a mapping is wanted, not {kind_of(placement)}", ("layout", "placement"))
    return LayoutDocument(document, problem, layout, claims, None, placement)

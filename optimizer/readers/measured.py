"""What a problem says was measured: expert loads, and the placement in service; files become numbers here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from optimizer.domain.coactivation import Coactivation
from optimizer.domain.model import ModelSpec
from optimizer.domain.problem import ExpertLoads, ExpertsSpec, PlacedExperts, ProblemFile
from optimizer.errors import Fault, SpecError
from optimizer.readers.coactivation import UNIFORM, read_coactivation
from optimizer.readers.document import load
from optimizer.readers.load_profiles import PROFILES
from optimizer.readers.loads import read_load
from optimizer.readers.placement_file import placement_in
from optimizer.readers.places import PathStep
from optimizer.readers.source import is_file
from optimizer.readers.statistics_folder import is_statistics

LocateFault = Callable[[str, Sequence[PathStep], str | None], Fault]
"""Fault with a message at a place of the problem, and what was probably meant."""

_LOAD, _CURRENT = ("experts", "load"), ("experts", "current")


def expert_loads(
    file: ProblemFile, model: ModelSpec, beside: Path | None, locate: LocateFault
) -> tuple[ExpertLoads, ...]:
    """Measured expert loads that the problem names: files beside it, or seeded profiles.

    Parameters
    ----------
    beside
        Folder that relative paths start from, if the file is there; the current one otherwise.
    locate
        Gives a fault its place.

    Raises
    ------
    SpecError
        A file that is none, is not of this model, or weights that are not one for each load.
    """
    experts, moe = file.experts, model.moe
    if experts is None or not experts.load:
        if experts is not None and (
            experts.weights is not None or experts.current is not None or experts.max_moves is not None
        ):
            named = (
                "weights" if experts.weights is not None else "current" if experts.current is not None else "max_moves"
            )
            raise SpecError(locate("needs measured loads: experts.load", ("experts", named), None))
        return ()
    if moe is None:
        raise SpecError(locate(f"{model.name} has no experts", _LOAD, None))
    _check_weights(experts, locate)
    loads = []
    for number, name in enumerate(experts.load):
        path = _beside(name, beside)
        at = (*_LOAD, number) if len(experts.load) > 1 else _LOAD
        try:
            read = read_load(str(path or name), layers=model.moe_layer_count, experts=moe.experts, seed=file.seed)
        except SpecError as error:
            raise SpecError(*(_placed(fault, at, locate) for fault in error.faults)) from None
        loads.append(ExpertLoads(name=Path(name).stem if path else name, rows=read.rows))
    return tuple(loads)


def coactivation(
    file: ProblemFile, model: ModelSpec, beside: Path | None, locate: LocateFault
) -> Coactivation | None:  # fmt: skip
    """Measured co-activation of experts that the problem names, or ``uniform``.

    Raises
    ------
    SpecError
        A file that is none or is not of this model, or no loads to place experts for.
    """
    experts, moe = file.experts, model.moe
    if experts is None or experts.coactivation is None or moe is None:
        if experts is not None and experts.balance_allowance is not None:
            message = "what balance may cost for fewer nodes visited needs experts.coactivation"
            raise SpecError(locate(message, ("experts", "balance_allowance"), None))
        return None
    at = ("experts", "coactivation")
    if not experts.load:
        raise SpecError(locate("needs measured loads: experts.load", at, None))
    path = (
        experts.coactivation
        if experts.coactivation == UNIFORM
        else _beside(experts.coactivation, beside) or experts.coactivation
    )
    try:
        return read_coactivation(path, model.moe_layers, moe.experts, model.layer_count)
    except SpecError as error:
        raise SpecError(*(_placed(fault, at, locate) for fault in error.faults)) from None


def _check_weights(experts: ExpertsSpec, locate: LocateFault) -> None:
    count, weights = len(experts.load or ()), experts.weights
    if weights is not None and len(weights) != count:
        raise SpecError(locate(f"{len(weights)} weights for {count} loads", ("experts", "weights"), None))
    if weights is not None and (min(weights) < 0 or not sum(weights)):
        raise SpecError(locate("weights must not be negative, nor all zero", ("experts", "weights"), None))


def _placed(fault: Fault, at: Sequence[PathStep], locate: LocateFault) -> Fault:
    """A fault inside a file keeps its place; one without a line is the problem's, which names the file."""
    if fault.line is not None:
        return fault
    message = f"{fault.path}: {fault.message}" if fault.path else fault.message
    return replace(locate(message, at, None), suggestion=fault.suggestion)


def _beside(name: str, beside: Path | None) -> Path | None:
    if name == "-" or name.partition(":")[0] in PROFILES:
        return None
    for path in ([] if beside is None else [beside / name]) + [Path(name)]:
        if is_file(path) or is_statistics(path):
            return path
    return None


def current_placement(
    file: ProblemFile, model: ModelSpec, devices: int | None, beside: Path | None, locate: LocateFault
) -> PlacedExperts | None:
    """The placement in service, ``[MoE layer][device][slot]``.

    Parameters
    ----------
    devices
        Devices of the expert mesh where the search pins them, for files that list slots alone.

    Raises
    ------
    SpecError
        Not a placement of this model, or devices with different numbers of slots.
    """
    spec, moe = file.experts, model.moe
    if spec is None or moe is None or spec.current is None:
        if spec is not None and spec.max_moves is not None:
            message = "a budget of moves needs the placement in service: experts.current"
            raise SpecError(locate(message, ("experts", "max_moves"), None))
        return None
    try:
        document = load(_beside(spec.current, beside) or spec.current)
    except SpecError as error:
        raise SpecError(*(_placed(fault, _CURRENT, locate) for fault in error.faults)) from None
    placed = placement_in(document, (), model.moe_layers, devices)
    first = next(iter(placed.values()))
    for layer, placement in placed.items():
        if len(placement) != len(first):
            raise document.error(f"layer {layer}: {len(placement)} devices, but the first layer has {len(first)}")
        for device, experts in enumerate(placement):
            if len(experts) != len(first[0]):
                count = len(first[0])
                raise document.error(f"layer {layer}: device {device} has {len(experts)} slots, others {count}")
            wrong = [expert for expert in experts if not 0 <= expert < moe.experts]
            if wrong:
                raise document.error(f"layer {layer}: device {device} holds expert {wrong[0]} of {moe.experts}")
    if len(first) * len(first[0]) < moe.experts:
        raise document.error(f"{len(first) * len(first[0])} slots, but the model has {moe.experts} experts a layer")
    return tuple(tuple(tuple(experts) for experts in placement) for placement in placed.values())

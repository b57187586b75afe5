"""Expert placement files by engine, each read back by the reader that `--current` and `verify` use.

Sources of the formats stand in `spec.placement_file`; flags: SGLang ``server_args.py`` (``--init-expert-location``,
``--ep-num-redundant-experts``), TensorRT-LLM ``moe_config.load_balancer``, vllm-ascend ``eplb_config``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from optimizer.errors import Fault, InternalError, SpecError
from optimizer.export.placement import sglang_text, trtllm_text, vllm_ascend_text
from optimizer.readers.document import load_text
from optimizer.readers.messages import nearest
from optimizer.readers.placement_file import placement_in

Placement = Mapping[int, Sequence[Sequence[int]]]


@dataclass(frozen=True, slots=True)
class PlacementFormat:
    """How an engine takes a static placement.

    Attributes
    ----------
    file
        Name of the file; None where the engine takes none.
    use
        How the engine is told, ``{file}`` and ``{redundant}`` put in; or why there is no file.
    write
        Text of a placement, for a model of so many layers.
    uneven
        Whether devices may have different numbers of slots.
    """

    file: str | None
    use: str
    write: Callable[[Placement, int], str]
    uneven: bool = False


FORMATS: dict[str, PlacementFormat] = {
    "sglang": PlacementFormat(
        "expert_location.json",
        "--init-expert-location {file} --ep-num-redundant-experts {redundant}",
        sglang_text,
    ),
    "trtllm": PlacementFormat(
        "moe_load_balancer.yaml", "moe_config: {{load_balancer: {file}}}", lambda placed, _layers: trtllm_text(placed)
    ),
    "vllm-ascend": PlacementFormat(
        "expert_map.json",
        '--additional-config {{"eplb_config": {{"expert_map_path": "{file}"}}}}',
        lambda placed, _layers: vllm_ascend_text(placed),
        uneven=True,
    ),
    "vllm": PlacementFormat(
        None,
        "vLLM takes no static expert placement: its EPLB places experts itself while serving (--enable-eplb)",
        lambda _placed, _layers: "",
    ),
}


@dataclass(frozen=True, slots=True)
class PlacementFile:
    """A file to be written, and how the engine is told of it."""

    name: str
    text: str
    use: str


def placement_file(engine: str, placement: Placement, model_layers: int) -> PlacementFile:
    """The file by which an engine takes a placement, read back before it is given out.

    Parameters
    ----------
    placement
        Experts of each device, by the model's layer index.
    model_layers
        Transformer layers of the model, dense ones included.

    Raises
    ------
    SpecError
        An unknown engine, or one that takes no placement.
    """
    if engine not in FORMATS:
        known = ", ".join(FORMATS)
        message = f"{engine!r} is no engine with a placement format; formats: {known}"
        raise SpecError(Fault(None, None, None, "--engine", message, nearest(engine, list(FORMATS))))
    form = FORMATS[engine]
    if form.file is None:
        raise SpecError(Fault(None, None, None, "--engine", form.use))
    counts = {len(held) for placed in placement.values() for held in placed}
    if len(counts) > 1 and not form.uneven:
        message = f"{engine} takes equally many slots on every device, not {min(counts)} on some and {max(counts)}"
        raise SpecError(Fault(None, None, None, "--engine", message))
    text = form.write(placement, model_layers)
    devices = next(iter(placement.values()))
    again = placement_in(load_text(text, form.file), (), sorted(placement), len(devices))
    if again != {layer: [list(held) for held in placed] for layer, placed in placement.items()}:
        raise InternalError(f"{form.file} does not read back as the placement it was written from")
    experts = 1 + max(expert for held in devices for expert in held)
    redundant = sum(map(len, devices)) - experts
    return PlacementFile(form.file, text, form.use.format(file=form.file, redundant=redundant))
